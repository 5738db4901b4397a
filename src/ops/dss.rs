//! DSS, dense = sparse x sparse: `shaders/dss/`, twin [`reference::dss`](crate::reference::dss).

use super::matmul::{Place, ProblemSize, Product, Scalar, operand_flags, sides};
use super::sds::{same_block, workgroups};
use super::{Epilogue, Transpose};
use crate::Result;
use crate::gpu::{Key, Recorder, Tensor, Variant};
use crate::sparse::BlockMatrix;

/// Records `out[m, n] = lhs[m, k] * rhs[k, n]`, both block-sparse with the same block size: the output of experts
/// with block-sparse weights. Each of the three must fit one binding.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit each other,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn dss(rec: &mut Recorder<'_>, lhs: &BlockMatrix, rhs: &BlockMatrix, out: &Tensor) -> Result<()> {
    let op = "dss";
    let transpose = Transpose::NN;
    let sizes = ProblemSize::of(op, sides(lhs), sides(rhs), transpose)?;
    out.expect_shape(op, "out", &[sizes.m, sizes.n])?;
    let block = same_block(op, lhs, rhs)?;
    let key = operand_flags(Key::new(op, Variant::Lane.name()).block(block), transpose, Scalar::default());
    let product = Product {
        op,
        sizes,
        transpose,
        lhs: lhs.values(),
        rhs: rhs.values(),
        out,
        sparse: Some((Place::Lhs, lhs)),
        mask: None,
        gather: None,
        epilogue: Epilogue::None,
        split: None,
    };
    let others = [("weight", rhs.pattern().packed())];
    let blocks = sizes.m / block * (sizes.n / block);
    product.record(rec, key, product.whole(), &others, workgroups(blocks, block))
}
