//! Weighted combination of expert outputs: `shaders/combine/`, twin
//! [`reference::combine`](crate::reference::combine).

use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::sparse::Routing;

/// Records `y[t] = sum_j weights[t, j] * x[row of assignment j]` over the token's assignments that have a row, in
/// order. `x[rows, n]` are the routing's rows, `y` is `[tokens, n]`, `weights` is `[tokens, assignments]`, or 1
/// throughout if absent. With `add`, the sum is added to `y`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where shapes do not fit,
/// [`Error::Limit`](crate::Error::Limit) where they do not fit the device.
pub fn combine(
    rec: &mut Recorder<'_>,
    x: &Tensor,
    routing: &Routing,
    weights: Option<&Tensor>,
    y: &Tensor,
    add: bool,
) -> Result<()> {
    let (op, shape) = ("combine", routing.shape());
    let n = y.matrix(op, "y")?[1];
    y.expect_shape(op, "y", &[shape.tokens, n])?;
    x.expect_shape(op, "x", &[routing.pattern().rows(), n])?;
    let mut args = Args::new()
        .tensor("x", x)
        .tensor("places", routing.places())
        .tensor("y", y)
        .size(op, "tokens", shape.tokens)?
        .size(op, "assignments", shape.choices)?
        .size(op, "n", n)?
        .size(op, "rows", x.shape()[0])?;
    if let Some(weights) = weights {
        weights.expect_shape(op, "weights", &[shape.tokens, shape.choices])?;
        args = args.tensor("weights", weights);
    }
    let scalar = !n.is_multiple_of(4);
    let across = if scalar { n } else { n / 4 }.div_ceil(32);
    let key = Key::new("combine", "rows").with("weighted", weights.is_some()).with("add", add);
    rec.record(&key.with("out_scalar", scalar), &args, shape.tokens as u64 * across as u64)
}
