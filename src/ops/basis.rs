//! Random bases whose directions are generated where they are needed and never stored: `shaders/basis/`, twins in
//! [`reference::basis`](crate::reference::basis).
//!
//! Entries are 1 and -1 from the one generator, so that dot products and moves are sums without products: the bits are the same on
//! every device.

use super::layerwise::{expect_params, is_whole_vectors, upload};
use super::windows::{Window, Windows};
use super::{Step, elementwise};
use crate::gpu::{Args, Class, Key, Recorder, Tensor};
use crate::terms::{BASIS_GROUP, BasisRange, ParamRange};
use crate::{Error, Result};

/// Directions of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directions {
    /// Number of directions.
    pub count: usize,
    /// Whether each step has directions of its own.
    pub redraw: bool,
}

impl Directions {
    /// Columns of partial sums and coordinates: the directions, rounded up to the eight of a hash.
    pub fn columns(self) -> usize {
        self.groups().saturating_mul(BASIS_GROUP)
    }

    fn groups(self) -> usize {
        self.count.div_ceil(BASIS_GROUP)
    }
}

/// Dot products of a layer, and the sizes of its directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BasisLayer {
    /// First row of the dot products, and the one behind the last.
    pub rows: [usize; 2],
    /// Elements that a direction has: its entries are 1 over their root, so that its norm is 1.
    pub elements: usize,
    /// Share of the learning rate that the layer's steps take.
    pub share: f64,
}

impl BasisLayer {
    /// Size of an entry of a direction, and the same times the layer's share of a step.
    pub fn sizes(&self) -> [f32; 2] {
        let entry = 1.0 / (self.elements.max(1) as f64).sqrt();
        [entry as f32, (entry * self.share) as f32]
    }
}

/// Rows of the dot products of these ranges, one for each chunk of each range.
pub fn basis_rows(ranges: &[BasisRange], chunk: usize) -> usize {
    let rows = ranges.iter().map(|range| range.len.div_ceil(chunk.max(1)));
    rows.fold(0, usize::saturating_add)
}

/// Records dot products of gradients with directions of entries 1 and -1, into rows of `partials[rows, columns]` from `first_row` on: one
/// for each chunk of `chunk` elements of each range, with a column for each of [`Directions::columns`].
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, ranges overlap, `chunk` is no positive multiple of eight, or several ranges do not fit
/// one binding.
pub fn basis_dot(
    rec: &mut Recorder<'_>,
    grads: &Tensor,
    partials: &Tensor,
    ranges: &[BasisRange],
    directions: Directions,
    [chunk, first_row]: [usize; 2],
    step: &Step,
) -> Result<()> {
    let op = "basis.dot";
    let [rows, columns] = partials.matrix(op, "partials")?;
    if chunk == 0 || !chunk.is_multiple_of(8) {
        return Err(Error::argument(op, "chunk", "a positive multiple of 8", chunk));
    }
    let wanted = [first_row.saturating_add(basis_rows(ranges, chunk)), directions.columns()];
    if directions.count == 0 || rows < wanted[0] || columns != wanted[1] {
        let wanted = format!("at least {} rows of {} columns, and not none", wanted[0], wanted[1]);
        return Err(Error::argument(op, "partials", wanted, format!("{partials:?}")));
    }
    let mut first_row = first_row;
    for part in parts(rec, op, grads, ranges, chunk)? {
        let view = part.window.of(grads)?;
        let mut args = Args::new()
            .tensor("grads", &view)
            .tensor("partials", partials)
            .tensor("parts", &part.table)
            .size(op, "parts", part.count)?
            .size(op, "chunks", part.chunks)?
            .size(op, "groups", directions.groups())?
            .size(op, "cells", chunk / 8)?
            .size(op, "first_row", first_row)?;
        if directions.redraw {
            args = args.tensor("now", step.tensor());
        }
        let key = Key::new("basis", "dot").with("quads", part.quads).with("redraw", directions.redraw);
        rec.record(&key, &args, elementwise(part.chunks * directions.groups()))?;
        first_row += part.chunks;
    }
    Ok(())
}

/// Records the coordinates of each layer from its rows of `partials`, and the steps along the directions:
/// `coordinates[2, layers, columns]` becomes `<gradient, direction>`, and behind it the coordinate times the learning rate, the layer's
/// share and the size of an entry. With a [loss scale](Step::scale), gradients are divided by it, and a skipped step has zeros.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn basis_sum(
    rec: &mut Recorder<'_>,
    partials: &Tensor,
    coordinates: &Tensor,
    layers: &[BasisLayer],
    directions: Directions,
    step: &Step,
) -> Result<()> {
    let op = "basis.sum";
    let [rows, columns] = partials.matrix(op, "partials")?;
    partials.expect_shape(op, "partials", &[rows, directions.columns()])?;
    coordinates.expect_shape(op, "coordinates", &[2, layers.len(), columns])?;
    let mut words = Vec::new();
    for layer in layers {
        let [first, end] = layer.rows;
        if first > end || end > rows {
            let wanted = format!("rows in ascending order, up to {rows}");
            return Err(Error::argument(op, "layers", wanted, format!("{layer:?}")));
        }
        words.extend([first, end]);
        words.extend(layer.sizes().map(|size| size.to_bits() as usize));
    }
    if words.is_empty() || columns == 0 {
        return Ok(());
    }
    let layers_of = upload(rec, op, &words)?;
    let mut args = Args::new()
        .tensor("partials", partials)
        .tensor("coordinates", coordinates)
        .tensor("layers", &layers_of)
        .tensor("now", step.tensor())
        .size(op, "layers", layers.len())?
        .size(op, "directions", directions.count)?
        .size(op, "columns", columns)?;
    if let Some(scale) = step.scale() {
        args = args.tensor("loss_scale", scale.tensor());
    }
    let key = Key::new("basis", "sum").with("scaled", step.scale().is_some());
    rec.record(&key, &args, elementwise(layers.len() * columns))
}

