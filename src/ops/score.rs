//! Block scores, one number per block: `shaders/score/`, twins in [`reference::score`](crate::reference::score).
//!
//! `scores` is `[row_blocks * col_blocks]`, indexed by grid position in row-major order. Negative scores are excluded
//! from [selection](super::select).

use super::matmul::{Place, ProblemSize, Product, Scalar, fallback_variant, heuristic, operand_flags, sides};
use super::windows::Windows;
use super::{Epilogue, Transpose, elementwise, float_type};
use crate::gpu::{Args, Key, Recorder, Tensor, Variant};
use crate::sparse::{BLOCKS, BlockMatrix, Pattern};
use crate::terms::{ProductScore, ValueScore};
use crate::{Error, Result};

/// Score of blocks excluded from selection.
pub const NO_PART: f32 = -1.0;

/// Records the score of each stored block of `matrix` into `scores`; other grid positions keep their value. Scores of
/// products read `other`, elements of a matrix of the same pattern.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, or `other` is missing or superfluous.
pub fn score_values(
    rec: &mut Recorder<'_>,
    matrix: &BlockMatrix,
    other: Option<&Tensor>,
    scores: &Tensor,
    what: ValueScore,
) -> Result<()> {
    let op = "score.values";
    let pattern = matrix.pattern();
    scores.expect_shape(op, "scores", &[pattern.places()])?;
    if other.is_some() != what.takes_other() {
        let [wanted, found] = if what.takes_other() { ["given", "absent"] } else { ["absent", "given"] };
        return Err(Error::argument(op, "other", wanted, found));
    }
    let key = Key::new("score", "values")
        .block(pattern.block())
        .with("times", what.takes_other())
        .with("square", what == ValueScore::Square)
        .with("largest", what == ValueScore::Largest)
        .with("signed", matches!(what, ValueScore::Positive | ValueScore::Negative | ValueScore::SignedTimes))
        .with("positive", what == ValueScore::Positive)
        .with("negative", what == ValueScore::Negative);
    if let Some(other) = other {
        other.expect_shape(op, "other", matrix.values().shape())?;
    }
    for window in Windows::new(rec.gpu(), pattern.nnz()).over(matrix.values()).cut() {
        let values = window.of(matrix.values())?;
        let other = other.map(|other| window.of(other)).transpose()?;
        let mut args = Args::new()
            .tensor("values", &values)
            .tensor("scores", scores)
            .tensor("topology", pattern.packed());
        if let Some(other) = &other {
            args = args.tensor("other", other);
        }
        if !window.is_whole() {
            args = args.size(op, "first", window.start)?.size(op, "slots", window.count)?;
        }
        rec.record(&key.clone().with("window", !window.is_whole()), &args, elementwise(window.count))?;
    }
    Ok(())
}

/// Records which block rows pass no gradient on: `silent` (`u32[row_blocks]`) becomes 1 where all `block` columns of
/// `dy[rows, row_blocks * block]` are 0, else 0. `dy` may be f16; it must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn score_silent(rec: &mut Recorder<'_>, dy: &Tensor, block: usize, silent: &Tensor) -> Result<()> {
    let op = "score.silent";
    let [rows, columns] = dy.matrix(op, "dy")?;
    if !BLOCKS.contains(&block) || !columns.is_multiple_of(block) {
        let wanted = format!("one of {BLOCKS:?} that divides {columns} columns");
        return Err(Error::argument(op, "block", wanted, block));
    }
    silent.expect_shape(op, "silent", &[columns / block])?;
    let args = Args::new()
        .tensor("dy", dy)
        .tensor("silent", silent)
        .size(op, "row_blocks", silent.len())?
        .size(op, "rows", rows)?;
    let key = Key::new("score", "silent").block(block).dtype(float_type(dy));
    rec.record(&key, &args, elementwise(silent.len()))
}

/// [Inverse norms](super::inverse_norms) of the columns of a product's operands.
#[derive(Debug, Clone, Copy)]
pub struct ColumnScales<'a> {
    /// Those of `lhs`, `[m]`.
    pub lhs: &'a Tensor,
    /// Those of `rhs`, `[n]`.
    pub rhs: &'a Tensor,
}

