//! 1,000 perceptrons in one run beside the same networks one by one: widths 1 to 100, ten activations, on the digits.
//!
//! `cargo run --release -p kernels-bench --bin networks` prints a line for each of three interleaved rounds. `--every N` trains every Nth
//! network alone and multiplies its time; a run has `--steps` steps of 128 rows, and a test at its end, by `--activations` of the ten.

use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::nn::{LayerSparsity, MlpsConfig, ModelConfig, OneOf, Together};
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, Settings, Summary, Trainer};

#[derive(Debug, Parser)]
struct Arguments {
    /// Interleaved rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Steps of a run.
    #[arg(long, default_value_t = 30)]
    steps: u64,
    /// Every which network is trained alone.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Activations, of ten.
    #[arg(long, default_value_t = 10)]
    activations: usize,
    /// Block side.
    #[arg(long, default_value_t = 8)]
    block: usize,
}

/// Ten activations: three, and All-ReLU with seven slopes.
fn activations() -> Vec<Activation> {
    let slopes = [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9].map(|slope| Activation::AllRelu { slope });
    [Activation::Relu, Activation::Gelu, Activation::Silu].into_iter().chain(slopes).collect()
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gpu = Gpu::request(Options::default())?;
    println!("{}, {}", gpu.info().name, gpu.driver());
    let data = Dataset::load(&Source::Digits, 1, 0)?;
    let activations = activations().into_iter().take(arguments.activations);
    let widths = |activation| (1..=100).map(move |width| OneOf { hidden: vec![width], activation, seed: 1 });
    let config = MlpsConfig {
        inputs: data.width(),
        classes: data.classes,
        block: arguments.block,
        sparsity: None,
        density: Density::Erk,
        dropout: 0.0,
        seed: 1,
        layers: LayerSparsity::default(),
        together: Together::Sweep,
        networks: activations.flat_map(widths).collect(),
    };
    let settings = |model: ModelConfig| Settings {
        data: "digits".to_owned(),
        length: Length::Steps(arguments.steps),
        learning_rate: 0.004,
        ..Settings::new(model)
    };
    let train = |model: ModelConfig| -> Result<(f64, Summary)> {
        let began = Instant::now();
        let mut trainer = Trainer::new(&gpu, settings(model), data.clone())?;
        let summary = trainer.run(None, &mut |_: &Event| Flow::Continue)?;
        Ok((began.elapsed().as_secs_f64(), summary))
    };
    let alone = |number: usize| train(ModelConfig::Mlp(config.network(number)?));
    // Kernels are compiled before anything is timed.
    train(config.clone().into())?;
    (0..config.networks.len()).step_by(50).try_for_each(|number| alone(number).map(drop))?;
    println!("{config}, {} steps, every {}th alone", arguments.steps, arguments.every);
    for round in 1..=arguments.rounds {
        let (together, summary) = train(config.clone().into())?;
        let (mut one_by_one, mut steps, mut worst) = (0.0, 0.0, 0.0f64);
        for number in (0..config.networks.len()).step_by(arguments.every) {
            let (seconds, lone) = alone(number)?;
            one_by_one += seconds * arguments.every as f64;
            steps += lone.step_ms * arguments.every as f64;
            let found = summary.networks.as_ref().map_or(f64::NAN, |scores| scores.test[number].loss);
            worst = worst.max((found - lone.test_loss).abs());
        }
        println!(
            "round {round}: together {together:.2} s, one by one {one_by_one:.1} s, {:.1} times; a step {:.1} ms and {steps:.0} ms, \
             {:.1} times; test losses differ by at most {worst:.1e}",
            one_by_one / together,
            summary.step_ms,
            steps / summary.step_ms
        );
    }
    Ok(())
}
