//! Results of `fretwork bench` at tiny sizes: structure, checks and refusals. No test depends on a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

use fretwork::Error;
use fretwork::bench::{
    Bench, Cell, Crossover, Curve, Entry, MoeSizes, Report, Role, Row, Sizes, Subject, interleave,
};
use fretwork::gpu::{Clock, Gpu, Options, Sources};
use fretwork::nn::{Half, Precision};
use fretwork::report::bench as page;

const EXPERTS: MoeSizes = MoeSizes { experts: 4, choices: 2, width: 36, hidden: 32, block: 8 };

fn sizes() -> Sizes {
    Sizes {
        rounds: 3,
        precision: Precision::F32,
        layer: [48, 128, 64],
        blocks: vec![8, 64],
        densities: vec![0.25, 0.5, 1.0],
        hidden: vec![64],
        batch: 16,
        steps: 2,
        sparsities: vec![0.9],
        basis: [1000, 12],
        experts: EXPERTS,
        rows: vec![12, 16],
        copied: 1000,
        multiply_adds: [100, 3],
    }
}

/// In half precision the f16 kernels are timed.
#[test]
fn half_precision() {
    let gpu = Gpu::request(Options::default()).unwrap();
    if !gpu.has_f16() {
        eprintln!("SKIPPED: {} has no f16", gpu.info().name);
        return;
    }
    let precision = Precision::F16(Half::default());
    let mut bench = Bench::new(&gpu, Sizes { precision, ..sizes() }).unwrap();
    for subject in [Subject::Matmul, Subject::Sparse, Subject::Step] {
        let findings = bench.run(subject).unwrap();
        assert!(findings.tables.iter().all(|table| table.title().contains("f16")), "{}", subject.name());
        let kernels = findings.to_string();
        let listed = subject == Subject::Step && bench.clock() == Clock::Device;
        assert!(!listed || kernels.contains(".f16"), "{kernels}");
    }
}

fn patched(file: &str, from: &str, to: &str) -> Gpu {
    let mut sources = Sources::default();
    sources.patch(file, from, to).unwrap();
    Gpu::request(Options { sources, ..Options::default() }).unwrap()
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(Row::name).collect()
}

/// Each subject gives timings of all rounds with a control, and rectangular grids.
#[test]
fn every_subject_is_timed() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut bench = Bench::new(&gpu, sizes()).unwrap();
    let mut report = Report::new(&gpu, &bench);
    for subject in Subject::ALL {
        let findings = bench.run(subject).unwrap();
        assert_eq!(findings.subject, subject);
        assert!(!findings.tables.is_empty() && !findings.grids.is_empty(), "{}", subject.name());
        for table in &findings.tables {
            assert!(table.control().unwrap() > 0.0, "{}", table.title());
            let text = table.to_string();
            for row in table.rows() {
                assert!(row.seconds().len() >= 3 && row.median() > 0.0, "{}: {}", table.title(), row.name());
            }
            for row in table.compared() {
                assert!(text.contains(&format!("| {} |", row.name())), "{text}");
                assert!(table.share(row) > 0.0 && table.best().unwrap().rate() >= row.rate() * 1e-9);
            }
            // Only products and random bases are compared with the ceilings of the device.
            let of_ceilings = matches!(subject, Subject::Matmul | Subject::Sparse | Subject::Basis);
            assert_eq!(table.ceilings().is_some(), of_ceilings, "{}", table.title());
            assert!(table.compared().all(|row| table.of_ceiling(row).is_some() == of_ceilings));
        }
        for grid in &findings.grids {
            assert!(grid.rows.iter().all(|row| row.len() == grid.head.len()), "{grid}");
        }
        report.findings.push(findings);
    }

    let [matmul, sparse, step, update, basis, moe] = &report.findings[..] else { panic!("six subjects") };
    assert_eq!(
        names(matmul.tables[0].rows()),
        [
            "naive, 16 x 16 tiles in workgroup memory",
            "control: naive again",
            "dense x * W",
            "dense x * W^T",
            "dense dy * W",
            "dense dy^T * x",
            "multiply-adds in registers",
            "copy",
        ]
    );
    assert_eq!(sparse.tables.len(), 3);
    assert_eq!(
        names(sparse.tables[0].rows()),
        [
            "dense x * W^T",
            "dense dy * W",
            "dense dy^T * x",
            "control: dense x * W^T again",
            "x * W^T, blocks of 8",
            "dy * W, blocks of 8",
            "dy^T * x, blocks of 8",
            "x * W^T, blocks of 64",
            "dy * W, blocks of 64",
            "dy^T * x, blocks of 64",
            "multiply-adds in registers",
            "copy",
        ]
    );
    assert_eq!(sparse.curves.len(), 6);
    assert!(sparse.curves.iter().all(|curve| curve.points.len() == 3));
    assert_eq!(sparse.grids[0].rows.len(), 6);
    assert_eq!(names(step.tables[0].rows()), ["dense", "control: dense again", "90 % sparse, blocks of 16"]);
    assert_eq!(step.grids[0].rows.len(), 5);
    assert!(names(update.tables[0].rows()).contains(&"RigL, every step an update"));
    assert_eq!(
        names(basis.tables[0].rows()),
        [
            "generate and dot, one base",
            "control: generate and dot again",
            "generate and dot, drawn anew",
            "generate and add, one base",
            "generate and add, drawn anew",
            "multiply-adds in registers",
            "copy",
        ]
    );
    assert_eq!(
        names(moe.tables[0].rows()),
        [
            "dense, of as many active operations",
            "control: dense again",
            "a loop over the experts",
            "all experts for every token",
            "the layer",
            "the layer, with random loads",
        ]
    );
    // 16 rows an expert have a bar, 12 have none.
    assert_eq!(moe.grids[0].rows[0][1].passes(), None);
    assert!(moe.grids[0].rows[1][1].passes().is_some());

    let html = page::render(&report);
    for part in ["Roofline", "Speed-up over density", "blocks of 64", "All times", "dy^T * x, blocks of 8"] {
        assert!(html.contains(part), "{part}");
    }
    // The roofline and one chart for each product; no external resource, and no coordinate that is not a number.
    assert_eq!(html.matches("<svg class=\"chart\"").count(), 4);
    for part in ["http", "<script", "<link", "<img", "NaN", "inf"] {
        assert!(!html.contains(part), "{part}");
    }

    let json = report.to_json();
    assert_eq!(json["subjects"].as_array().unwrap().len(), 6);
    assert_eq!(json["subjects"][1]["curves"][0]["points"].as_array().unwrap().len(), 3);
    assert_eq!(json["subjects"][0]["tables"][0]["rows"][0]["seconds"].as_array().unwrap().len(), 3);
}

