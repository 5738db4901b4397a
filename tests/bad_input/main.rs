//! Errors of the program for invalid input: a message that names the input, an exit code, no panic, and files left intact.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod data;
mod options;
mod runs;

use std::process::{Command, Output};

/// `fretwork` with these arguments, without tuning.
fn fretwork(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    // Tuning takes time, and changes no message.
    command.args(args).env("FRETWORK_TUNE", "off");
    command
}

/// `fretwork train --json` with these arguments.
fn train(args: &[&str]) -> Command {
    let mut command = fretwork(&["train", "--json"]);
    command.args(args);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that a command fails, without a panic or a signal, with `wanted` in its message.
#[track_caller]
fn assert_refused(mut command: Command, wanted: &str) {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert!(!output.status.success(), "{command:?} should fail");
    assert!(output.status.code().is_some(), "{command:?} was killed: {said}");
    assert!(said.contains(wanted), "{command:?} says {said:?}, should say {wanted:?}");
    assert!(!said.contains("panicked"), "{said}");
}
