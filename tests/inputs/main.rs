//! Inputs of a run and its reports: texts, images, validation, and the page of a run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod evaluated;
mod first_layer;
mod image_files;
mod images;
mod refusals;
mod texts;
mod validation;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// `fretwork` with these arguments, without tuning.
fn fretwork(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    command.args(args).env("FRETWORK_TUNE", "off");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to the end.
#[track_caller]
fn done(args: &[&str]) -> Output {
    let output = fretwork(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
}

/// Runs to an error, and returns what it says.
#[track_caller]
fn refusal(args: &[&str]) -> String {
    let output = fretwork(args).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?} should fail: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// The lines of a run's log of one kind.
fn log(run: &Path, event: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// The last line of the output of `--json`.
fn summary(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "done");
    last
}
