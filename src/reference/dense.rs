//! Twin of `shaders/dense/`.

use super::Epilogue;
use crate::terms::Transpose;

/// Dense matmul: `out[m, n] = op(lhs)[m, k] * op(rhs)[k, n]`, then the epilogue.
pub fn dense(
    lhs: &[f32],
    rhs: &[f32],
    out: &mut [f32],
    [m, n, k]: [usize; 3],
    transpose: Transpose,
    mut epilogue: Epilogue<'_>,
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0f32;
            for kk in 0..k {
                sum = transpose.lhs(lhs, [m, k], i, kk).mul_add(transpose.rhs(rhs, [k, n], kk, j), sum);
            }
            out[i * n + j] = epilogue.apply(sum, i * n + j, j);
        }
    }
}
