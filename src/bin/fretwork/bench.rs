//! `fretwork bench`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::bench::moe::{self, Comparison, Sizes};
use fretwork::gpu::{self, Gpu};
use serde_json::json;

use crate::options::{Bench, BenchMoe};
use crate::output::line;

pub(crate) fn run(subject: &Bench) -> Result<ExitCode> {
    match subject {
        Bench::Moe(options) => moe(options),
    }
}

/// Rows of each expert.
const ROWS: [usize; 5] = [4, 16, 64, 128, 256];

const ROUNDS: usize = 7;

fn moe(options: &BenchMoe) -> Result<ExitCode> {
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let (adapter, driver) = (&gpu.info().name, gpu.driver());
    if options.json {
        line(json!({ "event": "adapter", "name": adapter, "driver": driver }))?;
    } else {
        line(format!("{adapter}, {driver}\n"))?;
    }
    moe::trust_rivals(&gpu)?;
    let sizes = Sizes::of(&gpu);
    let mut all = Vec::new();
    for rows in ROWS {
        let comparison = moe::compare(&gpu, &sizes, rows, ROUNDS)?;
        if options.json {
            line(json!({ "event": "size", "rows": rows, "table": comparison.table().to_json() }))?;
        } else {
            line(comparison.table())?;
        }
        all.push(comparison);
    }

    let sooner = |ratio: fn(&Comparison) -> f64| {
        moe::crossover(&all.iter().map(|at| (at.rows(), ratio(at) > 1.0)).collect::<Vec<_>>())
    };
    let (than_loop, than_all) = (sooner(Comparison::over_loop), sooner(Comparison::over_all));
    if options.json {
        for at in &all {
            line(json!({
                "event": "ratios", "rows": at.rows(), "control": at.control(), "share": at.share(), "bar": at.bar(),
                "share_uneven": at.share_uneven(), "over_loop": at.over_loop(), "over_all": at.over_all(),
            }))?;
        }
        line(json!({ "event": "done", "faster_than_loop": than_loop, "faster_than_all": than_all }))?;
        return Ok(ExitCode::SUCCESS);
    }
    line(
        "| rows an expert | control | share of dense | bar | share, uneven | over a loop | over all experts |",
    )?;
    line("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for at in &all {
        let bar = at.bar().map_or_else(String::new, |bar| {
            format!("{bar}, {}", if at.share() >= bar { "reached" } else { "missed" })
        });
        line(format!(
            "| {} | {:.2} | {:.2} | {bar} | {:.2} | {:.2} | {:.2} |",
            at.rows(),
            at.control(),
            at.share(),
            at.share_uneven(),
            at.over_loop(),
            at.over_all(),
        ))?;
    }
    line(format!("\nThe layer is faster than a loop over the experts {than_loop},"))?;
    line(format!("and than all experts for every token {than_all}."))?;
    Ok(ExitCode::SUCCESS)
}
