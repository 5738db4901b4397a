//! `fretwork bench`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::bench::{Bench, Report, Sizes, Subject};
use fretwork::gpu::{self, Gpu};

use crate::options::{BenchOptions, What};
use crate::output::line;

pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode> {
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let mut bench = Bench::new(&gpu, Sizes::of(&gpu))?;
    let mut report = Report::new(&gpu, &bench);
    if !options.json {
        line(format!("{report}\n"))?;
    }
    // Now, so that a file that cannot be written is no surprise at the end.
    let draw = |report: &Report| options.html.as_ref().map_or(Ok(()), |path| report.write_html(path));
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
