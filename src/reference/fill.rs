//! Twins of `shaders/fill/`.

/// Fills a tensor with one word.
pub fn fill(out: &mut [u32], bits: u32) {
    out.fill(bits);
}

/// Linear blend, elementwise: `out = a * x + b * out`.
pub fn blend(x: &[f32], out: &mut [f32], [a, b]: [f32; 2]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = if b == 0.0 { a * x } else { b.mul_add(*out, a * x) };
    }
}
