//! Local training: each hidden layer learns from a head of its own, in the memory of one layer.
//!
//! `cargo run --release --example local`

use fretwork::Result;
use fretwork::prelude::*;

fn main() -> Result<()> {
    let [accuracy, local, whole] = run()?;
    println!("accuracy {accuracy:.3}; bytes of activations {local}, by backpropagation {whole}");
    Ok(())
}

/// Test accuracy on the digits, bytes of activations, and those of the same layers by backpropagation.
pub(crate) fn run() -> Result<[f64; 3]> {
    let gpu = Gpu::request(Options::default())?;
    let net = LocalParts::new(Local::Greedy, 10)
        .add(Linear::new(64, 256).sparse(blocks(16).density(0.2)).relu())
        .add(Linear::new(256, 256).sparse(blocks(16).density(0.2)).relu())
        .add(Linear::new(256, 256).sparse(blocks(16).density(0.2)).relu())
        .add(Linear::new(256, 10));
    let whole = Sequential::new()
        .add(Linear::new(64, 256).relu())
        .add(Linear::new(256, 256).relu())
        .add(Linear::new(256, 256).relu())
        .add(Linear::new(256, 10));
    let bytes = [planned(&net)?, planned(&whole)?];
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .learning_rate(0.004, Schedule::OneCycle)
        .epochs(15)
        .build()?;
    let accuracy = trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy;
    Ok([accuracy, bytes[0], bytes[1]])
}

/// Bytes that a step of 128 rows takes for activations and their gradients, by the plan.
fn planned(module: &dyn Module) -> Result<f64> {
    let mut graph = Graph::new(1, Precision::F32);
    let input = graph.input("input", &[128, 64], DType::F32)?;
    let output = module.apply(&mut graph, input)?;
    graph.output(output)?;
    Ok(graph.step_memory()?.allocated as f64)
}
