//! Random bases: kernels that generate directions while they use them, compared with their arithmetic and with a base in memory.

use super::{Bench, Cell, Entry, Findings, Grid, Role, Row, Subject, Timings, interleave};
use crate::Result;
use crate::gpu::{Class, Plan};
use crate::nn::Precision;
use crate::ops::{self, BasisRange, Directions, Step, StepValues, basis_chunk};
use crate::random::{Key, Stream};

/// Instructions for an entry of a direction, on four lanes at once: a shift that picks the sign, one that places it, one mask, one
/// exclusive or, one addition. The 20 rounds of a hash, five each, and its six additions of keys, 15 in all, are for 64 entries.
const INSTRUCTIONS: f64 = 5.0 + (20.0 * 5.0 + 15.0) / 64.0;

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let [elements, directions] = bench.sizes.basis;
    let kernels = Kernels::new(bench, elements, directions)?;
    let ceilings = bench.ceilings()?;
    let mut entries: Vec<_> = kernels.entries(bench);
    entries.extend(ceilings.entries(bench));
    let title = format!("{directions} directions of {elements} parameters");
    let table = interleave(title, bench.sizes.rounds, entries)?;
    let rows = table.compared().map(|row| figures(&table, row)).collect();
    let head = [
        "",
        "entries a nanosecond",
        "of the arithmetic, at one instruction for a multiply-add",
        "times as fast as reading a stored base at the rate of the copy",
    ];
    let grid = Grid {
        title: "Directions that are generated where they are used".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows,
    };
    Ok(Findings { subject: Subject::Basis, tables: vec![table], grids: vec![grid], curves: Vec::new() })
}

/// Entries in a nanosecond, and their rate beside that of the arithmetic and that of an f32 for each, read from memory.
fn figures(table: &Timings, row: &Row) -> Vec<Cell> {
    let [arithmetic, memory] = table
        .ceilings()
        .map_or([f64::NAN; 2], |ceilings| [ceilings.rate / 2.0 / INSTRUCTIONS, ceilings.bandwidth / 4.0]);
    let numbers = [row.rate() * 1e-9, row.rate() / arithmetic, row.rate() / memory];
    [vec![Cell::text(row.name())], numbers.map(Cell::Number).to_vec()].concat()
}

/// Plans of both kernels, with a base that stays and one that is drawn anew.
struct Kernels {
    /// Name, role and plan of each entry.
    plans: Vec<(&'static str, Role, Plan)>,
    /// Entries of the base, each of which is added once.
    operations: f64,
    /// Bytes of the parameters' gradients.
    bytes: f64,
}

impl Kernels {
    fn new(bench: &Bench, elements: usize, directions: usize) -> Result<Self> {
        let gpu = &bench.gpu;
        let (grads, values) = (
            bench.numbers_in(Precision::F32, 40, &[elements])?,
            bench.numbers_in(Precision::F32, 41, &[elements])?,
        );
        let ranges = [BasisRange { first: 0, len: elements, key: Key::new(1, Stream::Basis(0)), layer: 0 }];
        let (chunk, step) = (basis_chunk(elements), Step::new(gpu, StepValues::forward(1))?);
        let rows = ops::basis_rows(&ranges, chunk);
        let columns = Directions { count: directions, redraw: false }.columns();
        let partials = gpu.alloc::<f32>(Class::Scratch, "partial sums", &[rows, columns])?;
        let coordinates = gpu.zeros::<f32>(Class::Scratch, "coordinates", &[2, 1, columns])?;
        let dot = |redraw| {
            let base = Directions { count: directions, redraw };
            bench.plan(1, &|rec| ops::basis_dot(rec, &grads, &partials, &ranges, base, [chunk, 0], &step))
        };
        // Steps of 0: the values stay as they are over all rounds, and the work is the same.
        let add = |redraw| {
            let base = Directions { count: directions, redraw };
            bench.plan(1, &|rec| ops::basis_add(rec, &values, &coordinates, &ranges, base, &step))
        };
        let plans = vec![
            ("generate and dot, one base", Role::Baseline, dot(false)?),
            ("control: generate and dot again", Role::Control, dot(false)?),
            ("generate and dot, drawn anew", Role::Candidate, dot(true)?),
            ("generate and add, one base", Role::Candidate, add(false)?),
            ("generate and add, drawn anew", Role::Candidate, add(true)?),
        ];
        let (operations, bytes) = (elements as f64 * columns as f64, grads.bytes() as f64);
        Ok(Self { plans, operations, bytes })
    }

    fn entries<'a>(&'a self, bench: &'a Bench) -> Vec<Entry<'a>> {
        let entry = |(name, role, plan): &'a (&str, Role, Plan)| Entry {
            name: (*name).to_owned(),
            role: *role,
            operations: self.operations,
            bytes: Some(self.bytes),
            times: 1,
            run: bench.timed(plan),
        };
        self.plans.iter().map(entry).collect()
    }
}
