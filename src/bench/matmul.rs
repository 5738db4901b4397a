//! Dense products compared with the naive (shared-memory) tile.

use super::{Bench, Cell, Entry, Findings, Grid, Role, Subject, interleave};
use crate::Result;
use crate::gpu::Recorder;
use crate::nn::Precision;
use crate::ops::{self, Epilogue, Transpose};

/// Least rate of the dense family in f32, as a multiple of the naive tile's.
const BAR: f64 = 8.0;

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let [rows, inputs, outputs] = bench.sizes.layer;
    let (x, y) = (bench.numbers(0, &[rows, inputs])?, bench.numbers(1, &[rows, outputs])?);
    let (w, flat) = (bench.numbers(2, &[outputs, inputs])?, bench.numbers(3, &[inputs, outputs])?);
    // The naive tile and weight gradients are f32 at every precision.
    let single = |case, shape: [usize; 2]| bench.numbers_in(Precision::F32, case, &shape);
    let [naive_x, naive_w] = [single(0, [rows, inputs])?, single(3, [inputs, outputs])?];
    let [naive_y, dw] = [single(1, [rows, outputs])?, single(2, [outputs, inputs])?];
    let dense = |rec: &mut Recorder<'_>, [lhs, rhs, out]: [_; 3], transpose| {
        ops::dense(rec, lhs, rhs, out, transpose, Epilogue::None)
    };
    let naive = bench.plan(1, &|rec| ops::naive(rec, &naive_x, &naive_w, &naive_y))?;
    let plain = bench.plan(1, &|rec| dense(rec, [&x, &flat, &y], Transpose::NN))?;
    let forward = bench.plan(1, &|rec| dense(rec, [&x, &w, &y], Transpose::NT))?;
    let backward = bench.plan(1, &|rec| dense(rec, [&y, &w, &x], Transpose::NN))?;
    let gradient = bench.plan(1, &|rec| dense(rec, [&y, &x, &dw], Transpose::TN))?;

    let entry = |name: &str, role, plan| Entry {
        name: name.to_owned(),
        role,
        operations: 2.0 * (rows * inputs * outputs) as f64,
        bytes: Some(bench.dtype().size() as f64 * (rows * inputs + rows * outputs + inputs * outputs) as f64),
        times: 1,
        run: bench.timed(plan),
    };
    let ceilings = bench.ceilings()?;
    let mut entries = vec![
        entry("naive, 16 x 16 tiles in workgroup memory", Role::Baseline, &naive),
        entry("control: naive again", Role::Control, &naive),
        entry("dense x * W", Role::Candidate, &plain),
        entry("dense x * W^T", Role::Candidate, &forward),
        entry("dense dy * W", Role::Candidate, &backward),
        entry("dense dy^T * x", Role::Candidate, &gradient),
    ];
    entries.extend(ceilings.entries(bench));
    let title = format!("dense {}, {inputs} inputs, {outputs} outputs, {rows} rows", bench.dtype().name());
    let table = interleave(title, bench.sizes.rounds, entries)?;

    let candidates = table.rows().iter().filter(|row| row.role() == Role::Candidate);
    let bar = (!bench.is_half()).then_some(BAR);
    let lines = candidates.map(|row| {
        let of_ceiling = table.of_ceiling(row).map_or(Cell::Empty, Cell::Number);
        vec![Cell::text(row.name()), Cell::at_least(table.share(row), bar), of_ceiling]
    });
    let grid = Grid {
        title: "Dense matmul against the naive tile".to_owned(),
        head: ["product", "times as fast", "share of the device's ceiling"].map(str::to_owned).to_vec(),
        rows: lines.collect(),
    };
    Ok(Findings { subject: Subject::Matmul, tables: vec![table], grids: vec![grid], curves: Vec::new() })
}
