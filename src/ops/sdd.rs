//! SDD, sparse = dense x dense: `shaders/sdd/`, twin [`reference::sdd`](crate::reference::sdd).

use super::matmul::{
    Place, ProblemSize, Product, Scalar, Split, SubProduct, choose, key_of, operand_flags, sides,
};
use super::split;
use super::{Epilogue, Transpose};
use crate::gpu::{Family, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Records the blocks of `op(lhs)[m, k] * op(rhs)[k, n]` that `out` stores, such as the masked gradient `dy^T * x` of
/// a layer's weight. With a `mask`, elements whose bit is 0 become 0.
///
/// Long contractions of few blocks are [split](crate::gpu::Gpu::with_splits) on GPUs, unless an operand exceeds one
/// binding.
///
/// `lhs` is `[m, k]`, or `[k, m]` where `transpose.lhs`; `rhs` is `[k, n]`, or `[n, k]` where `transpose.rhs`. An
/// operand whose rows do not run along `k` must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit each other, [`Error::Limit`] where they do not fit the device.
pub fn sdd(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rhs: &Tensor,
    out: &BlockMatrix,
    transpose: Transpose,
    mask: Option<&Tensor>,
) -> Result<()> {
    record(rec, lhs, None, rhs, out, transpose, mask)
}

/// Records the blocks of `lhs[rows][m, k] * rhs[n, k]^T` that `out` stores: row `r` of the left operand is row
/// `rows[r]` of `lhs`, clamped to the last row. Computes the pre-activations of experts, with `rows` of a
/// [`Routing`](crate::sparse::Routing::tokens).
///
/// # Errors
/// Like [`sdd`]. `lhs` must fit one binding.
pub fn sdd_gathered(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rows: &Tensor,
    rhs: &Tensor,
    out: &BlockMatrix,
) -> Result<()> {
    record(rec, lhs, Some(rows), rhs, out, Transpose::NT, None)
}

/// Largest block side that one workgroup computes whole, `SPAN` of `common/pieces.wgsl`.
pub(super) const SPAN: usize = 64;

fn record(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    gather: Option<&Tensor>,
    rhs: &Tensor,
    out: &BlockMatrix,
    transpose: Transpose,
    mask: Option<&Tensor>,
) -> Result<()> {
    let op = "sdd";
    let mut lhs_sides = lhs.matrix(op, "lhs")?;
    if let Some(rows) = gather {
        rows.expect_shape(op, "rows", &[out.pattern().rows()])?;
        lhs_sides[0] = if lhs.is_empty() { 0 } else { rows.len() };
    }
    let sizes = ProblemSize::of(op, lhs_sides, rhs.matrix(op, "rhs")?, transpose)?;
    if sides(out) != [sizes.m, sizes.n] {
        let wanted = format!("a matrix of {} x {}", sizes.m, sizes.n);
        return Err(Error::argument(op, "out", wanted, format!("{:?}", sides(out))));
    }
    let block = out.pattern().block();
    // Block rows are multiples of four, therefore out is always stored as vec4.
    let scalar = Scalar { out: false, ..Scalar::of(sizes, transpose) };
    let gathered = gather.map_or(0, |_| lhs.shape()[0]);
    let work = sizes.workload(Family::Sdd, transpose, Some(out), gathered, lhs);
    let (choice, tiling) = choose(rec.gpu(), &work);
    let key = key_of(op, choice).block(block).with("mask", mask.is_some());
    // Invocations per block, and blocks per workgroup or workgroups per block, as in the shaders.
    let rows = if choice.variant == Variant::Wave { block.min(16) } else { 8 };
    let (columns, widest) = if choice.wide { (8, block) } else { (4, SPAN) };
    let span = tiling.map_or(block.min(widest), |tiling| tiling.tall as usize);
    let pieces = (block / span).pow(2);
    let invocations = (span / columns) * (span / rows);
    let slots = match (choice.variant, tiling) {
        (_, Some(tiling)) => tiling.parts as usize,
        (Variant::Lane | Variant::Wave, None) => (8 / invocations).max(1),
        (Variant::Tile | Variant::Coop, None) if choice.small => (32 / invocations).max(1),
        (Variant::Tile | Variant::Coop, None) => (64 / invocations).max(1),
    };
    if let Some(mask) = mask {
        mask.expect_shape(op, "mask", &[out.values().len().div_ceil(32)])?;
    }
    let key = operand_flags(key, transpose, scalar).tiling(tiling);
    let (sparse, epilogue) = (Some((Place::Out, out)), Epilogue::None);
    let out = out.values();
    let product =
        Product { op, sizes, transpose, lhs, rhs, out, sparse, mask, gather, epilogue, split: None };
    let parts = product.sub_products(rec.gpu());
    let tiles = |part: &SubProduct| part.slots.count.div_ceil(slots) as u64 * pieces as u64;
    if let ([whole], Some(split)) = (parts.as_slice(), Split::of(rec.gpu(), &product)) {
        return split::record(rec, &product, key, *whole, tiles(whole), split);
    }
    for part in parts {
        let workgroups = tiles(&part);
        product.record(rec, key.clone(), part, &[], workgroups)?;
    }
    Ok(())
}
