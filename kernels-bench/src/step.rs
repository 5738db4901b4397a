//! A whole training step, sparse against dense: 784-1024-1024-10, 128 rows, AdamW.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use fretwork::data::{Dataset, Features, Table as Rows};
use fretwork::gpu::Gpu;
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream};
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

use crate::contest::{Entry, Table, contest};

const BATCH: usize = 128;
/// Steps in a row, so that what a run costs at its ends does not count for much.
const STEPS: u64 = 10;

pub(crate) fn sparse_against_dense(gpu: &Gpu) -> Result<Table> {
    let mut trainers = Vec::new();
    for (name, sparsity) in
        [("dense", None), ("control: dense again", None), ("90 % sparse, blocks of 16", Some(0.9))]
    {
        let trainer = trainer(gpu, sparsity)?;
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

fn trainer(gpu: &Gpu, sparsity: Option<f64>) -> Result<Trainer> {
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    let mut rows = |count: usize| {
        let pixels = (0..count * 784).map(|_| walk.bits() as u8).collect();
        Rows::new(Features::Bytes(pixels, 1.0 / 255.0), (0..count).map(|i| i as u32 % 10).collect(), 784)
    };
    // So many rows that no epoch ends while the clock runs, and few to test on.
    let data = Dataset { name: "noise".to_owned(), train: rows(200 * BATCH)?, test: rows(1)?, classes: 10 };
    let settings = Settings {
        data: data.name.clone(),
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
        },
        method: MethodConfig::new(Kind::Static, sparsity.unwrap_or(0.0)),
        length: Length::Epochs(1000),
        batch: BATCH,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-4,
        schedule: Schedule::Constant,
        momentum: 0.9,
        weight_decay: 0.01,
    };
    Ok(Trainer::new(gpu, settings, data)?)
}
