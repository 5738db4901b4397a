//! The tuner: what it chooses is right, makes no difference to a result, and outlives the process; and nothing that is wrong with
//! its file or its folder stops a run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
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
use fretwork::train::{Event, Flow, Length, OptimizerKind, RunFolder, Schedule, Settings, Trainer};
use fretwork::tune::{Tuner, Tuning};
use half::f16;
use serde_json::Value;

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

/// A kernel that is wrong, and fast because of it, is never chosen, whichever it is.
#[test]
fn a_wrong_candidate_is_never_chosen() {
    let half = ("k < params.k; k += 4u", "k < params.k / 2u; k += 4u");
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
        first_rows: [None; 2],
        table: Default::default(),
        model: MlpConfig {
            inputs: 64,
            hidden: vec![64, 96],
            classes: 10,
            block: 16,
            sparsity: Some(0.3),
            density: Density::Erk,
            activation: Activation::Gelu,
            dropout: 0.2,
            seed: 5,
        }
        .into(),
        method: MethodConfig::new(Kind::Rigl),
        precision: Precision::F32,
        length: Length::Steps(8),
        batch: 200,
        micro_batch: None,
        epoch_steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 0.004,
        schedule: Schedule::OneCycle,
        momentum: 0.9,
        weight_decay: 0.01,
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
