//! A language model that is small enough for tests, dense, sparse and with experts, and a text for it.

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::Gpu;
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{LmConfig, MoeConfig, Network, Overflow, Precision};
use fretwork::ops::Activation;
use fretwork::ops::gate::Balance;
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::Density;
use fretwork::train::{Length, OptimizerKind, Schedule, Settings};

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

/// Gives every parameter a part: gains of 1, biases of 0 and routers of 0 hide what is wrong. `stored` is what becomes of a value.
pub(crate) fn spread(gpu: &Gpu, model: &Network, walk: &mut Walk, stored: impl Fn(f32) -> f32) {
    for parameter in model.parameters() {
        let mut values = gpu.read::<f32>(parameter.values()).unwrap().wait().unwrap();
        let scale = match parameter.name() {
            name if name.contains("embedding") => 1.0,
            // So far apart that what is small changes no choice.
            name if name.contains("router") => 3.0,
            _ => 0.2,
        };
        values.iter_mut().for_each(|x| *x = stored(*x + scale * (walk.uniform() - 0.5)));
        gpu.write(parameter.values(), &values).unwrap();
    }
}

const WORDS: [&str; 7] = ["abide", "face", "chide", "dig", "high", "bead", "fib"];

/// A text with something to learn.
pub(crate) fn text(folder: &Path) -> String {
    let mut walk = Key::new(1, Stream::Check(3)).walk();
    let text: String =
        (0..3000).map(|_| WORDS[walk.below(WORDS.len() as u32) as usize].to_owned() + " ").collect();
    let path = folder.join("text.txt");
    std::fs::write(&path, text).unwrap();
    format!("text:{}", path.display())
}

/// Whether more than half of the words that a model says are of that text.
pub(crate) fn has_learned(said: &str) -> bool {
    let words: Vec<&str> = said.split(' ').collect();
    words.iter().filter(|word| WORDS.contains(word)).count() * 2 > words.len()
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
        first_rows: [None; 2],
        model: LmConfig { vocabulary: dataset.vocabulary.clone(), ..config(experts, Some(0.5)) }.into(),
        method: MethodConfig::new(Kind::Static),
        precision,
        length: Length::Steps(steps),
        batch: 16,
        epoch_steps: Some(10),
        optimizer: OptimizerKind::AdamW,
        learning_rate: 0.01,
        schedule: Schedule::OneCycle,
        momentum: 0.9,
        weight_decay: 0.01,
    };
    (settings, dataset)
}