/// Records that values move along the directions by the steps of [`basis_sum`], against them: `value -= sum of steps * signs`. Elements
/// between the ranges do not change.
///
/// # Errors
/// As [`basis_dot`].
pub fn basis_add(
    rec: &mut Recorder<'_>,
    values: &Tensor,
    coordinates: &Tensor,
    ranges: &[BasisRange],
    directions: Directions,
    step: &Step,
) -> Result<()> {
    let op = "basis.add";
    let layers = match *coordinates.shape() {
        [2, layers, columns] if directions.count > 0 && columns == directions.columns() => layers,
        _ => {
            let wanted = format!("[2, layers, {}], and not none", directions.columns());
            return Err(Error::argument(op, "coordinates", wanted, format!("{coordinates:?}")));
        }
    };
    if let Some(range) = ranges.iter().find(|range| range.layer >= layers) {
        return Err(Error::argument(op, "ranges", format!("of {layers} layers"), format!("{range:?}")));
    }
    for part in parts(rec, op, values, ranges, 8)? {
        let view = part.window.of(values)?;
        let mut args = Args::new()
            .tensor("values", &view)
            .tensor("coordinates", coordinates)
            .tensor("parts", &part.table)
            .size(op, "parts", part.count)?
            .size(op, "cells", part.cells)?
            .size(op, "groups", directions.groups())?
            .size(op, "layers", layers)?;
        if directions.redraw {
            args = args.tensor("now", step.tensor());
        }
        let key = Key::new("basis", "add").with("quads", part.quads).with("redraw", directions.redraw);
        rec.record(&key, &args, elementwise(part.cells))?;
    }
    Ok(())
}

/// Ranges of one window, which one dispatch works on.
struct Parts {
    window: Window,
    quads: bool,
    /// Rows of `Part` in `shaders/common/basis.wgsl`.
    table: Tensor,
    count: usize,
    chunks: usize,
    cells: usize,
}

fn parts(
    rec: &Recorder<'_>,
    op: &str,
    tensor: &Tensor,
    ranges: &[BasisRange],
    chunk: usize,
) -> Result<Vec<Parts>> {
    let elements = tensor.len();
    let params: Vec<_> =
        ranges.iter().map(|range| ParamRange { first: range.first, len: range.len, decays: false }).collect();
    expect_params(op, &params, elements)?;
    let quads = is_whole_vectors(&params, elements);
    let windows = Windows::new(rec.gpu(), elements).over(tensor).by(chunk).cut();
    if windows.len() > 1 && !matches!(ranges, [BasisRange { first: 0, .. }]) {
        let wanted = "one range from the first element on, or no more than a binding holds";
        return Err(Error::argument(op, "ranges", wanted, format!("{} in {tensor:?}", ranges.len())));
    }
    let mut all = Vec::new();
    for window in windows {
        let end = window.start + window.count;
        let (mut words, mut chunks, mut cells) = (Vec::new(), 0, 0);
        for range in ranges {
            let [first, last] = [range.first, range.first + range.len].map(|at| at.clamp(window.start, end));
            if first >= last {
                continue;
            }
            let (len, offset) = (last - first, (first - range.first) / 8);
            let [key_0, key_1] = range.key.0.map(|word| word as usize);
            words.extend([first - window.start, len, chunks, cells, offset, key_0, key_1, range.layer]);
            chunks += len.div_ceil(chunk);
            cells += len.div_ceil(8);
        }
        if words.is_empty() {
            continue;
        }
        let (table, count) = (upload(rec, op, &words)?, words.len() / 8);
        all.push(Parts { window, quads, table, count, chunks, cells });
    }
    Ok(all)
}

/// Allocates what a base needs beside gradients and values: partial sums `[rows, columns]`, and coordinates `[2, layers, columns]`.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn basis_scratch(
    rec: &Recorder<'_>,
    directions: Directions,
    [rows, layers]: [usize; 2],
) -> Result<[Tensor; 2]> {
    let columns = directions.columns();
    Ok([
        rec.gpu().alloc::<f32>(Class::Optimizer, "partial sums", &[rows, columns])?,
        rec.gpu().alloc::<f32>(Class::Optimizer, "coordinates", &[2, layers, columns])?,
    ])
}
