//! Rows against the results of made-up runs, and steps whose programs are scripts.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::results::{Outcome, Results, Taken};
use super::rows::{Bar, ROWS, Verdict};
use super::steps::{Program, STEPS};
use super::summary;

/// A bench whose sparse products have this share of the best dense rate.
fn sparse(sizes: &str, share: f64) -> Value {
    let products = ["x * W^T", "dy * W", "dy^T * x"];
    let density = |density: f64| {
        // A dense product of 2e9 operations takes 2 s, and so has 1e9 a second.
        let dense = products.map(|name| {
            json!({ "name": format!("dense {name}"), "operations": 2e9, "times": 1, "seconds": [1.9, 2.0, 9.0], "share": 1.0 })
        });
        let mut rows = dense.to_vec();
        for block in [8, 16, 32, 64, 128] {
            for name in products {
                let (operations, seconds) = (2e9 * density, 2.0 * density / share);
                rows.push(json!({
                    "name": format!("{name}, blocks of {block}"), "operations": operations, "times": 10,
                    "seconds": [10.0 * seconds], "share": share,
                }));
            }
        }
        json!({ "title": format!("{sizes}, density {density}"), "rows": rows })
    };
    let curve = |(name, block): (&str, usize)| json!({ "name": name, "block": block, "points": [[0.5, 2.0 * share], [1.0, share]] });
    let curves = products.iter().flat_map(|&name| [8, 32].map(|block| curve((name, block))));
    let tables = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0].map(density);
    json!({ "subject": "sparse", "curves": curves.collect::<Vec<_>>(), "tables": tables })
}

fn bench(subjects: &[Value]) -> String {
    json!({ "adapter": "some GPU", "driver": "", "clock": "", "subjects": subjects }).to_string()
}

/// Experts whose layer takes `of` seconds where the dense one takes 1.
fn moe(of: f64) -> Value {
    let rows = |rows: usize| {
        json!({ "title": format!("8 experts: {rows} rows an expert, forward and backward"), "rows": [
            { "name": "dense, of as many active operations", "operations": 1.0, "times": 2, "seconds": [2.0], "share": 1.0 },
            { "name": "the layer", "operations": 1.0, "times": 1, "seconds": [of], "share": null },
        ] })
    };
    json!({ "subject": "moe", "curves": [], "tables": [rows(16), rows(128)] })
}

fn step(seconds: f64) -> Value {
    json!({ "subject": "step", "curves": [], "tables": [{
        "title": "10 training steps of 784-4096-4096-4096-10, 4096 rows, AdamW, f16",
        "rows": [{ "name": "90 % sparse, blocks of 16", "operations": 1.0, "times": 1, "seconds": [seconds], "share": 1.0 }],
    }] })
}

/// A baseline of which every product has 1e9 operations a second, and ten steps take 3 s.
fn torch() -> String {
    let line = |what: &str, operations: f64, seconds: f64| {
        json!({ "what": what, "operations": operations, "times": 10, "seconds": [10.0 * seconds] })
            .to_string()
    };
    let mut lines = vec![json!({ "system": "PyTorch", "device": "cuda", "threads": 1 }).to_string()];
    lines.extend(["x * W^T", "dy * W", "dy^T * x"].map(|name| line(&format!("dense {name}"), 2e9, 2.0)));
    for density in [0.1, 0.25] {
        for block in [32, 64, 128] {
            lines.push(line(
                &format!("x * W^T, blocks of {block}, density {density}"),
                2e9 * density,
                2.0 * density,
            ));
        }
    }
    lines.push(line("10 steps, 90 % sparse, blocks of 16", 1.0, 3.0));
    lines.join("\n")
}

/// Results of steps that are all done, whose sparse products have a share of the dense rate.
fn done(share: f64) -> Results {
    let taken = |name: &str| Taken { step: name.to_owned(), seconds: 1.0, outcome: Outcome::Done };
    let mut results = Results::new(Path::new("none"), STEPS.iter().map(|step| taken(step.name)).collect());
    let small = "f32, 4096 inputs, 4096 outputs, 512 rows";
    let large = |dtype: &str| format!("{dtype}, 4096 inputs, 4096 outputs, 4096 rows");
    for (step, subjects) in [
        ("bench-f32", vec![sparse(small, share), moe(1.0 / share)]),
        ("sparse-f32", vec![sparse(&large("f32"), share)]),
        ("sparse-f16", vec![sparse(&large("f16"), share)]),
        ("step-f16", vec![step(1.0 / share)]),
    ] {
        results.add_bench(step, &bench(&subjects)).unwrap();
    }
    ["torch-f32", "torch-f16"].iter().for_each(|step| results.add_baseline(step, &torch()));
    results
}

