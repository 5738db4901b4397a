//! Files that do not fit a run: refused by name, with nothing written.

use std::path::{Path, PathBuf};

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::nn::{Linear, Sequential};
use fretwork::train::{Flow, RunFolder, Trainer};
use tempfile::TempDir;

use super::{done, refusal};

struct Place(TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).display().to_string()
    }

    /// A short run with these options; its folder.
    fn train(&self, name: &str, options: &str) -> String {
        let run = self.path(name).display().to_string();
        let line = ["train", "--sparsity", "0", "--out", &run];
        done(&[&line[..], &options.split_whitespace().collect::<Vec<_>>()].concat());
        run
    }

    /// The message of a prediction that is refused and leaves nothing.
    #[track_caller]
    fn refused(&self, run: &str, file: &str) -> String {
        let before = self.names();
        let out = self.path("never.csv").display().to_string();
        let said = refusal(&["predict", run, file, "--out", &out]);
        assert_eq!(self.names(), before, "{said}");
        said
    }

    fn names(&self) -> Vec<PathBuf> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    }
}

/// Sixty rows of two numbers, a colour and a class.
fn table() -> String {
    let row = |i: usize| {
        let colour = ["red", "blue", "white"][i % 3];
        format!("{},{}.5,{colour},{}\n", i % 11, i % 7, ["no", "yes"][i % 2])
    };
    (0..60).map(row).collect()
}

#[test]
fn rows_that_do_not_fit_are_refused_by_name() {
    let place = Place(tempfile::tempdir().unwrap());
    let data = place.write("table.csv", format!("a,b,colour,class\n{}", table()));
    let run = place.train("run", &format!("--data csv:{data} --hidden 16 --block 8 --epochs 3"));
    let bare = place.write("bare.csv", table());
    let plain = place.train("plain", &format!("--data csv:{bare} --hidden 16 --block 8 --epochs 3"));
    for (run, rows, wanted) in [
        (
            &run,
            "b,colour\n1,red\n",
            "has no column \"a\", which the run was trained with; its first row has b, colour",
        ),
        (&run, "a,b\n1,2\n", "has no column \"colour\""),
        (
            &run,
            "1,2,red\n3,4,blue\n",
            "has no column \"a\", which the run was trained with; its first row has 1, 2, red",
        ),
        (&run, "a,b,colour,a\n1,2,red,3\n", "two columns are named \"a\""),
        (&run, "a,b,colour\n1,2,red\nx,2,red\n", "line 3: column \"a\": \"x\" is not a number"),
        (&run, "a,b,colour\n1,2,3\n", "line 2: column \"colour\": \"3\" is none of blue, red, white"),
        (&run, "a,b,colour\n1,,red\n", "line 2: column \"b\" has no value"),
        (&run, "a,b,colour\n1,2\n", "line 2"),
        (&run, "a,b,colour\n", "has no rows"),
        (&run, "to be or not to be\n", "has no column \"a\""),
        (&run, "", "has no rows"),
        (&plain, "1,2,red,no,5\n", "has 5 columns, but the run was trained with 4, the label among them"),
        (&plain, "1,2\n", "has 2 columns, but the run was trained with 4"),
        (&plain, "red,2,1\n", "line 1: column \"column 1\": \"red\" is not a number"),
    ] {
        let file = place.write("new.csv", rows);
        let said = place.refused(run, &file);
        assert!(said.contains(wanted), "{rows:?}: {said}");
    }
    let evaluated = |run: &str, rows: &str| refusal(&["evaluate", run, &place.write("new.csv", rows)]);
    let said = evaluated(&run, "a,b,colour\n1,2,red\n");
    assert!(said.contains("has no column \"class\""), "{said}");
    let said = evaluated(&run, "a,b,colour,class\n1,2,red,perhaps\n");
    assert!(said.contains("line 2: label \"class\": \"perhaps\" is none of the 2 classes"), "{said}");
    let said = evaluated(&plain, "1,2,red\n");
    assert!(said.contains("has 3 columns, but the run was trained with 4"), "{said}");

    // Another order of columns is none for a header, and a kind may stand before the file.
    let predicted = |rows: &str, kind: &str| {
        let file = place.write("new.csv", rows);
        String::from_utf8(done(&["predict", &run, &format!("{kind}{file}"), "--proba"]).stdout).unwrap()
    };
    let wanted = predicted("a,b,colour\n1,2.5,red\n7,0.5,white\n", "");
    assert_eq!(predicted("colour,more,b,a\nred,,2.5,1\nwhite,,0.5,7\n", "csv:"), wanted);
}

