//! Naive shared-memory matmul, the baseline of the dense family: `shaders/naive/`, twin
//! [`reference::dense`](crate::reference::dense).

use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::{Error, Result};

/// Side of a workgroup tile.
const SIDE: usize = 16;

/// Records `out[m, n] = lhs[m, k] * rhs[k, n]`. All sides are multiples of 16, and each tensor must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, [`Error::Limit`] for a size the device does not bind.
pub fn naive(rec: &mut Recorder<'_>, lhs: &Tensor, rhs: &Tensor, out: &Tensor) -> Result<()> {
    let op = "naive";
    let [m, k] = lhs.matrix(op, "lhs")?;
    let n = rhs.matrix(op, "rhs")?[1];
    rhs.expect_shape(op, "rhs", &[k, n])?;
    out.expect_shape(op, "out", &[m, n])?;
    if [m, k, n].iter().any(|side| !side.is_multiple_of(SIDE)) {
        return Err(Error::argument(op, "sides", "multiples of 16", format!("{m}, {k}, {n}")));
    }
    let args = Args::new().tensor("lhs", lhs).tensor("rhs", rhs).tensor("out", out);
    let args = args.size(op, "m", m)?.size(op, "n", n)?.size(op, "k", k)?;
    rec.record(&Key::new(op, "tile"), &args, (m / SIDE) as u64 * (n / SIDE) as u64)
}
