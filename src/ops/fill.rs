//! One value everywhere: `shaders/fill/`, twin [`reference::fill`](crate::reference::fill).

use super::elementwise;
use super::windows::Windows;
use crate::Result;
use crate::gpu::{Args, DType, Key, Recorder, Tensor};

/// Records that every word of `out`, of whatever 32-bit type, becomes `bits`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the elements of `out` are not 32 bits wide.
pub fn fill(rec: &mut Recorder<'_>, out: &Tensor, bits: u32) -> Result<()> {
    let words = out.reinterpret(DType::U32)?;
    for window in Windows::new(rec.gpu(), out.len()).over(&words).cut() {
        let words = window.of(&words)?;
        let args = Args::new().tensor("out", &words).size("fill", "n", window.count)?.u32("value", bits);
        rec.dispatch(&Key::new("fill", "words"), &args, elementwise(window.count))?;
    }
    Ok(())
}
