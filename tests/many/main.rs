//! Many networks in one run: each is what it would be alone, costs no more, and can be taken out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alone;
mod bytes;
mod codistillation;
#[path = "../command/mod.rs"]
mod command;
mod program;

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::nn::{MlpsConfig, ModelConfig, OneOf, Together};
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Checkpoint, Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

pub(crate) fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

pub(crate) fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

pub(crate) fn onward(_: &Event) -> Flow {
    Flow::Continue
}

pub(crate) fn one(hidden: &[usize], activation: Activation, seed: u64) -> OneOf {
    OneOf { hidden: hidden.to_vec(), activation, seed }
}

/// Dense networks on the digits.
pub(crate) fn many(networks: Vec<OneOf>) -> MlpsConfig {
    MlpsConfig {
        inputs: 64,
        classes: 10,
        block: 8,
        sparsity: None,
        density: Density::Erk,
        dropout: 0.0,
        seed: 3,
        layers: Default::default(),
        together: Together::Sweep,
        networks,
    }
}

/// Settings of a run by plain SGD, whose updates are gradients times the rate.
pub(crate) fn settings(model: impl Into<ModelConfig>, steps: u64, rate: f64) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Steps(steps),
        optimizer: OptimizerKind::Sgd,
        learning_rate: rate,
        schedule: Schedule::Constant,
        momentum: 0.0,
        weight_decay: 0.0,
        ..Settings::new(model)
    }
}

/// The checkpoint at the end of a run.
pub(crate) fn trained(gpu: &Gpu, settings: Settings) -> Checkpoint {
    let mut trainer = Trainer::new(gpu, settings, digits()).unwrap();
    trainer.run(None, &mut onward).unwrap();
    trainer.checkpoint().unwrap()
}

pub(crate) fn path() -> &'static Path {
    Path::new("of the test")
}

/// Names of a network's parameters and their stored elements, in the order of the graph.
pub(crate) fn parameters(checkpoint: &Checkpoint) -> Vec<(String, Vec<f32>)> {
    let description = checkpoint.settings.model.description().unwrap();
    let values = |param: &fretwork::graph::ParamDescription| match param.blocks {
        Some(blocks) => {
            let sides = [param.shape[0], param.shape[1]];
            let topology = checkpoint.topology(path(), &param.name, sides, blocks.block).unwrap();
            let shape = [topology.nnz(), blocks.block, blocks.block];
            checkpoint.get(path(), &format!("{}.values", param.name), &shape).unwrap().to_vec()
        }
        None => checkpoint.get(path(), &param.name, &param.shape).unwrap().to_vec(),
    };
    description.params.iter().map(|param| (param.name.clone(), values(param))).collect()
}
