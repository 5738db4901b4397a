//! Tables as people have them: trained on, evaluated and predicted from, by one command each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fretwork::data::{
    ColumnKind, Dataset, Encoding, Label, LoadOptions, Missing, Source, TableOptions, TargetKind, Task,
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with tables and runs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).env("FRETWORK_TUNE", "off");
        command.output().unwrap()
    }

    /// The standard output of a command that succeeds.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The summary of a run.
    #[track_caller]
    fn train(&self, line: &str) -> Value {
        let said = self.done(&format!("train --json {line}"));
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }

    /// The message of a command that is refused.
    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && !said.contains("panicked"), "{line}: {said}");
        said
    }
}

fn load_with(text: &str, options: &TableOptions) -> fretwork::Result<Dataset> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let options = LoadOptions { seed: 1, table: options.clone(), ..LoadOptions::default() };
    Dataset::load_with(&Source::Csv(file.path().to_owned()), &options)
}

fn load(text: &str) -> Dataset {
    load_with(text, &TableOptions::default()).unwrap()
}

#[track_caller]
fn refusal(text: &str, options: &TableOptions) -> String {
    load_with(text, options).unwrap_err().to_string()
}

fn labelled(label: Label) -> TableOptions {
    TableOptions { label, ..TableOptions::default() }
}

/// Column names, and names of the classes.
fn columns(data: &Dataset) -> (Vec<String>, Vec<String>) {
    let Some(Encoding::Table(table)) = &data.encoding else { panic!("no table") };
    (table.columns.iter().map(|column| column.name.clone()).collect(), table.classes().to_vec())
}

fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(|index| row(index) + "\n").collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_label_is_named_placed_or_found() {
    let text = format!("label,a,b\n{}", rows(20, |i| format!("{},{},{}", i % 2, i * i, 7)));
    let (found, classes) = columns(&load(&text));
    assert_eq!((found, classes), (names(&["a", "b"]), names(&["0", "1"])));
    // Of two names of a label neither counts, so the last column is the label, which has one class.
    let two = text.replace("label,a,b", "label,a,class");
    let said = refusal(&two, &TableOptions::default());
    assert!(said.contains("all rows have the label \"7\" in column \"class\""), "{said}");
    for label in [Label::First, Label::Place(1), Label::Name("label".to_owned())] {
        assert_eq!(columns(&load_with(&two, &labelled(label)).unwrap()).1, names(&["0", "1"]));
    }
    let said = refusal(&text, &labelled(Label::Name("c".to_owned())));
    assert!(said.starts_with("label: no column is named \"c\"") && said.contains("label, a, b"), "{said}");
    assert!(refusal(&text, &labelled(Label::Place(4))).contains("4 is no column of"));
    // Beside an x, y is a coordinate.
    let text = format!("x,y,z\n{}", rows(20, |i| format!("{},{},{}", i * i, i, i % 2)));
    assert_eq!(columns(&load(&text)).0, names(&["x", "y"]));
    assert_eq!(
        columns(
            &load_with(
                &text.replace("x,", "w,"),
                &TableOptions { task: Some(Task::Regression), ..TableOptions::default() }
            )
            .unwrap()
        )
        .0,
        names(&["w", "z"])
    );
    // Without a header the last column is the label.
    assert_eq!(columns(&load(&rows(20, |i| format!("{},{}", i * i, i % 3)))).1, names(&["0", "1", "2"]));
}

/// No row is taken for a header and lost.
#[test]
fn a_header_is_one_and_a_row_is_none() {
    let body = rows(20, |i| format!("{},{},{}", i * i, i % 7, i % 2));
    let mean = TableOptions { missing: Missing::Mean, ..TableOptions::default() };
    for (first, header) in [
        ("", false),
        ("\u{FEFF}3,1,0\n", false),
        (",3,0\n", false),
        ("NA,3,0\n", false),
        ("a,b,c\n", true),
        ("\u{FEFF}a,b,c\n", true),
        (",b,c\n", true),
        ("0,1,target\n", true),
    ] {
        let data = load_with(&format!("{first}{body}"), &mean).unwrap();
        let found = data.train.rows() + data.test.rows();
        assert_eq!(found, 20 + usize::from(!header && !first.is_empty()), "{first:?}");
        let Some(Encoding::Table(table)) = &data.encoding else { panic!("no table") };
        assert_eq!(table.header, header, "{first:?}");
    }
    // A table of words alone: the first row shows as a header where its words do not occur below.
    let words = rows(20, |i| format!("{},{}", ["red", "blue"][i % 2], ["yes", "no"][i / 2 % 2]));
    assert_eq!(load(&format!("colour,play\n{words}")).train.rows(), 16);
    assert_eq!(load(&format!("red,no\n{words}")).train.rows(), 17);
}

