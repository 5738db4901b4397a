//! Networks go out and come in: exports hold the function of a checkpoint, and runs start from weights and patterns of files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod onnx;
mod padding;
mod python;
mod refusals;
mod round_trip;
#[path = "../small_lm/mod.rs"]
#[expect(dead_code, reason = "other tests use all of it")]
mod small_lm;
mod upcycling;

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::export::{Format, to_bytes};
use fretwork::gpu::{DType, Gpu, Options, Recorder};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{MlpConfig, ModelConfig, Network};
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream};
use fretwork::sparse::Density;
use fretwork::train::{Checkpoint, Flow, Length, Parts, Settings, StartFrom, Trainer, Weights};

const PATH: &str = "checkpoint";

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

/// Three hundred digits.
fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(300), Some(50)]).unwrap()
}

fn mlp(hidden: &[usize], sparsity: Option<f64>) -> MlpConfig {
    MlpConfig {
        inputs: 64,
        hidden: hidden.to_vec(),
        classes: 10,
        block: 16,
        sparsity,
        density: Density::Uniform,
        activation: Activation::Gelu,
        dropout: 0.0,
        seed: 3,
        layers: Default::default(),
        local: None,
    }
}

/// Eight steps over digits in batches of 50.
fn settings(model: impl Into<ModelConfig>) -> Settings {
    let mut settings = Settings::new(model);
    "digits".clone_into(&mut settings.data);
    settings.first_rows = [Some(300), Some(50)];
    (settings.length, settings.batch) = (Length::Steps(8), 50);
    settings.method = MethodConfig::new(Kind::Static);
    settings
}

/// The checkpoint of a run that has ended.
fn trained(gpu: &Gpu, settings: Settings, data: Dataset) -> Checkpoint {
    let mut trainer = Trainer::new(gpu, settings, data).unwrap();
    trainer.run(None, &mut |_| Flow::Continue).unwrap();
    trainer.checkpoint().unwrap()
}

/// A run that begins with the weights of an export.
fn begun(gpu: &Gpu, mut settings: Settings, data: Dataset, weights: &Weights) -> fretwork::Result<Trainer> {
    let start = StartFrom { weights: Some(weights.clone()), pattern: None };
    settings.start_from(&start)?;
    let parts = Parts { start, ..settings.parts() };
    Trainer::with_parts(gpu, settings, data, parts)
}

fn exported(checkpoint: &Checkpoint, format: Format) -> Weights {
    let bytes = to_bytes(checkpoint, Path::new(PATH), format).unwrap();
    Weights::from_bytes(Path::new("export"), &bytes).unwrap()
}

/// Random features of `rows` rows, 0 in the padding.
fn features(rows: usize, width: usize, padded: usize) -> Vec<f32> {
    let mut walk = Key::new(7, Stream::Check(0)).walk();
    let mut feature = |at: usize| if at % padded < width { 2.0 * walk.uniform() - 1.0 } else { 0.0 };
    (0..rows * padded).map(&mut feature).collect()
}

/// The network's own outputs for features that are padded to its input.
fn logits(gpu: &Gpu, checkpoint: &Checkpoint, rows: usize, features: &[f32]) -> Vec<f32> {
    let path = Path::new(PATH);
    let network = checkpoint.network(gpu, path, &checkpoint.topologies(path).unwrap(), rows).unwrap();
    let input = network.input();
    match input.dtype() {
        DType::F16 => {
            let halves: Vec<half::f16> = features.iter().copied().map(half::f16::from_f32).collect();
            gpu.write(input, &halves).unwrap();
        }
        _ => gpu.write(input, features).unwrap(),
    }
    outputs(gpu, &network)
}

/// Outputs of a network for the input that it holds.
fn outputs(gpu: &Gpu, network: &Network) -> Vec<f32> {
    let mut rec = Recorder::new(gpu);
    network.refresh(&mut rec, None).unwrap();
    network.forward(&mut rec, None).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    gpu.read(network.logits()).unwrap().wait().unwrap()
}
