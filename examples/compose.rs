//! A network composed of layers: a block-sparse layer in the middle, and a skip connection around it.
//!
//! `cargo run --release --example compose`

use fretwork::Result;
use fretwork::prelude::*;

fn main() -> Result<()> {
    println!("a composed network, its middle 90 % sparse: {:.4} on the digits' test part", run()?);
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let net = Sequential::new()
        .add(Linear::new(64, 512).sparse(blocks(16).density(0.2)).relu())
        .add(Residual::new(Linear::new(512, 512).sparse(blocks(16).density(0.1)).relu()))
        .add(Linear::new(512, 10));
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .objective(CrossEntropy)
        .optimizer(AdamW::default())
        .method(Rigl::default())
        .learning_rate(0.004, Schedule::OneCycle)
        .epochs(5)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
