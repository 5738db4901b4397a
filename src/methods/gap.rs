//! GaP: scheduled grow and prune (Ma et al. 2022), the cyclic form S-GaP.

use super::config::NoOptions;
use super::mutation::all_blocks;
use super::{Budget, Method, MutableTopology, Phase, keep};
use crate::Result;
use crate::ops::ValueScore;

/// One layer after the other is dense for an epoch, with new blocks from 0, and is then pruned by the sum of |w|. In the last
/// epoch all layers are sparse. The partition of the paper is by layers here.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "NoOptions")]
pub struct Gap;

impl Gap {
    fn grow(turn: u64, network: &mut dyn MutableTopology) -> Result<()> {
        let layers = network.sparse_layers();
        let (layer, weight) = &layers[turn as usize % layers.len()];
        let places = weight.pattern().places();
        let set = all_blocks(network.gpu(), places)?;
        network.reshape(*layer, &set, places)
    }
}

impl Method for Gap {
    fn has_phases(&self) -> bool {
        true
    }

    fn grows_whole_layers(&self) -> bool {
        true
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> Result<()> {
        if network.sparse_layers().is_empty() {
            return Ok(());
        }
        match phase {
            Phase::Start { epochs } if epochs > 1 => Self::grow(0, network),
            Phase::EpochEnd { epoch, epochs, .. } => {
                let targets = network.targets().to_vec();
                keep(self, network, ValueScore::Abs, &Budget::PerLayer(targets))?;
                if epoch + 2 < epochs { Self::grow(epoch + 1, network) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}
