//! The tuner: what it chooses is right, makes no difference to a result, and outlives the process; and nothing that is wrong with
//! its file or its folder stops a run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod files;
mod program;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{
    Choice, Class, DType, Family, Gpu, Options, Recorder, ShapeClass, Sources, Variant, Verdict, VersusDense,
    Workload,
};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{Half, MlpConfig, ModelConfig, Precision};
use fretwork::ops::{self, Activation, Epilogue, Transpose};
use fretwork::report::run as report;
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, RunFolder, Settings, Trainer};
use fretwork::tune::{Tuner, Tuning};
use half::f16;

/// Every variant may be chosen, whatever the environment says.
fn open(options: Options) -> Gpu {
    Gpu::request(options).unwrap().with_variant(None)
}

fn gpu() -> Gpu {
    open(Options::default())
}

fn in_folder(folder: &Path) -> Tuning {
    Tuning { budget: Duration::from_secs(60), folder: Some(folder.to_owned()) }
}

/// A shape that nothing here records.
fn work(number: usize) -> Workload {
    let sizes = [1 << (number % 20), 1 << (number / 20), 64];
    let dtype = [DType::F32, DType::F16][number % 2];
    Workload { family: Family::Sdd, dtype, transpose: [true, false], sizes, block: 16, nnz: 3, gathered: 0 }
}

fn found(number: usize) -> (ShapeClass, Verdict) {
    let choice = [Variant::Lane, Variant::Tile][number % 2].into();
    let versus_dense =
        number.is_multiple_of(3).then_some(VersusDense { density: 0.1, time: 0.1 * number as f64 });
    (work(number).class(), Verdict { choice, versus_dense })
}

/// A dense product, so that there is something to measure.
fn record_product(gpu: &Gpu, [m, n, k]: [usize; 3]) {
    let room = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "operand", shape).unwrap();
    let (lhs, rhs, out) = (room(&[m, k]), room(&[k, n]), room(&[m, n]));
    let mut rec = Recorder::new(gpu);
    ops::dense(&mut rec, &lhs, &rhs, &out, Transpose::NN, Epilogue::None).unwrap();
}

/// [`record_product`] of f16.
fn record_halves(gpu: &Gpu, [m, n, k]: [usize; 3]) {
    let room = |shape: &[usize]| gpu.zeros::<f16>(Class::Scratch, "operand", shape).unwrap();
    let (lhs, rhs, out) = (room(&[m, k]), room(&[k, n]), room(&[m, n]));
    let mut rec = Recorder::new(gpu);
    ops::dense(&mut rec, &lhs, &rhs, &out, Transpose::NN, Epilogue::None).unwrap();
}

fn file_in(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn what_is_measured_is_found_again_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = gpu();
    let mut tuner = Tuner::open(&first, in_folder(folder.path()));
    record_product(&first, [64, 96, 32]);
    // A shape of one class with the first, and a shape of another class.
    record_product(&first, [80, 100, 36]);
    record_product(&first, [64, 96, 128]);
    assert_eq!(tuner.wanted(), 2);
    let (mut seen, peak) = (Vec::new(), first.peak_bytes());
    let measured = tuner.measure(&mut |progress| {
        seen.push((progress.done, progress.of, progress.shape.to_owned()));
        true
    });
    assert_eq!(measured.unwrap(), 2);
    assert_eq!(seen[0], (0, 2, "dense.nn 64x96x32".to_owned()));
    assert_eq!(seen.len(), 2);
    assert_eq!((tuner.wanted(), tuner.take_notices()), (0, vec![]));
    // Made-up operands are gone, and no peak is left of them.
    assert_eq!((first.idle_bytes(), first.peak_bytes()), (0, peak));

    let second = gpu();
    let mut tuner = Tuner::open(&second, in_folder(folder.path()));
    assert_eq!(second.choices(), first.choices());
    record_product(&second, [64, 96, 32]);
    assert_eq!(tuner.wanted(), 0);
    assert_eq!(tuner.measure(&mut |_| panic!("there is nothing to measure")).unwrap(), 0);
    assert!(tuner.take_notices().is_empty());
}

#[test]
fn products_of_halves_are_measured_apart() {
    let (folder, gpu) = (tempfile::tempdir().unwrap(), gpu());
    if !gpu.has_f16() {
        println!("SKIPPED: {} has no half precision", gpu.info().name);
        return;
    }
    let mut tuner = Tuner::open(&gpu, in_folder(folder.path()));
    record_product(&gpu, [64, 96, 32]);
    record_halves(&gpu, [64, 96, 32]);
    let shapes: Vec<_> = gpu.workloads().iter().map(|(work, _)| work.to_string()).collect();
    assert_eq!(shapes, ["dense.nn 64x96x32", "dense.nn.f16 64x96x32"]);
    assert_eq!(tuner.measure(&mut |_| true).unwrap(), 2);
    assert_eq!(tuner.take_notices(), [""; 0]);
    // Another process finds both again.
    let other = open(Options::default());
    Tuner::open(&other, in_folder(folder.path()));
    assert_eq!(other.choices(), gpu.choices());
    record_halves(&other, [64, 96, 32]);
    assert!(other.workloads().iter().all(|(_, verdict)| verdict.is_some()));
}

