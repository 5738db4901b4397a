//! The three products of a layer, block-sparse compared with dense.

use super::{Bench, Cell, Crossover, Curve, Entry, Findings, Grid, Op, Role, Subject, Timings, interleave};
use crate::Result;
use crate::gpu::{Class, Plan};
use crate::ops::{self, Epilogue, Transpose};
use crate::random::{Key, Stream};
use crate::sparse::{self, BlockMatrix, Pattern};

/// Products of a layer: forward, gradient of the input, gradient of the weights.
const PRODUCTS: [&str; 3] = ["x * W^T", "dy * W", "dy^T * x"];

/// Least rates of sparse products at densities up to 0.5, as shares of the best dense rate, by block side.
const RATES: [(usize, f64); 4] = [(8, 0.65), (16, 0.85), (32, 0.9), (64, 0.95)];

/// Least rates in f16, where cooperative matrices multiply.
const HALF_RATES: [(usize, f64); 2] = [(64, 0.9), (128, 0.9)];

/// Least crossover densities, by block side.
const CROSSOVERS: [(usize, f64); 1] = [(32, 0.85)];

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let densities = &bench.sizes.densities;
    let tables =
        densities.iter().map(|&density| against_dense(bench, density)).collect::<Result<Vec<_>>>()?;
    let [rows, inputs, outputs] = bench.sizes.layer;
    let rates: &[_] = if bench.is_half() { &HALF_RATES } else { &RATES };
    let mut head = vec!["product, block".to_owned()];
    head.extend(densities.iter().map(|density| format!("at {density}")));
    head.extend(["least up to 0.5", "overtakes dense at"].map(str::to_owned));
    let mut grid = Grid {
        title: format!(
            "Rate per operation on a non-zero, as a share of the best dense rate, {}: {inputs} inputs, {outputs} outputs, \
             {rows} rows",
            bench.dtype().name()
        ),
        head,
        rows: Vec::new(),
    };
    let mut curves = Vec::new();
    for (product, &name) in PRODUCTS.iter().enumerate() {
        for &block in &bench.sizes.blocks {
            let of = |table: &Timings| {
                let row = table.row(&sparse_name(product, block))?;
                Some([table.share(row), table.row(&dense_name(product))?.median() / row.median()])
            };
            let found: Vec<[f64; 2]> =
                tables.iter().map(|table| of(table).unwrap_or([f64::NAN; 2])).collect();
            let points = densities.iter().zip(&found).map(|(&density, &[_, times])| [density, times]);
            let curve = Curve { name: name.to_owned(), block, points: points.collect() };
            let up_to_half = densities.iter().zip(&found).filter(|(density, _)| **density <= 0.5);
            let least = up_to_half.map(|(_, [share, _])| *share).reduce(f64::min);
            let mut row = vec![Cell::text(format!("{name}, blocks of {block}"))];
            row.extend(found.iter().map(|[share, _]| Cell::Number(*share)));
            row.push(least.map_or(Cell::Empty, |least| Cell::at_least(least, bar(rates, block))));
            row.push(match (curve.crossover(), bar(&CROSSOVERS, block)) {
                (Crossover::At(density), bar) => Cell::at_least(density, bar),
                (crossover, _) => Cell::text(crossover.to_string()),
            });
            grid.rows.push(row);
            curves.push(curve);
        }
    }
    Ok(Findings { subject: Subject::Sparse, tables, grids: vec![grid], curves })
}

fn bar(bars: &[(usize, f64)], block: usize) -> Option<f64> {
    bars.iter().find(|bar| bar.0 == block).map(|bar| bar.1)
}

fn dense_name(product: usize) -> String {
    format!("dense {}", PRODUCTS[product])
}

fn sparse_name(product: usize, block: usize) -> String {
    format!("{}, blocks of {block}", PRODUCTS[product])
}

