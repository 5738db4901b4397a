//! `fretwork bench`.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use fretwork::bench::{Bench, Report, Sizes, Subject};
use fretwork::gpu::{self, Gpu};
use fretwork::nn::{Half, Precision};
use fretwork::report::bench as page;

use crate::options::{BenchOptions, Float, What};
use crate::output::line;

pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode> {
    refuse_idle(options)?;
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let mut bench = Bench::new(&gpu, sizes(&gpu, options)?)?;
    let mut report = Report::new(&gpu, &bench);
    if !options.json {
        line(format!("{report}\n"))?;
    }
    // An empty page is written first, so that an unwritable path fails before anything is timed.
    let draw = |report: &Report| options.html.as_ref().map_or(Ok(()), |path| page::write(report, path));
    draw(&report)?;
    for subject in subjects(options.what) {
        let findings = bench.run(subject)?;
        if !options.json {
            line(&findings)?;
        }
        report.findings.push(findings);
        draw(&report)?;
    }
    if options.json {
        line(format!("{:#}", report.to_json()))?;
    }
    Ok(ExitCode::SUCCESS)
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
    let network = [What::Step, What::Update];
    for (option, given, timed) in [
        ("--rows", options.rows.is_some(), &[What::Matmul, What::Sparse][..]),
        ("--hidden", options.hidden.is_some(), &network),
        ("--batch", options.batch.is_some(), &network),
        ("--dtype f16", options.dtype == Float::F16, &[What::Matmul, What::Sparse, What::Step, What::Update]),
    ] {
        let idle = given && options.what != What::All && !timed.contains(&options.what);
        let timed: Vec<_> = timed.iter().map(|what| format!("{what:?}").to_lowercase()).collect();
        ensure!(!idle, "{option} has no effect: it applies to {} alone; leave it out", timed.join(", "));
    }
    Ok(())
}

fn subjects(what: What) -> Vec<Subject> {
    match what {
        What::Matmul => vec![Subject::Matmul],
        What::Sparse => vec![Subject::Sparse],
        What::Step => vec![Subject::Step],
        What::Update => vec![Subject::Update],
        What::Moe => vec![Subject::Moe],
        What::All => Subject::ALL.to_vec(),
    }
}
