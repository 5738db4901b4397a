//! Optimizers, element by element: `shaders/optimizer/`, twins in
//! [`reference::optimizer`](crate::reference::optimizer).

use super::windows::Windows;
use super::{Step, elementwise};
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::BLOCKS;
use crate::{Error, Result};

/// Stochastic gradient descent. The learning rate comes from the [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Momentum: factor of the previous velocity.
    pub momentum: f32,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// Decoupled weight decay: values shrink by this share times the learning rate.
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
    /// Decoupled weight decay: values shrink by this share times the learning rate.
    pub weight_decay: f32,
}

impl AdamW {
    /// Bias corrections `1 / (1 - beta^t)` of both moments, with t = `before` + 1 for `before` previous weight
    /// updates.
    pub fn corrections(&self, before: u32) -> [f32; 2] {
        let power = f64::from(before) + 1.0;
        [self.beta_1, self.beta_2].map(|beta| (1.0 / (1.0 - f64::from(beta).powf(power))) as f32)
    }
}

/// Records one SGD update of `values` from `grads`, with state `velocity`. All have one shape. Where the bit of
/// `mask` is 0, the value becomes 0 and the state is unchanged. With a [loss scale](Step::scale), gradients are
/// divided by it.
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
    let tensors = [("values", values), ("grads", grads), ("velocity", velocity)];
    let settled = [("momentum", settings.momentum), ("weight_decay", settings.weight_decay)];
    let key = Key::new("optimizer", "sgd").with("nesterov", settings.nesterov);
    record(rec, op, &key, &tensors, &settled, mask, None, step)
}

/// Records one AdamW update of `values` from `grads`, with state `first` and `second`. All have one shape. Where the
/// bit of `mask` is 0, the value becomes 0 and the state is unchanged.
///
/// `born` has one word per block of `values[nnz, block, block]`: the block's first update, counted from 1, or 0 for
/// initial blocks. Bias corrections of a later block count from its birth. With a [loss scale](Step::scale),
/// gradients are divided by it, and the device counts the updates.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes differ.
#[expect(clippy::too_many_arguments, reason = "every part of the optimizer state is a tensor of the caller")]
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
    let tensors = [("values", values), ("grads", grads), ("first", first), ("second", second)];
    let mut settled = vec![
        ("beta_1", settings.beta_1),
        ("beta_2", settings.beta_2),
        ("epsilon", settings.epsilon),
        ("weight_decay", settings.weight_decay),
    ];
    let mut key = Key::new("optimizer", "adamw").with("births", born.is_some());
    if born.is_some() || step.scale().is_some() {
        let ln = |beta: f32| f64::from(beta).ln() as f32;
        settled.extend([("ln_beta_1", ln(settings.beta_1)), ("ln_beta_2", ln(settings.beta_2))]);
    }
    if let Some(born) = born {
        let (nnz, block) = match *values.shape() {
            [nnz, rows, columns] if rows == columns && BLOCKS.contains(&rows) => (nnz, rows),
            _ => {
                let wanted =
                    format!("[nnz, block, block] with a block of {BLOCKS:?}, because `born` is given");
                return Err(Error::argument(op, "values", wanted, format!("{values:?}")));
            }
        };
        born.expect_shape(op, "born", &[nnz])?;
        key = key.block(block);
    }
    record(rec, op, &key, &tensors, &settled, mask, born, step)
}

/// Records an optimizer kernel by windows. `tensors` have one shape; the first are the values.
#[expect(clippy::too_many_arguments, reason = "the common arguments of the optimizer kernels")]
fn record(
    rec: &mut Recorder<'_>,
    op: &str,
    key: &Key,
    tensors: &[(&'static str, &Tensor)],
    settings: &[(&'static str, f32)],
    mask: Option<&Tensor>,
    born: Option<&Tensor>,
    step: &Step,
) -> Result<()> {
    let elements = tensors[0].1.len();
    let mut windows = Windows::new(rec.gpu(), elements);
    for (_, tensor) in tensors {
        windows = windows.over(tensor);
    }
    if let Some(mask) = mask {
        mask.expect_shape(op, "mask", &[elements.div_ceil(32)])?;
        windows = windows.over_bits(mask, 1);
    }
    // Births are bound whole, so windows hold whole blocks and the kernel gets the index of the first.
    let area = born.map_or(1, |born| elements / born.len().max(1));
    // vec4 where four divides the length and no mask is read. Blocks are multiples of four.
    let cell = if mask.is_none() && elements.is_multiple_of(4) { 4 } else { 1 };
    windows = windows.by(area.max(cell));
    let key = key.clone().with("mask", mask.is_some()).with("quads", cell == 4);
    for window in windows.cut() {
        let views = tensors.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mask = mask.map(|mask| window.of_bits(mask, 1)).transpose()?;
        let mut args = Args::new().tensor("now", step.tensor()).size(op, "n", window.count / cell)?;
        for ((name, _), view) in tensors.iter().zip(&views) {
            args = args.tensor(name, view);
        }
        for (name, value) in settings {
            args = args.f32(name, *value);
        }
        if let Some(mask) = &mask {
            args = args.tensor("mask", mask);
        }
        let mut key = key.clone();
        if let Some(scale) = step.scale() {
            args = args.tensor("loss_scale", scale.tensor());
            key = key.with("scaled", true);
        }
        if let Some(born) = born {
            args = args.tensor("born", born);
            if !window.is_whole() {
                args = args.size(op, "first", window.start / area)?;
                key = key.with("window", true);
            }
        }
        rec.record(&key, &args, elementwise(window.count / cell))?;
    }
    Ok(())
}