fn verdicts(results: &Results) -> BTreeMap<&'static str, Verdict> {
    ROWS.iter().map(|row| (row.what, row.verdict(results))).collect()
}

/// Verdict on the first row whose name contains all of `words`.
#[track_caller]
fn verdict(results: &Results, words: &[&str]) -> Verdict {
    let row = ROWS.iter().find(|row| words.iter().all(|word| row.what.contains(word)));
    row.unwrap_or_else(|| panic!("no row has {words:?}")).verdict(results)
}

fn set(results: &mut Results, step: &str, outcome: Outcome) {
    results.steps.iter_mut().find(|taken| taken.step == step).unwrap().outcome = outcome;
}

#[track_caller]
fn assert_near(verdict: &Verdict, wanted: f64) {
    let figure = verdict.figure().unwrap_or_else(|| panic!("{verdict:?}"));
    assert!((figure / wanted - 1.0).abs() < 1e-9, "{verdict:?}, not {wanted}");
}

#[test]
fn every_figure_is_what_its_row_says() {
    let results = done(0.92);
    for block in ["blocks of 8", "blocks of 16", "blocks of 32", "blocks of 64"] {
        assert_near(&verdict(&results, &["own dense, rate", "f32", block]), 0.92);
    }
    // The speed-up is 1.84 at a density of 0.5 and 0.92 at 1; its inverse is linear between them.
    assert_near(&verdict(&results, &["overtakes"]), 0.92);
    assert_near(&verdict(&results, &["dense f32, 4096³"]), 1.0);
    assert_near(&verdict(&results, &["DDS f32", "BSR"]), 0.92);
    assert_near(&verdict(&results, &["DDS f32", "cuBLAS"]), 9.2);
    assert_near(&verdict(&results, &["dense f16 into f32, 4096³"]), 1e-3);
    assert_near(&verdict(&results, &["dense f16", "cuBLAS"]), 1.0);
    assert_near(&verdict(&results, &["DDS f16 against own dense"]), 0.92);
    assert_near(&verdict(&results, &["DDS f16", "BSR"]), 0.92);
    // At a density of 0.25, where the dense product is nearest.
    assert_near(&verdict(&results, &["DDS f16", "against dense cuBLAS"]), 3.68);
    assert_near(&verdict(&results, &["training step"]), 3.0 * 0.92);
    assert_near(&verdict(&results, &["experts", "128 rows"]), 0.92);
}

#[test]
fn a_figure_reaches_its_bar_or_misses_it() {
    let results = done(0.92);
    let named = |words: &[&str]| verdict(&results, words).name();
    assert_eq!(named(&["own dense, rate", "f32", "blocks of 32"]), "reached");
    assert_eq!(named(&["own dense, rate", "f32", "blocks of 64"]), "missed");
    assert_eq!(named(&["DDS f32", "BSR"]), "missed");
    assert_eq!(named(&["DDS f32", "cuBLAS"]), "reached");
    assert_eq!(named(&["dense f16 into f32, 4096³"]), "missed");
    assert!(Bar::AtLeast(0.9, "").is_reached(0.9) && !Bar::AtLeast(0.9, "").is_reached(0.899));
    assert!(!Bar::Faster.is_reached(1.0) && Bar::Faster.is_reached(1.001));
    // Slower everywhere is no row that did not run.
    assert!(verdicts(&done(0.01)).values().all(|verdict| verdict.figure().is_some()));
}

/// The slowest of the products, block sides and densities of a row counts.
#[test]
fn the_least_figure_counts() {
    let mut results = done(0.92);
    let mut one = sparse("f32, 4096 inputs, 4096 outputs, 512 rows", 0.92);
    // Density 0.25, the gradient of the weights, blocks of 8.
    let row = &mut one["tables"][2]["rows"][5];
    assert_eq!(row["name"], "dy^T * x, blocks of 8");
    row["share"] = json!(0.3);
    results.add_bench("bench-f32", &bench(&[one])).unwrap();
    assert_eq!(verdict(&results, &["own dense, rate", "f32", "blocks of 8"]), Verdict::Missed(0.3));
    assert_near(&verdict(&results, &["own dense, rate", "f32", "blocks of 16"]), 0.92);
}

