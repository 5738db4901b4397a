//! Kernels pass a real GPU's compiler, within the bars of `isa`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

/// Runs `isa`; `None`, said, where Mesa has no null hardware.
fn isa(arguments: &[&str]) -> Option<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_isa")).args(arguments).output().unwrap();
    if output.status.code() == Some(3) {
        println!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

/// Registers, workgroup memory and hot loops of the kernels that take most of a step.
#[test]
fn hot_kernels_on_navi31() {
    let Some(output) = isa(&["--family", "navi31"]) else { return };
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{table}");
    assert!(table.lines().count() > 60, "{table}");
}
