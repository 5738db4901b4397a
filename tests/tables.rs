//! Tables as people have them: from a CSV file to predictions, by the program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fretwork(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
    command.args(arguments).env("FRETWORK_TUNE", "off").output().unwrap()
}

#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    let output = fretwork(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(arguments: &[&str], wanted: &str) {
    let output = fretwork(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} is not refused");
    assert!(said.contains(wanted), "{arguments:?}: {said}");
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Options of a run of seconds.
const SHORT: [&str; 8] = ["--hidden", "32", "--block", "8", "--dense", "--epochs", "80", "--no-tune"];

/// Trains on a table in the folder, into `run`; the last line of its JSON.
#[track_caller]
fn train(folder: &Path, table: &Path, more: &[&str]) -> Value {
    let (data, run) = (format!("csv:{}", table.display()), folder.join("run"));
    let run = run.to_str().unwrap();
    let arguments = [&["train", "--data", &data, "--out", run, "--json"], &SHORT[..], more].concat();
    serde_json::from_str(succeed(&arguments).lines().last().unwrap()).unwrap()
}

/// A label of words before three columns, the last of which is noise: what a measurement is decides its class.
fn kinds(rows: usize) -> String {
    let mut text = "species;length;colour;noise\n".to_owned();
    for row in 0..rows {
        let (kind, length, colour) = match row % 3 {
            0 => ("oak", 1.0, "green"),
            1 => ("elm", 2.0, "green"),
            _ => ("ash", 2.0, "grey"),
        };
        let length = (length + (row * 37 % 100) as f64 / 400.0).to_string().replace('.', ",");
        text += &format!("{kind};{length};{colour};{}\n", row * 7919 % 10);
    }
    text
}

/// A label first, of words; semicolons, decimal commas and a category: `train`, `evaluate` and `predict` by one command each.
/// Columns are matched by name in any order, with or without the label.
#[test]
fn from_a_table_to_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let table = write(folder.path(), "trees.csv", &kinds(300));
    let done = train(folder.path(), &table, &[]);
    assert!(done["test_accuracy"].as_f64().unwrap() > 0.95, "{done}");

    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let own: Value = serde_json::from_str(&succeed(&["evaluate", run, "--json"])).unwrap();
    let agree = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5;
    assert!(agree(&own["accuracy"], &done["test_accuracy"]), "{own} {done}");
    assert!(agree(&own["loss"], &done["test_loss"]), "{own} {done}");

    let rows = "noise,colour,length\n3,green,1.05\n3,grey,2.1\n9,green,2.2\n";
    let rows = write(folder.path(), "rows.csv", rows);
    let rows = rows.to_str().unwrap();
    let found = succeed(&["predict", run, rows]);
    assert_eq!(found.lines().collect::<Vec<_>>(), ["prediction", "oak", "ash", "elm"]);
    let table = table.to_str().unwrap();
    assert_eq!(succeed(&["predict", run, table]).lines().count(), 301);

    let out = folder.path().join("out.csv");
    succeed(&["predict", run, rows, "--proba", "--out", out.to_str().unwrap()]);
    let found = std::fs::read_to_string(&out).unwrap();
    for line in found.lines().skip(1) {
        let sum: f64 = line.split(',').map(|part| part.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{found}");
    }

    let wrong = |name: &str, text: &str| write(folder.path(), name, text).to_str().unwrap().to_owned();
    let missing = wrong("missing.csv", "noise,length\n3,1.05\n");
    refused(&["predict", run, &missing], "colour");
    let unknown = wrong("unknown.csv", "noise,colour,length\n3,purple,1.05\n");
    refused(&["predict", run, &unknown], "purple");
    refused(&["predict", run, &missing, "--out", out.to_str().unwrap()], "colour");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), found, "a refusal leaves the file as it was");
}

/// Labels that are whole numbers are the classes that occur; a single class is refused, and so are missing values, by place.
#[test]
fn labels_and_missing_values() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..200).map(|row| format!("{},{}\n", row % 2, [100, 65_000][row % 2])).collect();
    let table = write(folder.path(), "codes.csv", &rows);
    assert!(train(folder.path(), &table, &[])["test_accuracy"].as_f64().unwrap() > 0.95);
    let run = folder.path().join("run");
    let row = write(folder.path(), "row.csv", "1\n0\n");
    let found = succeed(&["predict", run.to_str().unwrap(), row.to_str().unwrap()]);
    assert_eq!(found.lines().collect::<Vec<_>>(), ["prediction", "65000", "100"]);

    let data = |text: &str| format!("csv:{}", write(folder.path(), "bad.csv", text).display());
    let one = data(&"1,2,7\n2,3,7\n".repeat(20));
    refused(&["train", "--data", &one], "all rows have the label \"7\"");
    // A first row with an empty field is a row, and not a header.
    let missing = data(&format!("\u{feff},2,0\n{}", "1,2,0\n2,3,1\n".repeat(20)));
    refused(&["train", "--data", &missing], "line 1");
    let filled = [&["train", "--data", &missing, "--missing", "mean"], &SHORT[..]].concat();
    succeed(&filled);
    refused(&["train", "--data", &one, "--label", "weight"], "weight");
}

/// Prices are values: RMSE in their units and R², in place of accuracy.
#[test]
fn a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..400)
        .map(|row| {
            let (area, floor) = (f64::from(row % 20), f64::from(row / 20));
            format!("{area},{floor},{}\n", 1000.0 + 50.0 * area - 20.0 * floor)
        })
        .collect();
    let table = write(folder.path(), "prices.csv", &format!("area,floor,price\n{rows}"));
    let done = train(folder.path(), &table, &["--task", "regression"]);
    assert!(done["test_r2"].as_f64().unwrap() > 0.95, "{done}");
    let rmse = done["test_rmse"].as_f64().unwrap();
    assert!(rmse > 0.0 && rmse < 80.0, "{done}");
    assert!(done.get("test_accuracy").is_none_or(Value::is_null), "{done}");
    let run = folder.path().join("run");
    let row = write(folder.path(), "row.csv", "area,floor\n10,10\n");
    let found = succeed(&["predict", run.to_str().unwrap(), row.to_str().unwrap()]);
    let price: f64 = found.lines().nth(1).unwrap().parse().unwrap();
    assert!((price - 1300.0).abs() < 100.0, "{found}");
}
