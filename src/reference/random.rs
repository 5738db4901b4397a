//! Twin of `shaders/random/`.

use crate::random::{Key, unit};

/// Random bits: element `i` is drawn at counter `(i, step)`.
pub fn random_bits(out: &mut [u32], key: Key, step: u32) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = key.at([i as u32, step])[0];
    }
}

/// Uniform numbers in `[0, 1)`; element `i` is drawn at counter `(i, step)`.
pub fn random_uniform(out: &mut [f32], key: Key, step: u32) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = unit(key.at([i as u32, step])[0]);
    }
}
