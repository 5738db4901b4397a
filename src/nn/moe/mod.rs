//! A mixture of experts: each token passes those that a gate chooses for it.

mod capacity;
mod config;
mod experts;

pub use crate::ops::gate::Overflow;
pub use config::MoeConfig;

use super::builder::Builder;
use super::{After, FanIn, FeedForward, Linear, Load, Operand, Parameter, Precision, Projection};
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::gate::{self, Draw, Gate, Grads, Inputs, Outputs, Results};
use crate::ops::{self, Activation, Epilogue, Step};
use crate::random::{Key, Stream};
use crate::sparse::Routing;
use crate::{Error, Result};
use capacity::Capacity;
use experts::Experts;

/// The mixture, with room for what passes through.
#[derive(Debug)]
pub struct Moe {
    config: MoeConfig,
    key: Key,
    router: Option<Router>,
    experts: Experts,
    /// The expert of all tokens.
    shared: Option<FeedForward>,
    /// The expert of each choice, its weight, and the gradient of that: `[tokens, choices]`.
    chosen: Tensor,
    weights: Tensor,
    weights_grad: Tensor,
    capacity: Option<Capacity>,
    routing: Routing,
    /// A part of the input's gradient, `[tokens, width]`.
    part: Tensor,
    /// Tokens that each expert got, and that it dropped, since the totals were last set to 0: `u32[experts]`.
    load: Tensor,
    dropped: Tensor,
}

/// What makes logits, and what is made of them.
#[derive(Debug)]
struct Router {
    logits_of: Projection,
    /// `[tokens, experts]`.
    logits: Tensor,
    grad: Tensor,
    grad_operand: Operand,
    probs: Tensor,
    /// `[tokens, 4]`.
    tokens: Tensor,
    noise: Option<Noise>,
    /// What keeps experts in balance without a loss, `[experts]`.
    bias: Option<Tensor>,
    losses: Tensor,
    counts: Tensor,
    slopes: Tensor,
    /// The latter, scaled as gradients are, where they are.
    scaled_slopes: Option<Tensor>,
}

/// The noise of logits: `[tokens, experts]` all of them but the projection.
#[derive(Debug)]
struct Noise {
    spread_of: Projection,
    spread: Tensor,
    noisy: Tensor,
    grad: Tensor,
    grad_operand: Operand,
}

impl Router {
    fn new(builder: &mut Builder<'_>, config: &MoeConfig, tokens: usize) -> Result<Self> {
        let (gpu, precision) = (builder.gpu(), builder.precision());
        let experts = config.experts.len();
        let matrix = |label: &str| gpu.alloc::<f32>(Class::Activations, label, &[tokens, experts]);
        let operand = || Operand::new(gpu, [Precision::F32, precision], "gradient", &[tokens, experts]);
        let slopes = || gpu.alloc::<f32>(Class::Scratch, "slopes", &[4, experts]);
        let noisy = matches!(config.gate, Gate::NoisyTopK { .. });
        // Noise breaks the tie of equal logits; without it the router itself must.
        let logits_of = builder.projection(if noisy { 0.0 } else { 0.1 })?;
        let mut noise = || -> Result<Noise> {
            Ok(Noise {
                spread_of: builder.projection(0.0)?,
                spread: matrix("spread")?,
                noisy: matrix("noisy logits")?,
                grad: matrix("gradient")?,
                grad_operand: operand()?,
            })
        };
        let noise = if noisy { Some(noise()?) } else { None };
        let bias = || gpu.zeros::<f32>(Class::Values, "bias", &[experts]);
        Ok(Self {
            logits_of,
            noise,
            logits: matrix("logits")?,
            grad: matrix("gradient")?,
            grad_operand: operand()?,
            probs: matrix("probabilities")?,
            tokens: gpu.alloc::<f32>(Class::Activations, "tokens", &[tokens, 4])?,
            bias: (config.bias_rate > 0.0).then(bias).transpose()?,
            losses: gpu.zeros::<f32>(Class::Scratch, "losses", &[5])?,
            counts: gpu.alloc::<u32>(Class::Scratch, "counts", &[experts])?,
            slopes: slopes()?,
            scaled_slopes: precision.half().map(|_| slopes()).transpose()?,
        })
    }
}

