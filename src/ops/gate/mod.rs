//! Gates of a mixture of experts: `shaders/gate/`, twins in [`reference::gate`](crate::reference::gate).
//!
//! [`forward`] makes choices of logits, [`losses`] what keeps them in balance, and [`backward`] the gradient of the logits by
//! both. A token's choices stand in `experts[tokens, choices]`, with [`ABSENT`] where it makes none, and their weights likewise.
//! There is a place for each of its choices, in order of preference, or, where [`Gate::by_expert`], for each expert.
//!
//! A token that is padding, or has a logit that is NaN or infinite, does not count: it has no choices, no part in any loss, and
//! no gradient. Without losses and draws, what a token gets does not depend on the tokens beside it, nor on where it stands,
//! but for experts that choose and tiles that are filled.
//!
//! Every tensor here must fit one binding.

mod alone;
mod backward;
mod keep;
mod losses;

pub use alone::{count, hash, rebalance, tally};
pub use backward::{Grads, backward};
pub use keep::{keep, quota};
pub use losses::{Results, losses};

pub use super::pattern::ABSENT;
pub use crate::reference::gate::{Balance, Gate, MOST_EXPERTS, Overflow, Score, Weights};

use super::select::{Quota, select_columns};
use super::{Step, elementwise};
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::reference::Extreme;
use crate::{Error, Result, random};

/// What a gate draws by in training.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The layer's key: [`Stream::Gate`](random::Stream::Gate).
    pub key: random::Key,
    /// Where the step's number stands.
    pub step: &'a Step,
}

/// What a gate decides by.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[tokens, experts]`.
    pub logits: &'a Tensor,
    /// The logits of the noise's spread, `[tokens, experts]`; for [`Gate::NoisyTopK`], where something is drawn.
    pub noise: Option<&'a Tensor>,
    /// Added to probabilities for selection and for nothing else, `[experts]`; for [`Gate::TopK`].
    pub bias: Option<&'a Tensor>,
    /// [`IGNORED`](crate::reference::IGNORED) for a token that is padding, `u32[tokens]`: identities or labels will do.
    pub valid: Option<&'a Tensor>,
    /// Nothing is drawn without it: there is no noise, and no choice is left to chance.
    pub draw: Option<Draw<'a>>,
}

/// What a gate decides, and what its gradient needs.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// The experts' probabilities, `[tokens, experts]`.
    pub probs: &'a Tensor,
    /// What else is needed of each token, `[tokens, 4]`: see [`Token`](crate::reference::gate::Token).
    pub tokens: &'a Tensor,
    /// The expert of each choice or [`ABSENT`], `u32[tokens, choices]`, with as many [`Gate::choices`] as the gate has.
    pub experts: &'a Tensor,
    /// Its weight, `[tokens, choices]`; 0 where there is no choice.
    pub weights: &'a Tensor,
    /// Logits with their noise, `[tokens, experts]`; where there is some.
    pub noisy: Option<&'a Tensor>,
}

/// The sizes and tensors of a gate that fit each other.
struct Checked<'a> {
    tokens: usize,
    experts: usize,
    choices: usize,
    /// The logits that decide: noisy or not.
    logits: &'a Tensor,
    noise: Option<Noise<'a>>,
}

/// Noise that is there.
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
            return Err(Error::argument(op, "gate", "one of logits", gate));
        }
        if tokens == 0 {
            return Err(Error::argument(op, "logits", "of one token at least", "of none"));
        }
        let matrix = [tokens, experts];
        let choices = gate.choices(experts);
        let noisy = matches!(gate, Gate::NoisyTopK { .. });
        let given = |argument, tensor: Option<&'a Tensor>, shape: &[usize], allowed: bool| match tensor {
            Some(_) if !allowed => Err(Error::argument(op, argument, format!("absent for {gate}"), "given")),
            Some(tensor) => floats(op, argument, tensor, shape),
            None => Ok(()),
        };
        floats(op, "logits", inputs.logits, &matrix)?;
        // Each tensor is read by some kernel of the gate, so all of them must be on one device.
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
        words(op, "experts", out.experts, &[tokens, choices])?;
        floats(op, "weights", out.weights, &[tokens, choices])?;
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
        Ok(Self { tokens, experts, choices, logits, noise })
    }

    /// The sizes, as every kernel of one token an invocation has them.
    fn sizes<'b>(&self, op: &str, args: Args<'b>) -> Result<Args<'b>> {
        args.size(op, "tokens", self.tokens)?.size(op, "experts", self.experts)
    }

    /// The noise whose load has a gradient: it needs an expert that is not chosen.
    fn load(&self) -> Option<Noise<'a>> {
        self.noise.filter(|_| self.choices < self.experts)
    }
}

