//! A mixture of experts, forward and backward, compared with dense layers.
//!
//! The layer is timed as a whole, as in training: gate, balance loss, routing, experts, combination and all gradients. The
//! baselines are dense products with a fused activation alone; gathering of rows, weighting of outputs and masking cost them
//! nothing:
//!
//! - a dense feed-forward layer with equal active operations, with the hidden units of a token's k experts;
//! - a loop over the experts, each on its own contiguous rows;
//! - all experts for every token, with the experts outside the top-k masked.

mod check;
mod layer;
mod products;
mod sizes;

use std::iter;

pub use sizes::MoeSizes;

use super::{Bench, Cell, Entry, Findings, Grid, Role, Row, Subject, Timings, interleave};
use crate::Result;
use crate::ops::Activation;
use crate::random::Walk;
use layer::Layer;
use products::Products;

/// Activation of the experts. It is smooth, so that central differences hold everywhere.
const ACTIVATION: Activation = Activation::Silu;

/// Least rates of the layer as shares of the dense layer's, by rows an expert.
const BARS: [(usize, f64); 2] = [(16, 0.6), (128, 0.8)];

/// Names of the entries.
const DENSE: &str = "dense, of as many active operations";
const LOOP: &str = "a loop over the experts";
const ALL: &str = "all experts for every token";
const LAYER: &str = "the layer";
const UNEVEN: &str = "the layer, with random loads";

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let MoeSizes { experts, choices, width, hidden, block } = bench.sizes.experts;
    let rows = &bench.sizes.rows;
    let mut tables = Vec::new();
    let mut kernels = Vec::new();
    for &rows in rows {
        let (table, grid) = compare(bench, rows)?;
        tables.push(table);
        kernels.extend(grid);
    }
    // Speed-up of the entry `name` over the entry `than`.
    let ratio = |table: &Timings, name: &str, than: &str| {
        let median = |name: &str| table.row(name).map_or(f64::NAN, Row::median);
        median(than) / median(name)
    };
    let mut lines = Vec::new();
    for (&rows, table) in rows.iter().zip(&tables) {
        let bar = BARS.iter().find(|bar| bar.0 == rows).map(|bar| bar.1);
        lines.push(vec![
            Cell::text(rows.to_string()),
            Cell::at_least(ratio(table, LAYER, DENSE), bar),
            Cell::Number(ratio(table, UNEVEN, DENSE)),
            Cell::Number(ratio(table, LAYER, LOOP)),
            Cell::Number(ratio(table, LAYER, ALL)),
        ]);
    }
    let faster = |than: &str| {
        let at = rows.iter().zip(&tables).map(|(&rows, table)| (rows, ratio(table, LAYER, than) > 1.0));
        Cell::text(crossover(&at.collect::<Vec<_>>()))
    };
    lines.push(vec![Cell::text("faster"), faster(DENSE), Cell::Empty, faster(LOOP), faster(ALL)]);
    let head = [
        "rows an expert",
        "against dense of as many active operations",
        "with random loads, against that dense layer",
        "against a loop over the experts",
        "against all experts for every token",
    ];
    let grid = Grid {
        title: format!(
            "{experts} experts of {hidden} hidden units, {choices} a token, {width} columns, blocks of {block}, forward and \
             backward: times as fast"
        ),
        head: head.map(str::to_owned).to_vec(),
        rows: lines,
    };
    let grids = iter::once(grid).chain(kernels).collect();
    Ok(Findings { subject: Subject::Moe, tables, grids, curves: Vec::new() })
}

/// Describes at which sizes, given in ascending order, the layer is faster.
fn crossover(at: &[(usize, bool)]) -> String {
    let faster: Vec<usize> = at.iter().filter(|size| size.1).map(|size| size.0).collect();
    let (Some(first), Some(last)) = (faster.first(), faster.last()) else { return "nowhere".to_owned() };
    let (from, upto) = (at.iter().skip_while(|size| !size.1), at.iter().take_while(|size| size.1));
    if faster.len() == at.len() {
        "everywhere".to_owned()
    } else if from.clone().all(|size| size.1) {
        format!("from {first} on")
    } else if upto.count() == faster.len() {
        format!("up to {last}")
    } else {
        let sizes: Vec<_> = faster.iter().map(usize::to_string).collect();
        format!("at {}", sizes.join(", "))
    }
}

