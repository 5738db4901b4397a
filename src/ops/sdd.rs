//! Sparse = dense x dense: `shaders/sdd/`, twin [`reference::sdd`](crate::reference::sdd).

use super::matmul::{Place, Product, Scalar, Sizes, choose, operand_flags, sides};
use super::{Epilogue, Transpose};
use crate::gpu::{Key, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Records the blocks of `op(lhs)[m, k] * op(rhs)[k, n]` that `out` has: the masked gradient `dy^T * x` of a layer's
/// weights, say. With a `mask`, elements whose bit is 0 become 0.
///
/// `lhs` is `[m, k]`, or `[k, m]` where `transpose.lhs`; `rhs` is `[k, n]`, or `[n, k]` where `transpose.rhs`. An operand
/// whose rows are not along `k` must fit one binding.
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
    let op = "sdd";
    let sizes = Sizes::of(op, lhs.matrix(op, "lhs")?, rhs.matrix(op, "rhs")?, transpose)?;
    if sides(out) != [sizes.m, sizes.n] {
        let wanted = format!("a matrix of {} x {}", sizes.m, sizes.n);
        return Err(Error::argument(op, "out", wanted, format!("{:?}", sides(out))));
    }
    let block = out.pattern().block();
    // Blocks keep every row along m or n a multiple of four.
    let scalar = Scalar { out: false, ..Scalar::of(sizes, transpose) };
    let variant = choose(rec.gpu(), sizes, true);
    let key = Key::new(op, variant.name()).block(block).with("mask", mask.is_some());
    // Invocations per block, and blocks per workgroup, as the shaders have it.
    let invocations = (block / 4) * (block / 8);
    let slots = match variant {
        Variant::Lane | Variant::Wave => (8 / invocations).max(1),
        Variant::Tile => (64 / invocations).max(1),
    };
    if let Some(mask) = mask {
        mask.expect_shape(op, "mask", &[out.values().len().div_ceil(32)])?;
    }
    let key = operand_flags(key, transpose, scalar);
    let (sparse, epilogue) = (Some((Place::Out, out)), Epilogue::None);
    let product = Product { op, sizes, transpose, lhs, rhs, out: out.values(), sparse, mask, epilogue };
    for part in product.parts(rec.gpu()) {
        let workgroups = part.slots.count.div_ceil(slots) as u64;
        product.record(rec, key.clone(), part, &[], workgroups)?;
    }
    Ok(())
}
