//! Cost of topology updates, and of the steps between them.

use std::iter;

use super::step::{NEVER, RUN, Run, title};
use super::{Bench, Cell, Entry, Findings, Grid, Role, Row, Subject, Timings, interleave};
use crate::Result;
use crate::methods::{Kind, MethodConfig, Updates};

/// Most time of a step between updates, as a multiple of that with a static pattern.
const BETWEEN: f64 = 1.05;

/// Most share of the training time that an update every 100 steps takes.
const SHARE: f64 = 0.01;

const STATIC: &str = "static";

const METHODS: [(&str, Kind); 3] = [("RigL", Kind::Rigl), ("SET", Kind::Set), ("Top-KAST", Kind::TopKast)];

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let sparsities = &bench.sizes.sparsities;
    let mut tables = Vec::new();
    let mut kernels = Vec::new();
    for &sparsity in sparsities {
        let (table, grids) = evolving(bench, sparsity)?;
        tables.push(table);
        kernels.extend(grids);
    }
    let mut rows = Vec::new();
    for (sparsity, table) in sparsities.iter().zip(&tables) {
        let median = |name: &str| table.row(name).map_or(f64::NAN, Row::median);
        let still = median(STATIC);
        for (method, kind) in METHODS {
            let between = median(&after(method)) / still;
            // Top-KAST has no bar: its backward pass is denser than its forward pass.
            let [between, share] = if kind == Kind::TopKast {
                [Cell::Number(between), Cell::Empty]
            } else {
                let update = (median(&always(method)) - still) / still;
                [Cell::at_most(between, BETWEEN), Cell::at_most(update / (100.0 + update), SHARE)]
            };
            rows.push(vec![Cell::text(format!("{method}, {} % sparse", 100.0 * sparsity)), between, share]);
        }
    }
    let grid = Grid {
        title: "Topologies that change".to_owned(),
        head: ["", "a step between updates against a static one", "an update every 100 steps, of the time"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    };
    let all = sparsities.iter().map(|&sparsity| every_method(bench, sparsity)).collect::<Result<Vec<_>>>()?;
    let grids = iter::once(grid).chain(all).chain(kernels).collect();
    Ok(Findings { subject: Subject::Update, tables, grids, curves: Vec::new() })
}

const ALWAYS: &str = ", every step an update";

fn after(method: &str) -> String {
    format!("{method}, after its updates")
}

fn always(method: &str) -> String {
    format!("{method}{ALWAYS}")
}

/// Times steps of all methods between updates and with one at every step; and the time of an update by kernel.
fn evolving(bench: &Bench, sparsity: f64) -> Result<(Timings, Vec<Grid>)> {
    // `forever` updates at every step of the run, `before` in the first 50 alone.
    let forever = Updates { until: 1.0, ..NEVER };
    let before = Updates { until: 50.0 / RUN, ..NEVER };
    let mut runs = vec![
        (STATIC.to_owned(), Role::Baseline, Kind::Static, NEVER),
        ("control: static again".to_owned(), Role::Control, Kind::Static, NEVER),
    ];
    runs.extend(METHODS.map(|(method, kind)| (after(method), Role::Candidate, kind, before)));
    runs.extend(METHODS[..2].iter().map(|&(method, kind)| (always(method), Role::Candidate, kind, forever)));
    let runs = runs
        .into_iter()
        .map(|(name, role, kind, updates)| {
            let run = Run::new(bench, &bench.gpu, Some(sparsity), kind, updates)?;
            let warm = 50u64.div_ceil(bench.sizes.steps) + 1;
            (0..warm).try_for_each(|_| run.go_on().map(|_| ()))?;
            Ok((name, role, run))
        })
        .collect::<Result<Vec<_>>>()?;
    let entries = runs.iter().map(|(name, role, run)| run.entry(name, *role)).collect();
    // An update costs little, and a small difference needs more rounds.
    let rounds = 2 * bench.sizes.rounds;
    let percent = 100.0 * sparsity;
    let table = interleave(format!("{}, {percent} % sparse, blocks of 16", title(bench)), rounds, entries)?;
    let mut grids = Vec::new();
    for (name, _, run) in &runs {
        if let Some(method) = name.strip_suffix(ALWAYS)
            && let Some(plan) = run.trainer.borrow().update_plan()
        {
            let title = format!("Where the time of an update goes: {method}, {percent} % sparse");
            grids.extend(bench.by_kernel(title, plan)?);
        }
    }
    Ok((table, grids))
}

/// Cost of an update of each method that records one: its plans in interleaved rounds, by the clock of products.
///
/// An update replaces a step, or follows one where the method was published so. A method that observes gradients does so ten
/// times between two updates.
fn every_method(bench: &Bench, sparsity: f64) -> Result<Grid> {
    let mut rows = Vec::new();
    for &(name, kind) in Kind::ALL {
        let method = MethodConfig::new(kind).build();
        // A method that starts dense prunes between steps.
        if method.stored_sparsity(sparsity) == 0.0 {
            continue;
        }
        let run = Run::new(bench, &bench.gpu, Some(sparsity), kind, Updates { until: 1.0, ..NEVER })?;
        if run.trainer.borrow().update_plan().is_none() {
            continue;
        }
        // The device has the number of blocks to exchange from the second step on.
        run.go_on()?;
        run.go_on()?;
        let trainer = run.trainer.borrow();
        let plans = [
            ("step", Some(trainer.step_plan())),
            ("update", trainer.update_plan()),
            ("look", trainer.observe_plan()),
        ];
        let entry = |(name, plan): (&str, Option<_>)| {
            let (name, role, run) = (name.to_owned(), Role::Candidate, bench.timed(plan?));
            Some(Entry { name, role, operations: 1.0, bytes: None, times: 1, run })
        };
        // A single plan is short, so more rounds are affordable.
        let rounds = bench.sizes.rounds * bench.sizes.steps as usize;
        let table = interleave(name.to_owned(), rounds, plans.into_iter().filter_map(entry).collect())?;
        let [step, update, look] = plans.map(|(name, _)| table.row(name).map_or(0.0, Row::median) * 1e3);
        let replaced = if method.updates().is_some_and(Updates::replace_steps) { step } else { 0.0 };
        let looks = method.observe_every().map_or(0.0, |every| 100.0 / every as f64 * (look - step));
        let more = update - replaced + looks;
        let cells = [step, update - replaced, looks, more / (100.0 * step + more)];
        rows.push([vec![Cell::text(name)], cells.map(Cell::Number).to_vec()].concat());
    }
    let head = ["", "a step, ms", "an update adds, ms", "looks add, ms", "once in 100 steps, of the time"];
    Ok(Grid {
        title: format!("An update of each method, {} % sparse", 100.0 * sparsity),
        head: head.map(str::to_owned).to_vec(),
        rows,
    })
}
