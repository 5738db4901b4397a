//! Dense matmul: `shaders/dense/`, twin [`reference::dense`](crate::reference::dense).

use super::matmul::{ProblemSize, Product, Scalar, Split, SubProduct, choose, key_of, operand_flags};
use super::split;
use super::{Epilogue, Transpose};
use crate::Result;
use crate::gpu::{Family, Key, Recorder, Tensor, Variant};

/// Records `out[m, n] = op(lhs)[m, k] * op(rhs)[k, n]`, then the epilogue.
///
/// Long contractions of few tiles are [split](crate::gpu::Gpu::with_splits) on GPUs, unless an operand exceeds one binding.
///
/// `lhs` is `[m, k]`, or `[k, m]` where `transpose.lhs`; `rhs` is `[k, n]`, or `[n, k]` where `transpose.rhs`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit each other,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn dense(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rhs: &Tensor,
    out: &Tensor,
    transpose: Transpose,
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let op = "dense";
    let sizes = ProblemSize::of(op, lhs.matrix(op, "lhs")?, rhs.matrix(op, "rhs")?, transpose)?;
    out.expect_shape(op, "out", &[sizes.m, sizes.n])?;
    epilogue.check(op, [sizes.m, sizes.n])?;
    let (choice, tiling) = choose(rec.gpu(), &sizes.workload(Family::Dense, transpose, None, 0, lhs));
    // With few columns, most lanes of the other variant would idle.
    let tall = choice.variant == Variant::Wave && sizes.n <= 16;
    let key = if tall { Key::new(op, "tall") } else { key_of(op, choice) };
    let key = operand_flags(key, transpose, Scalar::of(sizes, transpose)).tiling(tiling);
    let [bm, bn] = match (choice.variant, tiling) {
        (_, Some(tiling)) => tiling.sides(),
        (Variant::Wave, None) if tall => [32, 16],
        (Variant::Lane, None) => [8, 32],
        (Variant::Wave, None) => [16, 32],
        (Variant::Tile | Variant::Coop, None) if choice.small => [32, 32],
        (Variant::Tile, None) if choice.wide => [128, 128],
        (Variant::Tile | Variant::Coop, None) => [64, 64],
    };
    let product = Product {
        op,
        sizes,
        transpose,
        lhs,
        rhs,
        out,
        sparse: None,
        mask: None,
        gather: None,
        epilogue,
        split: None,
    };
    let parts = product.sub_products(rec.gpu());
    let tiles = |part: &SubProduct| part.m.count.div_ceil(bm) as u64 * part.n.count.div_ceil(bn) as u64;
    if let ([whole], Some(split)) = (parts.as_slice(), Split::of(rec.gpu(), &product)) {
        return split::record(rec, &product, key, *whole, tiles(whole), split);
    }
    for part in parts {
        let workgroups = tiles(&part);
        product.record(rec, key.clone(), part, &[], workgroups)?;
    }
    Ok(())
}
