//! Python with packages of PyPI, in the virtual environment that `scripts/setup test` makes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment's Python, where it has a module; its absence is said.
pub(crate) fn with(module: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python/bin/python");
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("SKIPPED: {module} is not there; `scripts/setup test` installs it where PyPI can be reached");
    None
}

/// Output of a program.
pub(crate) fn run(python: &Path, program: &str, arguments: &[&Path]) -> String {
    let output = Command::new(python).args(["-c", program]).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
