//! Time of a plan by kernel.

use std::collections::BTreeMap;

use super::{Bench, Cell, Grid};
use crate::Result;
use crate::gpu::Plan;

/// Number and total seconds of a kernel's dispatches.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    dispatches: usize,
    seconds: f64,
}

impl Bench {
    /// Time of each kernel of a plan, in descending order; medians over the rounds. `None` where the device has no timestamps.
    pub(super) fn by_kernel(&self, title: String, plan: &Plan) -> Result<Option<Grid>> {
        let mut rounds = Vec::new();
        for _ in 0..self.sizes.rounds.max(1) {
            let Some(times) = self.timer.time_each(plan)? else { return Ok(None) };
            rounds.push(times);
        }
        let mut kernels: BTreeMap<&str, Share> = BTreeMap::new();
        for (at, label) in plan.labels().enumerate() {
            let mut times: Vec<_> = rounds.iter().map(|times| times[at]).collect();
            times.sort_unstable();
            let share = kernels.entry(label).or_default();
            share.dispatches += 1;
            share.seconds += times[times.len() / 2].as_secs_f64();
        }
        let all: f64 = kernels.values().map(|share| share.seconds).sum();
        let mut kernels: Vec<_> = kernels.into_iter().collect();
        kernels.sort_by(|(_, a), (_, b)| b.seconds.total_cmp(&a.seconds));
        let row = |(label, share): (&str, Share)| {
            vec![
                Cell::text(label.strip_prefix("fretwork.").unwrap_or(label)),
                Cell::text(share.dispatches.to_string()),
                Cell::Number(share.seconds * 1e6),
                Cell::Number(share.seconds / all),
            ]
        };
        Ok(Some(Grid {
            title,
            head: ["kernel", "dispatches", "\u{b5}s", "share"].map(str::to_owned).to_vec(),
            rows: kernels.into_iter().map(row).collect(),
        }))
    }
}
