//! Validation: rows set aside, the best checkpoint, patience, and refusals.

use std::path::Path;

use super::{done, fretwork, log, refusal, stderr, summary};

/// A run whose validation loss soon rises: few rows and a high rate, which stays.
const OVERFIT: [&str; 17] = [
    "train",
    "--json",
    "--rows",
    "300",
    "--test-rows",
    "200",
    "--hidden",
    "64",
    "--sparsity",
    "0.5",
    "--batch",
    "60",
    "--lr",
    "0.02",
    "--schedule",
    "constant",
    "--validation",
];

fn run(out: &Path, more: &[&str]) -> serde_json::Value {
    let out = ["--out", out.to_str().unwrap()];
    summary(&done(&[&OVERFIT[..], &["0.2", "--epochs", "60"], &out, more].concat()))
}

fn bytes(run: &Path, name: &str) -> Vec<u8> {
    std::fs::read(run.join(name)).unwrap()
}

#[test]
fn a_run_without_improvement_finishes_early_with_its_best_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let done = run(&path("whole"), &["--patience", "4"]);
    assert_eq!(
        (&done["finished"], &done["validation"]["finished_early"]),
        (&true.into(), &true.into()),
        "{done}"
    );
    let epochs = log(&path("whole"), "epoch");
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch["validation"]["loss"].as_f64().unwrap()).collect();
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    // Four epochs after the best one, and no sooner.
    assert_eq!((losses.len(), losses.len() < 60), (best + 5, true), "{losses:?}");
    assert_eq!(done["validation"]["best"]["epoch"], best);
    assert_eq!(done["validation"]["best"]["test"], epochs[best]["test"]);
    assert_eq!(done["validation"]["last"], epochs.last().unwrap()["validation"]);
    // 240 rows in batches of 60.
    assert_eq!((&done["steps"], &epochs[0]["step"]), (&(4 * losses.len()).into(), &4.into()));

    // The best checkpoint is that of a run of so many epochs.
    run_stopped(&path("short"), 4 * (best + 1));
    assert!(bytes(&path("short"), "checkpoint.safetensors") == bytes(&path("whole"), "best.safetensors"));

    // The best epoch's network is read where it is asked for.
    let whole = path("whole").display().to_string();
    for (flag, wanted) in [(&["--best"][..], &epochs[best]), (&[], epochs.last().unwrap())] {
        let found = super::done(&[&["evaluate", &whole, "--json"], flag].concat()).stdout;
        let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
        let [found, wanted] = [&found["loss"], &wanted["test"]["loss"]].map(|loss| loss.as_f64().unwrap());
        assert!((found - wanted).abs() < 1e-5, "{flag:?}: {found}, {wanted}");
    }
    let export = |out: &str, flag: &[&str]| {
        let out = path(out).display().to_string();
        super::done(&[&["export", &whole, "--to", "safetensors-dense", "--out", &out], flag].concat());
        std::fs::read(out).unwrap()
    };
    assert!(export("best", &["--best"]) != export("last", &[]));

    // Stopped within an epoch, before and after the best one, and resumed: the same bits.
    for (name, stop) in [("early", 6), ("late", 4 * (best + 2) + 1)] {
        run_stopped(&path(name), stop);
        summary(&super::done(&["train", "--json", "--resume", path(name).to_str().unwrap()]));
        for file in ["checkpoint.safetensors", "best.safetensors"] {
            assert!(bytes(&path(name), file) == bytes(&path("whole"), file), "{name}: {file}");
        }
        assert_eq!(log(&path(name), "epoch"), epochs);
    }

    // A run that is over stays so, and says so.
    let again = fretwork(&["train", "--json", "--resume", path("whole").to_str().unwrap()]).output().unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(summary(&again)["steps"], done["steps"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("finished early, after "));
}