#[test]
fn classes_are_those_that_occur_with_their_names() {
    for (labels, wanted) in [
        (["100", "65000", "100"], names(&["100", "65000"])),
        (["1", "2", "3"], names(&["1", "2", "3"])),
        (["10", "9", "1.0"], names(&["1", "9", "10"])),
        (["setosa", "\"a, b\"", "setosa"], names(&["a, b", "setosa"])),
    ] {
        let data = load(&rows(30, |i| format!("{},{}", i * i, labels[i % 3])));
        assert_eq!((data.classes, columns(&data).1), (wanted.len(), wanted));
    }
}

#[test]
fn missing_values_are_refused_dropped_or_filled() {
    let text = format!(
        "a,colour,class\n{}",
        rows(20, |i| match i {
            3 => "?,red,x".to_owned(),
            4 => "5,NA,y".to_owned(),
            _ => format!("{},{},{}", i * i, ["red", "blue"][i % 2], ["x", "y"][i % 2]),
        })
    );
    let with = |missing| TableOptions { missing, ..TableOptions::default() };
    let said = refusal(&text, &with(Missing::Refuse));
    assert!(said.contains("line 5: column \"a\" has no value; give --missing drop"), "{said}");
    let dropped = load_with(&text, &with(Missing::Drop)).unwrap();
    assert_eq!(dropped.train.rows() + dropped.test.rows(), 18);
    let filled = load_with(&text, &with(Missing::Mean)).unwrap();
    assert_eq!(filled.train.rows() + filled.test.rows(), 20);
    let Some(Encoding::Table(table)) = &filled.encoding else { panic!("no table") };
    let ColumnKind::Categories { names: found, shares } = &table.columns[1].kind else {
        panic!("no categories")
    };
    assert_eq!(found, &names(&["blue", "red"]));
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // A label is never filled in.
    let said = refusal(&text.replace("?,red,x", "1,red,"), &with(Missing::Mean));
    assert!(said.contains("line 5: column \"class\" has no value; a label is not filled in"), "{said}");
}

#[test]
fn identifiers_and_mixed_columns_are_named() {
    let said = refusal(&rows(40, |i| format!("id{i},{},{}", i * i, i % 2)), &TableOptions::default());
    assert!(said.contains("column \"column 1\" has 40 categories in 40 rows"), "{said}");
    let said = refusal(&rows(900, |i| format!("w{},{}", i % 300, i % 2)), &TableOptions::default());
    assert!(said.contains("more than 256 categories"), "{said}");
    // Numbers with a misprint are too many categories, and the misprint is named.
    let one = |i: usize| if i == 7 { "1o".to_owned() } else { (i * i).to_string() };
    let said = refusal(&rows(40, |i| format!("{},{}", one(i), i % 2)), &TableOptions::default());
    assert!(said.contains("because line 8 has \"1o\""), "{said}");
    // Few values, of which some are words, are categories, and a notice says so.
    let data = load(&rows(40, |i| format!("{},{},{}", ["1", "2", "3+"][i % 3], i * i, i % 2)));
    assert_eq!(data.train.width(), 4);
    assert!(data.notices.iter().any(|notice| notice.contains("\"3+\" on line 3")), "{:?}", data.notices);
    let said = refusal("x,1e400,0\n", &TableOptions::default());
    assert!(said.contains("\"1e400\" is not a finite number"), "{said}");
    assert!(
        refusal("a,a,b\n1,2,0\n3,4,1\n", &TableOptions::default()).contains("two columns are named \"a\"")
    );
}

#[test]
fn columns_of_any_magnitude_are_features() {
    // Constant in all rows but one, near 1e200, and ordinary.
    let data = load(&rows(200, |i| {
        format!("{},{}e200,{},{}", if i == 9 { 1.0 } else { 1.0 + 1e-13 }, i % 5, i % 9, i % 2)
    }));
    for part in [&data.train, &data.test] {
        let fretwork::data::Rows::Table(table) = part else { panic!("no table") };
        let all: Vec<u32> = (0..table.rows() as u32).collect();
        let (mut x, mut labels) = (vec![0.0; 3 * all.len()], vec![0; all.len()]);
        table.fill(&all, 3, &mut x, &mut labels);
        assert!(x.chunks(3).all(|row| row[0] == 0.0 && row[1].abs() < 3.0));
        assert!(x.chunks(3).any(|row| row[1].abs() > 0.5));
    }
}

