//! A custom method in thirty lines.
//!
//! The method is RigL with two differences: blocks are dropped by their largest |w| rather than by the sum, and grown by the
//! magnitude of the gradient's sum over a block. Scores, selection and exchange stay on the device.
//!
//! `cargo run --release --example method`

use anyhow::Result;
use fretwork::Result as Recorded;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options, Recorder};
use fretwork::methods::{Every, Kind, LayerContext, Method, MethodConfig, Updates};
use fretwork::nn::{MlpConfig, Precision};
use fretwork::ops::{Activation, ProductScore, ValueScore};
use fretwork::sparse::Density;
use fretwork::train::{Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

#[derive(Debug)]
struct LargestWeight {
    updates: Updates,
}

impl Method for LargestWeight {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Recorded<()> {
        layer.score_stored(rec, ValueScore::Largest)?;
        layer.drop_smallest(rec)?;
        layer.score_gradient(rec, ProductScore::Sum)?;
        layer.grow_largest(rec)?;
        layer.swap_from_zero(rec)
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
        method: MethodConfig::new(Kind::Static),
        precision: Precision::F32,
        length: Length::Epochs(10),
        batch: 128,
        micro_batch: None,
        epoch_steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 0.004,
        schedule: Schedule::OneCycle,
        momentum: 0.9,
        weight_decay: 0.01,
    };
    let method = LargestWeight { updates: Updates { every: Every::Steps(50), ..Updates::RIGL } };
    let mut trainer = Trainer::with_method(&gpu, settings, data, Box::new(method))?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
