//! The program tunes by default and can be told not to.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::file_in;

fn fretwork(cache: &Path, arguments: &[&str], tune: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    command
        .args(arguments)
        .env("FRETWORK_CACHE", cache)
        .env_remove("FRETWORK_TUNE")
        .env_remove("FRETWORK_VARIANT");
    command.envs(tune.map(|tune| ("FRETWORK_TUNE", tune)));
    command.output().unwrap()
}

const SHORT: [&str; 7] = ["train", "--steps", "1", "--hidden", "32", "--block", "16"];

/// The program tunes without being asked, says where, and leaves no file where it is told not to.
#[test]
fn the_program_tunes_unless_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("some/where");
    assert!(fretwork(&cache, &[&SHORT[..], &["--no-tune"]].concat(), None).status.success());
    assert!(fretwork(&cache, &SHORT, Some("off")).status.success());
    assert!(!cache.exists(), "what is off has written something");
    let wrong = fretwork(&cache, &SHORT, Some("perhaps"));
    assert!(!wrong.status.success());
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("FRETWORK_TUNE") && said.contains("perhaps"), "{said}");

    assert!(fretwork(&cache, &SHORT, Some("on")).status.success());
    let file = file_in(&cache);
    let doctor = fretwork(&cache, &["doctor", "--only", "fill.words"], None);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

/// Processes that tune at the same time lose nothing of each other's.
#[test]
fn programs_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let widths = ["16", "64", "256"];
    std::thread::scope(|scope| {
        for width in widths {
            let cache = folder.path();
            scope.spawn(move || {
                let run = fretwork(cache, &["train", "--steps", "1", "--hidden", width], Some("on"));
                assert!(run.status.success(), "{run:?}");
            });
        }
    });
    let value: Value = serde_json::from_slice(&std::fs::read(file_in(folder.path())).unwrap()).unwrap();
    let has = |logarithm: u64| {
        let of = |line: &Value| line["class"]["sizes"].as_array().unwrap().contains(&logarithm.into());
        value["choices"].as_array().unwrap().iter().any(of)
    };
    // Whatever the time allows, the first kernel of each is measured, which has the width.
    assert!([4, 8].into_iter().all(has), "{value}");
}

#[test]
fn a_folder_that_cannot_be_written_is_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder should be: nobody can write below it, whatever they may do elsewhere.
    let cache = folder.path().join("file");
    std::fs::write(&cache, "").unwrap();
    let run = fretwork(&cache, &SHORT, None);
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(said.contains("note: ") && said.contains("cannot be written"), "{said}");
}
