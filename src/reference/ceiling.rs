//! Twins of `shaders/ceiling/`.

use crate::terms::ceiling::{STEPS, SUMS};

/// Copy, `out = x`.
pub fn copy(x: &[f32], out: &mut [f32]) {
    out.copy_from_slice(x);
}

/// Rounds of multiply-adds in twelve accumulators per element, and their sum.
pub fn fma(out: &mut [f32], rounds: u32, [factor, addend]: [f32; 2]) {
    for (i, out) in out.iter_mut().enumerate() {
        let sums: [f32; SUMS] = std::array::from_fn(|sum| {
            let steps = 0..rounds as usize * STEPS;
            steps.fold(i as f32 + sum as f32, |s, _| s.mul_add(factor, addend))
        });
        let [x, y, z, w] = std::array::from_fn(|lane| sums[lane] + sums[lane + 4] + sums[lane + 8]);
        *out = (x + y) + (z + w);
    }
}
