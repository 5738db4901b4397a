//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019).

use super::{Optimizer, Update};
use crate::gpu::Recorder;
use crate::ops::{self, AdamW, Births, Parts};
use crate::{Error, Result};

impl Default for AdamW {
    /// Decays of 0.9 and 0.999, and a weight decay of 0.01.
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl Optimizer for AdamW {
    fn state_names(&self) -> &'static [&'static str] {
        &["first", "second"]
    }

    fn corrections(&self, before: u32) -> [f32; 2] {
        Self::corrections(self, before)
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        let Update { span, born, step } = *update;
        let blocks: Vec<_> = span.blocks.iter().map(|(_, range)| *range).collect();
        let [first, second] = span.state else {
            return Err(Error::argument(span.name, "state", "two moments", span.state.len()));
        };
        let births = born.map(|words| Births { words, blocks: &blocks });
        let parts = Parts { decaying: span.decaying, births, mask: None };
        ops::adamw_parts(rec, [span.values, span.grads, first, second], *self, parts, step)
    }
}