#[test]
fn the_task_is_decided_by_the_label() {
    let table = |label: &dyn Fn(usize) -> String| rows(60, |i| format!("{},{}", i * i, label(i)));
    let (prices, decimals) = (table(&|i| (900 + 13 * i).to_string()), table(&|i| format!("{i}.5")));
    let with = |task| TableOptions { task, ..TableOptions::default() };
    let said = refusal(&prices, &with(None));
    assert!(said.contains("has 60 different values in 60 rows; give --task regression"), "{said}");
    for task in [None, Some(Task::Classification)] {
        let said = refusal(&decimals, &with(task));
        assert!(said.contains("0.5 on line 1") && said.contains("give --task regression"), "{said}");
    }
    assert_eq!(load_with(&prices, &with(Some(Task::Classification))).unwrap().classes, 60);
    let data = load_with(&prices, &with(Some(Task::Regression))).unwrap();
    let Some(Encoding::Table(encoding)) = &data.encoding else { panic!("no table") };
    let TargetKind::Values(standard) = encoding.target.kind else { panic!("no values") };
    assert!(data.classes == 0 && (standard.mean - (900.0 + 13.0 * 29.5)).abs() < 60.0, "{standard:?}");
    assert!((data.train.variance().unwrap() - 1.0).abs() < 1e-6);
    let said = refusal(&table(&|i| ["a", "b"][i % 2].to_owned()), &with(Some(Task::Regression)));
    assert!(
        said.contains("a regression is of numbers, but the label \"column 2\" has \"a\" on line 1"),
        "{said}"
    );
    assert!(refusal(&table(&|_| "4".to_owned()), &with(Some(Task::Regression))).contains("are equal"));
}

/// A table with a semicolon for a delimiter, decimal commas, categories and class names.
fn flowers(count: usize) -> String {
    let row = |i: usize| {
        let class = i % 3;
        let noise = (i * 7919 % 100) as f64 / 100.0;
        let length = format!("{:.2}", class as f64 * 2.0 + noise).replace('.', ",");
        format!(
            "{length};{};{}",
            ["red", "blue", "white"][(i / 3 + class) % 3],
            ["iris", "rose", "lily, wild"][class]
        )
    };
    format!("length;colour;species\n{}", rows(count, row))
}