/// Records the score of every block of `lhs^T * rhs`, stored or not. With `lhs[rows, m]` the gradient of a layer's
/// output and `rhs[rows, n]` its input, it is the gradient magnitude of each block of the weight `[m, n]`. The
/// product itself is never stored. [`ProductScore::Cosine`] needs `scales`. Each operand must fit one binding, because
/// a score reduces finished sums over all rows.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, [`Error::Limit`] where they do not fit the device.
pub fn score_product(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rhs: &Tensor,
    scores: &Tensor,
    block: usize,
    what: ProductScore,
    scales: Option<ColumnScales<'_>>,
) -> Result<()> {
    let op = "score.product";
    let transpose = Transpose::TN;
    let sizes = ProblemSize::of(op, lhs.matrix(op, "lhs")?, rhs.matrix(op, "rhs")?, transpose)?;
    if !BLOCKS.contains(&block) || !sizes.m.is_multiple_of(block) || !sizes.n.is_multiple_of(block) {
        let wanted = format!("one of {BLOCKS:?} that divides {} x {}", sizes.m, sizes.n);
        return Err(Error::argument(op, "block", wanted, block));
    }
    scores.expect_shape(op, "scores", &[sizes.m / block * (sizes.n / block)])?;
    if scales.is_some() != (what == ProductScore::Cosine) {
        let found = if scales.is_some() { "given" } else { "absent" };
        return Err(Error::argument(op, "scales", "given for a cosine score and no other", found));
    }
    // The tuner does not measure scores: growth is rare. There is no cooperative-matrix variant.
    let gpu = rec.gpu();
    let default_variant = heuristic(gpu, [sizes.m, sizes.n, sizes.k]).variant;
    let variant = gpu.forced_variant().map_or(default_variant, |forced| fallback_variant(gpu, forced));
    let key = Key::new("score", variant.name())
        .block(block)
        .with("signed", what == ProductScore::Sum)
        .with("square", what == ProductScore::Square)
        .with("cosine", what == ProductScore::Cosine);
    let key = operand_flags(key, transpose, Scalar { out: false, ..Scalar::of(sizes, transpose) });
    let [bm, bn] = match variant {
        Variant::Lane => [block, (4 * 8).max(block)],
        Variant::Wave => [block.max(64), (4 * 8).max(block)],
        Variant::Tile | Variant::Coop => [block.max(64), block.max(64)],
    };
    let workgroups = sizes.m.div_ceil(bm) as u64 * sizes.n.div_ceil(bn) as u64;
    let mut others = Vec::new();
    if let Some(ColumnScales { lhs, rhs }) = scales {
        lhs.expect_shape(op, "lhs_scale", &[sizes.m])?;
        rhs.expect_shape(op, "rhs_scale", &[sizes.n])?;
        others = vec![("lhs_scale", lhs), ("rhs_scale", rhs)];
    }
    let epilogue = Epilogue::None;
    let product = Product {
        op,
        sizes,
        transpose,
        lhs,
        rhs,
        out: scores,
        sparse: None,
        mask: None,
        gather: None,
        epilogue,
        split: None,
    };
    product.record(rec, key, product.whole(), &others, workgroups)
}

