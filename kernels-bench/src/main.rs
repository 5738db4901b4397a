//! How fast the kernels are, as ratios from one run.
//!
//! Kernels are checked before they are timed. Then they take turns, round after round, so that what slows the machine down
//! for a while slows all of them down; the median of the rounds counts. The control row times the baseline against itself
//! and says how far the ratios can be trusted.
//!
//! `cargo run --release -p kernels-bench` prints a table; `--json FILE` also keeps the raw times.

mod experts;
mod matmul;
mod step;
mod textbook;

use anyhow::{Context as _, Result, bail};
use fretwork::bench;
use fretwork::gpu::{Gpu, Options};
use serde_json::json;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let json = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => None,
        (Some("--json"), Some(file)) => Some(file),
        _ => bail!("usage: ratios [--json FILE]"),
    };

    let gpu = Gpu::request(Options::default())?;
    println!("{}, {}\n", gpu.info().name, gpu.driver());
    // One transpose and one size stand for the rest here; `fretwork doctor` runs them all.
    bench::trust(&gpu, |name| {
        ["dense", "dds", "sdd", "dsd"].iter().any(|family| name.contains(family))
            && [".nt", "_gather"].iter().any(|kind| name.contains(kind))
    })?;

    let mut tables = vec![matmul::against_textbook(&gpu)?];
    for density in [0.05, 0.1, 0.25, 0.5] {
        tables.push(matmul::against_dense(&gpu, density)?);
    }
    for [experts, rows] in [[8, 128], [16, 16]] {
        tables.push(experts::against_dense(&gpu, experts, rows)?);
    }
    tables.push(step::sparse_against_dense(&gpu)?);
    for sparsity in [0.9, 0.98] {
        tables.push(step::evolving(&gpu, sparsity)?);
    }
    for table in &tables {
        println!("{table}");
    }
    if let Some(file) = json {
        let raw: Vec<_> = tables.iter().map(bench::Table::to_json).collect();
        let all = json!({ "adapter": gpu.info().name, "driver": gpu.driver(), "tables": raw });
        std::fs::write(&file, format!("{all:#}\n")).with_context(|| file.clone())?;
    }
    Ok(())
}
