//! Tasks that were learned one after the other: accuracy on each over the epochs, and what was forgotten.

use std::collections::BTreeMap;

use super::chart::{Across, Chart, SMALL, Series, Unit};
use crate::report::{number, row, table};
use crate::train::{EpochRecord, TaskScores};

/// Most tasks that are drawn: the first ones.
const MOST_SHOWN: usize = 12;

/// A chart for each task, and a table of what was forgotten; nothing for a run of all classes at once.
pub(super) fn section(epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let scores: Vec<(u64, &TaskScores)> =
        epochs.iter().filter_map(|(&done, epoch)| Some((done, &**epoch.tasks.as_ref()?))).collect();
    let Some((_, last)) = scores.last() else { return String::new() };
    let charts = (0..last.accuracy.len().min(MOST_SHOWN)).map(|task| {
        let points = scores.iter().filter_map(|(done, of)| Some([*done as f64, *of.accuracy.get(task)?]));
        let title = format!("Task {task}");
        let chart = Chart {
            title: &title,
            across: Across::Epochs,
            unit: Unit::Share,
            frame: &SMALL,
            range: [0.0, 1.0],
            series: vec![Series { name: "test", points: points.collect() }],
        };
        format!("<div><h4>{title}</h4>{}</div>\n", chart.svg())
    });
    let rows = (0..last.accuracy.len()).map(|task| {
        let of = |scores: &TaskScores| scores.accuracy.get(task).copied().unwrap_or(f64::NAN);
        // Of the epochs in which the task was the one that was learned, the last.
        let learned =
            scores.iter().rev().find(|(_, scores)| scores.task == task).map(|(_, scores)| of(scores));
        let forgotten = forgotten(&scores, task).map_or("\u{2013}".to_owned(), number);
        let cells = vec![number(learned.unwrap_or(f64::NAN)), number(of(last)), forgotten];
        row(&format!("task {task}"), cells)
    });
    let columns = ["", "accuracy when it was learned", "accuracy at the end", "forgotten"];
    let table = table("Forgetting", &columns, rows.collect());
    format!(
        "<section><h2>Tasks <small>test accuracy on the classes of each, among all classes; forgotten is the best accuracy of an \
         earlier epoch less that at the end</small></h2>\n<div class=\"card\"><div class=\"three\">\n{}</div>{table}</div></section>\n",
        charts.collect::<String>()
    )
}

/// What was forgotten of a task since it was learned: the best accuracy at an epoch before the last, less that at the last; `None` for
/// the task that was learned last.
fn forgotten(scores: &[(u64, &TaskScores)], task: usize) -> Option<f64> {
    let ((_, last), before) = scores.split_last()?;
    let learned = before.iter().filter(|(_, scores)| scores.task >= task && last.task > task);
    let best = learned.filter_map(|(_, scores)| scores.accuracy.get(task).copied()).max_by(f64::total_cmp)?;
    Some(best - last.accuracy.get(task)?)
}
