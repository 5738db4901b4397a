//! Dense matmul: `shaders/dense/`, twin [`reference::dense`](crate::reference::dense).

use super::matmul::{Product, Scalar, Sizes, choose, operand_flags, tiling};
use super::{Epilogue, Transpose};
use crate::Result;
use crate::gpu::{Key, Recorder, Tensor, Variant};

/// Records `out[m, n] = op(lhs)[m, k] * op(rhs)[k, n]`, then the epilogue.
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
    let sizes = Sizes::of(op, lhs.matrix(op, "lhs")?, rhs.matrix(op, "rhs")?, transpose)?;
    out.expect_shape(op, "out", &[sizes.m, sizes.n])?;
    epilogue.check(op, [sizes.m, sizes.n])?;
    let tiling = tiling(rec.gpu(), op, lhs, None);
    let variant = choose(rec.gpu(), sizes, true, tiling);
    let tiling = tiling.filter(|_| variant == Variant::Coop);
    let key = operand_flags(Key::new(op, variant.name()), transpose, Scalar::of(sizes, transpose));
    let key = key.tiling(tiling);
    let [tall, wide] = match (variant, tiling) {
        (_, Some(tiling)) => [tiling.tall as usize, tiling.wide as usize],
        (Variant::Lane | Variant::Wave, None) => [8, 32],
        (Variant::Tile | Variant::Coop, None) => [64, 64],
    };
    let product =
        Product { op, sizes, transpose, lhs, rhs, out, sparse: None, mask: None, gather: None, epilogue };
    for part in product.parts(rec.gpu()) {
        let workgroups = part.m.count.div_ceil(tall) as u64 * part.n.count.div_ceil(wide) as u64;
        product.record(rec, key.clone(), part, &[], workgroups)?;
    }
    Ok(())
}
