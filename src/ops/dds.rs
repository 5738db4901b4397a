//! DDS, dense = dense x sparse: `shaders/dds/`, twin [`reference::dds`](crate::reference::dds).

use super::matmul::{Place, ProblemSize, Product, Scalar, choose, key_of, operand_flags, sides};
use super::{Epilogue, Transpose};
use crate::Result;
use crate::gpu::{Family, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;

/// Records `out[m, n] = op(lhs)[m, k] * op(rhs)[k, n]` for a block-sparse `rhs`, then the epilogue.
///
/// `lhs` is `[m, k]`, or `[k, m]` where `transpose.lhs`; `rhs` is stored as `[k, n]`, or `[n, k]` where
/// `transpose.rhs`, as in a layer's `x * W^T`.
///
/// Values of `rhs` beyond one binding are accumulated window by window of the slots; the summation order then depends
/// on slot numbers. A transposed `lhs` must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit each other,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn dds(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rhs: &BlockMatrix,
    out: &Tensor,
    transpose: Transpose,
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let op = "dds";
    let sizes = ProblemSize::of(op, lhs.matrix(op, "lhs")?, sides(rhs), transpose)?;
    out.expect_shape(op, "out", &[sizes.m, sizes.n])?;
    epilogue.check(op, [sizes.m, sizes.n])?;
    let block = rhs.pattern().block();
    let work = sizes.workload(Family::Dds, transpose, Some(rhs), 0, lhs);
    let (choice, tiling) = choose(rec.gpu(), &work);
    // Block rows are multiples of four, therefore rhs and out are always loaded as vec4.
    let scalar = Scalar { lhs: Scalar::of(sizes, transpose).lhs, ..Scalar::default() };
    let key = operand_flags(key_of(op, choice).block(block), transpose, scalar).tiling(tiling);
    let [bm, bn] = match (choice.variant, tiling) {
        (_, Some(tiling)) => tiling.sides(),
        (Variant::Lane, None) => [128, 8],
        (Variant::Wave, None) => [64, block.min(16)],
        (Variant::Tile | Variant::Coop, None) if choice.small => [(1024 / block).max(32), block],
        (Variant::Tile, None) if choice.wide => [128, block],
        (Variant::Tile | Variant::Coop, None) => [(2048 / block).max(64), block],
    };
    let sparse = Some((Place::Rhs, rhs));
    let product = Product {
        op,
        sizes,
        transpose,
        lhs,
        rhs: rhs.values(),
        out,
        sparse,
        mask: None,
        gather: None,
        epilogue,
        split: None,
    };
    for part in product.sub_products(rec.gpu()) {
        let workgroups = part.m.count.div_ceil(bm) as u64 * (part.n.count / bn) as u64;
        product.record(rec, key.clone(), part, &[], workgroups)?;
    }
    Ok(())
}
