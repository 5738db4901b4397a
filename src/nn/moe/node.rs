//! Node of a mixture of experts.

use serde_json::json;

use super::capacity::Capacity;
use super::experts::{Experts, Places};
use super::router::Router;
use super::shared::Shared;
use super::{Moe, MoeConfig};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::graph::{Backward, Forward, Load, Node, Precision};
use crate::ops::gate::{self, Draw, Gate, Grads, Inputs, Outputs, Results};
use crate::ops::{self, Epilogue, Step};
use crate::random::Key;
use crate::sparse::Routing;
use crate::{Error, Result};

/// Kind of the node.
pub(super) const KIND: &str = "moe";

/// A mixture of experts, with its tensors once it is bound to a device.
#[derive(Debug)]
pub(super) struct MoeNode {
    moe: Moe,
    name: String,
    key: Key,
    tokens: usize,
    precision: Precision,
    places: Places,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    router: Option<Router>,
    experts: Experts,
    shared: Option<Shared>,
    /// Expert of each assignment, its weight, and the gradient of the weight: `[tokens, choices]`.
    chosen: Tensor,
    weights: Tensor,
    weights_grad: Tensor,
    capacity: Option<Capacity>,
    routing: Routing,
    /// A part of the input's gradient, `[tokens, width]`.
    part: Tensor,
    /// Tokens that each expert took, and dropped, since the totals were last set to 0: `u32[experts]`.
    load: Tensor,
    dropped: Tensor,
}

impl MoeNode {
    pub(super) fn new(
        moe: Moe,
        name: String,
        key: Key,
        tokens: usize,
        precision: Precision,
        places: Places,
    ) -> Self {
        Self { moe, name, key, tokens, precision, places, bound: None }
    }

    fn config(&self) -> &MoeConfig {
        &self.moe.config
    }

    fn bound(&self) -> Result<&Bound> {
        self.bound
            .as_ref()
            .ok_or_else(|| Error::argument(&self.name, "node", "bound to a device", "not bound"))
    }

    /// The gate of a pass: that of training where there is a step.
    fn gate(&self, step: Option<&Step>) -> Gate {
        if step.is_some() { self.config().gate } else { self.config().gate.evaluated() }
    }

    fn inputs<'a>(&self, router: &'a Router, ids: Option<&'a Tensor>, step: Option<&'a Step>) -> Inputs<'a> {
        Inputs {
            logits: &router.logits,
            noise: router.noise.as_ref().map(|noise| &noise.spread),
            bias: router.bias.as_ref(),
            valid: ids,
            draw: step.map(|step| Draw { key: self.key, step }),
        }
    }
}

impl Bound {
    fn outputs<'a>(&'a self, router: &'a Router) -> Outputs<'a> {
        Outputs {
            probs: &router.probs,
            tokens: &router.tokens,
            experts: &self.chosen,
            weights: &self.weights,
            noisy: router.noise.as_ref().map(|noise| &noise.noisy),
        }
    }
}

/// Ids of the tokens, where the mixture reads them.
fn ids<'a>(pass: &Forward<'a>) -> Option<&'a Tensor> {
    (pass.input_count() > 1).then(|| pass.input(1))
}

impl Node for MoeNode {
    // A step counts the load, and may move the bias.
    fn repeats(&self) -> bool {
        false
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    fn options(&self) -> serde_json::Value {
        let Moe { config, activation, block, sequence, .. } = &self.moe;
        json!({ "config": config, "activation": activation, "block": block, "sequence": sequence })
    }

    fn bind(&mut self, gpu: &Gpu) -> Result<()> {
        let (config, tokens, width) = (&self.moe.config, self.tokens, self.moe.width);
        let count = config.experts.len();
        let choices = config.gate.assignments(count);
        let sizes = [tokens / self.moe.sequence, self.moe.sequence];
        let routing = Routing::new(gpu, config.routing(tokens, self.moe.block))?;
        let router = self.places.logits.map(|_| Router::new(gpu, config, tokens, self.precision));
        let shared =
            self.places.shared.map(|params| Shared::new(gpu, &self.moe, params, tokens, self.precision));
        self.bound = Some(Bound {
            router: router.transpose()?,
            experts: Experts::new(gpu, &self.moe, &routing, self.precision, self.places)?,
            shared: shared.transpose()?,
            chosen: gpu.alloc::<u32>(Class::Activations, "choices", &[tokens, choices])?,
            weights: gpu.alloc::<f32>(Class::Activations, "weights", &[tokens, choices])?,
            weights_grad: gpu.alloc::<f32>(Class::Activations, "gradient", &[tokens, choices])?,
            capacity: Capacity::new(gpu, config, sizes)?,
            routing,
            part: gpu.alloc::<f32>(Class::Activations, "gradient", &[tokens, width])?,
            load: gpu.zeros::<u32>(Class::Scratch, "load", &[count])?,
            dropped: gpu.zeros::<u32>(Class::Scratch, "dropped", &[count])?,
        });
        Ok(())
    }

    fn bound(&self) -> Result<Vec<(Class, &'static str, u128, u64)>> {
        super::bytes::of(&self.moe, self.tokens, self.precision)
    }

    fn state(&self) -> Vec<(String, &Tensor)> {
        let Some(bound) = &self.bound else { return Vec::new() };
        let bias = bound.router.as_ref().and_then(|router| router.bias.as_ref());
        let bias = bias.map(|bias| ("bias", bias));
        let parts = [("load", &bound.load), ("dropped", &bound.dropped)].into_iter().chain(bias);
        let prefix = if self.name.is_empty() { String::new() } else { format!("{}.", self.name) };
        parts.map(|(part, tensor)| (format!("{prefix}{part}"), tensor)).collect()
    }

    fn load(&self) -> Option<Load<'_>> {
        let bound = self.bound.as_ref()?;
        let (losses, slopes) = bound.router.as_ref().map(|router| (&router.losses, &router.slopes)).unzip();
        Some(Load { name: self.name.clone(), taken: &bound.load, dropped: &bound.dropped, losses, slopes })
    }

