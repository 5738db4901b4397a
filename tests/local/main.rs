//! Local training: gradients that stop between parts, memory of one part at a time, runs, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../activation/mod.rs"]
mod activation;
#[path = "../command/mod.rs"]
mod command;
mod gradients;
#[path = "../halves/mod.rs"]
mod halves;
mod memory;
mod networks;
mod program;
mod runs;

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::nn::{Local, MlpConfig};
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Checkpoint, Event, Flow, Length, Settings, Trainer};

/// All ways to cut three hidden layers.
pub(crate) const WAYS: [Local; 5] =
    [Local::Greedy, Local::Overlapping, Local::Chunked(1), Local::Chunked(2), Local::Chunked(3)];

pub(crate) fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

pub(crate) fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

pub(crate) fn onward(_: &Event) -> Flow {
    Flow::Continue
}

pub(crate) fn path() -> &'static Path {
    Path::new("of the test")
}

/// A perceptron of the digits.
pub(crate) fn mlp(hidden: &[usize], sparsity: Option<f64>, local: Option<Local>) -> MlpConfig {
    MlpConfig {
        inputs: 64,
        hidden: hidden.to_vec(),
        classes: 10,
        block: 16,
        sparsity,
        density: Density::Erk,
        activation: Activation::Relu,
        dropout: 0.0,
        seed: 3,
        layers: Default::default(),
        local,
    }
}

pub(crate) fn settings(model: MlpConfig, steps: u64) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Steps(steps),
        learning_rate: 0.004,
        ..Settings::new(model)
    }
}

/// The checkpoint at the end of a run.
pub(crate) fn trained(gpu: &Gpu, settings: Settings) -> Checkpoint {
    let mut trainer = Trainer::new(gpu, settings, digits()).unwrap();
    trainer.run(None, &mut onward).unwrap();
    trainer.checkpoint().unwrap()
}
