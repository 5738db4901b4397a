//! `train`: several networks at once.

use clap::Args;
use fretwork::nn::{Codistillation, MlpConfig, MlpsConfig, ModelConfig, OneOf, Together};

#[derive(Debug, Args)]
#[command(next_help_heading = "Several networks")]
pub(crate) struct SeveralNetworks {
    /// Train so many networks at once, with weights of the seed and those after it, that predict by the mean of their probabilities.
    #[arg(long, value_name = "NETWORKS")]
    pub(crate) ensemble: Option<usize>,
    /// Train so many networks at once that learn from each other's predictions, too. The first one predicts.
    #[arg(long, value_name = "NETWORKS", conflicts_with = "ensemble")]
    pub(crate) codistill: Option<usize>,
    /// Codistillation: factor of the cross-entropy to the mean of the other networks' probabilities; 0 for independent networks.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) weight: f32,
    /// Codistillation: steps before networks learn from each other; by default an epoch.
    #[arg(long, value_name = "STEPS")]
    pub(crate) burn_in: Option<u64>,
    /// Codistillation: steps after which networks see each other's weights again.
    #[arg(long, value_name = "STEPS", default_value_t = 10)]
    pub(crate) exchange_every: u64,
    /// Codistillation: share out the training rows, so that no two networks see the same.
    #[arg(long)]
    pub(crate) disjoint: bool,
}

impl SeveralNetworks {
    /// Several networks of this shape, where they are asked for; one that is an ensemble of one is a network alone. Epochs have
    /// `per_epoch` steps.
    pub(crate) fn of(&self, one: MlpConfig, per_epoch: u64) -> ModelConfig {
        let (count, together) = match (self.ensemble, self.codistill) {
            (Some(1) | None, None) => return ModelConfig::Mlp(one),
            (_, Some(count)) => (
                count,
                Together::Codistillation(Codistillation {
                    weight: self.weight,
                    burn_in: self.burn_in.unwrap_or(per_epoch),
                    exchange_every: self.exchange_every,
                    disjoint: self.disjoint,
                }),
            ),
            (Some(count), None) => (count, Together::Ensemble),
        };
        let MlpConfig {
            inputs,
            hidden,
            classes,
            block,
            sparsity,
            density,
            activation,
            dropout,
            seed,
            layers,
            local: _,
        } = one;
        let number = |number: usize| OneOf {
            hidden: hidden.clone(),
            activation,
            seed: seed.wrapping_add(number as u64),
        };
        ModelConfig::Mlps(MlpsConfig {
            inputs,
            classes,
            block,
            sparsity,
            density,
            dropout,
            seed,
            layers,
            together,
            networks: (0..count.min(MOST_NETWORKS + 1)).map(number).collect(),
        })
    }
}

/// Most networks that are described: more have no room anywhere.
pub(crate) const MOST_NETWORKS: usize = 1 << 17;
