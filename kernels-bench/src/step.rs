//! A whole training step of 784-1024-1024-10, 128 rows, AdamW: sparse against dense, and with topologies that change.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use fretwork::bench::{Entry, Table, contest};
use fretwork::data::{Dataset, Features, Table as Rows};
use fretwork::gpu::Gpu;
use fretwork::methods::{Decay, Every, Kind, MethodConfig, Updates};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream};
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

const BATCH: usize = 128;
/// Steps in a row, so that what a run costs at its ends does not count for much.
const STEPS: u64 = 10;

pub(crate) fn sparse_against_dense(gpu: &Gpu) -> Result<Table> {
    let mut trainers = Vec::new();
    for (name, sparsity) in
        [("dense", None), ("control: dense again", None), ("90 % sparse, blocks of 16", Some(0.9))]
    {
        let trainer = trainer(gpu, sparsity, Kind::Static, NEVER)?;
        // Twice the stored weights times the rows, once forward and twice back.
        let operations = 6.0 * (BATCH as u64 * STEPS) as f64 * trainer.model().params_present() as f64;
        trainers.push((name, operations, RefCell::new(trainer)));
    }
    let entries = trainers
        .iter()
        .map(|(name, operations, trainer)| Entry {
            name: (*name).to_owned(),
            operations: *operations,
            run: Box::new(|| steps(&mut trainer.borrow_mut())),
        })
        .collect();
    contest(format!("{STEPS} training steps of 784-1024-1024-10, {BATCH} rows, AdamW"), 9, entries)
}

const NEVER: Updates =
    Updates { every: Every::Steps(1), from: 0.0, until: 0.0, fraction: 0.3, decay: Decay::Constant };

/// Steps of the whole run, which never comes to its end.
const RUN: u64 = 200 * 1000;

/// What updates cost, and what a pattern that has changed costs between them.
pub(crate) fn evolving(gpu: &Gpu, sparsity: f64) -> Result<Table> {
    // At every step for as long as the clock runs, or for the first fifty and never again.
    let always = Updates { until: 1.0, ..NEVER };
    let before = Updates { until: 50.0 / RUN as f64, ..NEVER };
    let mut trainers = Vec::new();
    for (name, kind, updates) in [
        ("static", Kind::Static, NEVER),
        ("control: static again", Kind::Static, NEVER),
        ("RigL, after 49 updates", Kind::Rigl, before),
        ("SET, after 49 updates", Kind::Set, before),
        ("Top-KAST, after 49 updates", Kind::TopKast, before),
        ("RigL, every step an update", Kind::Rigl, always),
        ("SET, every step an update", Kind::Set, always),
    ] {
        let mut trainer = trainer(gpu, Some(sparsity), kind, updates)?;
        (0..6).try_for_each(|_| steps(&mut trainer))?;
        let operations = 6.0 * (BATCH as u64 * STEPS) as f64 * trainer.model().params_present() as f64;
        trainers.push((name, operations, RefCell::new(trainer)));
    }
    let entries = trainers
        .iter()
        .map(|(name, operations, trainer)| Entry {
            name: (*name).to_owned(),
            operations: *operations,
            run: Box::new(|| steps(&mut trainer.borrow_mut())),
        })
        .collect();
    let title = format!(
        "{STEPS} training steps of 784-1024-1024-10, {BATCH} rows, AdamW, {} % sparse, blocks of 16",
        100.0 * sparsity
    );
    contest(title, 15, entries)
}

/// Some more steps of a run that has no end.
fn steps(trainer: &mut Trainer) -> Result<()> {
    let mut done = 0;
    let summary = trainer.run(None, &mut |event| {
        done += u64::from(matches!(event, Event::Progress { .. }));
        if done >= STEPS { Flow::Stop } else { Flow::Continue }
    })?;
    ensure!(summary.blocking_waits == 0, "a step waited for the device");
    Ok(())
}

fn trainer(gpu: &Gpu, sparsity: Option<f64>, kind: Kind, updates: Updates) -> Result<Trainer> {
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    let mut rows = |count: usize| {
        let pixels = (0..count * 784).map(|_| walk.bits() as u8).collect();
        Rows::new(Features::Bytes(pixels, 1.0 / 255.0), (0..count).map(|i| i as u32 % 10).collect(), 784)
    };
    // So many rows that no epoch ends while the clock runs, and few to test on.
    let data = Dataset::of_tables("noise", rows(200 * BATCH)?, rows(1)?, 10);
    let settings = Settings {
        data: data.name.clone(),
        first_rows: [None; 2],
        model: MlpConfig {
            inputs: 784,
            hidden: vec![1024, 1024],
            classes: 10,
            block: 16,
            sparsity,
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
        }
        .into(),
        method: MethodConfig { updates, ..MethodConfig::new(kind, sparsity.unwrap_or(0.0)) },
        length: Length::Epochs(1000),
        batch: BATCH,
        epoch_steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-4,
        schedule: Schedule::Constant,
        momentum: 0.9,
        weight_decay: 0.01,
    };
    Ok(Trainer::new(gpu, settings, data)?)
}
