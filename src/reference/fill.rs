//! Twin of `shaders/fill/`.

/// One value everywhere.
pub fn fill(out: &mut [u32], bits: u32) {
    out.fill(bits);
}