/// Records a gate's choices and their weights.
///
/// # Errors
/// [`Error::Config`] where the gate makes no sense of so many experts, [`Error::Argument`] where shapes do not fit or something
/// is missing or too many, [`Error::OutOfMemory`].
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
            let shape = [checked.tokens, gate.chosen(checked.experts)];
            let chosen = rec.gpu().alloc::<u32>(Class::Scratch, "choices", &shape)?;
            choose(rec, &checked, inputs.bias, &out, &chosen)?;
            let quota = rec.gpu().alloc::<u32>(Class::Scratch, "quotas", &[checked.experts])?;
            alone::count_tiles(rec, &chosen, &quota, tile)?;
            take(rec, &checked, Some(&chosen), &quota, &out)?;
        }
        Gate::ExpertChoice { .. } => {
            let quota = rec.gpu().alloc::<u32>(Class::Scratch, "quotas", &[checked.experts])?;
            let by_count = quotas(rec, checked.tokens, |tokens| gate.capacity(tokens, checked.experts))?;
            keep::quota(rec, out.tokens, &by_count, &quota)?;
            take(rec, &checked, None, &quota, &out)?;
        }
        _ => choose(rec, &checked, inputs.bias, &out, out.experts)?,
    }
    weigh(rec, gate, &checked, inputs.draw, &out)
}

/// A quota for each number of tokens that may count, on the device.
fn quotas(rec: &Recorder<'_>, tokens: usize, of: impl Fn(usize) -> usize) -> Result<Tensor> {
    let words: Vec<u32> = (0..=tokens).map(|count| u32::try_from(of(count)).unwrap_or(u32::MAX)).collect();
    rec.gpu().upload(Class::Scratch, "quotas by tokens", &[words.len()], &words)
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

/// Each token's choices by itself, into `chosen`.
fn choose(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    bias: Option<&Tensor>,
    out: &Outputs<'_>,
    chosen: &Tensor,
) -> Result<()> {
    let op = "gate.choose";
    // Logits have the order of probabilities, but not their roundings. A bias is for probabilities.
    let mut args = Args::new().tensor("tokens", out.tokens).tensor("experts", chosen);
    args = match bias {
        Some(bias) => args.tensor("keys", out.probs).tensor("bias", bias),
        None => args.tensor("keys", checked.logits),
    };
    let args = checked.sizes(op, args)?.size(op, "choices", chosen.shape()[1])?;
    rec.record(&Key::new("gate", "choose").with("bias", bias.is_some()), &args, elementwise(checked.tokens))
}

/// What experts take of the tokens, so many each: those that have `chosen` them first, then the others.
fn take(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    chosen: Option<&Tensor>,
    quota: &Tensor,
    out: &Outputs<'_>,
) -> Result<()> {
    let op = "gate.scores";
    let (tokens, experts) = (checked.tokens, checked.experts);
    let scores = rec.gpu().alloc::<f32>(Class::Scratch, "scores", &[tokens, experts])?;
    let taken = rec.gpu().alloc::<u32>(Class::Scratch, "taken", &[experts, tokens.div_ceil(32)])?;
    let (probs, bits) = (out.probs.reinterpret(DType::U32)?, scores.reinterpret(DType::U32)?);
    let mut args = Args::new().tensor("probs", &probs).tensor("tokens", out.tokens).tensor("scores", &bits);
    if let Some(chosen) = chosen {
        args = args.tensor("experts", chosen).size(op, "choices", chosen.shape()[1])?;
    }
    let key = Key::new("gate", "scores").with("favour", chosen.is_some());
    rec.record(&key, &checked.sizes(op, args)?, elementwise(tokens))?;
    select_columns(rec, &scores, Quota::Count(quota), Extreme::Largest, &taken)?;
    let args = Args::new().tensor("taken", &taken).tensor("experts", out.experts);
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
    let mut args = checked.sizes(op, args)?.size(op, "choices", checked.choices)?;
    let draw = draw.filter(|_| gate == Gate::GShard { random: true });
    if let Some(Draw { key, step }) = draw {
        args = args.tensor("now", step.tensor()).u32("key_0", key.0[0]).u32("key_1", key.0[1]);
    }
    let key = with_weights(Key::new("gate", "weigh"), weights).with("random", draw.is_some());
    rec.record(&key, &args, elementwise(checked.tokens))
}

/// Refuses what are not floats of this shape.
fn floats(op: &str, argument: &'static str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    tensor.expect_shape(op, argument, shape)?;
    tensor.expect_dtype(op, argument, DType::F32)
}

/// Refuses what are not words of this shape.
fn words(op: &str, argument: &'static str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    tensor.expect_shape(op, argument, shape)?;
    tensor.expect_dtype(op, argument, DType::U32)
}

fn with_weights(key: Key, weights: Weights) -> Key {
    key.with("renormalised", weights == Weights::Renormalised).with("chosen", weights == Weights::Chosen)
}
