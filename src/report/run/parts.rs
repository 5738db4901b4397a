//! Losses of parts that are trained by heads of their own.

use std::collections::BTreeMap;

use super::chart::{Across, Chart, SMALL, Series, Unit, extent};
use crate::report::{number, row, table};
use crate::train::EpochRecord;

/// Most parts that are drawn: the first ones.
const MOST_SHOWN: usize = 12;

/// A chart of each part's training loss over the epochs, all of one range; nothing for a network of one part.
pub(super) fn section(epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let parts = count(epochs);
    if parts == 0 {
        return String::new();
    }
    let points = |part: usize| -> Vec<[f64; 2]> {
        let loss = |(&done, epoch): (&u64, &EpochRecord)| Some([done as f64, *epoch.local.get(part)?]);
        epochs.iter().filter_map(loss).collect()
    };
    let all: Vec<_> = (0..parts).map(|part| Series { name: "train", points: points(part) }).collect();
    let [least, most] = extent(&all);
    let charts = all.into_iter().take(MOST_SHOWN).enumerate().map(|(part, series)| {
        let (title, note) =
            (format!("Part {part}"), if part + 1 == parts { "the output" } else { "its head" });
        let chart = Chart {
            title: &title,
            across: Across::Epochs,
            unit: Unit::Number,
            frame: &SMALL,
            range: [least.min(0.0), if most > 0.0 { most } else { 1.0 }],
            series: vec![series],
        };
        format!("<div><h4>{title} <small>{note}</small></h4>{}</div>\n", chart.svg())
    });
    format!(
        "<section><h2>Loss of each part <small>in training, means over an epoch</small></h2>\n<div class=\"card\">\
         <div class=\"three\">\n{}</div></div></section>\n",
        charts.collect::<String>()
    )
}

/// Table of every part's loss.
pub(super) fn numbers(epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let parts = count(epochs);
    if parts == 0 {
        return String::new();
    }
    let losses = |epoch: &EpochRecord| {
        (0..parts).map(|part| number(epoch.local.get(part).copied().unwrap_or(f64::NAN))).collect()
    };
    let rows = epochs.iter().map(|(done, epoch)| row(&done.to_string(), losses(epoch)));
    let names: Vec<String> = (0..parts).map(|part| format!("part {part}")).collect();
    let columns: Vec<&str> = ["epoch"].into_iter().chain(names.iter().map(String::as_str)).collect();
    table("Loss of each part", &columns, rows.collect())
}

/// Parts of the run.
fn count(epochs: &BTreeMap<u64, EpochRecord>) -> usize {
    epochs.values().map(|epoch| epoch.local.len()).max().unwrap_or(0)
}
