//! Gates (routers) of a mixture of experts: `shaders/gate/`, twins in [`reference::gate`](crate::reference::gate).
//!
//! [`forward`] assigns tokens to experts by their logits, [`losses`] computes the balance losses, and [`backward`]
//! the gradient of the logits from both. `experts[tokens, assignments]` holds the expert of each assignment or
//! [`ABSENT`], and `weights` has the same shape. A token has one entry per assignment in order of preference, or one
//! per expert where [`Gate::by_expert`].
//!
//! Tokens that are padding or have a NaN or infinite logit do not count: they have no assignments, no part in any
//! loss, and no gradient. Without losses and random draws, a token's results do not depend on other tokens or on its
//! position, except where experts choose tokens or tiles are filled.
//!
//! Every tensor here must fit one binding.

mod alone;
mod backward;
mod keep;
mod losses;

pub use alone::{count, hash, rebalance, tally};
pub use backward::{Grads, backward};
pub use keep::{capacity, keep};
pub use losses::{Results, losses};

pub use crate::terms::ABSENT;
pub use crate::terms::gate::{Balance, Gate, MOST_EXPERTS, Overflow, Score, Weights};

use super::select::{SelectK, select_columns};
use super::{Step, elementwise};
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::terms::Order;
use crate::{Error, Result, random};

/// Source of a gate's random draws in training.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The layer's key: [`Stream::Gate`](random::Stream::Gate).
    pub key: random::Key,
    /// Step whose number is part of each draw.
    pub step: &'a Step,
}

/// Inputs of a gate.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Router logits, `[tokens, experts]`.
    pub logits: &'a Tensor,
    /// Noise logits, `[tokens, experts]`: their softplus is the noise's standard deviation. For [`Gate::NoisyTopK`],
    /// where noise is drawn.
    pub noise: Option<&'a Tensor>,
    /// Selection bias, `[experts]`: added to probabilities for selection only. For [`Gate::TopK`].
    pub bias: Option<&'a Tensor>,
    /// Padding mask, `u32[tokens]`: [`IGNORED`](crate::ops::IGNORED) for padding. Token ids or labels serve.
    pub valid: Option<&'a Tensor>,
    /// Random draws; without them there is no noise and no random second expert.
    pub draw: Option<Draw<'a>>,
}

/// Outputs of a gate, and inputs of its backward pass.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// Expert probabilities, `[tokens, experts]`.
    pub probs: &'a Tensor,
    /// Per-token sums, `[tokens, 4]`: see [`Token`](crate::reference::gate::Token).
    pub tokens: &'a Tensor,
    /// Expert of each assignment or [`ABSENT`], `u32[tokens, assignments]`, with [`Gate::assignments`] per token.
    pub experts: &'a Tensor,
    /// Weight of each assignment, `[tokens, assignments]`; 0 where it is [`ABSENT`].
    pub weights: &'a Tensor,
    /// Noisy logits, `[tokens, experts]`; where noise is drawn.
    pub noisy: Option<&'a Tensor>,
}

/// Validated sizes and tensors of a gate.
struct Checked<'a> {
    tokens: usize,
    experts: usize,
    assignments: usize,
    /// Logits that decide the assignments: the noisy ones where noise is drawn.
    logits: &'a Tensor,
    noise: Option<Noise<'a>>,
}

/// Tensors of a gate that draws noise.
#[derive(Clone, Copy)]
struct Noise<'a> {
    logits: &'a Tensor,
    noisy: &'a Tensor,
    draw: Draw<'a>,
}

