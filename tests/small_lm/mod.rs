//! Small language models for tests, dense, sparse and with experts, and a text of seven words to train on.

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::Gpu;
use fretwork::nn::{LmConfig, MoeConfig, Network, Overflow, Precision};
use fretwork::ops::Activation;
use fretwork::ops::gate::Balance;
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::Density;
use fretwork::train::{Length, Settings};

pub(crate) const BATCH: usize = 3;
pub(crate) const CONTEXT: usize = 10;

pub(crate) fn config(experts: Option<MoeConfig>, sparsity: Option<f64>) -> LmConfig {
    LmConfig {
        vocabulary: b" ,.abcdefghi".to_vec(),
        context: CONTEXT,
        width: 32,
        heads: 2,
        depth: 2,
        hidden: 48,
        experts,
        activation: Activation::Gelu,
        block: 16,
        sparsity,
        density: Density::Uniform,
        seed: 5,
        layers: Default::default(),
    }
}

pub(crate) fn experts(gate: &str) -> MoeConfig {
    MoeConfig {
        experts: vec![32, 16, 48, 16],
        gate: gate.parse().unwrap(),
        balance: Balance::default(),
        bias_rate: 0.0,
        capacity: 0.0,
        overflow: Overflow::Position,
        gated: false,
        shared: 0,
    }
}

/// Adds a random offset to each element of each parameter: errors of a factor or of a sum do not show at gains of 1 and biases of 0.
/// `stored` rounds a value before it is written.
pub(crate) fn spread(gpu: &Gpu, model: &Network, walk: &mut Walk, stored: impl Fn(f32) -> f32) {
    for parameter in model.parameters() {
        let mut values = gpu.read::<f32>(parameter.values()).unwrap().wait().unwrap();
        let scale = match parameter.name() {
            name if name.contains("embedding") => 1.0,
            // Logits of experts are far apart, so that rounding errors change no assignment.
            name if name.contains("router") => 3.0,
            _ => 0.2,
        };
        values.iter_mut().for_each(|x| *x = stored(*x + scale * (walk.uniform() - 0.5)));
        gpu.write(parameter.values(), &values).unwrap();
    }
}

const WORDS: [&str; 7] = ["abide", "face", "chide", "dig", "high", "bead", "fib"];

/// Writes a text of 3000 words, drawn uniformly from seven, and returns it as a `--data` source. Its entropy is 0.39 nats per
/// byte; a model of the previous byte alone reaches 1.05.
pub(crate) fn text(folder: &Path) -> String {
    let mut walk = Key::new(1, Stream::Check(3)).walk();
    let text: String =
        (0..3000).map(|_| WORDS[walk.below(WORDS.len() as u32) as usize].to_owned() + " ").collect();
    let path = folder.join("text.txt");
    std::fs::write(&path, text).unwrap();
    format!("text:{}", path.display())
}

/// Number of words in a sample that are words of the text.
pub(crate) fn words_in(sample: &str) -> usize {
    sample.split(' ').filter(|word| WORDS.contains(word)).count()
}

pub(crate) fn settings(
    data: &str,
    experts: Option<MoeConfig>,
    precision: Precision,
    steps: u64,
) -> (Settings, Dataset) {
    let source: Source = data.parse().unwrap();
    let dataset = Dataset::load(&source, 1, CONTEXT).unwrap();
    let settings = Settings {
        data: data.to_owned(),
        precision,
        length: Length::Steps(steps),
        batch: 16,
        epoch_steps: Some(10),
        learning_rate: 0.01,
        ..Settings::new(LmConfig { vocabulary: dataset.vocabulary.clone(), ..config(experts, Some(0.5)) })
    };
    (settings, dataset)
}
