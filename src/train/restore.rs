//! Words of a checkpoint on their way to the device. Kernels run without bounds checks, so every index, set and topology
//! passes here and is validated before it is written.

use std::path::Path;

use super::Checkpoint;
use crate::gpu::{DType, Gpu, Tensor};
use crate::methods::Saved;
use crate::ops::{LossScale, is_scale};
use crate::sparse::Topology;
use crate::{Error, Result};

/// A checkpoint that is read from a path onto a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restore<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) path: &'a Path,
}

impl Restore<'_> {
    fn bad(&self, reason: String) -> Error {
        Error::Checkpoint { path: self.path.to_owned(), reason }
    }

    /// Numbers that index nothing, in the tensor's own type.
    pub(super) fn numbers(&self, name: &str, tensor: &Tensor) -> Result<()> {
        match tensor.dtype() {
            DType::U32 => self.gpu.write(tensor, &self.checkpoint.words(self.path, name, tensor.len())?),
            _ => self.gpu.write(tensor, self.checkpoint.get(self.path, name, tensor.shape())?),
        }
    }

    /// A part of a method's state.
    pub(super) fn saved(&self, name: &str, saved: &Saved) -> Result<()> {
        match saved {
            Saved::Numbers(tensor) => self.numbers(name, tensor),
            Saved::Set { words: tensor, places } => {
                let words = self.checkpoint.words(self.path, name, tensor.len())?;
                let stray = (*places..words.len() * 32).find(|&bit| words[bit / 32] >> (bit % 32) & 1 == 1);
                if let Some(bit) = stray {
                    return Err(self.bad(format!("{name} has block {bit} of a grid of {places} places")));
                }
                self.gpu.write(tensor, &words)
            }
            Saved::Pattern(pattern) => {
                let words = self.checkpoint.words(self.path, name, pattern.packed().len())?;
                Topology::from_packed(&words)
                    .and_then(|topology| pattern.replace(self.gpu, &topology))
                    .map_err(|error| self.bad(format!("{name}: {error}")))
            }
        }
    }

    /// The steps with which the blocks of a weight came, from row order into slot order. None is later than the first step that is
    /// still to come: blocks that an update after a step exchanged come with that.
    pub(super) fn births(&self, name: &str, topology: &Topology, born: &Tensor) -> Result<()> {
        let words = self.checkpoint.words(self.path, name, born.len())?;
        let now = self.checkpoint.position.step;
        if let Some(later) = words.iter().find(|&&step| u64::from(step) > now + 1) {
            return Err(self.bad(format!("{name} has a block of step {later}, but the run is at step {now}")));
        }
        self.gpu.write(born, &topology.in_slot_order(&words))
    }

    /// A yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.checkpoint.words(self.path, name, 1)?[0] {
            word @ 0..=1 => Ok(word == 1),
            word => Err(self.bad(format!("{name} is {word}, should be 0 or 1"))),
        }
    }

    /// The scale of the loss.
    pub(super) fn loss_scale(&self, scale: &LossScale) -> Result<()> {
        let words = self.checkpoint.words(self.path, "loss_scale", scale.tensor().len())?;
        let found = f32::from_bits(words[0]);
        if !is_scale(found) {
            return Err(
                self.bad(format!("loss_scale is {found:e}, which is no power of two that scales losses"))
            );
        }
        self.gpu.write(scale.tensor(), &words)
    }
}
