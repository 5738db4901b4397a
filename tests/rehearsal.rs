//! Tasks one after the other: what a buffer of earlier rows saves, runs that go on, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "command/mod.rs"]
mod command;

use std::path::Path;

use command::{done, refusal};
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, Settings, Tasks, Trainer};
use serde_json::Value;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

fn settings(tasks: Option<Tasks>, epochs: u64) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Epochs(epochs),
        learning_rate: 0.004,
        batch: 64,
        tasks,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![96, 64],
            classes: 10,
            block: 16,
            sparsity: Some(0.5),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 3,
            layers: Default::default(),
            local: None,
        })
    }
}

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

/// Without a buffer a network knows the last task alone; the more rows it keeps, the more it knows.
#[test]
fn accuracy_rises_with_the_buffer() {
    let gpu = gpu();
    let accuracy = |buffer| {
        let tasks = Some(Tasks { count: 5, buffer });
        let summary =
            Trainer::new(&gpu, settings(tasks, 10), digits()).unwrap().run(None, &mut onward).unwrap();
        let scores = summary.tasks.unwrap();
        assert_eq!((scores.task, scores.accuracy.len()), (4, 5));
        assert!(scores.accuracy[4] > 0.9, "{scores:?}");
        (summary.test_accuracy, scores.accuracy[0])
    };
    let found = [0, 20, 100, 800].map(accuracy);
    assert!(found[0].0 < 0.3 && found[0].1 < 0.05, "{found:?}");
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "{found:?}");
    assert!(found[3].0 > 0.85 && found[3].1 > 0.85, "{found:?}");
}

#[test]
fn one_task_is_the_plain_run() {
    let gpu = gpu();
    let trained = |tasks| {
        let mut trainer = Trainer::new(&gpu, settings(tasks, 3), digits()).unwrap();
        let summary = trainer.run(None, &mut onward).unwrap();
        let mut checkpoint = trainer.checkpoint().unwrap();
        assert_eq!(checkpoint.settings.tasks, tasks);
        checkpoint.settings.tasks = None;
        (checkpoint, summary.test_accuracy, summary.tasks.map(|scores| scores.accuracy))
    };
    let (plain, accuracy, none) = trained(None);
    let (one, same, tasks) = trained(Some(Tasks { count: 1, buffer: 0 }));
    assert!(plain == one && none.is_none());
    assert_eq!((same, tasks), (accuracy, Some(vec![accuracy])));
}

/// A run that stops in the middle of a task goes on to the same bits, with patterns that change.
#[test]
fn a_run_goes_on_within_its_task() {
    let gpu = gpu();
    let settings = || Settings {
        method: MethodConfig::new(Kind::Rigl),
        ..settings(Some(Tasks { count: 2, buffer: 50 }), 4)
    };
    let mut whole = Trainer::new(&gpu, settings(), digits()).unwrap();
    whole.run(None, &mut onward).unwrap();
    let mut part = Trainer::new(&gpu, settings(), digits()).unwrap();
    let per_epoch = settings().steps_per_epoch(digits().train.rows());
    let mut left = 2 * per_epoch + per_epoch / 2;
    let mut stop = |event: &Event| {
        left -= u64::from(matches!(event, Event::Progress { .. }));
        if left == 0 { Flow::Stop } else { Flow::Continue }
    };
    part.run(None, &mut stop).unwrap();
    let checkpoint = part.checkpoint().unwrap();
    assert!(checkpoint.position.step > 2 * per_epoch && checkpoint.position.step < 3 * per_epoch);
    let mut rest = Trainer::resume(&gpu, &checkpoint, Path::new("of the test"), digits()).unwrap();
    rest.run(None, &mut onward).unwrap();
    assert!(rest.checkpoint().unwrap() == whole.checkpoint().unwrap());
    // Another length would share out the steps anew.
    let refused =
        checkpoint.clone().extend(Length::Epochs(6), digits().train.rows()).unwrap_err().to_string();
    assert!(refused.contains("are shared out among 2 tasks"), "{refused}");
}

/// Rows that are kept are numbers on the host: the device holds what it holds in a plain run.
#[test]
fn a_buffer_takes_no_memory_on_the_device() {
    let gpu = gpu();
    let bytes = |tasks| {
        let mut trainer = Trainer::new(&gpu, settings(tasks, 2), digits()).unwrap();
        trainer.run(None, &mut onward).unwrap().bytes
    };
    assert_eq!(bytes(Some(Tasks { count: 2, buffer: 500 })), bytes(None));
}

#[test]
fn the_program_tells_what_was_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let options = "train --hidden 64 --tasks 5 --buffer 40 --epochs 10 --out";
    let told = done(&[&options.split_whitespace().collect::<Vec<_>>()[..], &[&run]].concat());
    assert!(told.contains("of each task"), "{told}");
    done(&["report", &run]);
    let page = std::fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    for part in ["<h4>Task 4</h4>", "<caption>Forgetting</caption>", "tasks count", "tasks buffer"] {
        assert!(page.contains(part), "{part}");
    }
    let log = std::fs::read_to_string(Path::new(&run).join("log.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["tasks"]["task"], 4);
    let tasks = last["tasks"]["accuracy"].as_array().unwrap();
    assert!(tasks[4].as_f64() > tasks[0].as_f64(), "{last}");

    for (options, wanted) in [
        ("--tasks 11 --epochs 11", "tasks: 11 tasks of 10 classes leave one empty"),
        ("--tasks 2 --buffer 9999", "buffer: 9999 rows, but digits has"),
        ("--buffer 9", "--buffer has no effect: it needs earlier tasks to keep rows of, --tasks"),
        ("--tasks 2 --steps 40", "--steps has no effect: it needs rows of all classes in each epoch"),
        ("--tasks 2 --codistill 2", "--tasks has no effect: it needs one network"),
        ("--tasks 2 --warmup 9999 --schedule cosine", "of a task"),
    ] {
        let refused = refusal(&format!("train {options}"));
        assert!(refused.contains(wanted), "{options}: {refused}");
    }
}
