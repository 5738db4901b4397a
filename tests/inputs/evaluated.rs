//! `evaluate` and `predict` read data as the run did: validation rows set aside, images resized, classes by their names.

use std::path::Path;

use serde_json::Value;

use super::{done, summary};

/// Metrics of a run on its own test rows, or on other data.
fn evaluate(run: &str, data: &[&str]) -> Value {
    serde_json::from_slice(&done(&[&["evaluate", run, "--json"], data].concat()).stdout).unwrap()
}

#[track_caller]
fn assert_near(found: &Value, wanted: &Value) {
    let [found, wanted] = [found, wanted].map(|number| number.as_f64().unwrap());
    assert!((found - wanted).abs() < 1e-5 * wanted.abs().max(1.0), "{found} is not {wanted}");
}

#[test]
fn own_test_rows_are_those_of_a_run_with_validation() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").display().to_string();
    let line = ["train", "--json", "--rows", "600", "--test-rows", "300", "--epochs", "2", "--hidden", "64"];
    let told = summary(&done(&[&line[..], &["--validation", "0.2", "--out", &run]].concat()));
    let found = evaluate(&run, &[]);
    assert_near(&found["accuracy"], &told["test_accuracy"]);
    assert_near(&found["loss"], &told["test_loss"]);
    assert_eq!(found["rows"], 300);
}

/// A table to validate on is read by the encoding of the table to train on, and R² is by the variance of its own values.
#[test]
fn another_table_is_validated_on() {
    let folder = tempfile::tempdir().unwrap();
    let table = |name: &str, rows: std::ops::Range<u32>| {
        let row = |i: u32| format!("{},{},{}\n", i % 17, i % 5, 100 + 3 * (i % 17) + i % 5);
        let text: String = rows.map(row).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, format!("a,b,price\n{text}")).unwrap();
        path.display().to_string()
    };
    // Its targets vary less than those of the test rows.
    let (first, other) = (table("first.csv", 0..300), table("other.csv", 0..6));
    let run = folder.path().join("run").display().to_string();
    let (data, validation) = (format!("csv:{first}"), format!("csv:{other}"));
    let line =
        ["train", "--json", "--data", &data, "--task", "regression", "--epochs", "20", "--hidden", "64"];
    let told = summary(&done(&[&line[..], &["--validation", &validation, "--out", &run]].concat()));
    let last = &told["validation"]["last"];
    let found = evaluate(&run, &[&other]);
    assert_near(&last["rmse"], &found["rmse"]);
    assert_near(&last["r2"], &found["r2"]);
    let own = evaluate(&run, &[]);
    assert_near(&told["test_r2"], &own["r2"]);
    assert_near(&told["test_rmse"], &own["rmse"]);
}

/// An IDX file of bytes with these sides.
fn idx(path: &Path, sides: &[u32], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, sides.len() as u8];
    sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

/// Labels from 1, as EMNIST's letters have: predictions are labels, not numbers of classes.
#[test]
fn classes_are_called_by_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (part, count) in [("train", 90u32), ("t10k", 30)] {
        let labels: Vec<u8> = (0..count).map(|row| 1 + 2 * (row % 3) as u8).collect();
        let pixels: Vec<u8> = labels.iter().flat_map(|&label| [label * 40; 16]).collect();
        idx(&path(&format!("{part}-images-idx3-ubyte")), &[count, 4, 4], &pixels);
        idx(&path(&format!("{part}-labels-idx1-ubyte")), &[count], &labels);
    }
    let run = path("run").display().to_string();
    let data = format!("idx:{}", folder.path().display());
    done(&["train", "--data", &data, "--hidden", "32", "--dense", "--epochs", "300", "--out", &run]);
    let found = evaluate(&run, &[]);
    assert!(found["names"] == serde_json::json!(["1", "3", "5"]) && found["accuracy"] == 1.0, "{found}");
    idx(&path("new"), &[2, 4, 4], &[[200; 16], [40; 16]].concat());
    let said = done(&["predict", &run, &path("new").display().to_string()]).stdout;
    assert_eq!(String::from_utf8(said).unwrap(), "prediction\n5\n1\n");
}
