//! The file of choices: damaged, foreign, or written by several processes at once.

use std::path::{Path, PathBuf};

use fretwork::gpu::{ShapeClass, Variant, Verdict};
use fretwork::tune::Tuner;
use serde_json::Value;

use super::{file_in, found, gpu, in_folder, record_product};

/// Choices of this device as they are in a file, for tests to damage.
fn written(folder: &Path) -> (Vec<(ShapeClass, Verdict)>, PathBuf) {
    let gpu = gpu();
    let mut tuner = Tuner::open(&gpu, in_folder(folder));
    record_product(&gpu, [32, 32, 32]);
    assert_eq!(tuner.measure(&mut |_| true).unwrap(), 1);
    (gpu.choices(), file_in(folder))
}

#[test]
fn a_file_that_is_damaged_foreign_or_newer_is_passed_by_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (choices, path) = written(folder.path());
    let good = std::fs::read_to_string(&path).unwrap();
    let value: Value = serde_json::from_str(&good).unwrap();
    let with = |name: &str, put: Value| {
        let mut value = value.clone();
        value[name] = put;
        value.to_string()
    };
    let mut owner = value["owner"].clone();
    owner["driver"] = "another".into();
    let bad = [
        ("damaged", String::new()),
        ("damaged", "\0\0\0\0".to_owned()),
        ("damaged", good[..good.len() / 2].to_owned()),
        ("damaged", good[..good.len() - 2].to_owned()),
        ("another version", "[]".to_owned()),
        ("another version", with("format", 1.into())),
        ("another version", with("format", 3.into())),
        ("another version", with("format", "2".into())),
        ("damaged", with("choices", 7.into())),
        ("damaged", with("owner", Value::Null)),
        ("another device", with("owner", owner)),
    ];
    for (why, text) in bad {
        std::fs::write(&path, &text).unwrap();
        let gpu = gpu();
        let mut tuner = Tuner::open(&gpu, in_folder(folder.path()));
        assert!(gpu.choices().is_empty(), "{text}");
        let notices = tuner.take_notices();
        assert!(notices.len() == 1 && notices[0].contains(why), "{text}: {notices:?}");
        record_product(&gpu, [32, 32, 32]);
        assert_eq!(tuner.measure(&mut |_| true).unwrap(), 1);
        assert!(tuner.take_notices().is_empty());
        let keys =
            |choices: &[(ShapeClass, Verdict)]| choices.iter().map(|(class, _)| *class).collect::<Vec<_>>();
        let again = Tuner::open(&gpu, in_folder(folder.path())).take_notices();
        assert!(again.is_empty() && keys(&gpu.choices()) == keys(&choices), "{again:?}");
    }
}

/// A line that this version does not know costs that line and no other; a variant that the device lacks is no choice.
#[test]
fn lines_that_make_no_sense_here_are_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let (choices, path) = written(folder.path());
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let line = value["choices"][0].clone();
    let mut unknown = line.clone();
    unknown["choice"] = "warp".into();
    let mut strange = line.clone();
    strange["class"]["family"] = "dsdsd".into();
    value["choices"] = vec![unknown, Value::Null, strange, line].into();
    std::fs::write(&path, value.to_string()).unwrap();
    let gpu = gpu();
    assert!(Tuner::open(&gpu, in_folder(folder.path())).take_notices().is_empty());
    assert_eq!(gpu.choices(), choices);

    if gpu.runs(Variant::Wave) {
        // Without subgroups there is no wave.
        println!("SKIPPED: this adapter has every variant");
        return;
    }
    value["choices"][3]["choice"] = "wave".into();
    std::fs::write(&path, value.to_string()).unwrap();
    let gpu = self::gpu();
    Tuner::open(&gpu, in_folder(folder.path()));
    assert!(gpu.choices().is_empty());
}

/// Files that many write at once are whole whenever they are read, and nothing is lost.
#[test]
fn writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (each, writers) = (12, 6);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let folder = folder.path();
            scope.spawn(move || {
                let gpu = gpu();
                for turn in 0..each {
                    let mut tuner = Tuner::open(&gpu, in_folder(folder));
                    tuner.keep(&[found(writer * each + turn)]);
                    let notices = tuner.take_notices();
                    assert!(notices.is_empty(), "{notices:?}");
                }
            });
        }
        let folder = folder.path();
        scope.spawn(move || {
            let gpu = gpu();
            for _ in 0..100 {
                let notices = Tuner::open(&gpu, in_folder(folder)).take_notices();
                assert!(notices.is_empty(), "a torn file: {notices:?}");
            }
        });
    });
    let gpu = gpu();
    Tuner::open(&gpu, in_folder(folder.path()));
    let mut wanted: Vec<_> = (0..writers * each).map(found).collect();
    wanted.sort_by_key(|(class, _)| *class);
    assert_eq!(gpu.choices(), wanted);
}
