//! What updates cost, and what a pattern that has changed costs between them.

use std::iter;

use super::step::{NEVER, RUN, Run, title};
use super::{Bench, Cell, Entry, Findings, Grid, Part, Row, Subject, Table, contest};
use crate::Result;
use crate::methods::{Kind, MethodConfig, Updates};

/// What a step may cost between updates, against one of a pattern that never changed.
const BETWEEN: f64 = 1.05;

/// What an update every hundred steps may cost, of the time.
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
            // Top-KAST's backward pass is denser than its forward pass, and it has no bar.
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

/// Steps of all methods, with updates and without; and where the time of an update goes.
fn evolving(bench: &Bench, sparsity: f64) -> Result<(Table, Vec<Grid>)> {
    // At every step for as long as the clock runs, or for the first fifty and never again.
    let forever = Updates { until: 1.0, ..NEVER };
    let before = Updates { until: 50.0 / RUN, ..NEVER };
    let mut runs = vec![
        (STATIC.to_owned(), Part::Baseline, Kind::Static, NEVER),
        ("control: static again".to_owned(), Part::Control, Kind::Static, NEVER),
    ];
    runs.extend(METHODS.map(|(method, kind)| (after(method), Part::Rival, kind, before)));
    runs.extend(METHODS[..2].iter().map(|&(method, kind)| (always(method), Part::Rival, kind, forever)));
    let runs = runs
        .into_iter()
        .map(|(name, part, kind, updates)| {
            let run = Run::new(bench, &bench.gpu, Some(sparsity), kind, updates)?;
            let warm = 50u64.div_ceil(bench.sizes.steps) + 1;
            (0..warm).try_for_each(|_| run.go_on().map(|_| ()))?;
            Ok((name, part, run))
        })
        .collect::<Result<Vec<_>>>()?;
    let entries = runs.iter().map(|(name, part, run)| run.entry(name, *part)).collect();
    // What updates cost is a small difference, so there are more rounds than elsewhere.
    let rounds = 2 * bench.sizes.rounds;
    let percent = 100.0 * sparsity;
    let table = contest(format!("{}, {percent} % sparse, blocks of 16", title(bench)), rounds, entries)?;
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

/// What updates cost of every method that records any: plans in turns, by the clock of products.
///
/// An update takes the place of a step, or follows one where the method was published so. A method that looks on does so ten
/// times between two updates.
fn every_method(bench: &Bench, sparsity: f64) -> Result<Grid> {
    let mut rows = Vec::new();
    for &(name, kind) in Kind::ALL {
        let method = MethodConfig::new(kind, sparsity).build(0, sparsity, 0.0);
        // One that starts dense prunes between steps.
        if method.stored_sparsity(sparsity) == 0.0 {
            continue;
        }
        let run = Run::new(bench, &bench.gpu, Some(sparsity), kind, Updates { until: 1.0, ..NEVER })?;
        if run.trainer.borrow().update_plan().is_none() {
            continue;
        }
        // By the second step the device knows how many blocks an update exchanges.
        run.go_on()?;
        run.go_on()?;
        let trainer = run.trainer.borrow();
        let plans = [
            ("step", Some(trainer.step_plan())),
            ("update", trainer.update_plan()),
            ("look", trainer.observe_plan()),
        ];
        let entry = |(name, plan): (&str, Option<_>)| {
            let (name, part, run) = (name.to_owned(), Part::Rival, bench.timed(plan?));
            Some(Entry { name, part, operations: 1.0, bytes: None, times: 1, run })
        };
        // Single plans are soon done.
        let rounds = bench.sizes.rounds * bench.sizes.steps as usize;
        let table = contest(name.to_owned(), rounds, plans.into_iter().filter_map(entry).collect())?;
        let [step, update, look] = plans.map(|(name, _)| table.row(name).map_or(0.0, Row::median) * 1e3);
        let replaced = if kind.updates().replace_steps() { step } else { 0.0 };
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