/// A row of a step that was cut is cut, unless its part was complete by then.
#[test]
fn cut_is_cut_and_not_missing() {
    let mut results = done(0.92);
    set(&mut results, "bench-f32", Outcome::Cut { after: 80.2 });
    assert_eq!(verdict(&results, &["experts", "128 rows"]).name(), "reached");
    let only_moe = bench(&[moe(1.0)]);
    results.add_bench("bench-f32", &only_moe).unwrap();
    assert_eq!(verdict(&results, &["experts", "128 rows"]).name(), "reached");
    let rate = verdict(&results, &["own dense, rate", "f32", "blocks of 8"]);
    assert_eq!(rate, Verdict::Cut { step: "bench-f32", after: 80.2 });
    assert_eq!(verdict(&results, &["overtakes"]).name(), "cut");

    // The lines of a baseline up to the cut count, but for one that is not whole.
    set(&mut results, "torch-f16", Outcome::Cut { after: 60.0 });
    let lines = torch();
    results.add_baseline("torch-f16", &lines[..lines.find("10 steps").unwrap()]);
    assert_eq!(verdict(&results, &["training step"]), Verdict::Cut { step: "torch-f16", after: 60.0 });
    assert_near(&verdict(&results, &["DDS f16", "BSR"]), 0.92);
    assert!(!summary::is_whole(&results));
    assert!(summary::rows(&results).contains(" cut: bench-f32 was ended after 80 s |"));
}

#[test]
fn what_did_not_run_says_why() {
    let mut results = done(0.92);
    let none = "no PyTorch: No module named 'torch'";
    set(&mut results, "torch-f32", Outcome::NotRun { why: none.to_owned() });
    results.add_baseline("torch-f32", "");
    assert_eq!(verdict(&results, &["dense f32, 4096³"]), Verdict::NotRun(format!("torch-f32: {none}")));
    // Other rows of the step beside it are measured.
    assert_eq!(verdict(&results, &["own dense, rate", "f32", "blocks of 8"]).name(), "reached");
    assert!(summary::is_whole(&results));

    set(&mut results, "sparse-f16", Outcome::Failed { why: "exit code 1: no f16".to_owned() });
    results.add_bench("sparse-f16", &bench(&[])).unwrap();
    let wanted = Verdict::NotRun("sparse-f16 failed: exit code 1: no f16".to_owned());
    assert_eq!(verdict(&results, &["dense f16 into f32, 4096³"]), wanted);
    assert!(!summary::is_whole(&results));

    // A product that PyTorch refuses.
    let refused = json!({ "what": "dense x * W^T", "missing": "out of memory" }).to_string();
    results.add_baseline("torch-f16", &refused);
    let Verdict::NotRun(why) = verdict(&done_with(results), &["dense f16", "cuBLAS"]) else { panic!() };
    assert!(why.contains("out of memory"), "{why}");

    // A step that was not asked for.
    let mut few = done(0.92);
    few.steps.retain(|taken| taken.step != "bench-f32");
    few.add_bench("bench-f32", &bench(&[])).unwrap();
    let Verdict::NotRun(why) = verdict(&few, &["experts", "16 rows"]) else { panic!() };
    assert!(why.contains("not asked for"), "{why}");
}

/// The same results, with the products of `done`.
fn done_with(mut results: Results) -> Results {
    set(&mut results, "sparse-f16", Outcome::Done);
    let sizes = "f16, 4096 inputs, 4096 outputs, 4096 rows";
    results.add_bench("sparse-f16", &bench(&[sparse(sizes, 0.92)])).unwrap();
    results
}

/// A bench at the sizes of another device measures another row.
#[test]
fn other_sizes_are_not_the_row() {
    let mut results = done(0.92);
    let small = sparse("f32, 1024 inputs, 1024 outputs, 256 rows", 0.92);
    results.add_bench("bench-f32", &bench(&[small])).unwrap();
    for words in [&["own dense, rate", "f32", "blocks of 8"][..], &["overtakes"]] {
        let Verdict::NotRun(why) = verdict(&results, words) else { panic!("{words:?}") };
        assert!(why.contains("1024 inputs"), "{why}");
    }
}

/// The tables of the page are those of the code.
#[test]
fn the_page_has_the_rows_and_the_steps() {
    let page = include_str!("../../results/gpu.md");
    let targets = summary::targets();
    assert!(page.contains(&targets), "put the output of `gpu-kit targets` into results/gpu.md:\n{targets}");
    for row in &ROWS {
        assert!(row.steps.iter().all(|name| super::steps::step(name).is_some()), "{}", row.what);
    }
}

/// The steps of `fretwork` and of the baseline have the arguments that the programs take.
#[test]
fn baselines_take_their_arguments() {
    let peer = include_str!("../../peers/torch_peer.py");
    for step in STEPS.iter().filter(|step| step.program == Program::Torch) {
        for option in step.arguments().filter(|word| word.starts_with("--")) {
            assert!(peer.contains(&format!("\"{option}\"")), "{}: {option}", step.name);
        }
    }
}

