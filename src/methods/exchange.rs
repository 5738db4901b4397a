//! The exchange that an update of a layer ends with.

use super::Workspace;
use crate::Result;
use crate::gpu::{DType, Recorder, Tensor};
use crate::ops::{self, BlockInit, Step, Swap};
use crate::sparse::BlockMatrix;

/// The exchange of a layer's blocks, whose sets have been selected. It needs nothing of what passed through the layer, so it
/// may be recorded at the end of a step, when it is known whether the step counts.
#[derive(Debug)]
pub struct Exchange {
    pub(super) weight: BlockMatrix,
    /// The parts of the optimizer's state.
    pub(super) state: Vec<Tensor>,
    pub(super) workspace: Workspace,
    pub(super) step: Step,
    /// The values of new blocks.
    pub(super) values: BlockInit,
    /// The set of blocks that are active afterwards, where some are not.
    pub(super) awake: Option<Tensor>,
}

impl Exchange {
    /// Records it.
    pub(crate) fn record(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Workspace { scores, dropped, grown, .. } = &self.workspace;
        let (pattern, born) = (self.weight.pattern(), self.workspace.born());
        // Selection is over, so the scores' place is free for the map.
        let map = scores.reinterpret(DType::U32)?;
        let churn = self.workspace.churn();
        let swap = Swap { dropped, grown, map: &map, born, churn, step: &self.step };
        ops::swap_pattern(rec, pattern, swap, self.awake.as_ref())?;
        ops::renew_blocks(rec, pattern, self.weight.values(), born, &self.values, &self.step)?;
        for part in &self.state {
            ops::renew_blocks(rec, pattern, part, born, &BlockInit::Zero, &self.step)?;
        }
        ops::bits::add_present(rec, pattern, self.workspace.visited())
    }
}
