//! Heat maps of the experts' load over epochs.

use std::collections::BTreeMap;

use crate::report::{count, escape, percent};
use crate::train::EpochRecord;

/// Most columns of a heat map. Longer runs are sampled at even distances that end at the last epoch.
const COLUMNS: usize = 100;

/// Heat maps of all mixtures: experts by row, epochs by column, darkness by the expert's share of tokens.
pub(super) fn section(epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let Some((_, last)) = epochs.last_key_value() else { return String::new() };
    let cards: String = last.loads.iter().map(|load| card(epochs, &load.name)).collect();
    if cards.is_empty() { cards } else { format!("<section><h2>Experts</h2>\n{cards}</section>\n") }
}

/// Load of one epoch: each expert's share of the processed tokens, and the dropped share of all.
struct Shares {
    done: u64,
    taken: Vec<f64>,
    dropped: f64,
}

fn card(epochs: &BTreeMap<u64, EpochRecord>, name: &str) -> String {
    let all: Vec<Shares> = epochs.iter().filter_map(|(&done, epoch)| shares(done, epoch, name)).collect();
    let step = all.len().div_ceil(COLUMNS).max(1);
    let shown: Vec<&Shares> = all.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect();
    let experts = shown.iter().map(|shares| shares.taken.len()).max().unwrap_or(0);
    let darkest = shown.iter().flat_map(|shares| &shares.taken).copied().fold(0.0, f64::max);
    if experts == 0 || darkest == 0.0 {
        return String::new();
    }
    let mut cells = String::new();
    for (column, shares) in shown.iter().enumerate() {
        for (expert, &share) in shares.taken.iter().enumerate() {
            cells += &format!(
                "<path class=\"stored\" fill-opacity=\"{:.3}\" d=\"M{column} {expert}h1v1h-1z\"><title>epoch {}, \
                 expert {expert}: {} of tokens</title></path>",
                share / darkest,
                shares.done,
                percent(share)
            );
        }
    }
    let (columns, last) = (shown.len(), &shown[shown.len() - 1]);
    let [least, most] =
        [f64::min as fn(f64, f64) -> f64, f64::max].map(|pick| last.taken.iter().copied().reduce(pick));
    let [least, most] = [least, most].map(|share| percent(share.unwrap_or(0.0)));
    // Rows stay visible with few experts, and the picture fits a screen with many.
    let height = 12 * experts.clamp(8, 64);
    format!(
        "<div class=\"card\"><h3>{} <small>{} experts; in the last epoch from {least} to {most} of the tokens, {} \
         dropped</small></h3>\n<svg viewBox=\"0 0 {columns} {experts}\" preserveAspectRatio=\"none\" width=\"100%\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}: the share of tokens of each expert, epoch by epoch\"><path \
         class=\"absent\" d=\"M0 0h{columns}v{experts}h-{columns}z\"/>{cells}</svg>\n<p><small>Experts from top to \
         bottom, epochs from left to right; the darkest cell is {} of the tokens, an equal share is {}.</small></p></div>\n",
        escape(name),
        count(experts),
        percent(last.dropped),
        escape(name),
        percent(darkest),
        percent(1.0 / experts as f64)
    )
}

fn shares(done: u64, epoch: &EpochRecord, name: &str) -> Option<Shares> {
    let load = epoch.loads.iter().find(|load| load.name == name)?;
    let [taken, dropped] =
        [&load.taken, &load.dropped].map(|words| words.iter().map(|&word| f64::from(word)).sum::<f64>());
    if taken + dropped == 0.0 {
        return None;
    }
    let share = |&tokens: &u32| f64::from(tokens) / taken.max(1.0);
    Some(Shares { done, taken: load.taken.iter().map(share).collect(), dropped: dropped / (taken + dropped) })
}
