//! Gradient of the gate logits.

use super::{Checked, Gate, Inputs, Noise, Outputs, Score, Weights, floats, with_weights};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::ops::{elementwise, fill};
use crate::{Error, Result};

/// Gradient outputs.
#[derive(Debug, Clone, Copy)]
pub struct Grads<'a> {
    /// Gradient of the logits, `[tokens, experts]`.
    pub logits: &'a Tensor,
    /// Gradient of the noise logits, `[tokens, experts]`; required where noise was drawn, 0 where it was not.
    pub noise: Option<&'a Tensor>,
}

/// Records the gradient of a gate's logits from the weights' gradient `weights_grad[tokens, assignments]` and, if
/// given, the slopes of the [losses](super::losses). Entries of `weights_grad` at [`ABSENT`](super::ABSENT)
/// assignments are ignored; those of dropped assignments should be 0. The selection itself is treated as constant.
///
/// # Errors
/// [`Error::Config`] where the gate does not admit this number of experts, [`Error::Argument`] where shapes do not
/// fit.
pub fn backward(
    rec: &mut Recorder<'_>,
    gate: Gate,
    inputs: Inputs<'_>,
    out: Outputs<'_>,
    weights_grad: &Tensor,
    slopes: Option<&Tensor>,
    grads: Grads<'_>,
) -> Result<()> {
    let op = "gate.backward";
    let checked = Checked::new(op, gate, &inputs, &out)?;
    let matrix = [checked.tokens, checked.experts];
    floats(op, "weights_grad", weights_grad, out.weights.shape())?;
    floats(op, "logits_grad", grads.logits, &matrix)?;
    slopes.map_or(Ok(()), |slopes| floats(op, "slopes", slopes, &[4, checked.experts]))?;
    match grads.noise {
        Some(noise) => floats(op, "noise_grad", noise, &matrix)?,
        None if checked.noise.is_some() => {
            return Err(Error::argument(op, "noise_grad", "given where noise was drawn", "absent"));
        }
        None => {}
    }

    let weights = gate.weights();
    let sigmoid = gate.score() == Score::Sigmoid;
    let random = gate == Gate::GShard { random: true };
    let mut args = Args::new()
        .tensor("probs", out.probs)
        .tensor("tokens", out.tokens)
        .tensor("experts", out.experts)
        .tensor("weights_grad", weights_grad)
        .tensor("logits_grad", grads.logits)
        .size(op, "assignments", checked.assignments)?;
    if weights == Weights::Chosen {
        args = args.tensor("weights", out.weights);
    }
    if let Some(slopes) = slopes {
        args = args.tensor("slopes", slopes);
    }
    if random || (sigmoid && slopes.is_some()) {
        args = args.tensor("logits", checked.logits);
    }
    let key = with_weights(Key::new("gate", "backward"), weights)
        .with("sigmoid", sigmoid)
        .with("random", random)
        .with("losses", slopes.is_some());
    rec.record(&key, &checked.sizes(op, args)?, elementwise(checked.tokens))?;
    match (checked.noise, grads.noise) {
        (Some(noise), Some(noise_grad)) => {
            noise_backward(rec, &checked, noise, &inputs, &out, slopes, [grads.logits, noise_grad])
        }
        (None, Some(noise_grad)) => fill(rec, noise_grad, 0),
        _ => Ok(()),
    }
}

fn noise_backward(
    rec: &mut Recorder<'_>,
    checked: &Checked<'_>,
    noise: Noise<'_>,
    inputs: &Inputs<'_>,
    out: &Outputs<'_>,
    slopes: Option<&Tensor>,
    [logits_grad, noise_grad]: [&Tensor; 2],
) -> Result<()> {
    let op = "gate.noise_backward";
    let mut args = Args::new()
        .tensor("noise", noise.logits)
        .tensor("tokens", out.tokens)
        .tensor("logits_grad", logits_grad)
        .tensor("noise_grad", noise_grad)
        .tensor("now", noise.draw.step.tensor())
        .u32("key_0", noise.draw.key.0[0])
        .u32("key_1", noise.draw.key.0[1]);
    let slopes = slopes.filter(|_| checked.load().is_some());
    if let Some(slopes) = slopes {
        args = args
            .tensor("logits", inputs.logits)
            .tensor("noisy", noise.noisy)
            .tensor("experts", out.experts)
            .tensor("slopes", slopes)
            .size(op, "assignments", checked.assignments)?;
    }
    let key = Key::new("gate", "noise_backward").with("load", slopes.is_some());
    rec.record(&key, &checked.sizes(op, args)?, elementwise(checked.tokens))
}