/// Stops a run with a patience of 4 after so many steps.
fn run_stopped(out: &Path, steps: usize) {
    let args = ["0.2", "--epochs", "60", "--patience", "4", "--stop-after", &steps.to_string()];
    let output =
        fretwork(&[&OVERFIT[..], &args, &["--out", out.to_str().unwrap()]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
}

/// Rows that are set aside change what is trained on, and nothing else of a run without them.
#[test]
fn runs_without_validation_know_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = done(&["train", "--json", "--hidden", "64", "--steps", "5", "--out", out.to_str().unwrap()]);
    assert!(summary(&output)["validation"].is_null());
    let checkpoint = bytes(&out, "checkpoint.safetensors");
    for word in ["validation", "best", "patience"] {
        assert!(!String::from_utf8_lossy(&checkpoint).contains(word), "{word}");
    }
    assert!(!out.join("best.safetensors").exists());
    let run = out.display().to_string();
    for line in [&["evaluate", &run][..], &["predict", &run, "rows"], &["export", &run, "--to", "torch"]] {
        let said = refusal(&[line, &["--best"]].concat());
        assert!(said.contains("has no best.safetensors, which a run with --validation keeps"), "{said}");
    }
    let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    assert!(!log.contains("validation"), "{log}");
}

#[test]
fn windows_of_a_text_are_validated_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("a.txt"), "the quick brown fox jumps over the lazy dog. ".repeat(40)).unwrap();
    std::fs::write(path("b.txt"), "the lazy dog jumps over the quick brown fox. ".repeat(4)).unwrap();
    let data = format!("text:{}", path("a.txt"));
    let small = ["--width", "32", "--depth", "1", "--context", "16", "--steps", "6", "--epoch-steps", "3"];
    for (number, of) in ["0.2".to_owned(), format!("text:{}", path("b.txt"))].iter().enumerate() {
        let out = path(&format!("run{number}"));
        let args = [&["train", "--json", "--data", &data, "--validation", of, "--out", &out], &small[..]];
        let done = summary(&done(&args.concat()));
        let epochs = log(Path::new(&out), "epoch");
        assert_eq!(epochs.len(), 2);
        let loss = epochs[1]["validation"]["loss"].as_f64().unwrap();
        // Between nothing learned, ln 28 nats, and everything.
        assert!(loss > 0.0 && loss < 28f64.ln() + 0.5, "{loss}");
        assert_eq!(done["validation"]["last"]["loss"], loss);
        let said = super::done(&["sample", &out, "--best", "--length", "5"]).stdout;
        assert!(said.len() > 5, "{}", String::from_utf8_lossy(&said));
        // The source is kept with its path, and read again.
        let more = ["train", "--json", "--resume", &out, "--steps", "8"];
        assert_eq!(summary(&super::done(&more))["steps"], 8);
    }
}

#[test]
fn what_cannot_be_validated_on_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "to be or not to be").unwrap();
    let text = format!("text:{}", text.display());
    for (args, wanted) in [
        (
            &["--validation", "0.0001"][..],
            "validation: 0.0001 of 3823 training rows leaves no row to validate on",
        ),
        (&["--validation", "0.9999"], "validation: 0.9999 of 3823 training rows leaves no row to train on"),
        (&["--validation", "digits"], "validation: digits is the data to train on"),
        (&["--validation", &text], "is a text, but digits is none"),
        (&["--validation", "csv:table.csv"], "csv:table.csv is a table, but digits is none"),
        (&["--validation", "idx:/nowhere"], "/nowhere: has no train-images-idx3-ubyte"),
        (&["--validation", "0.1", "--patience", "0"], "patience: 0 epochs"),
        (
            &["--patience", "2"],
            "--patience has no effect: it needs rows to see an improvement on, --validation",
        ),
    ] {
        let said = refusal(&[&["train"], args].concat());
        assert!(said.contains(wanted), "{args:?}: {said}");
    }
    let output = fretwork(&["train", "--validation", "1.5"]).output().unwrap();
    assert!(stderr(&output).contains("1.5 is not a share above 0 and below 1"), "{}", stderr(&output));
}
