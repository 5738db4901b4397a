//! Charts over steps: loss, learning rate and time, by the reports of progress within epochs.

use std::collections::BTreeMap;

use super::chart::{Across, Chart, STEPS, Series, Unit, extent};
use crate::report::{number, row, table};

/// Most points of a curve. Longer runs are averaged over neighbouring reports.
const POINTS: usize = 300;

/// Quantity of a step: name, and explanation.
const QUANTITIES: [(&str, &str); 3] = [
    ("Training loss", "mean since the report before"),
    ("Learning rate", "of the step"),
    ("Time per step", "in milliseconds, likewise"),
];

/// Reports of steps, by the steps done, each of loss, learning rate and milliseconds.
pub(super) type Reports = BTreeMap<u64, [f64; 3]>;

/// Charts of all quantities; nothing for a log without reports.
pub(super) fn section(reports: &Reports) -> String {
    if reports.is_empty() {
        return String::new();
    }
    let points = points(reports);
    let charts = QUANTITIES.iter().enumerate().map(|(index, &(name, note))| {
        let points = points.iter().map(|(step, values)| [*step as f64, values[index]]).collect();
        let series = vec![Series { name, points }];
        let [least, most] = extent(&series);
        let chart = Chart {
            title: name,
            across: Across::Steps,
            unit: Unit::Number,
            frame: &STEPS,
            range: [least.min(0.0), if most > 0.0 { most } else { 1.0 }],
            series,
        };
        format!("<div><h4>{name} <small>{note}</small></h4>{}</div>\n", chart.svg())
    });
    let charts: String = charts.collect();
    format!(
        "<section><h2>Steps</h2>\n<div class=\"card\"><div class=\"three\">\n{charts}</div></div></section>\n"
    )
}

/// Table of every point that is drawn.
pub(super) fn numbers(reports: &Reports) -> String {
    if reports.is_empty() {
        return String::new();
    }
    let rows = points(reports)
        .iter()
        .map(|(step, values)| row(&step.to_string(), values.map(number).to_vec()))
        .collect();
    table("Steps", &["step", "training loss, nats", "learning rate", "ms per step"], rows)
}

/// The reports, or the means of as many neighbouring ones as leave [`POINTS`] points, each at its last step.
fn points(reports: &Reports) -> Vec<(u64, [f64; 3])> {
    let all: Vec<_> = reports.iter().collect();
    let mean = |group: &[(&u64, &[f64; 3])]| {
        let sums = group
            .iter()
            .fold([0.0; 3], |sums, (_, values)| [0, 1, 2].map(|index| sums[index] + values[index]));
        (*group[group.len() - 1].0, sums.map(|sum| sum / group.len() as f64))
    };
    all.chunks(all.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_averaged() {
        let reports =
            |count: u64| (1..=count).map(|step| (step, [step as f64, 1.0, 2.0])).collect::<Reports>();
        assert_eq!(points(&reports(300)).len(), 300);
        let points = points(&reports(601));
        assert_eq!(
            (points.len(), points[0], points[200]),
            (201, (3, [2.0, 1.0, 2.0]), (601, [601.0, 1.0, 2.0]))
        );
    }
}
