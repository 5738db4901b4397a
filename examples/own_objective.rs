//! An objective of one's own: focal loss (Lin et al. 2017), in which rows that are classified well weigh less.
//!
//! `cargo run --release --example own_objective`

use fretwork::Result;
use fretwork::gpu::Key;
use fretwork::prelude::*;

/// The loss `-(1 - p)^gamma * ln(p)` of the label's softmax probability p.
#[derive(Debug)]
pub(crate) struct Focal {
    pub(crate) gamma: f32,
    pub(crate) kernel: Key,
}

impl Objective for Focal {
    fn name(&self) -> &'static str {
        "focal"
    }

    fn targets(&self, outputs: &[Vec<usize>]) -> Result<Targets> {
        CrossEntropy.targets(outputs)
    }

    fn counts_hits(&self) -> bool {
        true
    }

    fn record(&self, rec: &mut Recorder<'_>, pass: &LossPass<'_>) -> Result<()> {
        let [rows, classes] = [0, 1].map(|side| pass.outputs[0].shape()[side] as u32);
        let args = Args::new()
            .tensor("logits", pass.outputs[0])
            .tensor("labels", pass.targets)
            .tensor("report", pass.report)
            .tensor("grad", pass.output_grads[0]);
        let args = pass.step.bind(args).u32("rows", rows).u32("classes", classes).f32("gamma", self.gamma);
        rec.dispatch(&self.kernel, &args, u64::from(rows).div_ceil(64))
    }
}

fn main() -> Result<()> {
    println!("accuracy {:.4} on the digits' test part", run()?);
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let kernel = gpu.add_shader("mine", "focal", include_str!("own_objective.wgsl"))?;
    let net = Sequential::new()
        .add(Linear::new(64, 256).sparse(blocks(16).density(0.5)).relu())
        .add(Linear::new(256, 10));
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .objective(Focal { gamma: 2.0, kernel })
        .learning_rate(0.004, Schedule::OneCycle)
        .epochs(5)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