#[test]
fn a_table_is_trained_evaluated_and_predicted() {
    let folder = Folder::new();
    folder.write("flowers.csv", &flowers(180));
    let done =
        folder.train("--data csv:flowers.csv --hidden 64 --block 8 --sparsity 0.5 --epochs 40 --out run");
    assert!(done["test_accuracy"].as_f64().unwrap() > 0.95, "{done}");
    let text = folder.done("evaluate run");
    assert!(text.contains("lily, wild"), "{text}");

    let own: Value = serde_json::from_str(&folder.done("evaluate run --json")).unwrap();
    for (metric, reported) in [("accuracy", "test_accuracy"), ("loss", "test_loss")] {
        let [found, wanted] = [&own[metric], &done[reported]].map(|number| number.as_f64().unwrap());
        assert!((found - wanted).abs() < 1e-5, "{metric}: {found}, {wanted}");
    }
    assert_eq!(own["rows"], 36);

    // Without its data the folder predicts, in the order of the new file, whatever the order of its columns.
    folder.write("new.csv", "note,colour,length\nx,red,0.5\ny,white,4.4\nz,blue,2.5\n");
    folder.write("labelled.csv", &flowers(30));
    std::fs::remove_file(folder.0.path().join("flowers.csv")).unwrap();
    assert_eq!(folder.done("predict run new.csv"), "prediction\niris\n\"lily, wild\"\nrose\n");
    assert_eq!(folder.done("predict run new.csv --out out.csv"), "");
    let written = std::fs::read_to_string(folder.0.path().join("out.csv")).unwrap();
    assert_eq!(written, "prediction\niris\n\"lily, wild\"\nrose\n");
    let shares = folder.done("predict run new.csv --proba");
    assert!(shares.starts_with("iris,\"lily, wild\",rose\n") && shares.lines().count() == 4, "{shares}");
    for line in shares.lines().skip(1) {
        let sum: f64 = line.split(',').map(|share| share.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{line}");
    }
    let others: Value = serde_json::from_str(&folder.done("evaluate run labelled.csv --json")).unwrap();
    assert!(others["rows"] == 30 && others["accuracy"].as_f64().unwrap() > 0.9, "{others}");
    assert_eq!(folder.done("predict run labelled.csv").lines().count(), 31);

    for (text, wanted) in [
        (
            "colour\nred\n",
            "has no column \"length\", which the run was trained with; its first row has colour",
        ),
        ("length,colour\n1,green\n", "line 2: column \"colour\": \"green\" is none of blue, red, white"),
        ("length,colour\nlong,red\n", "line 2: column \"length\": \"long\" is not a number"),
        ("length,colour\n,red\n", "line 2: column \"length\" has no value"),
        ("length,colour\n", "has no rows"),
    ] {
        folder.write("bad.csv", text);
        let said = folder.refused("predict run bad.csv --out never.csv");
        assert!(said.contains(wanted), "{said}");
    }
    assert!(!folder.0.path().join("never.csv").exists());
    folder.write("bad.csv", "length,colour,species\n1,red,tulip\n");
    let said = folder.refused("evaluate run bad.csv");
    assert!(said.contains("label \"species\": \"tulip\" is none of the 3 classes"), "{said}");
    assert!(folder.refused("evaluate run").contains("No such file"));
    assert!(folder.refused("evaluate run digits").contains("the run was trained on"));
}

#[test]
fn a_regression_has_errors_in_units_and_no_accuracy() {
    let folder = Folder::new();
    let row = |i: usize| {
        let [x, y] = [(i * 37 % 101) as f64 / 50.0 - 1.0, (i * 53 % 97) as f64 / 48.0 - 1.0];
        format!("{x},{y},{}", 250_000.0 + 40_000.0 * x - 25_000.0 * y * y)
    };
    folder.write("houses.csv", &format!("x,y,price\n{}", rows(400, row)));
    let line = "--data csv:houses.csv --task regression --hidden 64 --block 8 --sparsity 0.5 --epochs 60";
    let said = folder.done(&format!("train --json {line} --out run"));
    assert!(!said.contains("accuracy") && !said.contains("NaN"), "{said}");
    let done: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(done["test_r2"].as_f64().unwrap() > 0.95, "{done}");
    let log = std::fs::read_to_string(folder.0.path().join("run/log.jsonl")).unwrap();
    assert!(!log.contains("accuracy") && log.contains("rmse"));
    let found: Value = serde_json::from_str(&folder.done("evaluate run --json")).unwrap();
    for (metric, reported) in [("rmse", "test_rmse"), ("r2", "test_r2")] {
        let [found, wanted] = [&found[metric], &done[reported]].map(|number| number.as_f64().unwrap());
        assert!((found - wanted).abs() < 1e-4 * wanted, "{metric}: {found}, {wanted}");
    }
    folder.write("new.csv", "y,x\n0,0\n0,0.5\n");
    let predicted = folder.done("predict run new.csv");
    let values: Vec<f64> = predicted.lines().skip(1).map(|value| value.parse().unwrap()).collect();
    assert!((values[0] - 250_000.0).abs() < 8000.0 && (values[1] - 270_000.0).abs() < 8000.0, "{values:?}");
    assert!(folder.refused("predict run new.csv --proba").contains("--proba has no effect"));
    let table = folder.done(&format!("train {line}"));
    assert!(table.contains("test RMSE") && !table.contains("accuracy"), "{table}");
    folder.done("report run");
    let page = std::fs::read_to_string(folder.0.path().join("run/report.html")).unwrap();
    assert!(page.contains("Last test RMSE") && page.contains("R²") && !page.contains("ccuracy"));
    // A resumed run reads the table in the same way.
    let more = folder.train("--resume run --epochs 62");
    assert!(more["test_r2"].as_f64().unwrap() > 0.9, "{more}");
}

/// An IDX file of images.
fn images(folder: &Path, name: &str, count: u32, side: u32) {
    let mut file = vec![0, 0, 8, 3];
    [count, side, side].iter().for_each(|side| file.extend(side.to_be_bytes()));
    file.extend((0..count * side * side).map(|i| (i * 31 % 17) as u8));
    std::fs::write(folder.join(name), file).unwrap();
}

#[test]
fn images_and_bytes_are_predicted() {
    let folder = Folder::new();
    folder.train("--data digits --rows 512 --hidden 64 --epochs 2 --out run");
    images(folder.0.path(), "eight", 3, 8);
    images(folder.0.path(), "nine", 3, 9);
    let said = folder.done("predict run eight");
    let classes: Vec<u32> = said.lines().skip(1).map(|class| class.parse().unwrap()).collect();
    assert!(classes.len() == 3 && classes.iter().all(|&class| class < 10), "{said}");
    assert!(folder.done("predict run eight --proba").starts_with("0,1,2,3,4,5,6,7,8,9\n"));
    assert!(folder.refused("predict run nine").contains("trained with images of 64 pixels"));
    folder.write("table.csv", "1,2\n");
    assert!(folder.refused("predict run table.csv").contains("which is not IDX"));
    assert!(folder.refused("evaluate run eight").contains("has no labels"));
    let metrics: Value = serde_json::from_str(&folder.done("evaluate run digits --json")).unwrap();
    assert!(metrics["rows"] == 1797 && metrics["confusion"].as_array().unwrap().len() == 10);

    folder.write("text.txt", &"the fret saw cuts open work. ".repeat(60));
    let lm = "--width 32 --heads 2 --depth 1 --context 12 --block 8 --batch 7 --steps 40 --lr 0.01";
    folder.train(&format!("--data text:text.txt {lm} --out lm"));
    // Twenty bytes are no multiple of a window: none is left out, and each has what the others of its window give it.
    let text = "the fret saw cuts open";
    folder.write("new.txt", text);
    let said = folder.done("predict lm new.txt");
    assert!(said.starts_with("byte,prediction,nll\nh,") && said.lines().count() == text.len(), "{said}");
    let nll: f64 =
        said.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<f64>().unwrap()).sum();
    assert!(nll > 0.0 && nll / 21.0 < 3.0, "{said}");
    folder.write("new.txt", "the Fret");
    assert!(folder.refused("predict lm new.txt").contains("byte 4 is 'F'"));
    let metrics: Value = serde_json::from_str(&folder.done("evaluate lm --json")).unwrap();
    assert!(metrics["loss"].as_f64().unwrap() > 0.0 && metrics["names"][0] == " ", "{metrics}");
    assert!(folder.refused("evaluate lm csv:table.csv").contains("the run was trained on a text"));
    assert!(folder.refused("predict nowhere new.txt").contains("nowhere has no checkpoint"));
}

