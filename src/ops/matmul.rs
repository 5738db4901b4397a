//! What the four matmul families share: `shaders/common/matmul.wgsl`.

use super::{Epilogue, Transpose};
use crate::gpu::{Args, Gpu, Key, Tensor, Variant};
use crate::sparse::BlockMatrix;
use crate::{Error, Result};

/// The sizes of `op(lhs)[m, k] * op(rhs)[k, n]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Sizes {
    /// Sizes from the stored shapes of the operands.
    pub(super) fn of(op: &str, lhs: [usize; 2], rhs: [usize; 2], transpose: Transpose) -> Result<Self> {
        let [m, k] = if transpose.lhs { [lhs[1], lhs[0]] } else { lhs };
        let [inner, n] = if transpose.rhs { [rhs[1], rhs[0]] } else { rhs };
        if inner != k {
            let wanted = format!("of {k} along the contraction, like lhs {lhs:?}");
            return Err(Error::argument(op, "rhs", wanted, format!("{rhs:?}, so {inner}")));
        }
        if m * n * k == 0 {
            return Err(Error::argument(op, "lhs", "a product with no side 0", format!("{m} x {k} x {n}")));
        }
        for (name, elements) in
            [("lhs", m.checked_mul(k)), ("rhs", k.checked_mul(n)), ("out", m.checked_mul(n))]
        {
            // The shaders index with 32 bits.
            if elements.is_none_or(|elements| elements > u32::MAX as usize) {
                return Err(Error::argument(op, name, "below 2^32 elements", format!("{m} x {k} x {n}")));
            }
        }
        Ok(Self { m, n, k })
    }

    /// The tensors and parameters that all four have.
    pub(super) fn bind<'a>(
        self,
        op: &str,
        lhs: &'a Tensor,
        rhs: &'a Tensor,
        out: &'a Tensor,
        epilogue: &Epilogue<'a>,
    ) -> Result<Args<'a>> {
        let args = Args::new()
            .tensor("lhs", lhs)
            .tensor("rhs", rhs)
            .tensor("out", out)
            .size(op, "m", self.m)?
            .size(op, "n", self.n)?
            .size(op, "k", self.k)?;
        epilogue.bind(op, args, [self.m, self.n])
    }
}

/// The key with the transposes, and with scalar loads for operands whose rows four does not divide.
pub(super) fn operand_flags(key: Key, transpose: Transpose, scalar: Scalar) -> Key {
    key.with("lhs_t", transpose.lhs)
        .with("rhs_t", transpose.rhs)
        .with("lhs_scalar", scalar.lhs)
        .with("rhs_scalar", scalar.rhs)
        .with("out_scalar", scalar.out)
        .with("k_tail", scalar.k)
}

/// Which rows four does not divide.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scalar {
    pub(super) lhs: bool,
    pub(super) rhs: bool,
    pub(super) out: bool,
    pub(super) k: bool,
}

impl Scalar {
    /// The rows of a stored operand are `k` long, or `m` (or `n`) where it is transposed (or not).
    pub(super) fn of(sizes: Sizes, transpose: Transpose) -> Self {
        let ragged = |length: usize| !length.is_multiple_of(4);
        Self {
            lhs: ragged(if transpose.lhs { sizes.m } else { sizes.k }),
            rhs: ragged(if transpose.rhs { sizes.k } else { sizes.n }),
            out: ragged(sizes.n),
            k: ragged(sizes.k),
        }
    }
}

/// Which variant runs, unless the device was told to use one.
///
/// A starting rule, to be replaced by measurement on the adapter: drivers that run on the CPU lose at every barrier;
/// GPUs win by workgroup memory once the product fills a few workgroups.
pub(super) fn choose(gpu: &Gpu, sizes: Sizes) -> Variant {
    gpu.forced_variant().unwrap_or_else(|| {
        if gpu.is_software() || sizes.m * sizes.n < 64 * 64 { Variant::Lane } else { Variant::Tile }
    })
}

/// The stored sides of a sparse operand.
pub(super) fn sides(matrix: &BlockMatrix) -> [usize; 2] {
    [matrix.pattern().rows(), matrix.pattern().cols()]
}
