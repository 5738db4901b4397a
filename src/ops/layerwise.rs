//! Optimizers that scale the update of each parameter by norms: `shaders/layerwise/`, twins in
//! [`reference::layerwise`](crate::reference::layerwise).
//!
//! A norm is a reduction in two passes of fixed order on the device: chunks of a parameter, and then its chunks.

use super::Step;
use super::optimizer::{Births, bias_corrections};
use super::windows::{Window, Windows};
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::terms::{BlockRange, ParamRange};
use crate::{Error, Result};

/// LARS: SGD with momentum, with the gradient of each parameter scaled by `trust * |w| / (|g| + weight_decay * |w|)`. The learning
/// rate comes from the [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lars {
    /// Momentum: factor of the previous velocity.
    pub momentum: f32,
    /// Trust coefficient: norm of an update without momentum, as a share of the norm of the weights, at a learning rate of 1.
    pub trust: f32,
    /// Weight decay, added to the gradient before it is scaled.
    pub weight_decay: f32,
}

/// LAMB: the direction `r` of Adam with weight decay, scaled for each parameter by `|w| / |r|`. The learning rate comes from the
/// [`Step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lamb {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the denominator.
    pub epsilon: f32,
    /// Weight decay, added to the direction before it is scaled.
    pub weight_decay: f32,
}

impl Lamb {
    /// Bias corrections `1 / (1 - beta^t)` of both moments, with t = `before` + 1 for `before` previous weight updates.
    pub fn corrections(&self, before: u32) -> [f32; 2] {
        bias_corrections([self.beta_1, self.beta_2], before)
    }

    /// Adds the settings as arguments, with the logarithms of the decays where the device computes corrections.
    fn bind<'a>(&self, args: Args<'a>, corrects: bool) -> Args<'a> {
        let Self { beta_1, beta_2, epsilon, weight_decay } = *self;
        let args = args.f32("beta_1", beta_1).f32("beta_2", beta_2);
        let args = args.f32("epsilon", epsilon).f32("weight_decay", weight_decay);
        if !corrects {
            return args;
        }
        let ln = |beta: f32| f64::from(beta).ln() as f32;
        args.f32("ln_beta_1", ln(beta_1)).f32("ln_beta_2", ln(beta_2))
    }
}

/// Records one LARS update of `values` from `grads`, with state `velocity`. All have one shape; `params` are the parameters among
/// the elements, in ascending order, and elements between them are 0 in all tensors, and stay so. Norms are over the stored elements
/// of a parameter. The ratio is 1 where a norm is 0, and parameters to which weight decay does not apply are not scaled. With a
/// [loss scale](Step::scale), gradients are divided by it.
///
/// # Errors
/// [`Error::Argument`] where shapes differ or parameters overlap, [`Error::OutOfMemory`].
pub fn lars(
    rec: &mut Recorder<'_>,
    values: &Tensor,
    grads: &Tensor,
    velocity: &Tensor,
    settings: Lars,
    params: &[ParamRange],
    step: &Step,
) -> Result<()> {
    let op = "lars";
    grads.expect_shape(op, "grads", values.shape())?;
    velocity.expect_shape(op, "velocity", values.shape())?;
    let Lars { momentum, trust, weight_decay } = settings;
    let Some(chunks) = Chunks::new(rec, op, &[values, grads, velocity], params, &[])? else { return Ok(()) };
    for part in &chunks.parts {
        let [w, g] = [part.window.of(values)?, part.window.of(grads)?];
        let args = part.args(op, chunks.key("norms"), step)?;
        args.record(rec, |args| {
            let args = args.tensor("values", &w).tensor("grads", &g).tensor("partials", &chunks.partials);
            args.size(op, "first_chunk", part.first_chunk)
        })?;
    }
    chunks.record_ratios(rec, op, [trust, weight_decay])?;
    for part in &chunks.parts {
        let [w, g, v] = [part.window.of(values)?, part.window.of(grads)?, part.window.of(velocity)?];
        let args = part.args(op, chunks.key("lars"), step)?;
        args.record(rec, |args| {
            let args = args.tensor("values", &w).tensor("grads", &g).tensor("velocity", &v);
            let args = args.tensor("ratios", &chunks.ratios).tensor("now", step.tensor());
            Ok(args.f32("momentum", momentum).f32("weight_decay", weight_decay))
        })?;
    }
    Ok(())
}

