//! The program as a test runs it.

use std::process::{Command, Output};

/// Runs the program; the tuner's choices on this machine must not matter.
fn fretwork(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fretwork")).args(args).env("FRETWORK_TUNE", "off").output().unwrap()
}

/// What it prints, when it succeeds.
#[track_caller]
pub(crate) fn done(args: &[&str]) -> String {
    let output = fretwork(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says, when it refuses these words.
#[track_caller]
pub(crate) fn refusal(args: &str) -> String {
    let output = fretwork(&args.split_whitespace().collect::<Vec<_>>());
    assert!(!output.status.success(), "{args} should be refused");
    String::from_utf8(output.stderr).unwrap()
}
