//! Optimizers, element by element: `shaders/optimizer/`, twins in
//! [`reference::optimizer`](crate::reference::optimizer).

use super::{Step, elementwise};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::{Error, Result};

/// Stochastic gradient descent. The learning rate comes from the [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// How much of the velocity stays.
    pub momentum: f32,
    /// Look ahead along the velocity.
    pub nesterov: bool,
    /// Decoupled: this share of the value, times the learning rate, is taken off.
    pub weight_decay: f32,
}

/// Adam with decoupled weight decay. The learning rate comes from the [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// Decoupled: this share of the value, times the learning rate, is taken off.
    pub weight_decay: f32,
}

impl AdamW {
    /// `1 / (1 - beta^t)` of both moments, for the step with index `index` (so t = index + 1).
    pub fn corrections(&self, index: u32) -> [f32; 2] {
        let power = f64::from(index) + 1.0;
        [self.beta_1, self.beta_2].map(|beta| (1.0 / (1.0 - f64::from(beta).powf(power))) as f32)
    }
}

/// Records one SGD update of `values` from `grads`; `velocity` is its state. All have one shape. Where `mask` has a 0
/// bit, the value becomes 0 and the state stays.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
pub fn sgd(
    rec: &mut Recorder<'_>,
    values: &Tensor,
    grads: &Tensor,
    velocity: &Tensor,
    settings: Sgd,
    mask: Option<&Tensor>,
    step: &Step,
) -> Result<()> {
    let op = "sgd";
    grads.expect_shape(op, "grads", values.shape())?;
    velocity.expect_shape(op, "velocity", values.shape())?;
    let args = Args::new()
        .tensor("values", values)
        .tensor("grads", grads)
        .tensor("velocity", velocity)
        .f32("momentum", settings.momentum)
        .f32("weight_decay", settings.weight_decay);
    let key = Key::new("optimizer", "sgd").with("nesterov", settings.nesterov);
    record(rec, op, key, args, values, mask, step)
}

/// Records one AdamW update of `values` from `grads`; `first` and `second` are its state. All have one shape. Where
/// `mask` has a 0 bit, the value becomes 0 and the state stays.
///
/// `born` has a word per block of `values[nnz, block, block]`: the step with which it came, 0 for the start. A block that
/// came later has bias corrections of its own, as if the optimizer had begun with it.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
#[expect(
    clippy::too_many_arguments,
    reason = "an optimizer's state is what it is, and each is a tensor of the caller's"
)]
pub fn adamw(
    rec: &mut Recorder<'_>,
    values: &Tensor,
    grads: &Tensor,
    first: &Tensor,
    second: &Tensor,
    settings: AdamW,
    mask: Option<&Tensor>,
    born: Option<&Tensor>,
    step: &Step,
) -> Result<()> {
    let op = "adamw";
    for (name, tensor) in [("grads", grads), ("first", first), ("second", second)] {
        tensor.expect_shape(op, name, values.shape())?;
    }
    let args = Args::new()
        .tensor("values", values)
        .tensor("grads", grads)
        .tensor("first", first)
        .tensor("second", second)
        .f32("beta_1", settings.beta_1)
        .f32("beta_2", settings.beta_2)
        .f32("epsilon", settings.epsilon)
        .f32("weight_decay", settings.weight_decay);
    let mut key = Key::new("optimizer", "adamw").with("births", born.is_some());
    let mut args = args;
    if let Some(born) = born {
        let &[nnz, block, _] = values.shape() else {
            return Err(Error::argument(op, "values", "blocks, as there are births", format!("{values:?}")));
        };
        born.expect_shape(op, "born", &[nnz])?;
        key = key.block(block);
        args = args
            .tensor("born", born)
            .f32("ln_beta_1", f64::from(settings.beta_1).ln() as f32)
            .f32("ln_beta_2", f64::from(settings.beta_2).ln() as f32);
    }
    record(rec, op, key, args, values, mask, step)
}

fn record<'a>(
    rec: &mut Recorder<'_>,
    op: &str,
    key: Key,
    args: Args<'a>,
    values: &Tensor,
    mask: Option<&'a Tensor>,
    step: &'a Step,
) -> Result<()> {
    let mut args = args.tensor("now", step.tensor()).size(op, "n", values.len())?;
    if let Some(mask) = mask {
        mask.expect_shape(op, "mask", &[values.len().div_ceil(32)])?;
        args = args.tensor("mask", mask);
    }
    rec.dispatch(&key.with("mask", mask.is_some()), &args, elementwise(values.len()))
}