/// Checks the layer at a mean of `rows` rows an expert, and times it together with its baselines; and its time by kernel.
///
/// # Errors
/// [`Error::Wrong`](crate::Error::Wrong) if the layer fails its check, and those of the operations.
fn compare(bench: &Bench, rows: usize) -> Result<(Timings, Option<Grid>)> {
    let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
    let tokens = sizes.tokens(rows)?;
    let [even, uneven] = [true, false].map(|even| Layer::new(bench, tokens, even));
    let (even, uneven) = (even?, uneven?);
    even.check(bench)?;
    uneven.check(bench)?;

    let MoeSizes { experts, choices, width, hidden, block } = *sizes;
    let operations = 12.0 * (tokens * choices * hidden * width) as f64;
    // Short passes are repeated, so that launch and wait hardly count, as in a network of many layers.
    let times = ((if gpu.is_software() { 1e9 } else { 1e11 }) / operations).ceil().clamp(1.0, 8.0) as usize;
    let dense = Products::new(gpu, tokens, [choices * hidden, width])?;
    let looped =
        (0..experts).map(|_| Products::new(gpu, rows, [hidden, width])).collect::<Result<Vec<_>>>()?;
    let all = Products::new(gpu, tokens, [experts * hidden, width])?;
    let dense = bench.plan(times, &|rec| dense.pass(rec))?;
    let looped = bench.plan(times, &|rec| {
        looped.iter().try_for_each(|expert| expert.forward(rec))?;
        looped.iter().try_for_each(|expert| expert.backward(rec))
    })?;
    let all = bench.plan(times, &|rec| all.pass(rec))?;
    let once = bench.plan(1, &|rec| even.pass(rec, Some(&even.step)))?;
    let even = bench.plan(times, &|rec| even.pass(rec, Some(&even.step)))?;
    let uneven = bench.plan(times, &|rec| uneven.pass(rec, Some(&uneven.step)))?;
    let entry = |name: &str, role, plan| Entry {
        name: name.to_owned(),
        role,
        operations,
        bytes: None,
        times,
        run: bench.timed(plan),
    };
    let entries = vec![
        entry(DENSE, Role::Baseline, &dense),
        entry("control: dense again", Role::Control, &dense),
        entry(LOOP, Role::Candidate, &looped),
        entry(ALL, Role::Candidate, &all),
        entry(LAYER, Role::Candidate, &even),
        entry(UNEVEN, Role::Candidate, &uneven),
    ];
    let title = format!(
        "{experts} experts of {hidden} hidden units, {choices} a token, {width} columns, blocks of {block}: {rows} rows an \
         expert, forward and backward"
    );
    let table = interleave(title, bench.sizes.rounds, entries)?;
    let kernels =
        bench.by_kernel(format!("Where the time of the layer goes: {rows} rows an expert"), &once)?;
    Ok((table, kernels))
}

/// Random numbers in [-0.5, 0.5), since zeros can be faster than the values of a network.
fn noise(walk: &mut Walk, count: usize) -> Vec<f32> {
    (0..count).map(|_| walk.uniform() - 0.5).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossovers_in_words() {
        let words = |faster: [bool; 4]| crossover(&std::array::from_fn::<_, 4, _>(|i| (1 << i, faster[i])));
        assert_eq!(words([true; 4]), "everywhere");
        assert_eq!(words([false; 4]), "nowhere");
        assert_eq!(words([false, false, true, true]), "from 4 on");
        assert_eq!(words([true, true, true, false]), "up to 4");
        assert_eq!(words([true, false, true, false]), "at 1, 4");
        assert_eq!(words([true, false, false, true]), "at 1, 8");
    }
}
