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

/// Every rule of the hot families, eight permutations each, on four generations of GPUs: no kernel is refused, and none spills.
#[test]
#[ignore = "half an hour of processor time"]
fn permutations_on_all_families() {
    for family in ["navi21", "navi31", "vega20", "gfx1201"] {
        let Some(output) = isa(&["--family", family, "--all", "8", "--spills"]) else { return };
        let table = String::from_utf8(output.stdout).unwrap();
        let missed: Vec<_> = table.lines().filter(|line| !line.ends_with("|  |")).collect();
        assert!(output.status.success(), "{family}:\n{}", missed.join("\n"));
        assert!(table.lines().count() > 350, "{family}: {} kernels", table.lines().count());
    }
}
