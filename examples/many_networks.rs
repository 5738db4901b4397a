//! Sixty small networks in one run: widths, activations and seeds, ranked by the loss on validation rows.

use fretwork::Result;
use fretwork::data::{Holdout, LoadOptions};
use fretwork::nn::{LayerSparsity, MlpsConfig, OneOf, Together};
use fretwork::prelude::*;
use fretwork::sparse::Density;
use fretwork::train::{Length, Settings, Validation};

fn main() -> Result<()> {
    for (network, accuracy) in run()?.into_iter().take(5) {
        println!("{:?}, {}: test accuracy {accuracy:.4}", network.hidden, network.activation);
    }
    Ok(())
}

/// Trains, and returns the networks from the best to the worst, with their accuracy on the test part.
pub(crate) fn run() -> Result<Vec<(OneOf, f64)>> {
    let gpu = Gpu::request(Options::default())?;
    let held = Holdout::Share(0.2);
    let options = LoadOptions { seed: 1, validation: Some(held.clone()), ..LoadOptions::default() };
    let data = Dataset::load_with(&Source::Digits, &options)?;
    let activations = [Activation::Relu, Activation::Gelu, Activation::Silu];
    let networks = activations.into_iter().flat_map(|activation| {
        (1..=20).map(move |unit| OneOf { hidden: vec![4 * unit], activation, seed: unit as u64 })
    });
    let config = MlpsConfig {
        inputs: data.width(),
        classes: data.classes,
        block: 8,
        sparsity: None,
        density: Density::Erk,
        dropout: 0.0,
        seed: 1,
        layers: LayerSparsity::default(),
        together: Together::Sweep,
        networks: networks.collect(),
    };
    let settings = Settings {
        data: "digits".to_owned(),
        length: Length::Epochs(5),
        learning_rate: 0.004,
        validation: Some(Validation { of: held, patience: None }),
        ..Settings::new(config.clone())
    };
    let mut trainer = Trainer::new(&gpu, settings, data)?;
    let scores = trainer.run(None, &mut |_| Flow::Continue)?.networks.unwrap_or_default();
    let ranked = scores.ranking().into_iter();
    Ok(ranked.map(|at| (config.networks[at].clone(), scores.test[at].accuracy)).collect())
}
