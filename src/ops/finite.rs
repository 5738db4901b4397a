//! NaN and infinity, noticed on the device: `shaders/finite/`, twin [`reference::finite`](crate::reference::finite).

use super::float_type;
use super::windows::Windows;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::{Error, Result};

/// Records a scan: if any element of `x` is NaN or infinite, `flag` is raised in word `word` of `status`. `x` may be f16.
///
/// # Errors
/// [`Error::Argument`] if `status` has no such word.
pub fn finite(rec: &mut Recorder<'_>, x: &Tensor, status: &Tensor, word: usize, flag: u32) -> Result<()> {
    let op = "finite";
    if word >= status.len() {
        return Err(Error::argument(op, "word", format!("below {}", status.len()), word));
    }
    for window in Windows::new(rec.gpu(), x.len()).over(x).cut() {
        let x = window.of(x)?;
        let args = Args::new()
            .tensor("x", &x)
            .tensor("status", status)
            .size(op, "n", window.count)?
            .size(op, "word", word)?
            .u32("flag", flag);
        // An invocation looks at 16 elements.
        rec.dispatch(
            &Key::new(op, "scan").dtype(float_type(&x)),
            &args,
            (window.count as u64).div_ceil(64 * 16),
        )?;
    }
    Ok(())
}