/// Times the sparse products at one density, of all block sides, together with the dense ones.
fn against_dense(bench: &Bench, density: f64) -> Result<Timings> {
    let [rows, inputs, outputs] = bench.sizes.layer;
    let gpu = &bench.gpu;
    let (x, dy) = (bench.numbers(0, &[rows, inputs])?, bench.numbers(1, &[rows, outputs])?);
    let w = bench.numbers(2, &[outputs, inputs])?;
    let room = |shape: [usize; 2]| bench.sizes.precision.alloc(gpu, "output", &shape);
    let (y, dx) = (room([rows, outputs])?, room([rows, inputs])?);
    // Weight gradients are f32 at every precision.
    let dw = gpu.alloc::<f32>(Class::Gradients, "output", &[outputs, inputs])?;
    let none = Epilogue::None;
    let dense: [&Op<'_>; 3] = [
        &|rec| ops::dense(rec, &x, &w, &y, Transpose::NT, none),
        &|rec| ops::dense(rec, &dy, &w, &dx, Transpose::NN, none),
        &|rec| ops::dense(rec, &dy, &x, &dw, Transpose::TN, none),
    ];
    let mut plans: Vec<Timed> = Vec::new();
    let all = inputs * outputs;
    for (product, op) in dense.iter().enumerate() {
        plans.push(Timed::new(dense_name(product), Role::Baseline, bench, all, (1, bench.plan(1, op)?)));
    }
    let name = "control: dense x * W^T again".to_owned();
    plans.push(Timed::new(name, Role::Control, bench, all, (1, bench.plan(1, dense[0])?)));

    // Sparse products are repeated until they do the work of the dense one, so that launch and wait take an equal share of
    // both. The cost of launches in a network shows in the training step.
    let times = (1.0 / density).round().max(1.0) as usize;
    for &block in &bench.sizes.blocks {
        let places = (inputs / block) * (outputs / block);
        let nnz = (density * places as f64).round() as usize;
        let key = Key::new(1, Stream::Pattern(block as u32));
        let topology = sparse::random(outputs, inputs, block, nnz, key)?;
        let present = topology.elements();
        let pattern = Pattern::upload(gpu, &topology)?;
        let w = BlockMatrix::adopt(pattern.clone(), bench.numbers(2, &[nnz, block, block])?)?;
        let dw = BlockMatrix::alloc(gpu, Class::Gradients, "dW", &pattern)?;
        let products: [&Op<'_>; 3] = [
            &|rec| ops::dds(rec, &x, &w, &y, Transpose::NT, none),
            &|rec| ops::dds(rec, &dy, &w, &dx, Transpose::NN, none),
            &|rec| ops::sdd(rec, &dy, &x, &dw, Transpose::TN, None),
        ];
        for (product, op) in products.iter().enumerate() {
            let name = sparse_name(product, block);
            plans.push(Timed::new(name, Role::Candidate, bench, present, (times, bench.plan(times, op)?)));
        }
    }
    let ceilings = bench.ceilings()?;
    let mut entries: Vec<Entry<'_>> = plans.iter().map(|plan| plan.entry(bench)).collect();
    entries.extend(ceilings.entries(bench));
    let title = format!(
        "{}, {inputs} inputs, {outputs} outputs, {rows} rows, density {density}",
        bench.dtype().name()
    );
    interleave(title, bench.sizes.rounds, entries)
}

/// Product of the layer to be timed, over `present` elements of its matrix.
struct Timed {
    name: String,
    role: Role,
    operations: f64,
    bytes: f64,
    times: usize,
    plan: Plan,
}

impl Timed {
    fn new(name: String, role: Role, bench: &Bench, present: usize, (times, plan): (usize, Plan)) -> Self {
        let [rows, inputs, outputs] = bench.sizes.layer;
        let operations = 2.0 * (rows * present) as f64;
        let bytes = bench.dtype().size() as f64 * (rows * (inputs + outputs) + present) as f64;
        Self { name, role, operations, bytes, times, plan }
    }

    fn entry<'a>(&'a self, bench: &'a Bench) -> Entry<'a> {
        let Self { name, role, operations, bytes, times, plan } = self;
        Entry {
            name: name.clone(),
            role: *role,
            operations: *operations,
            bytes: Some(*bytes),
            times: *times,
            run: bench.timed(plan),
        }
    }
}