#[test]
fn no_budget_measures_nothing_and_the_watcher_may_stop_it() {
    let gpu = gpu();
    let mut tuner = Tuner::open(&gpu, Tuning { budget: Duration::ZERO, folder: None });
    for k in [16, 32, 64] {
        record_product(&gpu, [64, 64, k]);
    }
    assert_eq!(tuner.measure(&mut |_| false).unwrap(), 0);
    // Time is over before the first, and what is left over is for the next time.
    assert_eq!(tuner.measure(&mut |_| true).unwrap(), 0);
    assert_eq!(tuner.wanted(), 3);
    assert_eq!(tuner.path(), None);
}

/// A kernel that is wrong, and fast because of it, is never chosen, whichever it is.
#[test]
fn a_wrong_candidate_is_never_chosen() {
    let half = ("k < segment.end; k += 4u", "k < segment.end / 2u; k += 4u");
    let unwritten = ("row < 8u; row++) {\n        store4", "row < 7u; row++) {\n        store4");
    for (file, (from, to)) in
        [("dense/lane", half), ("dense/wave", half), ("dense/lane", unwritten), ("dense/wave", unwritten)]
    {
        let wrong = if file == "dense/lane" { Variant::Lane } else { Variant::Wave };
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let gpu = open(Options { sources, ..Options::default() });
        if !gpu.runs(wrong) {
            println!("SKIPPED: this adapter has no subgroups of eight, so nothing uses {file}");
            continue;
        }
        let mut tuner = Tuner::open(&gpu, Tuning { budget: Duration::from_secs(60), folder: None });
        record_product(&gpu, [128, 128, 256]);
        tuner.measure(&mut |_| true).unwrap();
        let notices = tuner.take_notices();
        assert!(notices.iter().any(|notice| notice.contains("its result is wrong")), "{file}: {notices:?}");
        let choices: Vec<_> = gpu.choices().into_iter().map(|(_, verdict)| verdict.choice.variant).collect();
        assert!(!choices.contains(&wrong), "{file} was chosen");
        // Another one took its place, where there is one.
        assert!(choices.len() == 1 || !gpu.runs(Variant::Wave), "{file}: {choices:?}");
    }
}

/// One that adds in another order is right, and would change results.
#[test]
fn a_candidate_with_other_bits_is_never_chosen() {
    let mut sources = Sources::default();
    let (from, to) = (
        "add_pieces(&tile, lhs_piece(i, k), lhs_piece(i + 4u, k), rhs_piece(k, j));",
        "let q = params.k - 4u - k;\n        add_pieces(&tile, lhs_piece(i, q), lhs_piece(i + 4u, q), rhs_piece(q, j));",
    );
    sources.patch("dense/lane", from, to).unwrap();
    let gpu = open(Options { sources, ..Options::default() });
    let mut tuner = Tuner::open(&gpu, Tuning { budget: Duration::from_secs(60), folder: None });
    record_product(&gpu, [128, 128, 256]);
    tuner.measure(&mut |_| true).unwrap();
    if gpu.is_software() && !gpu.runs(Variant::Wave) {
        println!("SKIPPED: this adapter has no other candidate to hold it against");
        return;
    }
    let notices = tuner.take_notices();
    assert!(notices.iter().any(|notice| notice.contains("differs in its last bits")), "{notices:?}");
    let choices = gpu.choices();
    assert!(choices.iter().all(|(_, verdict)| verdict.choice.variant != Variant::Lane), "{choices:?}");
}

fn settings() -> Settings {
    Settings {
        data: "digits".to_owned(),
        method: MethodConfig::new(Kind::Rigl),
        length: Length::Steps(8),
        batch: 200,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![64, 96],
            classes: 10,
            block: 16,
            sparsity: Some(0.3),
            density: Density::Erk,
            activation: Activation::Gelu,
            dropout: 0.2,
            seed: 5,
            layers: Default::default(),
            local: None,
        })
    }
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

