//! GaP: scheduled grow and prune (Ma et al. 2022), the cyclic form S-GaP.

use super::surgery::all_blocks;
use super::{Budget, Method, Moment, Surgery, keep};
use crate::Result;
use crate::ops::ValueScore;

/// One layer after the other is made dense for an epoch, its new blocks from 0, and then pruned back by magnitude. The last
/// epoch trains all layers sparse.
///
/// Only one part is dense at a time; here a part is a layer.
#[derive(Debug)]
pub struct Gap;

impl Gap {
    fn grow(phase: u64, network: &mut dyn Surgery) -> Result<()> {
        let layers = network.sparse_layers();
        let (layer, weight) = &layers[phase as usize % layers.len()];
        let places = weight.pattern().places();
        let set = all_blocks(network.gpu(), places)?;
        network.reshape(*layer, &set, places)
    }
}

impl Method for Gap {
    fn operate(&mut self, moment: Moment, network: &mut dyn Surgery) -> Result<()> {
        if network.sparse_layers().is_empty() {
            return Ok(());
        }
        match moment {
            Moment::Start { epochs } if epochs > 1 => Self::grow(0, network),
            Moment::EpochEnd { epoch, epochs, .. } => {
                let targets = network.targets().to_vec();
                keep(network, ValueScore::Abs, &Budget::PerLayer(targets))?;
                if epoch + 2 < epochs { Self::grow(epoch + 1, network) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}