#[cfg(unix)]
mod runs {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use super::super::run::Kit;
    use super::super::steps::step;
    use super::*;

    /// A kit whose `fretwork` is a script.
    fn kit(home: &Path, script: &str) -> Kit {
        let (out, program) = (home.join("out"), home.join("fretwork"));
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Kit { home: home.to_owned(), out, adapter: None, python: "no-such-python".to_owned() }
    }

    fn run(kit: &Kit, name: &str, seconds: f64) -> (Outcome, Results) {
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        let taken = kit.run(step(name).unwrap(), deadline).unwrap();
        let outcome = taken.outcome.clone();
        (outcome, Results::read(&kit.out, vec![taken]).unwrap())
    }

    /// A step ends in time with all that it started, and what it had written by then counts.
    #[test]
    fn a_step_that_takes_too_long_is_cut() {
        let home = tempfile::tempdir().unwrap();
        let written = bench(&[moe(1.0)]);
        std::fs::write(home.path().join("written"), &written).unwrap();
        // A child of its own that ignores the request to end, as a compiler would.
        let script = "cp ../written bench-f32.json; (trap '' TERM; sleep 600 & echo $! > child; wait; sleep 600) & wait";
        let kit = kit(home.path(), script);
        let started = Instant::now();
        let (outcome, results) = run(&kit, "bench-f32", 1.0);
        assert!(matches!(outcome, Outcome::Cut { after } if after >= 1.0), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!(results.subjects("bench-f32"), ["moe"]);
        assert_eq!(verdict(&results, &["experts", "128 rows"]).name(), "reached");
        assert_eq!(verdict(&results, &["overtakes"]).name(), "cut");
        let line = summary::steps(&results);
        assert!(line.contains("| bench-f32 | cut after ") && line.contains("| moe |"), "{line}");
        let child = std::fs::read_to_string(kit.out.join("child")).unwrap();
        let gone = || {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            status.map_or(true, |status| status.contains(") Z "))
        };
        let patience = Instant::now() + Duration::from_secs(30);
        while !gone() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(gone(), "a child of the step is still running");
    }

    #[test]
    fn a_failed_step_and_a_missing_program_say_why() {
        let home = tempfile::tempdir().unwrap();
        let kit = kit(home.path(), "echo 'no adapter' >&2; exit 4");
        assert_eq!(
            run(&kit, "digits", 60.0).0,
            Outcome::Failed { why: "exit code 4: no adapter".to_owned() }
        );
        let (Outcome::NotRun { why }, _) = run(&kit, "torch-f32", 60.0) else { panic!() };
        assert!(why.contains("no-such-python"), "{why}");
        let (outcome, _) = run(&kit, "digits", 0.0);
        assert_eq!(outcome, Outcome::NotRun { why: "no time was left".to_owned() });
    }

    /// Exit code 3 is that of a program which lacks what it needs.
    #[test]
    fn a_baseline_without_its_system_did_not_run() {
        let home = tempfile::tempdir().unwrap();
        let mut kit = kit(home.path(), "");
        kit.python = home.path().join("fretwork").display().to_string();
        std::fs::write(&kit.python, "#!/bin/sh\necho 'no PyTorch: none' >&2; exit 3\n").unwrap();
        assert_eq!(run(&kit, "torch-f32", 60.0).0, Outcome::NotRun { why: "no PyTorch: none".to_owned() });
    }

    /// Steps see the kit's own choices and data, and no variable that would change what is measured.
    #[test]
    fn steps_have_an_environment_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let mut kit = kit(home.path(), "echo \"$@\"; echo \"$FRETWORK_CACHE $FRETWORK_DATA\"");
        kit.adapter = Some("some".to_owned());
        std::fs::create_dir(home.path().join("data")).unwrap();
        assert_eq!(run(&kit, "bench-f16", 60.0).0, Outcome::Done);
        let said = std::fs::read_to_string(kit.out.join("bench-f16.out")).unwrap();
        let [out, data] =
            [kit.out.join("tuner"), home.path().join("data")].map(|path| path.display().to_string());
        let wanted = format!(
            "bench all --dtype f16 --save bench-f16.json --html bench-f16.html --adapter some\n{out} {data}\n"
        );
        assert_eq!(said, wanted);
        assert_eq!(run(&kit, "adapters", 60.0).0, Outcome::Done);
        let said = std::fs::read_to_string(kit.out.join("adapters.out")).unwrap();
        assert!(said.starts_with("doctor --adapters --json\n"), "{said}");
    }
}