/// Mixtures with other numbers of experts, top-k and rows pass their check.
#[test]
fn mixtures_of_other_sizes_are_right() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut bench = Bench::new(&gpu, sizes()).unwrap();
    for (experts, rows) in [
        (MoeSizes { experts: 3, choices: 1, block: 16, ..EXPERTS }, 16),
        (MoeSizes { choices: 4, ..EXPERTS }, 5),
    ] {
        *bench.sizes_mut() = Sizes { experts, rows: vec![rows], rounds: 1, ..sizes() };
        bench.run(Subject::Moe).unwrap();
    }
}

/// A wrong kernel is named before anything is timed.
#[test]
fn kernels_that_are_wrong_are_not_timed() {
    for (file, from, to, subject, label) in [
        ("ceiling/fma", "a = fma(a, factor, addend);", "", Subject::Matmul, "ceiling.fma"),
        ("ceiling/copy", "step < 4u", "step < 3u", Subject::Sparse, "ceiling.copy"),
        ("naive/tile", "kk < SIDE", "kk < SIDE - 1u", Subject::Matmul, "naive"),
        (
            "sdd/blocks",
            "let at = (slot * BLOCK + row)",
            "let at = (slot * BLOCK + row / 2u)",
            Subject::Sparse,
            "sdd",
        ),
        ("optimizer/adamw", "sqrt", "abs", Subject::Update, "adamw"),
        ("basis/dot", "bits.x >> 4u", "bits.x >> 3u", Subject::Basis, "basis.dot"),
        ("common/matmul", "vec4<f32>(a.x)", "vec4<f32>(a.y)", Subject::Moe, "dense"),
    ] {
        let gpu = patched(file, from, to);
        let error = Bench::new(&gpu, sizes()).unwrap().run(subject).unwrap_err();
        assert!(
            matches!(&error, Error::Wrong { label: said, .. } if said.contains(label)),
            "{file}: {error}"
        );
    }
}

/// The check of a mixture finds a wrong output, a wrong gradient and a gradient without the router's part.
#[test]
fn a_mixture_that_is_wrong_is_not_timed() {
    for (file, from, to, what) in [
        ("combine/rows", "Value(weights[assignment])", "Value(0.5 * weights[assignment])", "the output"),
        ("experts/backward", "grad[at] = weight * g * slope;", "grad[at] = g * slope;", "the gradient"),
        ("experts/backward", "dots[row] = dot;", "dots[row] = -dot;", "the gradient"),
    ] {
        let gpu = patched(file, from, to);
        let error = Bench::new(&gpu, sizes()).unwrap().run(Subject::Moe).unwrap_err();
        assert!(matches!(&error, Error::Wrong { label, .. } if label == "moe"), "{file}: {error}");
        assert!(error.to_string().contains(what), "{file}: {error}");
    }
}