/// Records one LAMB update of `values` from `grads`, with state `first` and `second`; see [`lars`] for shapes, `params` and norms.
///
/// `born` has one word per block of `blocks`, block-sparse matrices among the elements: the block's first update, counted from 1, or
/// 0 for initial blocks. Bias corrections of a later block count from its birth.
///
/// # Errors
/// As [`lars`].
#[expect(clippy::too_many_arguments, reason = "every part of the optimizer state is a tensor of the caller")]
pub fn lamb(
    rec: &mut Recorder<'_>,
    values: &Tensor,
    grads: &Tensor,
    first: &Tensor,
    second: &Tensor,
    settings: Lamb,
    params: &[ParamRange],
    born: Option<(&Tensor, &[BlockRange])>,
    step: &Step,
) -> Result<()> {
    let op = "lamb";
    for (name, tensor) in [("grads", grads), ("first", first), ("second", second)] {
        tensor.expect_shape(op, name, values.shape())?;
    }
    let births = born.map(|(words, blocks)| Births { words, blocks });
    if let Some(Births { words, blocks }) = births {
        let count = blocks.iter().map(|range| range.word + range.nnz).max().unwrap_or(0);
        if words.len() < count {
            return Err(Error::argument(op, "born", format!("{count} words"), format!("{words:?}")));
        }
    }
    let blocks = births.map_or(&[][..], |births| births.blocks);
    let tensors = [values, grads, first, second];
    let Some(chunks) = Chunks::new(rec, op, &tensors, params, blocks)? else { return Ok(()) };
    for (moments, part) in
        [true, false].into_iter().flat_map(|moments| chunks.parts.iter().map(move |part| (moments, part)))
    {
        if !moments && part.first_chunk == 0 {
            chunks.record_ratios(rec, op, [1.0, 0.0])?;
        }
        let [w, m, v] = [part.window.of(values)?, part.window.of(first)?, part.window.of(second)?];
        let g = part.window.of(grads)?;
        let key = chunks.key("lamb").with("births", births.is_some()).with("moments", moments);
        part.args(op, key, step)?.record(rec, |args| {
            let mut args = settings.bind(args, births.is_some() || step.scale().is_some());
            args = args.tensor("values", &w).tensor("first", &m).tensor("second", &v);
            args = args.tensor("now", step.tensor());
            if let Some(births) = births {
                args = args.tensor("born", births.words).size(op, "range_count", part.ranges)?;
            }
            if moments {
                let args = args.tensor("grads", &g).tensor("partials", &chunks.partials);
                return args.size(op, "first_chunk", part.first_chunk);
            }
            Ok(args.tensor("ratios", &chunks.ratios))
        })?;
    }
    Ok(())
}

/// Cells of a chunk, as in `shaders/common/parameters.wgsl`. A cell is a vec4, or one element.
const CHUNK: usize = 1024;

/// Parameters in chunks, and scratch for their norms.
struct Chunks {
    /// Elements of a cell.
    cell: usize,
    parts: Vec<Part>,
    /// Sums of squares of each chunk, `f32[chunks, 2]`.
    partials: Tensor,
    /// Trust ratio of each parameter.
    ratios: Tensor,
    /// First chunk of each parameter, the one behind the last, and whether weight decay applies.
    extents: Tensor,
}

/// Chunks of one window, which one dispatch works on.
struct Part {
    window: Window,
    first_chunk: usize,
    chunks: usize,
    /// Rows of parameters, and those of blocks behind them; see `shaders/common/parameters.wgsl`.
    table: Tensor,
    rows: usize,
    ranges: usize,
}

impl Chunks {
    /// Cuts the parameters, and allocates the scratch; `None` without any element.
    fn new(
        rec: &Recorder<'_>,
        op: &str,
        tensors: &[&Tensor],
        params: &[ParamRange],
        blocks: &[BlockRange],
    ) -> Result<Option<Self>> {
        let (gpu, elements) = (rec.gpu(), tensors[0].len());
        expect_params(op, params, elements)?;
        if params.iter().all(|param| param.len == 0) {
            return Ok(None);
        }
        let cell = if is_whole_vectors(params, elements) { 4 } else { 1 };
        let mut windows = Windows::new(gpu, elements).by(CHUNK * cell);
        for tensor in tensors {
            windows = windows.over(tensor);
        }
        windows = blocks.iter().fold(windows, |windows, range| windows.by(range.block.pow(2)));
        // First chunk and the one behind the last.
        let mut extents = vec![[0, 0]; params.len()];
        let (mut parts, mut first_chunk) = (Vec::new(), 0);
        for window in windows.cut() {
            let end = window.start + window.count;
            let clip = |first: usize, last: usize| {
                let [first, last] = [first, last].map(|at| at.clamp(window.start, end) - window.start);
                [first / cell, last.div_ceil(cell)]
            };
            let (mut words, mut rows, mut chunks) = (Vec::new(), 0, 0);
            for ((index, param), extent) in params.iter().enumerate().zip(&mut extents) {
                let [first, last] = clip(param.first, param.end());
                if param.len == 0 || first >= last {
                    continue;
                }
                let count = (last - first).div_ceil(CHUNK);
                words.extend([first, last, chunks, 2 * index + usize::from(param.decays)]);
                if extent[1] == 0 {
                    extent[0] = first_chunk + chunks;
                }
                chunks += count;
                extent[1] = first_chunk + chunks;
                rows += 1;
            }
            if rows == 0 {
                continue;
            }
            for range in blocks.iter().filter(|range| range.first < end && range.end() > window.start) {
                let area = range.block * range.block;
                // Windows begin with whole blocks.
                let skipped = window.start.saturating_sub(range.first) / area;
                let [first, last] = clip(range.first, range.end());
                words.extend([first, last, (area / cell).trailing_zeros() as usize, range.word + skipped]);
            }
            let ranges = words.len() / 4 - rows;
            let table = upload(rec, op, &words)?;
            parts.push(Part { window, first_chunk, chunks, table, rows, ranges });
            first_chunk += chunks;
        }
        let words = extents
            .iter()
            .zip(params)
            .flat_map(|([first, end], param)| [*first, *end, usize::from(param.decays), 0]);
        Ok(Some(Self {
            cell,
            parts,
            partials: gpu.alloc::<f32>(Class::Scratch, "partial norms", &[first_chunk, 2])?,
            ratios: gpu.alloc::<f32>(Class::Scratch, "trust ratios", &[params.len()])?,
            extents: upload(rec, op, &words.collect::<Vec<_>>())?,
        }))
    }