/// Records the score of every block of `lhs^T * rhs[rows]` for a block-sparse `lhs`, stored or not: the gradient
/// magnitude of the experts' weights. Row `r` of `lhs` pairs with row `rows[r]` of `rhs` and is ignored where there
/// is no such row. The product itself is never stored. Each operand must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit or a cosine is requested, [`Error::Limit`] where they do not fit the
/// device.
pub fn score_routed(
    rec: &mut Recorder<'_>,
    lhs: &BlockMatrix,
    rhs: &Tensor,
    rows: &Tensor,
    scores: &Tensor,
    what: ProductScore,
) -> Result<()> {
    let op = "score.routed";
    let transpose = Transpose::TN;
    let (block, columns) = (lhs.pattern().block(), rhs.matrix(op, "rhs")?[1]);
    rows.expect_shape(op, "rows", &[lhs.pattern().rows()])?;
    let sizes = ProblemSize::of(op, sides(lhs), [rows.len(), columns], transpose)?;
    if rhs.is_empty() || !columns.is_multiple_of(block) {
        let wanted = format!("rows of a multiple of {block} columns");
        return Err(Error::argument(op, "rhs", wanted, format!("{:?}", rhs.shape())));
    }
    scores.expect_shape(op, "scores", &[sizes.m / block * (columns / block)])?;
    if what == ProductScore::Cosine {
        return Err(Error::argument(
            op,
            "what",
            "a score other than the cosine, which needs column norms",
            format!("{what:?}"),
        ));
    }
    let key = Key::new("score", "routed")
        .block(block)
        .with("signed", what == ProductScore::Sum)
        .with("square", what == ProductScore::Square);
    let key = operand_flags(key, transpose, Scalar::default());
    let product = Product {
        op,
        sizes,
        transpose,
        lhs: lhs.values(),
        rhs,
        out: scores,
        sparse: Some((Place::Lhs, lhs)),
        mask: None,
        gather: Some(rows),
        epilogue: Epilogue::None,
        split: None,
    };
    let workgroups = sizes.m / block * columns.div_ceil((4 * 8).max(block));
    product.record(rec, key, product.whole(), &[], workgroups as u64)
}

/// Records the exclusion of a set from selection: its members' scores become [`NO_PART`].
///
/// # Errors
/// [`Error::Argument`] if the set is of another grid.
pub fn score_exclude(rec: &mut Recorder<'_>, set: &Tensor, scores: &Tensor) -> Result<()> {
    let op = "score.exclude";
    set.expect_shape(op, "set", &[scores.len().div_ceil(32)])?;
    let args = Args::new().tensor("members", set).tensor("scores", scores).size(op, "n", scores.len())?;
    rec.record(&Key::new("score", "exclude"), &args, elementwise(scores.len()))
}

/// Records the exclusion of stored blocks from selection, except those in the set `except`: their scores become
/// [`NO_PART`].
///
/// # Errors
/// [`Error::Argument`] if the set or the scores are of another grid.
pub fn score_exclude_stored(
    rec: &mut Recorder<'_>,
    pattern: &Pattern,
    except: Option<&Tensor>,
    scores: &Tensor,
) -> Result<()> {
    let op = "score.stored";
    scores.expect_shape(op, "scores", &[pattern.places()])?;
    let mut args = Args::new().tensor("topology", pattern.packed()).tensor("scores", scores);
    if let Some(except) = except {
        except.expect_shape(op, "except", &[pattern.places().div_ceil(32)])?;
        args = args.tensor("members", except);
    }
    let key = Key::new("score", "stored").with("except", except.is_some());
    rec.record(&key, &args, elementwise(pattern.nnz()))
}

/// Update rule of connection strengths; see [`score_connect`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Connect {
    /// Step size.
    pub rate: f32,
    /// Cost of a connection, added to every normalised gradient.
    pub cost: f32,
}

/// Records one update of `connections`, one per grid position of `[row_blocks, col_blocks]`, from the gradients of a
/// scalar factor per block ([`ValueScore::SignedTimes`]). Each gradient is divided by the largest magnitude in its
/// block row. Connections are clamped at -1, because lower ones could not recover.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit.
pub fn score_connect(
    rec: &mut Recorder<'_>,
    grads: &Tensor,
    connections: &Tensor,
    [row_blocks, col_blocks]: [usize; 2],
    learning: Connect,
) -> Result<()> {
    let op = "score.connect";
    if row_blocks.checked_mul(col_blocks) != Some(grads.len()) {
        let wanted = format!("of a grid of {row_blocks} x {col_blocks} blocks");
        return Err(Error::argument(op, "grads", wanted, format!("of shape {:?}", grads.shape())));
    }
    grads.expect_shape(op, "grads", &[grads.len()])?;
    connections.expect_shape(op, "connections", grads.shape())?;
    let args = Args::new()
        .tensor("grads", grads)
        .tensor("connections", connections)
        .size(op, "row_blocks", row_blocks)?
        .size(op, "col_blocks", col_blocks)?
        .f32("rate", learning.rate)
        .f32("cost", learning.cost);
    rec.record(&Key::new("score", "connect"), &args, elementwise(row_blocks))
}