/// Tuned or not, and whatever was chosen: the same bits. What was chosen stands in the log and in the report.
#[test]
fn a_choice_never_changes_a_run() {
    let run = |gpu: &Gpu, tuner: Option<Tuner>| {
        let mut trainer = Trainer::new(gpu, settings(), digits()).unwrap();
        let mut events = Vec::new();
        if let Some(tuner) = tuner {
            trainer
                .tune(tuner, &mut |event| {
                    events.push(event.clone());
                    Flow::Continue
                })
                .unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let run_folder = RunFolder::create(folder.path()).unwrap();
        trainer.run(Some(&run_folder), &mut |_| Flow::Continue).unwrap();
        let page = report::render(&run_folder).unwrap();
        let log = std::fs::read_to_string(run_folder.log_path()).unwrap();
        let bytes = trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap();
        let kernels: Vec<String> = trainer.step_kernels().map(str::to_owned).collect();
        (bytes, kernels, events, page, log)
    };
    let (wanted, usual, _, page, log) = run(&gpu(), None);
    assert!(!page.contains("<h2>Kernels") && !log.contains("\"kernels\""));

    let tuned = gpu();
    let tuner = Tuner::open(&tuned, Tuning { budget: Duration::from_secs(60), folder: None });
    let (bytes, _, events, page, log) = run(&tuned, Some(tuner));
    assert!(bytes == wanted, "tuning changed the result");
    let measured = events.iter().filter(|event| matches!(event, Event::Tuning { .. })).count();
    assert!(measured >= 6, "{events:?}");
    assert!(page.contains("<h2>Kernels") && log.contains("\"kernels\""), "{log}");
    assert!(tuned.workloads().iter().all(|(_, verdict)| verdict.is_some()));

    // Choices that nobody would make: each is followed, and makes no difference.
    for choice in Choice::ALL {
        let odd = gpu();
        for (class, _) in tuned.choices() {
            let versus_dense = Some(VersusDense { density: 1.0, time: 50.0 });
            odd.choose(class, Verdict { choice, versus_dense });
        }
        let tuner = Tuner::open(&odd, Tuning { budget: Duration::ZERO, folder: None });
        let (bytes, kernels, events, page, _) = run(&odd, Some(tuner));
        assert!(bytes == wanted, "{choice:?} changed the result");
        let follows = kernels.iter().any(|label| label.contains(&format!(".{}.", choice.variant.name())));
        // Cooperative matrices have other bits, and take no f32.
        let may = odd.runs(choice.variant) && choice.variant != Variant::Coop;
        assert!(follows || !may, "{choice:?}: {kernels:?} {usual:?}");
        // Where dense would be faster, that is said.
        let said =
            |event: &Event| matches!(event, Event::Notice(text) if text.contains("a dense product would be"));
        assert!(events.iter().any(said), "{events:?}");
        assert!(page.contains("would be faster with a dense matrix"));
    }
}

/// Where operands are halves, too, and whatever of their own bits a device has.
#[test]
fn a_choice_never_changes_a_run_of_halves() {
    let run = |gpu: &Gpu| {
        let settings = Settings { precision: Precision::F16(Half::default()), ..settings() };
        let mut trainer = Trainer::new(gpu, settings, digits()).unwrap();
        trainer.run(None, &mut |_| Flow::Continue).unwrap();
        trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap()
    };
    let usual = gpu();
    if !usual.has_f16() {
        println!("SKIPPED: {} has no half precision", usual.info().name);
        return;
    }
    let wanted = run(&usual);
    let of_halves: Vec<_> =
        usual.workloads().into_iter().filter(|(work, _)| work.dtype == DType::F16).collect();
    assert!(of_halves.len() >= 6, "{of_halves:?}");
    for choice in Choice::ALL {
        let odd = gpu();
        for (work, _) in &of_halves {
            odd.choose(work.class(), Verdict { choice, versus_dense: None });
        }
        assert!(run(&odd) == wanted, "{choice:?} changed the result");
    }
}

/// Patterns that become others are measured at the end of the epoch in which they do.
#[test]
fn what_is_pruned_is_tuned_again() {
    let run = |tuned: bool| {
        let gpu = gpu();
        let mut settings = Settings { length: Length::Epochs(4), batch: 600, ..settings() };
        settings.method = MethodConfig::new(Kind::Magnitude);
        let ModelConfig::Mlp(config) = &mut settings.model else { panic!("these are of perceptrons") };
        (config.sparsity, config.hidden) = (Some(0.9), vec![128, 128]);
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let begun = gpu.workloads().len();
        if tuned {
            let tuner = Tuner::open(&gpu, Tuning { budget: Duration::from_secs(60), folder: None });
            trainer.tune(tuner, &mut |_| Flow::Continue).unwrap();
        }
        let mut measured = 0;
        let summary = trainer
            .run(None, &mut |event| {
                measured += usize::from(matches!(event, Event::Tuning { .. }));
                Flow::Continue
            })
            .unwrap();
        assert_eq!(summary.blocking_waits, 0);
        let ended = gpu.workloads();
        assert!(ended.len() > begun, "nothing has become another shape");
        assert_eq!(ended.iter().all(|(_, verdict)| verdict.is_some()), tuned);
        assert_eq!(measured > 0, tuned);
        (trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap(), summary.peak_bytes)
    };
    let [tuned, usual] = [run(true), run(false)];
    assert!(tuned.0 == usual.0, "tuning changed the result");
    assert_eq!(tuned.1, usual.1, "tuning is in the peak");
}