#[test]
fn runs_of_other_models_are_refused_by_name() {
    let place = Place(tempfile::tempdir().unwrap());
    let data = place.write("table.csv", format!("a,b,colour,class\n{}", table()));
    let run = place.train("run", &format!("--data csv:{data} --hidden 16 --block 8 --epochs 1"));
    let text = place.write("text.txt", "the fret saw cuts open work. ".repeat(60));
    let lm = place
        .train("lm", &format!("--data text:{text} --width 32 --heads 2 --depth 1 --context 12 --steps 1"));
    let digits = place.train("digits", "--rows 100 --test-rows 20 --hidden 16 --steps 1");
    let idx =
        place.write("images", [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 8][..], &[0; 64]].concat());

    // A file of each kind with a model of another: no text of the model's bytes, no table, no IDX file.
    assert!(place.refused(&lm, &data).contains("byte 1 is ','"), "{}", place.refused(&lm, &data));
    assert!(
        place.refused(&run, &idx).contains("is no text: its byte 0 is 0"),
        "{}",
        place.refused(&run, &idx)
    );
    assert!(place.refused(&digits, &data).contains("which is not IDX"));
    assert!(refusal(&["sample", &run]).contains("which is no language model"));
    for (run, data, wanted) in [
        (&lm, format!("csv:{data}"), "the run was trained on a text, which csv:"),
        (&lm, "digits".to_owned(), "the run was trained on a text, which digits is not"),
        (&run, format!("text:{text}"), "the run was trained on rows of features, which text:"),
        (
            &run,
            "digits".to_owned(),
            "the run was trained on data of another kind or size, which digits is not",
        ),
        (
            &run,
            format!("images:{}", place.0.path().display()),
            "the run was trained on a table, which images:",
        ),
        (&digits, format!("csv:{data}"), "the run was trained on images, which csv:"),
        (
            &digits,
            format!("images:{}", place.0.path().display()),
            "the run was trained on IDX images, which images:",
        ),
    ] {
        let said = refusal(&["evaluate", run, &data]);
        assert!(said.contains(wanted), "{said}");
    }
    // A path without its kind is told what it may be.
    let output = super::fretwork(&["train", "--data", &data]).output().unwrap();
    assert!(super::stderr(&output).contains(&format!("; a table is csv:{data}, and a text is text:{data}")));
    for command in ["predict", "evaluate"] {
        let said = refusal(&[command, &place.path("nowhere").display().to_string(), &data]);
        assert!(said.contains("nowhere has no checkpoint"), "{said}");
    }

    // A network that a program composed has no modules here.
    let composed = place.path("composed");
    compose(&composed);
    let said = place.refused(&composed.display().to_string(), &idx);
    assert!(said.contains("the network was composed by a program"), "{said}");
}

/// A run of a network that this program composes.
fn compose(path: &Path) {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(100), Some(20)]).unwrap();
    let net = Sequential::new().add(Linear::new(64, 16).relu()).add(Linear::new(16, 10));
    let folder = RunFolder::create(path).unwrap();
    let mut trainer = Trainer::builder(&gpu, net).data(data).batch(50).steps(1).build().unwrap();
    trainer.run(Some(&folder), &mut |_| Flow::Continue).unwrap();
}

/// Delimiter, decimal sign, header, label and classes are told before the first step.
#[test]
fn what_was_found_in_a_table_is_told() {
    let place = Place(tempfile::tempdir().unwrap());
    let rows: String = (0..40).map(|i| format!("{};{},5;{}\n", ["no", "yes"][i % 2], i % 7, i % 5)).collect();
    let data = format!("csv:{}", place.write("table.csv", format!("label;a;b\n{rows}")));
    let output = done(&[
        "train",
        "--data",
        &data,
        "--hidden",
        "16",
        "--sparsity",
        "0",
        "--block",
        "8",
        "--steps",
        "1",
    ]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for wanted in [
        "table.csv: 40 rows of 3 columns with semicolons",
        "decimal commas",
        "a header; the label is column 1, \"label\", with 2 classes: no, yes",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in {said}");
    }
}
