//! Element masks within blocks: `shaders/mask/`, twin [`reference::mask`](crate::reference::mask).

use super::elementwise;
use super::windows::Windows;
use crate::Result;
use crate::gpu::{Args, Key, Recorder, Tensor};

/// Records that the elements of `values` whose bit in `mask` is 0 become 0. A mask has one bit per element, 32 per
/// word.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the mask has another number of elements.
pub fn mask(rec: &mut Recorder<'_>, values: &Tensor, mask: &Tensor) -> Result<()> {
    let op = "mask";
    mask.expect_shape(op, "mask", &[values.len().div_ceil(32)])?;
    for window in Windows::new(rec.gpu(), values.len()).over(values).over_bits(mask, 1).cut() {
        let (values, mask) = (window.of(values)?, window.of_bits(mask, 1)?);
        let args = Args::new().tensor("values", &values).tensor("mask", &mask).size(op, "n", window.count)?;
        rec.record(&Key::new(op, "apply"), &args, elementwise(window.count))?;
    }
    Ok(())
}
