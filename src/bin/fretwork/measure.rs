//! The benches that `bench` chooses and runs.

use anyhow::{Result, ensure};
use fretwork::bench::{Bench, Report, Sizes, Subject};
use fretwork::gpu::{self, Gpu, Halt};
use fretwork::nn::{Half, Precision};
use fretwork::report::bench as page;

use crate::options::{BenchOptions, BenchSubject, Float};

/// Runs the benches that the options name, and calls `tell` with the device's line and with the tables of each bench. A `halt` stops them.
///
/// # Errors
/// Refusals of options, a wrong kernel, and the errors of `tell`.
pub(crate) fn run(
    options: &BenchOptions,
    halt: Option<Halt>,
    tell: &mut dyn FnMut(String) -> Result<()>,
) -> Result<Report> {
    refuse_idle(options)?;
    let gpu =
        Gpu::request(gpu::Options { adapter: options.adapter.clone(), halt, ..gpu::Options::default() })?;
    let mut bench = Bench::new(&gpu, sizes(&gpu, options)?)?;
    let mut report = Report::new(&gpu, &bench);
    tell(format!("{report}\n"))?;
    // Files without findings are written first, so that an unwritable path fails before anything is timed.
    let keep = |report: &Report| {
        options.html.as_ref().map_or(Ok(()), |path| page::write(report, path))?;
        options.save.as_ref().map_or(Ok(()), |path| report.save(path))
    };
    keep(&report)?;
    for subject in subjects(options.subject) {
        let findings = bench.run(subject)?;
        tell(findings.to_string())?;
        report.findings.push(findings);
        keep(&report)?;
    }
    Ok(report)
}

/// Sizes from the options, with defaults that suit the device.
fn sizes(gpu: &Gpu, options: &BenchOptions) -> Result<Sizes> {
    let mut sizes = Sizes::of(gpu);
    if let Float::F16 = options.dtype {
        sizes.precision = Precision::F16(Half::default());
    }
    if let Some(rows) = options.rows {
        ensure!(rows > 0 && rows.is_multiple_of(16), "rows: {rows} is not a multiple of 16");
        sizes.layer[0] = rows;
    }
    if let Some(hidden) = &options.hidden {
        sizes.hidden.clone_from(hidden);
    }
    if let Some(batch) = options.batch {
        ensure!(batch > 0, "batch: 0 rows; give at least 1");
        sizes.batch = batch;
    }
    Ok(sizes)
}

/// Refuses options without effect on the subject.
fn refuse_idle(options: &BenchOptions) -> Result<()> {
    let network = [BenchSubject::Step, BenchSubject::Update];
    for (option, given, timed) in [
        ("--rows", options.rows.is_some(), &[BenchSubject::Matmul, BenchSubject::Sparse][..]),
        ("--hidden", options.hidden.is_some(), &network),
        ("--batch", options.batch.is_some(), &network),
        (
            "--dtype f16",
            options.dtype == Float::F16,
            &[BenchSubject::Matmul, BenchSubject::Sparse, BenchSubject::Step, BenchSubject::Update],
        ),
    ] {
        let idle = given && options.subject != BenchSubject::All && !timed.contains(&options.subject);
        let timed: Vec<_> = timed.iter().map(|subject| format!("{subject:?}").to_lowercase()).collect();
        ensure!(!idle, "{option} has no effect: it applies to {} alone; leave it out", timed.join(", "));
    }
    Ok(())
}

fn subjects(subject: BenchSubject) -> Vec<Subject> {
    match subject {
        BenchSubject::Matmul => vec![Subject::Matmul],
        BenchSubject::Sparse => vec![Subject::Sparse],
        BenchSubject::Step => vec![Subject::Step],
        BenchSubject::Update => vec![Subject::Update],
        BenchSubject::Basis => vec![Subject::Basis],
        BenchSubject::Moe => vec![Subject::Moe],
        BenchSubject::All => Subject::ALL.to_vec(),
    }
}
