//! Optimizers, element by element: `shaders/optimizer/`, twins in
//! [`reference::optimizer`](crate::reference::optimizer).

use super::windows::{Window, Windows};
use super::{Step, elementwise};
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::sparse::BLOCKS;
use crate::terms::BlockRange;
use crate::{Error, Result};

/// Births of the blocks of a span: their words, and the blocks in ascending order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Births<'a> {
    pub(crate) words: &'a Tensor,
    pub(crate) blocks: &'a [BlockRange],
}

/// Elements that one update treats in several ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// Number of elements, from the first, that weight decay applies to.
    pub(crate) decaying: usize,
    pub(crate) births: Option<Births<'a>>,
    pub(crate) mask: Option<&'a Tensor>,
}

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
        bias_corrections([self.beta_1, self.beta_2], before)
    }
}

/// `1 / (1 - beta^t)` of each moment, with t = `before` + 1.
pub(super) fn bias_corrections(betas: [f32; 2], before: u32) -> [f32; 2] {
    let power = f64::from(before) + 1.0;
    betas.map(|beta| (1.0 / (1.0 - f64::from(beta).powf(power))) as f32)
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
    let parts = Parts { decaying: values.len(), births: None, mask };
    sgd_parts(rec, [values, grads, velocity], settings, parts, step)
}

/// [`sgd`] of the parts of a span, with values, gradients and velocity.
pub(crate) fn sgd_parts(
    rec: &mut Recorder<'_>,
    [values, grads, velocity]: [&Tensor; 3],
    settings: Sgd,
    parts: Parts<'_>,
    step: &Step,
) -> Result<()> {
    let op = "sgd";
    grads.expect_shape(op, "grads", values.shape())?;
    velocity.expect_shape(op, "velocity", values.shape())?;
    let tensors = [("values", values), ("grads", grads), ("velocity", velocity)];
    let settled = [("momentum", settings.momentum), ("weight_decay", settings.weight_decay)];
    let key = Key::new("optimizer", "sgd").with("nesterov", settings.nesterov);
    record(rec, op, &key, &tensors, &settled, parts, step)
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
    let blocks = match born {
        None => Vec::new(),
        Some(born) => {
            let [nnz, block] = match *values.shape() {
                [nnz, rows, columns] if rows == columns && BLOCKS.contains(&rows) => [nnz, rows],
                _ => {
                    let wanted =
                        format!("[nnz, block, block] with a block of {BLOCKS:?}, because `born` is given");
                    return Err(Error::argument(op, "values", wanted, format!("{values:?}")));
                }
            };
            born.expect_shape(op, "born", &[nnz])?;
            vec![BlockRange { first: 0, block, nnz, word: 0 }]
        }
    };
    let births = born.map(|words| Births { words, blocks: &blocks });
    let parts = Parts { decaying: values.len(), births, mask };
    adamw_parts(rec, [values, grads, first, second], settings, parts, step)
}

/// [`adamw`] of the parts of a span, with values, gradients and both moments.
pub(crate) fn adamw_parts(
    rec: &mut Recorder<'_>,
    [values, grads, first, second]: [&Tensor; 4],
    settings: AdamW,
    parts: Parts<'_>,
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
    let key = Key::new("optimizer", "adamw").with("births", parts.births.is_some());
    if parts.births.is_some() || step.scale().is_some() {
        let ln = |beta: f32| f64::from(beta).ln() as f32;
        settled.extend([("ln_beta_1", ln(settings.beta_1)), ("ln_beta_2", ln(settings.beta_2))]);
    }
    record(rec, op, &key, &tensors, &settled, parts, step)
}

/// Records an optimizer kernel by windows. `tensors` have one shape; the first are the values.
fn record(
    rec: &mut Recorder<'_>,
    op: &str,
    key: &Key,
    tensors: &[(&'static str, &Tensor)],
    settings: &[(&'static str, f32)],
    Parts { decaying, births, mask }: Parts<'_>,
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
    // vec4 where four divides the length and no mask is read. Blocks are multiples of four.
    let cell = if mask.is_none() && elements.is_multiple_of(4) { 4 } else { 1 };
    // Births are bound whole, so windows hold whole blocks.
    let blocks = births.map_or(&[][..], |births| births.blocks);
    windows = blocks.iter().fold(windows.by(cell), |windows, range| windows.by(range.block.pow(2)));
    let key = key.clone().with("mask", mask.is_some()).with("quads", cell == 4);
    for window in windows.cut() {
        let views = tensors.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mask = mask.map(|mask| window.of_bits(mask, 1)).transpose()?;
        let decaying = decaying.saturating_sub(window.start).min(window.count);
        let mut args = Args::new().tensor("now", step.tensor()).size(op, "n", window.count / cell)?.size(
            op,
            "decaying",
            decaying.div_ceil(cell),
        )?;
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
        let ranges = births.map(|_| table(rec, op, blocks, window, cell)).transpose()?;
        if let (Some(births), Some((ranges, count))) = (births, &ranges) {
            args =
                args.tensor("born", births.words).tensor("ranges", ranges).size(op, "range_count", *count)?;
        }
        rec.record(&key, &args, elementwise(window.count / cell))?;
    }
    Ok(())
}

/// Table of the blocks in a window, `Range` of `shaders/optimizer/adamw.wgsl`, and the number of its rows.
fn table(
    rec: &Recorder<'_>,
    op: &str,
    blocks: &[BlockRange],
    window: Window,
    cell: usize,
) -> Result<(Tensor, usize)> {
    let (mut words, end) = (Vec::new(), window.start + window.count);
    for range in blocks.iter().filter(|range| range.first < end && range.end() > window.start) {
        let area = range.block * range.block;
        // Windows begin with whole blocks.
        let skipped = window.start.saturating_sub(range.first) / area;
        let first = range.first.max(window.start) - window.start;
        let last = range.end().min(end) - window.start;
        let row = [first / cell, last / cell, (area / cell).trailing_zeros() as usize, range.word + skipped];
        for word in row {
            words.push(
                u32::try_from(word)
                    .map_err(|_| Error::argument(op, "values", "below 2^32 elements", word))?,
            );
        }
    }
    let count = words.len() / 4;
    // A binding cannot be empty.
    words.resize(words.len().max(4), 0);
    Ok((rec.gpu().upload(Class::Scratch, "ranges of blocks", &[words.len()], &words)?, count))
}
