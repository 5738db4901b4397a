//! An optimizer of one's own: Lion (Chen et al. 2023), which steps by the sign of a momentum.
//!
//! `cargo run --release --example own_optimizer`

use fretwork::Result;
use fretwork::gpu::Key;
use fretwork::prelude::*;

/// Lion with decays of 0.9 and 0.99 and a weight decay of 0.1.
#[derive(Debug)]
pub(crate) struct Lion(pub(crate) Key);

impl Optimizer for Lion {
    fn state_names(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        let Update { span, step, .. } = *update;
        let n = span.values.len() as u32;
        let mut args = step
            .bind(Args::new())
            .tensor("values", span.values)
            .tensor("grads", span.grads)
            .tensor("momentum", &span.state[0])
            .u32("n", n)
            .f32("beta_1", 0.9)
            .f32("beta_2", 0.99)
            .u32("decaying", span.decaying as u32)
            .f32("weight_decay", 0.1);
        if let Some(scale) = step.scale() {
            args = args.tensor("loss_scale", scale.tensor());
        }
        let key = self.0.clone().with("scaled", step.scale().is_some());
        rec.dispatch(&key, &args, u64::from(n).div_ceil(64))
    }
}

fn main() -> Result<()> {
    println!("accuracy {:.4} on the digits' test part", run()?);
    Ok(())
}

/// Trains, and returns the accuracy on the test part.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let lion = Lion(gpu.add_shader("mine", "lion", include_str!("own_optimizer.wgsl"))?);
    let net = Sequential::new()
        .add(Linear::new(64, 256).sparse(blocks(16).density(0.5)).relu())
        .add(Linear::new(256, 10));
    let mut trainer = Trainer::builder(&gpu, net)
        .data(Dataset::load(&Source::Digits, 1, 0)?)
        .optimizer(lion)
        .learning_rate(0.002, Schedule::OneCycle)
        .epochs(10)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}
