//! Active blocks of a checkpoint's weights.

use std::path::Path;

use super::Checkpoint;
use crate::graph::ParamDescription;
use crate::sparse::Topology;
use crate::{Error, Result};

impl Checkpoint {
    /// The active blocks of a block-sparse parameter, and their values `[nnz, block, block]`, in row order.
    ///
    /// # Errors
    /// As [`Checkpoint::topology`], and for a parameter that is dense.
    pub fn active_blocks(&self, path: &Path, param: &ParamDescription) -> Result<(Topology, Vec<f32>)> {
        let (name, &[rows, cols], Some(blocks)) = (&param.name, param.shape.as_slice(), param.blocks) else {
            let reason = format!("{} is dense and has no blocks", param.name);
            return Err(Error::Checkpoint { path: path.to_owned(), reason });
        };
        let block = blocks.block;
        let all = self.topology(path, name, [rows, cols], block)?;
        let values = self.get(path, &format!("{name}.values"), &[all.nnz(), block, block])?;
        // Inactive blocks are stored among the others.
        let (active, places): (_, Vec<_>) = (all.active(), all.coordinates().collect());
        let (mut coordinates, mut kept) = (Vec::new(), Vec::new());
        for (block_values, slot) in values.chunks(block * block).zip(all.row_order()) {
            if active[slot] {
                let (row, col) = places[slot];
                coordinates.push((row as u32, col as u32));
                kept.extend_from_slice(block_values);
            }
        }
        Ok((Topology::from_coordinates(rows, cols, block, &coordinates)?, kept))
    }
}