    fn key(&self, name: &'static str) -> Key {
        Key::new("layerwise", name).with("quads", self.cell == 4)
    }

    /// Records the trust ratios, from the sums of squares of all chunks.
    fn record_ratios(&self, rec: &mut Recorder<'_>, op: &str, [trust, decay]: [f32; 2]) -> Result<()> {
        let rows = self.ratios.len();
        let args = Args::new()
            .tensor("table", &self.extents)
            .tensor("partials", &self.partials)
            .tensor("ratios", &self.ratios)
            .size(op, "rows", rows)?;
        let args = args.f32("trust", trust).f32("decay", decay);
        rec.record(&Key::new("layerwise", "ratios"), &args, rows as u64)
    }
}

/// Arguments that all kernels over chunks have.
struct ChunkArgs<'a> {
    key: Key,
    args: Args<'a>,
    workgroups: u64,
}

impl Part {
    fn args<'a>(&'a self, op: &str, key: Key, step: &'a Step) -> Result<ChunkArgs<'a>> {
        let args = Args::new().tensor("table", &self.table);
        let args = args.size(op, "rows", self.rows)?.size(op, "chunks", self.chunks)?;
        let workgroups = self.chunks as u64;
        Ok(match step.scale() {
            None => ChunkArgs { key, args, workgroups },
            Some(scale) => {
                let args = args.tensor("loss_scale", scale.tensor());
                ChunkArgs { key: key.with("scaled", true), args, workgroups }
            }
        })
    }
}

impl<'a> ChunkArgs<'a> {
    /// Records the dispatch with more arguments.
    fn record(self, rec: &mut Recorder<'_>, more: impl FnOnce(Args<'a>) -> Result<Args<'a>>) -> Result<()> {
        rec.record(&self.key, &more(self.args)?, self.workgroups)
    }
}

/// Refuses parameters that overlap, are out of order, or reach past the elements.
pub(super) fn expect_params(op: &str, params: &[ParamRange], elements: usize) -> Result<()> {
    let ends = params.iter().map(|param| param.first.checked_add(param.len));
    let mut from = 0;
    for (param, end) in params.iter().zip(ends) {
        match end {
            Some(end) if param.first >= from && end <= elements => from = end,
            _ => {
                let wanted = format!("ranges in ascending order within {elements} elements");
                return Err(Error::argument(op, "params", wanted, format!("{param:?} behind {from}")));
            }
        }
    }
    Ok(())
}

/// Whether every parameter begins with a vec4, and its last vec4 holds no element of another one.
pub(super) fn is_whole_vectors(params: &[ParamRange], elements: usize) -> bool {
    let mut from = 0;
    elements.is_multiple_of(4)
        && params.iter().filter(|param| param.len > 0).all(|param| {
            let fits = param.first.is_multiple_of(4) && param.first >= from;
            from = param.end().next_multiple_of(4);
            fits
        })
}

/// Uploads rows of four words.
pub(super) fn upload(rec: &Recorder<'_>, op: &str, words: &[usize]) -> Result<Tensor> {
    let word = |&word: &usize| {
        u32::try_from(word).map_err(|_| Error::argument(op, "values", "below 2^32 elements", word))
    };
    let words = words.iter().map(word).collect::<Result<Vec<_>>>()?;
    rec.gpu().upload(Class::Scratch, "parameters", &[words.len()], &words)
}
