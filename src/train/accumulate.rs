//! Gradient accumulation: steps of several forward and backward passes, of which the last moves the weights.

use super::Trainer;
use super::program::Program;
use crate::Result;
use crate::gpu::{Class, Gpu, Plan, Recorder, Tensor};
use crate::graph::Span;
use crate::methods::{LayerContext, Method};
use crate::ops;

/// Records work of a method on a layer, once the layer's gradient is complete.
pub(super) type LayerHook<'a> = dyn Fn(&dyn Method, &mut Recorder<'_>, &LayerContext<'_>) -> Result<()> + 'a;

/// Plans of a step's passes. Gradients are gathered span by span, one dispatch each.
#[derive(Debug)]
pub(super) struct Accumulate {
    /// The first pass, whose gradients begin the sum, and a later one.
    passes: [Plan; 2],
    /// The last pass, with the optimizer; and with a scan for NaN and infinity.
    last: [Program; 2],
}

/// Records a training step with or without a scan, which adds gathered gradients to its own.
type StepRecorder<'a> = dyn Fn(bool, Option<&[Tensor]>) -> Result<Program> + 'a;

impl Accumulate {
    /// Records the plans of a run, whose last passes are those of `step`.
    ///
    /// # Errors
    /// As recording; [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn record(gpu: &Gpu, run: &Trainer, step: &StepRecorder<'_>) -> Result<Self> {
        let sum = |span: Span<'_>| gpu.alloc::<f32>(Class::Gradients, "accumulated", span.grads.shape());
        let sums = run.model.store().spans().map(sum).collect::<Result<Vec<_>>>()?;
        // The method acts in the last pass.
        let nothing: &LayerHook<'_> = &|_, _, _| Ok(());
        let pass = |weights| -> Result<Plan> {
            let mut rec = Recorder::new(gpu);
            run.record_passes(&mut rec, 0, nothing, true, false)?;
            for (span, sum) in run.model.store().spans().zip(&sums) {
                ops::blend(&mut rec, span.grads, sum, weights)?;
            }
            rec.finish()
        };
        Ok(Self {
            passes: [pass([1.0, 0.0])?, pass([1.0, 1.0])?],
            last: [step(false, Some(&sums))?, step(true, Some(&sums))?],
        })
    }

    /// The plan of pass number `number`, but not of the last.
    pub(super) fn pass(&self, number: usize) -> &Plan {
        &self.passes[number.min(1)]
    }

    /// The program of the last pass.
    pub(super) fn last(&self, scanned: bool) -> &Program {
        &self.last[usize::from(scanned)]
    }

    /// All plans.
    pub(super) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.passes.iter().chain(self.last.iter().flat_map(Program::plans))
    }
}
