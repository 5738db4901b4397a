//! DSD, dense = sparse x dense: `shaders/dsd/`, twin [`reference::dsd`](crate::reference::dsd).

use super::matmul::{Place, ProblemSize, Product, Scalar, choose, key_of, operand_flags, sides};
use super::{Epilogue, Transpose};
use crate::Result;
use crate::gpu::{Family, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;

/// Records `out[m, n] = op(lhs)[m, k] * op(rhs)[k, n]` for a block-sparse `lhs`.
///
/// `lhs` is stored as `[m, k]`, or `[k, m]` where `transpose.lhs`; `rhs` is `[k, n]`, or `[n, k]` where
/// `transpose.rhs`. Each of the three must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit each other,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn dsd(
    rec: &mut Recorder<'_>,
    lhs: &BlockMatrix,
    rhs: &Tensor,
    out: &Tensor,
    transpose: Transpose,
) -> Result<()> {
    record(rec, lhs, rhs, None, out, transpose)
}

/// Records `out[m, n] = lhs[k, m]^T * rhs[rows][k, n]` for a block-sparse `lhs`: row `r` of the right operand is row
/// `rows[r]` of `rhs`, clamped to the last row. Computes the weight gradient of experts, with `rows` of a
/// [`Routing`](crate::sparse::Routing::tokens).
///
/// # Errors
/// Like [`dsd`].
pub fn dsd_gathered(
    rec: &mut Recorder<'_>,
    lhs: &BlockMatrix,
    rhs: &Tensor,
    rows: &Tensor,
    out: &Tensor,
) -> Result<()> {
    record(rec, lhs, rhs, Some(rows), out, Transpose::TN)
}

fn record(
    rec: &mut Recorder<'_>,
    lhs: &BlockMatrix,
    rhs: &Tensor,
    gather: Option<&Tensor>,
    out: &Tensor,
    transpose: Transpose,
) -> Result<()> {
    let op = "dsd";
    let mut rhs_sides = rhs.matrix(op, "rhs")?;
    if let Some(rows) = gather {
        rows.expect_shape(op, "rows", &[lhs.pattern().rows()])?;
        rhs_sides[0] = if rhs.is_empty() { 0 } else { rows.len() };
    }
    let sizes = ProblemSize::of(op, sides(lhs), rhs_sides, transpose)?;
    out.expect_shape(op, "out", &[sizes.m, sizes.n])?;
    let block = lhs.pattern().block();
    let gathered = gather.map_or(0, |_| rhs.shape()[0]);
    let work = sizes.workload(Family::Dsd, transpose, Some(lhs), gathered, rhs);
    let (choice, tiling) = choose(rec.gpu(), &work);
    // Block rows are multiples of four, therefore lhs is always loaded as vec4.
    let scalar = Scalar::of(sizes, transpose);
    let scalar = Scalar { rhs: scalar.rhs, out: scalar.out, ..Scalar::default() };
    let key = operand_flags(key_of(op, choice).block(block), transpose, scalar).tiling(tiling);
    let [bm, bn] = match (choice.variant, tiling) {
        (_, Some(tiling)) => tiling.sides(),
        (Variant::Lane, None) => [8, 128],
        (Variant::Wave, None) => [block.min(16), 32],
        (Variant::Tile | Variant::Coop, None) if choice.small => [block, (1024 / block).max(32)],
        (Variant::Tile, None) if choice.wide => [block, 128],
        (Variant::Tile | Variant::Coop, None) => [block, (2048 / block).max(64)],
    };
    let workgroups = (sizes.m / bm) as u64 * sizes.n.div_ceil(bn) as u64;
    let (sparse, epilogue) = (Some((Place::Lhs, lhs)), Epilogue::None);
    let (lhs, mask, split) = (lhs.values(), None, None);
    let product = Product { op, sizes, transpose, lhs, rhs, out, sparse, mask, gather, epilogue, split };
    product.record(rec, key, product.whole(), &[], workgroups)
}
