//! Error bounds of activations.

use crate::ops::Activation;
use crate::reference::bound::UNIT;

/// No activation here is steeper than this: SiLU's derivative peaks at 1.1, GELU's at 1.13.
pub(super) const STEEPEST: f64 = 1.2;

/// How far a kernel's activation may be from the twin's, at the same argument. WGSL allows `exp` an error of 3 + 2|x| units
/// in the last place, and the argument of the exponential carries a few roundings of its own, which it magnifies.
pub(super) fn activation_error(activation: Activation, x: f32) -> f64 {
    f64::from(x).abs() * sigmoid_error(activation, x)
}

/// [`activation_error`] of the derivative, which uses the sigmoid twice and the polynomial once more.
pub(super) fn derivative_error(activation: Activation, x: f32) -> f64 {
    let steepness = match activation {
        Activation::Gelu => 1.6 + 0.22 * f64::from(x * x),
        _ => 1.0,
    };
    (2.0 + 2.0 * f64::from(x).abs() * steepness) * sigmoid_error(activation, x)
}

fn sigmoid_error(activation: Activation, x: f32) -> f64 {
    let x = f64::from(x);
    let argument = match activation {
        Activation::Gelu => (x * (1.6 + 0.0714 * x * x)).abs(),
        Activation::Silu => x.abs(),
        // Comparisons and one product: what the oracle's own f32 twin does, to the bit, but for one rounding.
        _ => return 2.0 * UNIT,
    };
    (16.0 + 8.0 * argument.min(90.0)) * 2.0 * UNIT
}
