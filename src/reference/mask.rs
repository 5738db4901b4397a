//! Twin of `shaders/mask/`.

use crate::sparse::BlockMask;

/// Zeroes the elements whose mask bit is 0.
pub fn mask(values: &mut [f32], mask: &BlockMask) {
    for (i, value) in values.iter_mut().enumerate() {
        if !mask.get(i) {
            *value = 0.0;
        }
    }
}