impl<'a> Checked<'a> {
    fn new(op: &str, gate: Gate, inputs: &Inputs<'a>, out: &Outputs<'a>) -> Result<Self> {
        let [tokens, experts] = inputs.logits.matrix(op, "logits")?;
        gate.validate(experts)?;
        if let Gate::Hash { .. } = gate {
            return Err(Error::argument(
                op,
                "gate",
                "a gate with logits; use gate::hash for hash routing",
                gate,
            ));
        }
        if tokens == 0 {
            return Err(Error::argument(op, "logits", "of at least one token", "empty"));
        }
        let matrix = [tokens, experts];
        let assignments = gate.assignments(experts);
        let noisy = matches!(gate, Gate::NoisyTopK { .. });
        let given = |argument, tensor: Option<&'a Tensor>, shape: &[usize], allowed: bool| match tensor {
            Some(_) if !allowed => Err(Error::argument(op, argument, format!("absent for {gate}"), "given")),
            Some(tensor) => floats(op, argument, tensor, shape),
            None => Ok(()),
        };
        floats(op, "logits", inputs.logits, &matrix)?;
        // Different kernels bind the optional tensors; checked here, so that a tensor of another device is refused
        // before anything is recorded.
        let step = inputs.draw.map(|draw| draw.step.tensor());
        for tensor in [inputs.noise, inputs.bias, inputs.valid, step, out.noisy].into_iter().flatten() {
            tensor.expect_beside(op, "inputs", inputs.logits)?;
        }
        given("noise", inputs.noise, &matrix, noisy)?;
        given("noisy", out.noisy, &matrix, noisy)?;
        given("bias", inputs.bias, &[experts], matches!(gate, Gate::TopK { .. }))?;
        inputs.valid.map_or(Ok(()), |valid| words(op, "valid", valid, &[tokens]))?;
        floats(op, "probs", out.probs, &matrix)?;
        floats(op, "tokens", out.tokens, &[tokens, 4])?;
        words(op, "experts", out.experts, &[tokens, assignments])?;
        floats(op, "weights", out.weights, &[tokens, assignments])?;
        let noise = match inputs.draw {
            Some(draw) if noisy => {
                let needed = |argument, tensor: Option<&'a Tensor>| {
                    tensor
                        .ok_or_else(|| Error::argument(op, argument, "given where noise is drawn", "absent"))
                };
                let (logits, noisy) = (needed("noise", inputs.noise)?, needed("noisy", out.noisy)?);
                Some(Noise { logits, noisy, draw })
            }
            _ => None,
        };
        let logits = noise.map_or(inputs.logits, |noise| noise.noisy);
        Ok(Self { tokens, experts, assignments, logits, noise })
    }

    /// Adds the sizes that every per-token kernel binds.
    fn sizes<'b>(&self, op: &str, args: Args<'b>) -> Result<Args<'b>> {
        args.size(op, "tokens", self.tokens)?.size(op, "experts", self.experts)
    }

    /// Noise with a load loss, which needs an unassigned expert for the threshold.
    fn load(&self) -> Option<Noise<'a>> {
        self.noise.filter(|_| self.assignments < self.experts)
    }
}

/// Records a gate's forward pass: assignments and their weights.
///
/// # Errors
/// [`Error::Config`] where the gate does not admit this number of experts, [`Error::Argument`] where shapes do not
/// fit or a tensor is missing or superfluous, [`Error::OutOfMemory`].
pub fn forward(rec: &mut Recorder<'_>, gate: Gate, inputs: Inputs<'_>, out: Outputs<'_>) -> Result<()> {
    let op = "gate.forward";
    let checked = Checked::new(op, gate, &inputs, &out)?;
    if let Some(Noise { logits, noisy, draw }) = checked.noise {
        let args = Args::new()
            .tensor("logits", inputs.logits)
            .tensor("noise", logits)
            .tensor("noisy", noisy)
            .tensor("now", draw.step.tensor())
            .size(op, "n", noisy.len())?
            .u32("key_0", draw.key.0[0])
            .u32("key_1", draw.key.0[1]);
        rec.record(&Key::new("gate", "noise"), &args, elementwise(noisy.len()))?;
    }
    probs(rec, gate, &checked, inputs.valid, &out)?;
    match gate {
        Gate::TopK { tile: Some(tile), .. } => {
            let shape = [checked.tokens, gate.top_k(checked.experts)];
            let chosen = rec.gpu().alloc::<u32>(Class::Scratch, "assignments", &shape)?;
            choose(rec, &checked, inputs.bias, &out, &chosen)?;
            let capacity = rec.gpu().alloc::<u32>(Class::Scratch, "capacities", &[checked.experts])?;
            alone::count_tiles(rec, &chosen, &capacity, tile)?;
            take(rec, &checked, Some(&chosen), &capacity, &out)?;
        }
        Gate::ExpertChoice { .. } => {
            let capacity = rec.gpu().alloc::<u32>(Class::Scratch, "capacities", &[checked.experts])?;
            let by_count = capacities(rec, checked.tokens, |tokens| gate.capacity(tokens, checked.experts))?;
            keep::capacity(rec, out.tokens, &by_count, &capacity)?;
            take(rec, &checked, None, &capacity, &out)?;
        }
        _ => choose(rec, &checked, inputs.bias, &out, out.experts)?,
    }
    weigh(rec, gate, &checked, inputs.draw, &out)
}

/// Uploads a capacity for each possible number of counting tokens.
fn capacities(rec: &Recorder<'_>, tokens: usize, of: impl Fn(usize) -> usize) -> Result<Tensor> {
    let words: Vec<u32> = (0..=tokens).map(|count| u32::try_from(of(count)).unwrap_or(u32::MAX)).collect();
    rec.gpu().upload(Class::Scratch, "capacities by tokens", &[words.len()], &words)
}

