//! How fast things are, as ratios from one run: what `fretwork bench` prints.
//!
//! Things are checked before they are timed. Then they take turns, round after round, so that what slows the machine down
//! for a while slows all of them down; the median of the rounds counts. A control row times the first entry again and says
//! how far the ratios can be trusted.

mod contest;
pub mod moe;

pub use contest::{Entry, Row, Table, contest};

use crate::check::{self, Verdict};
use crate::gpu::{Gpu, Plan, Recorder};
use crate::{Error, Result};

/// Runs the known-answer checks whose names are `chosen`: a wrong kernel is not worth timing.
///
/// # Errors
/// [`Error::Wrong`] with the name of a kernel that is wrong, and whatever keeps one from running at all.
pub fn trust(gpu: &Gpu, chosen: impl Fn(&str) -> bool) -> Result<()> {
    for check in check::table() {
        if chosen(&check.name)
            && check.applies_to(gpu)
            && let Verdict::Wrong(reason) = check.run(gpu)?
        {
            return Err(Error::Wrong { label: check.name, reason });
        }
    }
    Ok(())
}

/// Records a plan of what `op` records.
///
/// # Errors
/// As the operations.
pub fn record(gpu: &Gpu, op: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> Result<Plan> {
    let mut rec = Recorder::new(gpu);
    op(&mut rec)?;
    rec.finish()
}

/// Runs a plan to its end.
///
/// # Errors
/// [`Error::DeviceLost`].
pub fn run(gpu: &Gpu, plan: &Plan) -> Result<()> {
    gpu.run(plan)?;
    gpu.finish()
}
