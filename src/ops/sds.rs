//! SDS, sparse = dense x sparse: `shaders/sds/`, twin [`reference::sds`](crate::reference::sds).

use super::matmul::{Place, ProblemSize, Product, Scalar, operand_flags, sides};
use super::sdd::SPAN;
use super::{Epilogue, Transpose};
use crate::gpu::{Key, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Records the blocks of `lhs[m, k] * rhs[n, k]^T` that `out` stores, for a block-sparse `rhs` with the same block
/// size: the pre-activations of experts with block-sparse weights. With `rows`, row `r` of the left operand is row
/// `rows[r]` of `lhs`, clamped to the last row. Each of the three must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit each other, [`Error::Limit`] where they do not fit the device.
pub fn sds(
    rec: &mut Recorder<'_>,
    lhs: &Tensor,
    rows: Option<&Tensor>,
    rhs: &BlockMatrix,
    out: &BlockMatrix,
) -> Result<()> {
    let op = "sds";
    let transpose = Transpose::NT;
    let mut lhs_sides = lhs.matrix(op, "lhs")?;
    if let Some(rows) = rows {
        rows.expect_shape(op, "rows", &[out.pattern().rows()])?;
        lhs_sides[0] = if lhs.is_empty() { 0 } else { rows.len() };
    }
    let sizes = ProblemSize::of(op, lhs_sides, sides(rhs), transpose)?;
    if sides(out) != [sizes.m, sizes.n] {
        let wanted = format!("a matrix of {} x {}", sizes.m, sizes.n);
        return Err(Error::argument(op, "out", wanted, format!("{:?}", sides(out))));
    }
    let block = same_block(op, out, rhs)?;
    let key = operand_flags(Key::new(op, Variant::Lane.name()).block(block), transpose, Scalar::default());
    let product = Product {
        op,
        sizes,
        transpose,
        lhs,
        rhs: rhs.values(),
        out: out.values(),
        sparse: Some((Place::Out, out)),
        mask: None,
        gather: rows,
        epilogue: Epilogue::None,
        split: None,
    };
    let others = [("weight", rhs.pattern().packed())];
    product.record(rec, key, product.whole(), &others, workgroups(out.pattern().nnz(), block))
}

/// Common block size of two matrices.
pub(super) fn same_block(op: &str, matrix: &BlockMatrix, weight: &BlockMatrix) -> Result<usize> {
    let (block, found) = (matrix.pattern().block(), weight.pattern().block());
    if found == block {
        return Ok(block);
    }
    Err(Error::argument(op, "weight", format!("in blocks of {block}"), format!("in blocks of {found}")))
}

/// Workgroups for a number of blocks, as in the shaders with two sparse matrices.
pub(super) fn workgroups(blocks: usize, block: usize) -> u64 {
    let span = block.min(SPAN);
    let invocations = (span / 4) * (span / 8);
    blocks.div_ceil((8 / invocations).max(1)) as u64 * (block / span).pow(2) as u64
}
