//! A method of one's own: how topologies change, in thirty lines.
//!
//! It is RigL with two differences: blocks are dropped by their largest weight rather than by the sum of all, and the
//! gradient decides by the magnitude of its sum over a block. Scores, selection and exchange all stay on the device.
//!
//! `cargo run --release --example method`

use anyhow::Result;
use fretwork::Result as Recorded;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options, Recorder};
use fretwork::methods::{Kind, Method, MethodConfig, Site};
use fretwork::nn::{MlpConfig, Precision};
use fretwork::ops::{Activation, ProductScore, ValueScore};
use fretwork::sparse::Density;
use fretwork::train::{Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

#[derive(Debug)]
struct LargestWeight;

impl Method for LargestWeight {
    fn update(&self, rec: &mut Recorder<'_>, site: &Site<'_>) -> Recorded<()> {
        site.score_stored(rec, ValueScore::Largest)?;
        site.drop_smallest(rec)?;
        site.score_gradient(rec, ProductScore::Sum)?;
        site.grow_largest(rec)?;
        site.swap_from_zero(rec)
    }
}

fn main() -> Result<()> {
    let accuracy = run()?;
    println!("95 % sparse, the method of this example: {accuracy:.4} on the digits' test part");
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let data = Dataset::load(&Source::Digits, 1, 0)?;
    let settings = Settings {
        data: data.name.clone(),
        first_rows: [None; 2],
        model: MlpConfig {
            inputs: data.width(),
            hidden: vec![512, 512],
            classes: data.classes,
            block: 16,
            sparsity: Some(0.95),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
        }
        .into(),
        // Only the schedule of the updates is read from here: RigL's, every fifty steps.
        method: {
            let mut method = MethodConfig::new(Kind::Rigl, 0.95);
            method.updates.every = "50".parse()?;
            method
        },
        precision: Precision::F32,
        length: Length::Epochs(10),
        batch: 128,
        epoch_steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 0.004,
        schedule: Schedule::OneCycle,
        momentum: 0.9,
        weight_decay: 0.01,
    };
    let mut trainer = Trainer::with_method(&gpu, settings, data, Box::new(LargestWeight))?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