fn probs(
    rec: &mut Recorder<'_>,
    gate: Gate,
    checked: &Checked<'_>,
    valid: Option<&Tensor>,
    out: &Outputs<'_>,
) -> Result<()> {
    let op = "gate.probs";
    let mut args =
        Args::new().tensor("logits", checked.logits).tensor("probs", out.probs).tensor("tokens", out.tokens);
    if let Some(valid) = valid {
        args = args.tensor("valid", valid);
    }
    let key = Key::new("gate", "probs")
        .with("valid", valid.is_some())
        .with("sigmoid", gate.score() == Score::Sigmoid);
    rec.record(&key, &checked.sizes(op, args)?, elementwise(checked.tokens))
}

/// Records each token's top-k assignments into `chosen`.
fn choose(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    bias: Option<&Tensor>,
    out: &Outputs<'_>,
    chosen: &Tensor,
) -> Result<()> {
    let op = "gate.choose";
    // Logits rank like probabilities but without their rounding ties. A bias applies to probabilities.
    let mut args = Args::new().tensor("tokens", out.tokens).tensor("experts", chosen);
    args = match bias {
        Some(bias) => args.tensor("keys", out.probs).tensor("bias", bias),
        None => args.tensor("keys", checked.logits),
    };
    let args = checked.sizes(op, args)?.size(op, "assignments", chosen.shape()[1])?;
    rec.record(&Key::new("gate", "choose").with("bias", bias.is_some()), &args, elementwise(checked.tokens))
}

/// Records the selection of tokens by experts, up to their capacity: tokens that have `chosen` the expert first, then
/// the others.
fn take(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    chosen: Option<&Tensor>,
    capacity: &Tensor,
    out: &Outputs<'_>,
) -> Result<()> {
    let op = "gate.scores";
    let (tokens, experts) = (checked.tokens, checked.experts);
    let scores = rec.gpu().alloc::<f32>(Class::Scratch, "scores", &[tokens, experts])?;
    let selected = rec.gpu().alloc::<u32>(Class::Scratch, "selected", &[experts, tokens.div_ceil(32)])?;
    let (probs, bits) = (out.probs.reinterpret(DType::U32)?, scores.reinterpret(DType::U32)?);
    let mut args = Args::new().tensor("probs", &probs).tensor("tokens", out.tokens).tensor("scores", &bits);
    if let Some(chosen) = chosen {
        args = args.tensor("experts", chosen).size(op, "assignments", chosen.shape()[1])?;
    }
    let key = Key::new("gate", "scores").with("favour", chosen.is_some());
    rec.record(&key, &checked.sizes(op, args)?, elementwise(tokens))?;
    select_columns(rec, &scores, SelectK::Count(capacity), Order::Largest, &selected)?;
    let args = Args::new().tensor("selected", &selected).tensor("experts", out.experts);
    rec.record(
        &Key::new("gate", "assign"),
        &checked.sizes("gate.assign", args)?,
        elementwise(tokens * experts),
    )
}

fn weigh(
    rec: &mut Recorder<'_>,
    gate: Gate,
    checked: &Checked<'_>,
    draw: Option<Draw<'_>>,
    out: &Outputs<'_>,
) -> Result<()> {
    let op = "gate.weigh";
    let weights = gate.weights();
    let values = if weights == Weights::Chosen { checked.logits } else { out.probs };
    let args =
        Args::new().tensor("values", values).tensor("experts", out.experts).tensor("weights", out.weights);
    let mut args = checked.sizes(op, args)?.size(op, "assignments", checked.assignments)?;
    let draw = draw.filter(|_| gate == Gate::GShard { random: true });
    if let Some(Draw { key, step }) = draw {
        args = args.tensor("now", step.tensor()).u32("key_0", key.0[0]).u32("key_1", key.0[1]);
    }
    let key = with_weights(Key::new("gate", "weigh"), weights).with("random", draw.is_some());
    rec.record(&key, &args, elementwise(checked.tokens))
}

/// Validates a float tensor's shape and type.
fn floats(op: &str, argument: &'static str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    tensor.expect_shape(op, argument, shape)?;
    tensor.expect_dtype(op, argument, DType::F32)
}

/// Validates a u32 tensor's shape and type.
fn words(op: &str, argument: &'static str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    tensor.expect_shape(op, argument, shape)?;
    tensor.expect_dtype(op, argument, DType::U32)
}

fn with_weights(key: Key, weights: Weights) -> Key {
    key.with("renormalised", weights == Weights::Renormalised).with("chosen", weights == Weights::Chosen)
}
