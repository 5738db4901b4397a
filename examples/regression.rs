//! Regression: a block-sparse network learns a function by mean squared error, from rows that are made when they are asked for.
//!
//! `cargo run --release --example regression`

use std::sync::Arc;

use fretwork::Result;
use fretwork::prelude::*;
use fretwork::random::{Key, Stream};

/// Points of the cube, each with `sin(3 x) * cos(2 y) + z` for a target; row `i` is made from `i` alone.
#[derive(Debug)]
struct Surface {
    rows: usize,
    part: u32,
}

const FEATURES: usize = 16;

impl Batches for Surface {
    fn rows(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        FEATURES
    }

    fn targets(&self) -> Targets {
        Targets::Values(1)
    }

    fn fill(&self, rows: &[u32], batch: &mut HostBatch) -> Result<()> {
        let (features, targets) = batch.values()?;
        for (place, &row) in rows.iter().enumerate() {
            let mut walk = Key::new(7, Stream::Check(self.part)).walk_from(u64::from(row) * 8);
            let [x, y, z] = [(); 3].map(|()| 2.0 * walk.uniform() - 1.0);
            features[place * FEATURES..place * FEATURES + 3].copy_from_slice(&[x, y, z]);
            targets[place] = (3.0 * x).sin() * (2.0 * y).cos() + z;
        }
        Ok(())
    }

    fn fingerprint(&self) -> u32 {
        self.rows as u32 ^ self.part << 31
    }
}

fn main() -> Result<()> {
    println!("mean squared error on rows that were not trained on: {:.5}", run()?);
    Ok(())
}

/// Trains, and returns the mean squared error on the test part, whose targets have a variance of 0.6.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let net = Sequential::new()
        .add(Linear::new(FEATURES, 128).gelu())
        .add(Linear::new(128, 128).sparse(blocks(16).density(0.25)).gelu())
        .add(Linear::new(128, 1));
    let data = Dataset::of_batches(
        "surface",
        Arc::new(Surface { rows: 4096, part: 0 }),
        Arc::new(Surface { rows: 1024, part: 1 }),
    )?;
    let mut trainer = Trainer::builder(&gpu, net)
        .data(data)
        .objective(MeanSquaredError)
        .learning_rate(0.003, Schedule::OneCycle)
        .epochs(15)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_loss)
}