/// The embedded digits in the shape of a Kaggle table: a header, the label first, whole numbers for pixels.
#[test]
fn digits_with_the_label_first_are_learned() {
    let Dataset { test: digits, .. } = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let fretwork::data::Rows::Table(digits) = digits else { panic!("no table") };
    let all: Vec<u32> = (0..digits.rows() as u32).collect();
    let (mut x, mut labels) = (vec![0.0; 64 * all.len()], vec![0; all.len()]);
    digits.fill(&all, 64, &mut x, &mut labels);
    let header: String = (0..64).map(|pixel| format!(",pixel{pixel}")).collect();
    let row = |i: usize| {
        let pixels: String =
            x[64 * i..64 * (i + 1)].iter().map(|pixel| format!(",{}", pixel * 16.0)).collect();
        format!("{}{pixels}", labels[i])
    };
    let folder = Folder::new();
    folder.write("train.csv", &format!("label{header}\n{}", rows(all.len(), row)));
    let done = folder.train("--data csv:train.csv --hidden 128,128 --epochs 15 --out run");
    let accuracy = done["test_accuracy"].as_f64().unwrap();
    // The label is not the last pixel, which nearly always is 0.
    assert!(accuracy > 0.93 && accuracy < 1.0, "{accuracy}");
    // The table for which labels are to be predicted has no label.
    let row = |i: usize| row(i).split_once(',').unwrap().1.to_owned();
    folder.write("test.csv", &format!("{}\n{}", &header[1..], rows(100, row)));
    let said = folder.done("predict run test.csv");
    let hits =
        said.lines().skip(1).zip(&labels).filter(|(class, label)| **class == label.to_string()).count();
    assert!(said.lines().count() == 101 && hits > 93, "{hits}");
}