    /// With a step, as in training, experts have their capacity, and loads are counted; without one nothing is dropped.
    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        let (bound, config, step) = (self.bound()?, self.config(), pass.step());
        let (x, ids, out) = (pass.input(0), ids(pass), pass.output(0));
        match (&bound.router, ids) {
            (Some(router), ids) => {
                if let Some(at) = self.places.logits {
                    pass.param(at).forward(rec, x, &router.logits, Epilogue::None)?;
                }
                if let (Some(noise), Some(at), Some(_)) = (&router.noise, self.places.noise, step) {
                    pass.param(at).forward(rec, x, &noise.spread, Epilogue::None)?;
                }
                let (inputs, outputs) = (self.inputs(router, ids, step), bound.outputs(router));
                gate::forward(rec, self.gate(step), inputs, outputs)?;
                if step.is_some() {
                    let Router { losses, counts, slopes, .. } = router;
                    let results = Results { losses, counts, slopes };
                    gate::losses(rec, config.gate, inputs, outputs, config.balance, results)?;
                    if let Some(bias) = &router.bias {
                        gate::rebalance(rec, counts, bias, config.bias_rate)?;
                    }
                }
            }
            (None, Some(ids)) => {
                let count = config.experts.len();
                gate::hash(rec, ids, Some(ids), self.key, count, &bound.chosen, &bound.weights)?;
            }
            (None, None) => return Err(Error::argument(&self.name, "ids", "of tokens, to hash", "none")),
        }
        let routing = &bound.routing;
        let kept = match &bound.capacity {
            Some(capacity) if step.is_some() => {
                let tokens = bound.router.as_ref().map(|router| &router.tokens);
                Some(capacity.keep(rec, [&bound.chosen, &bound.weights], tokens)?)
            }
            _ => None,
        };
        ops::route(rec, &bound.chosen, kept, routing)?;
        if step.is_some() {
            gate::tally(rec, routing.counts(), &bound.load)?;
            gate::tally(rec, routing.dropped(), &bound.dropped)?;
        }
        if let Some(shared) = &bound.shared {
            shared.forward(rec, pass, x, out)?;
        }
        bound.experts.forward(rec, pass, [x, &bound.weights, out], routing, bound.shared.is_some())
    }

    // CONTRACT: the gradient of the output is that of the loss, whatever follows the mixture; the losses of balance add theirs to
    // the gradients of the router and of the input. The forward pass must have had the same step.
    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        let (bound, step) = (self.bound()?, pass.step());
        let (x, ids, dy) = (pass.input(0), ids(pass.forward()), pass.output_grad(0));
        // Parts of the input's gradient are added up; where nobody wants it, in a place of the mixture's own.
        let own;
        let dx = match pass.input_grad(0) {
            Some(dx) => dx.tensor,
            None => {
                own = rec.gpu().alloc::<f32>(Class::Scratch, "gradient", x.shape())?;
                &own
            }
        };
        let (weights, grads) = (&bound.weights, &bound.weights_grad);
        bound.experts.backward(rec, pass, [x, weights, dy], [grads, dx], &bound.routing)?;
        if let Some(shared) = &bound.shared {
            shared.backward(rec, pass, dy, &bound.part)?;
            ops::blend(rec, &bound.part, dx, [1.0, 1.0])?;
        }
        let Some(router) = &bound.router else { return Ok(()) };
        let noise = router.noise.as_ref().filter(|_| step.is_some());
        let slopes = match (&router.scaled_slopes, step.and_then(Step::scale)) {
            (Some(scaled), Some(scale)) => {
                ops::scale_gradient(rec, &router.slopes, scaled, scale)?;
                scaled
            }
            _ => &router.slopes,
        };
        gate::backward(
            rec,
            self.gate(step),
            self.inputs(router, ids, step),
            bound.outputs(router),
            grads,
            step.map(|_| slopes),
            Grads { logits: &router.grad, noise: noise.map(|noise| &noise.grad) },
        )?;
        let through = self.places.logits.map(|at| (at, &router.grad, &router.grad_operand));
        let noise = noise.and_then(|noise| Some((self.places.noise?, &noise.grad, &noise.grad_operand)));
        for (at, grad, operand) in through.into_iter().chain(noise) {
            let grad = operand.take(rec, grad)?;
            pass.param(at).backward_weight(rec, grad, x, pass.weight_grad(at))?;
            pass.param(at).backward_input(rec, grad, &bound.part, Epilogue::None)?;
            ops::blend(rec, &bound.part, dx, [1.0, 1.0])?;
            pass.done(rec, at, None)?;
        }
        Ok(())
    }
}
