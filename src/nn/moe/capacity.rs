//! How many tokens an expert takes in training.

use super::MoeConfig;
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::gate::{self, Overflow};

/// The capacity of experts: what each takes at most of a group of tokens, a sequence or the whole batch.
#[derive(Debug)]
pub(super) struct Capacity {
    overflow: Overflow,
    /// `u32[groups, experts]`.
    capacities: Tensor,
    /// The capacity by the number of tokens that count, `u32[tokens + 1]`, where a group is the batch.
    by_count: Option<Tensor>,
    /// Assignments that are not dropped, a bit each: `u32[groups, experts, words]`.
    kept: Tensor,
}

impl Capacity {
    /// Capacity of a mixture on so many sequences of so many tokens, if it has one.
    pub(super) fn new(
        gpu: &Gpu,
        config: &MoeConfig,
        [sequences, sequence]: [usize; 2],
    ) -> Result<Option<Self>> {
        if config.capacity == 0.0 {
            return Ok(None);
        }
        let experts = config.experts.len();
        let tokens = sequences * sequence;
        // Who compares the whole batch is in balance over the whole batch.
        let [groups, group] = if config.gate.is_causal() { [sequences, sequence] } else { [1, tokens] };
        let most = |tokens: usize| u32::try_from(config.expert_capacity(tokens)).unwrap_or(u32::MAX);
        let by_count = || {
            let words: Vec<u32> = (0..=tokens).map(most).collect();
            gpu.upload(Class::Scratch, "capacities", &[words.len()], &words)
        };
        Ok(Some(Self {
            overflow: config.overflow,
            capacities: gpu.upload(
                Class::Scratch,
                "capacity",
                &[groups, experts],
                &vec![most(group); groups * experts],
            )?,
            by_count: (!config.gate.is_causal()).then(by_count).transpose()?,
            kept: gpu.alloc::<u32>(Class::Scratch, "kept", &[groups, experts, group.div_ceil(32)])?,
        }))
    }

    /// Records which assignments are not dropped, of experts and weights as the gate left them, and `tokens` likewise.
    pub(super) fn keep(
        &self,
        rec: &mut Recorder<'_>,
        [experts, weights]: [&Tensor; 2],
        tokens: Option<&Tensor>,
    ) -> Result<&Tensor> {
        if let (Some(by_count), Some(tokens)) = (&self.by_count, tokens) {
            gate::capacity(rec, tokens, by_count, &self.capacities)?;
        }
        gate::keep(rec, experts, weights, self.overflow, &self.capacities, &self.kept)?;
        Ok(&self.kept)
    }
}
