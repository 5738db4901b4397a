//! The plans of a run: what the device does in a step.

use crate::Result;
use crate::gpu::{Class, Gpu, Plan, Recorder, Tensor};
use crate::methods::{Method, Site};
use crate::nn::{Buffers, Mlp, Passage};
use crate::ops::{self, Step, StepValues};

use super::Trainer;

/// What the plans read and write besides the network.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) buffers: Buffers,
    pub(super) labels: Tensor,
    pub(super) step: Step,
    /// A row's loss, and whether it was classified right.
    report: Tensor,
    /// `[loss, hits]`, running totals.
    pub(super) totals: Tensor,
    /// A word per layer; see [`Mlp::scan`].
    pub(super) status: Tensor,
}

impl Room {
    /// Room for batches of `rows` rows.
    pub(super) fn new(gpu: &Gpu, model: &Mlp, rows: usize) -> Result<Self> {
        Ok(Self {
            buffers: model.buffers(gpu, rows)?,
            labels: gpu.zeros::<u32>(Class::Activations, "labels", &[rows])?,
            step: Step::new(gpu, StepValues::default())?,
            report: gpu.alloc::<f32>(Class::Scratch, "report", &[rows, 2])?,
            totals: gpu.zeros::<f32>(Class::Scratch, "totals", &[2])?,
            status: gpu.zeros::<u32>(Class::Scratch, "status", &[model.layers().len()])?,
        })
    }

    /// Records loss and hits of the logits, and their gradient; `counted` ones join the totals.
    pub(super) fn loss(&self, rec: &mut Recorder<'_>, counted: bool) -> Result<()> {
        let Self { buffers, labels, step, report, totals, .. } = self;
        ops::softmax_cross_entropy(rec, &buffers.logits, labels, report, &buffers.logits_grad, step)?;
        if counted { ops::column_sums(rec, report, totals, true) } else { Ok(()) }
    }
}

/// The plans.
#[derive(Debug)]
pub(super) struct Plans {
    /// A training step.
    pub(super) train: Plan,
    /// A training step in which the method looks on, if it does.
    pub(super) observe: Option<Plan>,
    /// A step that changes topologies instead of weights, if the method has any.
    pub(super) update: Option<Plan>,
    /// Forward and loss alone.
    pub(super) test: Plan,
}

/// What a method records at a site.
type Deed<'a> = dyn Fn(&dyn Method, &mut Recorder<'_>, &Site<'_>) -> Result<()> + 'a;

impl Trainer {
    /// Records the plans afresh.
    pub(super) fn plan(&mut self) -> Result<()> {
        self.plans = self.record()?;
        self.evolution.reshaped = false;
        Ok(())
    }

    fn record(&self) -> Result<Plans> {
        let (update, changes) = self.record_step(&|method, rec, site| method.update(rec, site), None)?;
        let births = Some(changes || self.evolution.grown);
        let (train, _) = self.record_step(&|method, rec, site| method.each_step(rec, site), births)?;
        let observe = match self.evolution.method.observe_every() {
            Some(_) => {
                let both = |method: &dyn Method, rec: &mut Recorder<'_>, site: &Site<'_>| {
                    method.observe(rec, site)?;
                    method.each_step(rec, site)
                };
                Some(self.record_step(&both, births)?.0)
            }
            None => None,
        };
        let test = record_test(&self.gpu, &self.model, &self.batch.room)?;
        Ok(Plans { train, observe, update: changes.then_some(update), test })
    }

    /// Records a step with what the method does at each sparse layer; says whether that was anything. `optimize` is whether
    /// the optimizer heeds births, and `None` for a step without it.
    fn record_step(&self, deed: &Deed<'_>, optimize: Option<bool>) -> Result<(Plan, bool)> {
        let Room { buffers, step, status, .. } = &self.batch.room;
        let (model, method) = (&self.model, &*self.evolution.method);
        let mut rec = Recorder::new(&self.gpu);
        model.forward(&mut rec, buffers, Some(step))?;
        self.batch.room.loss(&mut rec, true)?;
        let mut deeds = 0;
        model.backward_with(&mut rec, buffers, Some(step), &mut |rec, passage| {
            let before = rec.len();
            if let Some(site) = self.site(passage) {
                deed(method, rec, &site)?;
            }
            deeds += rec.len() - before;
            Ok(())
        })?;
        model.scan(&mut rec, buffers, status)?;
        if let Some(births) = optimize {
            let born = |layer: usize| {
                births.then(|| Some(self.evolution.workspaces[layer].as_ref()?.born().clone())).flatten()
            };
            self.optimizer.update(&mut rec, &model.parameters(), &born, step)?;
        }
        Ok((rec.finish()?, deeds > 0))
    }

    /// A layer as the method sees it, if it is sparse.
    fn site<'a>(&'a self, passage: Passage<'a>) -> Option<Site<'a>> {
        let Passage { layer, x, y, dy } = passage;
        Some(Site {
            layer,
            weight: self.model.layers()[layer].weight().sparse()?,
            grad: self.model.layers()[layer].weight_grad().values(),
            state: self.optimizer.weight_parts(layer),
            x,
            y,
            dy,
            step: &self.batch.room.step,
            score_rows: self.settings.method.score_rows(self.settings.batch),
            key: self.evolution.keys[layer],
            workspace: self.evolution.workspaces[layer].as_ref()?,
        })
    }
}

/// Records forward and loss alone.
pub(super) fn record_test(gpu: &Gpu, model: &Mlp, room: &Room) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    model.forward(&mut rec, &room.buffers, None)?;
    room.loss(&mut rec, true)?;
    model.scan(&mut rec, &room.buffers, &room.status)?;
    rec.finish()
}

impl Plans {
    /// Plans that do nothing, until the real ones are recorded.
    pub(super) fn empty(gpu: &Gpu) -> Result<Self> {
        let nothing = || Recorder::new(gpu).finish();
        Ok(Self { train: nothing()?, observe: None, update: None, test: nothing()? })
    }
}