impl Moe {
    /// A mixture with no network around it, of dense layers, with buffers for `[sequences, tokens of a sequence, width]`.
    ///
    /// # Errors
    /// [`Error::Config`] where the config makes no sense, [`Error::Argument`] for sizes that make none,
    /// [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        config: &MoeConfig,
        activation: Activation,
        block: usize,
        sizes: [usize; 3],
        seed: u64,
    ) -> Result<Self> {
        config.validate(block)?;
        let [.., width] = sizes;
        if width == 0 {
            return Err(Error::argument("moe", "width", "1 at least", width));
        }
        let layers = config.layers("moe", width, false, 0);
        let topologies = vec![None; layers.len()];
        let mut builder = Builder::new(gpu, layers, &topologies, FanIn::Present, seed, Precision::F32)?;
        let key = Key::new(seed, Stream::Gate(0));
        Self::within(&mut builder, config, activation, block, sizes, 1.0, key)
    }

    /// The mixture of a network's next layers, and buffers for `[sequences, tokens of a sequence, width]`. Its output has this
    /// variance.
    pub(super) fn within(
        builder: &mut Builder<'_>,
        config: &MoeConfig,
        activation: Activation,
        block: usize,
        [sequences, sequence, width]: [usize; 3],
        variance: f64,
        key: Key,
    ) -> Result<Self> {
        let gpu = builder.gpu();
        let tokens = sequences.saturating_mul(sequence);
        let count = config.experts.len();
        let choices = config.gate.assignments(count);
        let routing = Routing::new(gpu, config.routing(tokens, block))?;
        let hashed = matches!(config.gate, Gate::Hash { .. });
        let router = (!hashed).then(|| Router::new(builder, config, tokens)).transpose()?;
        let experts = Experts::new(builder, &routing, config.gated, activation, variance)?;
        let shared = (config.shared > 0)
            .then(|| FeedForward::new(builder, activation, tokens, variance))
            .transpose()?;
        Ok(Self {
            config: config.clone(),
            key,
            router,
            experts,
            shared,
            chosen: gpu.alloc::<u32>(Class::Activations, "choices", &[tokens, choices])?,
            weights: gpu.alloc::<f32>(Class::Activations, "weights", &[tokens, choices])?,
            weights_grad: gpu.alloc::<f32>(Class::Activations, "gradient", &[tokens, choices])?,
            capacity: Capacity::new(gpu, config, [sequences, sequence])?,
            routing,
            part: gpu.alloc::<f32>(Class::Activations, "gradient", &[tokens, width])?,
            load: gpu.zeros::<u32>(Class::Scratch, "load", &[count])?,
            dropped: gpu.zeros::<u32>(Class::Scratch, "dropped", &[count])?,
        })
    }

    /// What the mixture was made from.
    pub fn config(&self) -> &MoeConfig {
        &self.config
    }

    /// What passed through it in training.
    pub fn load(&self, name: String) -> Load<'_> {
        let losses = self.router.as_ref().map(|router| &router.losses);
        Load { name, taken: &self.load, dropped: &self.dropped, losses }
    }

    /// What steps change besides the parameters, by name.
    pub fn state(&self) -> Vec<(&'static str, &Tensor)> {
        let bias = self.router.as_ref().and_then(|router| router.bias.as_ref());
        let bias = bias.map(|bias| ("bias", bias));
        [("load", &self.load), ("dropped", &self.dropped)].into_iter().chain(bias).collect()
    }

    /// The matrices, in the order in which they were made.
    pub fn projections(&self) -> Vec<&Projection> {
        let router = self.router.iter().flat_map(|router| {
            std::iter::once(&router.logits_of).chain(router.noise.iter().map(|noise| &noise.spread_of))
        });
        let shared = self.shared.iter().flat_map(|shared| shared.linears().map(Linear::projection));
        router.chain(self.experts.projections()).chain(shared).collect()
    }

    /// The same, to be changed.
    pub fn projections_mut(&mut self) -> Vec<&mut Projection> {
        let router = self.router.iter_mut().flat_map(|router| {
            let noise = router.noise.iter_mut().map(|noise| &mut noise.spread_of);
            std::iter::once(&mut router.logits_of).chain(noise)
        });
        let shared = self.shared.iter_mut();
        let shared = shared.flat_map(|shared| shared.linears_mut().map(Linear::projection_mut));
        router.chain(self.experts.projections_mut()).chain(shared).collect()
    }

    /// What is trained.
    pub fn parameters(&self) -> Vec<Parameter<'_>> {
        let shared = self.shared.iter().flat_map(FeedForward::linears);
        let shared: Vec<_> = shared.flat_map(Linear::parameters).collect();
        let count = self.projections().len() - if self.shared.is_some() { 2 } else { 0 };
        self.projections().into_iter().take(count).map(Projection::parameter).chain(shared).collect()
    }

    /// The gate of a pass; of training where there is a step.
    fn gate(&self, step: Option<&Step>) -> Gate {
        if step.is_some() { self.config.gate } else { self.config.gate.evaluated() }
    }

    fn inputs<'a>(&'a self, router: &'a Router, ids: &'a Tensor, step: Option<&'a Step>) -> Inputs<'a> {
        Inputs {
            logits: &router.logits,
            noise: router.noise.as_ref().map(|noise| &noise.spread),
            bias: router.bias.as_ref(),
            valid: Some(ids),
            draw: step.map(|step| Draw { key: self.key, step }),
        }
    }

    fn outputs<'a>(&'a self, router: &'a Router) -> Outputs<'a> {
        Outputs {
            probs: &router.probs,
            tokens: &router.tokens,
            experts: &self.chosen,
            weights: &self.weights,
            noisy: router.noise.as_ref().map(|noise| &noise.noisy),
        }
    }

    /// Records `out[tokens, width]`, in f32, of `x[tokens, width]`, in the network's precision. `ids[tokens]` are the tokens'
    /// identities, of which those that pad are [ignored](crate::reference::IGNORED). With a `step`, as in training: what the
    /// gate draws is drawn for that step, experts have their capacity, and loads are counted. Without one nothing is dropped.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(
        &self,
        rec: &mut Recorder<'_>,
        [x, ids, out]: [&Tensor; 3],
        step: Option<&Step>,
    ) -> Result<()> {
        let count = self.config.experts.len();
        match &self.router {
            None => gate::hash(rec, ids, Some(ids), self.key, count, &self.chosen, &self.weights)?,
            Some(router) => {
                router.logits_of.forward(rec, x, &router.logits, Epilogue::None)?;
                if let (Some(noise), Some(_)) = (&router.noise, step) {
                    noise.spread_of.forward(rec, x, &noise.spread, Epilogue::None)?;
                }
                let (inputs, outputs) = (self.inputs(router, ids, step), self.outputs(router));
                gate::forward(rec, self.gate(step), inputs, outputs)?;
                if step.is_some() {
                    let Router { losses, counts, slopes, .. } = router;
                    let results = Results { losses, counts, slopes };
                    gate::losses(rec, self.config.gate, inputs, outputs, self.config.balance, results)?;
                    if let Some(bias) = &router.bias {
                        gate::rebalance(rec, counts, bias, self.config.bias_rate)?;
                    }
                }
            }
        }
        let routing = &self.routing;
        let kept = match &self.capacity {
            Some(capacity) if step.is_some() => {
                let tokens = self.router.as_ref().map(|router| &router.tokens);
                Some(capacity.keep(rec, [&self.chosen, &self.weights], tokens)?)
            }
            _ => None,
        };
        ops::route(rec, &self.chosen, kept, routing)?;
        if step.is_some() {
            gate::tally(rec, routing.counts(), &self.load)?;
            gate::tally(rec, routing.dropped(), &self.dropped)?;
        }
        if let Some(shared) = &self.shared {
            shared.forward(rec, x, out)?;
        }
        self.experts.forward(rec, [x, &self.weights, out], routing, self.shared.is_some())
    }

    // CONTRACT: `dy` is the gradient of the loss by the output `y`, whatever follows it.

    /// Records the gradients of the parameters, and `dx`, that of the input, in f32; those of the losses of balance are in
    /// them. It goes by what the forward pass left, which must have had the same `step`.
    ///
    /// # Errors
    /// As the operations, and as `after`.
    pub fn backward(
        &self,
        rec: &mut Recorder<'_>,
        [x, ids, y]: [&Tensor; 3],
        [dy, dx]: [&Tensor; 2],
        step: Option<&Step>,
        after: &mut After<'_>,
    ) -> Result<()> {
        let (weights, grads) = (&self.weights, &self.weights_grad);
        self.experts.backward(rec, [x, weights, dy], [grads, dx], &self.routing, false, after)?;
        if let Some(shared) = &self.shared {
            shared.backward(rec, [x, y, dy, &self.part], after)?;
            ops::blend(rec, &self.part, dx, [1.0, 1.0])?;
        }
        let Some(router) = &self.router else { return Ok(()) };
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
            self.outputs(router),
            grads,
            step.map(|_| slopes),
            Grads { logits: &router.grad, noise: noise.map(|noise| &noise.grad) },
        )?;
        let through = [(&router.logits_of, &router.grad, &router.grad_operand)].into_iter();
        let noise = noise.map(|noise| (&noise.spread_of, &noise.grad, &noise.grad_operand));
        for (layer, grad, operand) in through.chain(noise) {
            let grad = operand.take(rec, grad)?;
            layer.backward_weight(rec, grad, x)?;
            layer.backward_input(rec, grad, &self.part, Epilogue::None)?;
            ops::blend(rec, &self.part, dx, [1.0, 1.0])?;
        }
        Ok(())
    }
}
