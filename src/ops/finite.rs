//! Checks of signals on the device, for NaN, infinities and constant activations: `shaders/finite/`, twins
//! [`reference::finite`](crate::reference::finite) and [`reference::activity`](crate::reference::activity).

use super::float_type;
use super::windows::Windows;
use crate::gpu::{Args, Key, Recorder, Tensor};
use crate::{Error, Result};

/// Records a scan that sets `flag` in word `word` of `status` if any element of `x` is NaN or infinite. `x` may be
/// f16.
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
        // 16 elements per invocation.
        rec.record(
            &Key::new(op, "scan").dtype(float_type(&x)),
            &args,
            (window.count as u64).div_ceil(64 * 16),
        )?;
    }
    Ok(())
}

/// Records a scan of `x[rows, width]` that sets, in word `word` of `status`, bit 0 if any element is not 0, and bit 1
/// if any row differs from the first. `x` may be f16.
///
/// # Errors
/// [`Error::Argument`] if `x` is no matrix or `status` has no such word.
pub fn activity(rec: &mut Recorder<'_>, x: &Tensor, status: &Tensor, word: usize) -> Result<()> {
    let op = "finite.activity";
    let [rows, width] = x.matrix(op, "x")?;
    if word >= status.len() {
        return Err(Error::argument(op, "word", format!("below {}", status.len()), word));
    }
    for window in Windows::new(rec.gpu(), rows).over(x).cut() {
        let x = window.of(x)?;
        let args = Args::new()
            .tensor("x", &x)
            .tensor("status", status)
            .size(op, "n", window.count * width)?
            .size(op, "width", width)?
            .size(op, "word", word)?;
        // 16 elements per invocation.
        let groups = ((window.count * width) as u64).div_ceil(64 * 16);
        rec.record(&Key::new("finite", "activity").dtype(float_type(&x)), &args, groups)?;
    }
    Ok(())
}
