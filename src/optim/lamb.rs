//! LAMB: Adam's direction with a trust ratio per parameter (You et al. 2019).

use super::{Optimizer, Update};
use crate::gpu::Recorder;
use crate::ops::{self, Lamb};
use crate::{Error, Result};

impl Default for Lamb {
    /// Decays of 0.9 and 0.999, and a weight decay of 0.01.
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-6, weight_decay: 0.01 }
    }
}

impl Optimizer for Lamb {
    fn state_names(&self) -> &'static [&'static str] {
        &["first", "second"]
    }

    fn corrections(&self, before: u32) -> [f32; 2] {
        Self::corrections(self, before)
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        let Update { span, born, step } = *update;
        let [first, second] = span.state else {
            return Err(Error::argument(span.name, "state", "two moments", span.state.len()));
        };
        let params: Vec<_> = span.params.iter().map(|(_, range)| *range).collect();
        let blocks: Vec<_> = span.blocks.iter().map(|(_, range)| *range).collect();
        let born = born.map(|words| (words, &blocks[..]));
        ops::lamb(rec, span.values, span.grads, first, second, *self, &params, born, step)
    }
}
