//! Device memory that the updates of a layer work in.

use crate::Result;
use crate::gpu::{Class, Gpu, Tensor};
use crate::sparse::Pattern;

/// Memory for the updates of a layer: a score per place of the grid, some bits per place, a word per slot.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Scores `f32[places]`; between selections the map of slots.
    scores: Tensor,
    smoothed: Option<Tensor>,
    dropped: Tensor,
    grown: Tensor,
    born: Tensor,
    wanted: Tensor,
    churn: Tensor,
    visited: Tensor,
}

impl Workspace {
    /// Allocates memory for a layer of this pattern; `smoothing` adds [smoothed scores](Workspace::smoothed).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, pattern: &Pattern, smoothing: bool) -> Result<Self> {
        let born = gpu.zeros::<u32>(Class::Scratch, "births", &[pattern.nnz()])?;
        Self::with_births(gpu, pattern, born, smoothing)
    }

    /// [`Workspace::new`] with these births, `u32[nnz]`.
    pub(crate) fn with_births(gpu: &Gpu, pattern: &Pattern, born: Tensor, smoothing: bool) -> Result<Self> {
        let places = pattern.places();
        let set = || gpu.zeros::<u32>(Class::Scratch, "set of blocks", &[places.div_ceil(32)]);
        let scores = || gpu.zeros::<f32>(Class::Scratch, "scores", &[places]);
        Ok(Self {
            scores: scores()?,
            smoothed: smoothing.then(scores).transpose()?,
            dropped: set()?,
            grown: set()?,
            born,
            wanted: gpu.zeros::<u32>(Class::Scratch, "count", &[1])?,
            churn: gpu.zeros::<u32>(Class::Scratch, "count", &[2])?,
            visited: set()?,
        })
    }

    /// Workspace of the same grid for `nnz` blocks: all but the births, which are 0, is shared.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resized(&self, gpu: &Gpu, nnz: usize) -> Result<Self> {
        let born = gpu.zeros::<u32>(Class::Scratch, "births", &[nnz])?;
        Ok(Self { born, ..self.clone() })
    }

    /// Score per place of the grid, `f32[places]`. Between selections the buffer holds the map of slots, and nothing is kept in
    /// it from step to step.
    pub fn scores(&self) -> &Tensor {
        &self.scores
    }

    /// Set of the blocks to drop.
    pub fn dropped(&self) -> &Tensor {
        &self.dropped
    }

    /// Set of the blocks to grow.
    pub fn grown(&self) -> &Tensor {
        &self.grown
    }

    /// `k` of the next update, `u32[1]`: number of blocks to exchange.
    pub fn wanted(&self) -> &Tensor {
        &self.wanted
    }

    /// First step that moved each slot's block, counted from 1 among the steps that moved weights; 0 for blocks of the start,
    /// `u32[nnz]`.
    pub fn born(&self) -> &Tensor {
        &self.born
    }

    /// `u32[2]`: new blocks since the host last set the word to 0, and updates of the run that exchanged any.
    pub fn churn(&self) -> &Tensor {
        &self.churn
    }

    /// Set of the blocks that were ever stored.
    pub fn visited(&self) -> &Tensor {
        &self.visited
    }

    /// Scores smoothed over steps, `f32[places]`, for a method that [observes](super::Method::observe).
    pub fn smoothed(&self) -> Option<&Tensor> {
        self.smoothed.as_ref()
    }
}
