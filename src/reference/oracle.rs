//! Oracle in f64: naive products of densified operands, the ground truth of twins and kernels.

use super::bound::gamma;
use crate::terms::Transpose;

/// Product in f64, and the product of magnitudes for its error bound.
#[derive(Debug, Clone)]
pub struct Product {
    /// `op(lhs) * op(rhs)`.
    pub values: Vec<f64>,
    /// `|op(lhs)| * |op(rhs)|`.
    pub magnitudes: Vec<f64>,
    k: usize,
}

impl Product {
    /// Error bound of element `index` of an f32 result, for any summation order.
    pub fn bound(&self, index: usize) -> f64 {
        gamma(self.k) * self.magnitudes[index]
    }
}

/// Computes `op(lhs)[m, k] * op(rhs)[k, n]`.
pub fn product(lhs: &[f32], rhs: &[f32], [m, n, k]: [usize; 3], transpose: Transpose) -> Product {
    let mut values = vec![0.0; m * n];
    let mut magnitudes = vec![0.0; m * n];
    for i in 0..m {
        for kk in 0..k {
            let a = f64::from(lhs[if transpose.lhs { kk * m + i } else { i * k + kk }]);
            for j in 0..n {
                let b = f64::from(rhs[if transpose.rhs { j * k + kk } else { kk * n + j }]);
                values[i * n + j] += a * b;
                magnitudes[i * n + j] += (a * b).abs();
            }
        }
    }
    Product { values, magnitudes, k }
}