#[test]
fn mixtures_that_make_no_sense_are_refused() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let mut bench = Bench::new(&gpu, sizes()).unwrap();
    for (experts, rows) in [
        (EXPERTS, 0),
        (EXPERTS, usize::MAX),
        (MoeSizes { choices: 0, ..EXPERTS }, 12),
        (MoeSizes { choices: 5, ..EXPERTS }, 12),
        (MoeSizes { experts: 0, ..EXPERTS }, 12),
        (MoeSizes { width: 3, ..EXPERTS }, 12),
        (MoeSizes { width: 0, ..EXPERTS }, 12),
        (MoeSizes { hidden: 33, ..EXPERTS }, 12),
        (MoeSizes { hidden: 0, ..EXPERTS }, 12),
        (MoeSizes { block: 7, hidden: 35, ..EXPERTS }, 12),
        (MoeSizes { experts: 3, ..EXPERTS }, 5),
    ] {
        *bench.sizes_mut() = Sizes { experts: experts.clone(), rows: vec![rows], ..sizes() };
        let result = bench.run(Subject::Moe);
        assert!(
            matches!(result, Err(Error::Config { .. } | Error::Argument { .. })),
            "{experts:?}, {rows}: {result:?}"
        );
    }
}

#[test]
fn curves_cross_where_both_take_as_long() {
    let curve = |points: &[[f64; 2]]| Curve { name: String::new(), block: 8, points: points.to_vec() };
    // At half the rate of dense the crossover is at density 0.5, whichever points enclose it.
    let half = |density: f64| [density, 0.5 / density];
    for points in [&[half(0.1), half(0.9)][..], &[half(0.25), half(0.5), half(1.0)], &[half(0.4), half(0.6)]]
    {
        let Crossover::At(density) = curve(points).crossover() else { panic!("{points:?}") };
        assert!((density - 0.5).abs() < 1e-12, "{density}");
    }
    assert_eq!(curve(&[half(0.1), half(0.4)]).crossover(), Crossover::Beyond(0.4));
    assert_eq!(curve(&[half(0.6), half(0.9)]).crossover(), Crossover::Below(0.6));
}

#[test]
fn bars_are_reached_or_missed() {
    assert_eq!(Cell::at_least(0.8, Some(0.8)).passes(), Some(true));
    assert_eq!(Cell::at_least(0.79, Some(0.8)).to_string(), "0.79 (0.8: missed)");
    assert_eq!(Cell::at_most(1.04, 1.05).to_string(), "1.04 (at most 1.05: reached)");
    assert_eq!(Cell::at_least(f64::NAN, Some(0.8)).passes(), Some(false));
    assert_eq!(Cell::at_least(3.0, None), Cell::Number(3.0));
}

#[test]
fn rounds_are_interleaved_and_stop_at_an_error() {
    let log = RefCell::new(Vec::new());
    let entry = |name: &'static str, fails: bool| Entry {
        name: name.to_owned(),
        role: Role::Candidate,
        operations: 1.0,
        bytes: None,
        times: 2,
        run: {
            let log = &log;
            Box::new(move || {
                log.borrow_mut().push(name);
                let broken = || Error::Wrong { label: "broken".to_owned(), reason: String::new() };
                if fails { Err(broken()) } else { Ok(Duration::from_millis(4)) }
            })
        },
    };
    let table = interleave("rounds".to_owned(), 2, vec![entry("a", false), entry("b", false)]).unwrap();
    assert_eq!(log.take(), ["a", "b", "a", "b", "a", "b"]);
    assert_eq!(table.rows()[0].median(), 0.002);
    assert!(table.rows().iter().all(|row| row.spread() == 0.0 && table.share(row).is_nan()));
    interleave("rounds".to_owned(), 2, vec![entry("a", true), entry("b", false)]).unwrap_err();
    assert_eq!(log.take(), ["a"]);
    assert!(interleave("nothing".to_owned(), 0, Vec::new()).unwrap().to_string().starts_with("### nothing"));
}

/// A page without findings is valid, and replaces an older one.
#[test]
fn a_page_of_nothing_is_a_page() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let report = Report::new(&gpu, &Bench::new(&gpu, sizes()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.html");
    for _ in 0..2 {
        page::write(&report, &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), page::render(&report));
    }
    assert!(page::render(&report).contains(&gpu.info().name));
    assert!(matches!(page::write(&report, &folder.path().join("no/where.html")), Err(Error::Io { .. })));
}

/// An adapter that is not found is named.
#[test]
fn the_program_names_an_adapter_that_is_not_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_fretwork"))
        .args(["bench", "moe", "--adapter", "no such adapter"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such adapter"));
}
