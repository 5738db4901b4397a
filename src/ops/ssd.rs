//! SSD, sparse = sparse x dense: `shaders/ssd/`, twin [`reference::ssd`](crate::reference::ssd).

use super::matmul::{Place, ProblemSize, Product, Scalar, operand_flags, sides};
use super::sds::{same_block, workgroups};
use super::{Epilogue, Transpose};
use crate::gpu::{Key, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// Records the blocks of `lhs[k, m]^T * rhs[k, n]` that `out` stores, inactive ones included, for a block-sparse
/// `lhs` with the same block size: the gradient of experts' block-sparse weights. With `rows`, row `r` of the right
/// operand is row `rows[r]` of `rhs`, clamped to the last row. Each of the three must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit each other, [`Error::Limit`] where they do not fit the device.
pub fn ssd(
    rec: &mut Recorder<'_>,
    lhs: &BlockMatrix,
    rhs: &Tensor,
    rows: Option<&Tensor>,
    out: &BlockMatrix,
) -> Result<()> {
    let op = "ssd";
    let transpose = Transpose::TN;
    let mut rhs_sides = rhs.matrix(op, "rhs")?;
    if let Some(rows) = rows {
        rows.expect_shape(op, "rows", &[lhs.pattern().rows()])?;
        rhs_sides[0] = if rhs.is_empty() { 0 } else { rows.len() };
    }
    let sizes = ProblemSize::of(op, sides(lhs), rhs_sides, transpose)?;
    if sides(out) != [sizes.m, sizes.n] {
        let wanted = format!("a matrix of {} x {}", sizes.m, sizes.n);
        return Err(Error::argument(op, "out", wanted, format!("{:?}", sides(out))));
    }
    let block = same_block(op, lhs, out)?;
    let key = operand_flags(Key::new(op, Variant::Lane.name()).block(block), transpose, Scalar::default());
    let product = Product {
        op,
        sizes,
        transpose,
        lhs: lhs.values(),
        rhs,
        out: out.values(),
        sparse: Some((Place::Lhs, lhs)),
        mask: None,
        gather: rows,
        epilogue: Epilogue::None,
        split: None,
    };
    let others = [("weight", out.pattern().packed())];
    product.record(rec, key, product.whole(), &others, workgroups(out.pattern().nnz(), block))
}
