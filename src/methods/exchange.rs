//! Exchange of blocks at the end of a layer's update.

use super::Workspace;
use crate::Result;
use crate::gpu::{DType, Recorder, Tensor};
use crate::ops::{self, BlockInit, Step, Swap};
use crate::sparse::BlockMatrix;

/// Exchange of a layer's blocks whose sets are selected. It reads no activation, so it may be recorded at the end of a step, when
/// it is known whether the step counts.
#[derive(Debug)]
pub struct Exchange {
    pub(super) weight: BlockMatrix,
    /// Optimizer state of the weight.
    pub(super) state: Vec<Tensor>,
    pub(super) workspace: Workspace,
    pub(super) step: Step,
    /// Values of new blocks.
    pub(super) values: BlockInit,
    /// Rows and columns that count, a bit each, where others pad the matrix: draws leave padding at 0.
    pub(super) counted: Option<Tensor>,
    /// Set of the blocks that are active afterwards, where some are not.
    pub(super) active: Option<Tensor>,
}

impl Exchange {
    /// Records the exchange.
    ///
    /// # Errors
    /// As the operations.
    pub fn record(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let workspace = &self.workspace;
        let (pattern, born, churn) = (self.weight.pattern(), workspace.born(), workspace.churn());
        // Selection is over, so the buffer of the scores is free for the map.
        let map = workspace.scores().reinterpret(DType::U32)?;
        let (dropped, grown) = (workspace.dropped(), workspace.grown());
        let swap = Swap { dropped, grown, map: &map, born, churn, step: &self.step };
        ops::swap_pattern(rec, pattern, swap, self.active.as_ref())?;
        ops::renew_blocks(rec, pattern, self.weight.values(), born, &self.values, &self.step)?;
        if let (Some(counted), false) = (&self.counted, matches!(self.values, BlockInit::Zero)) {
            ops::zero_block_padding(rec, pattern, self.weight.values(), counted)?;
        }
        for part in &self.state {
            ops::renew_blocks(rec, pattern, part, born, &BlockInit::Zero, &self.step)?;
        }
        ops::bits::add_present(rec, pattern, workspace.visited())
    }
}
