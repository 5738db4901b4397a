//! Tables of a run: its steps and its rows, as Markdown and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::results::{Outcome, Results, Taken};
use super::rows::{ROWS, Verdict};
use super::steps::{Program, STEPS, step};

/// Table of the steps.
pub(crate) fn steps(results: &Results) -> String {
    let mut text = "| step | outcome | seconds | found |\n| --- | --- | ---: | --- |\n".to_owned();
    for taken in &results.steps {
        text.push_str(&step_line(results, taken));
    }
    text
}

/// Line of the table of steps.
pub(crate) fn step_line(results: &Results, taken: &Taken) -> String {
    let outcome = match &taken.outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Failed { why } => format!("failed, {why}"),
        Outcome::Cut { after } => format!("cut after {after:.0} s"),
        Outcome::NotRun { why } => format!("not run: {why}"),
    };
    format!("| {} | {outcome} | {:.1} | {} |\n", taken.step, taken.seconds, found(results, &taken.step))
}

/// Table of the rows, with a count of each verdict.
pub(crate) fn rows(results: &Results) -> String {
    let verdicts = ROWS.each_ref().map(|row| row.verdict(results));
    let mut text = "| what | at least | measured | verdict |\n| --- | --- | ---: | --- |\n".to_owned();
    for (row, verdict) in ROWS.iter().zip(&verdicts) {
        let figure = verdict.figure().map_or_else(String::new, |figure| row.bar.show(figure));
        let reason = verdict.reason().map_or_else(String::new, |reason| format!(": {reason}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {} | {figure} | {}{reason} |", row.what, row.bar, verdict.name());
    }
    let count = |name| verdicts.iter().filter(|verdict| verdict.name() == name).count();
    let counts = ["reached", "missed", "cut", "not run"].map(|name| format!("{} {name}", count(name)));
    let _ = writeln!(text, "\n{} of {} rows.", counts.join(", "), ROWS.len());
    text
}

/// Steps and rows as JSON.
pub(crate) fn to_json(results: &Results) -> Value {
    let row = |row: &super::rows::Row| {
        let verdict = row.verdict(results);
        json!({
            "what": row.what, "bar": row.bar.to_string(), "measured": verdict.figure(), "verdict": verdict.name(),
            "reason": verdict.reason(),
        })
    };
    json!({ "steps": results.steps, "rows": ROWS.iter().map(row).collect::<Vec<_>>() })
}

/// Targets and steps as they stand in `results/gpu.md`.
pub(crate) fn targets() -> String {
    let mut text = "| what | at least | steps |\n| --- | --- | --- |\n".to_owned();
    for row in &ROWS {
        let _ = writeln!(text, "| {} | {} | {} |", row.what, row.bar, row.steps.join(", "));
    }
    text.push_str("\n| step | seconds | command |\n| --- | ---: | --- |\n");
    for step in &STEPS {
        let _ = writeln!(text, "| {} | {} | `{}` |", step.name, step.seconds, step.command());
    }
    text
}

/// What a step found, in a few words; of a step that was cut, up to then.
fn found(results: &Results, name: &str) -> String {
    let Some(step) = step(name) else { return String::new() };
    let lines = results.lines(name);
    let of = |kind: &str| lines.iter().filter(|line| line["event"] == kind).collect::<Vec<_>>();
    if step.is_bench() {
        return results.subjects(name).join(", ");
    }
    if step.program == Program::Torch {
        return match results.baselines(name) {
            [0, 0] => String::new(),
            [timed, refused] => format!("{timed} timings, {refused} refused"),
        };
    }
    match name {
        "adapters" => {
            of("adapter").iter().filter_map(|line| line["name"].as_str()).collect::<Vec<_>>().join(", ")
        }
        "doctor" => {
            let checks = of("check");
            let wrong: Vec<_> = checks.iter().filter(|line| line["right"] == false).collect();
            let names: Vec<_> = wrong.iter().take(5).filter_map(|line| line["kernel"].as_str()).collect();
            let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
            if checks.is_empty() {
                String::new()
            } else {
                format!("{} checks, {} wrong{names}", checks.len(), wrong.len())
            }
        }
        _ => {
            // A training that is asked to end tests once more and says that it is done.
            let (epochs, done) = (of("epoch"), of("done"));
            let accuracy = done.last().map(|line| &line["test_accuracy"]);
            let accuracy = accuracy.or_else(|| epochs.last().map(|line| &line["test"]["accuracy"]));
            let when = match results.outcome(name) {
                Outcome::Done => String::new(),
                _ => format!(", ended in epoch {}", epochs.len() + 1),
            };
            let accuracy = accuracy.and_then(Value::as_f64);
            accuracy.map_or_else(String::new, |accuracy| format!("test accuracy {accuracy:.3}{when}"))
        }
    }
}

/// Whether everything was measured: no step failed, and no row was cut.
pub(crate) fn is_whole(results: &Results) -> bool {
    let failed = results.steps.iter().any(|taken| matches!(taken.outcome, Outcome::Failed { .. }));
    !failed && !ROWS.iter().any(|row| matches!(row.verdict(results), Verdict::Cut { .. }))
}
