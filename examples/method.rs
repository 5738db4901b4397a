//! A custom method in thirty lines.
//!
//! The method is RigL with two differences: blocks are dropped by their largest |w| rather than by the sum, and grown by the
//! magnitude of the gradient's sum over a block. Scores, selection and exchange stay on the device.
//!
//! `cargo run --release --example method`

use fretwork::Result;
use fretwork::ops::{ProductScore, ValueScore};
use fretwork::prelude::*;

#[derive(Debug)]
struct LargestWeight {
    updates: Updates,
}

impl Method for LargestWeight {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<()> {
        layer.score_stored(rec, ValueScore::Largest)?;
        layer.drop_smallest(rec)?;
        layer.score_gradient(rec, ProductScore::Sum)?;
        layer.grow_largest(rec)?;
        layer.swap_from_zero(rec)
    }
}

fn main() -> Result<()> {
    println!("95 % sparse, the method of this example: {:.4} on the digits' test part", run()?);
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let net = Sequential::new()
        .add(Linear::new(64, 512).sparse(blocks(16).density(0.2)).relu())
        .add(Linear::new(512, 512).sparse(blocks(16).density(0.03)).relu())
        .add(Linear::new(512, 10));
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .method(LargestWeight { updates: Updates { every: Every::Steps(50), ..Updates::RIGL } })
        .learning_rate(0.004, Schedule::OneCycle)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
