//! Feed of a network: rows on the host, and their transfer to its input.

use half::f16;
use half::slice::HalfFloatSliceExt as _;

use crate::Result;
use crate::data::{HostBatch, HostTargets, Input, Rows};
use crate::gpu::{DType, Gpu, Tensor};
use crate::graph::Network;

/// Host memory of a batch, reused for every batch, and the network's input.
#[derive(Debug)]
pub(super) struct Feed {
    input: Tensor,
    host: HostBatch,
    /// Features in half precision, where the input is f16.
    halves: Vec<f16>,
}

impl Feed {
    /// A feed of `places` rows with so many targets: classes if their type is u32, else values.
    pub(super) fn new(network: &Network, places: usize, targets: DType, count: usize) -> Self {
        let input = network.input().clone();
        let host = HostBatch {
            places,
            input: match input.dtype() {
                DType::U32 => Input::Ids(vec![0; input.len()]),
                _ => Input::Floats(vec![0.0; input.len()]),
            },
            targets: match targets {
                DType::U32 => HostTargets::Classes(vec![0; count]),
                _ => HostTargets::Values(vec![0.0; count]),
            },
        };
        let halves = if input.dtype() == DType::F16 { vec![f16::ZERO; input.len()] } else { Vec::new() };
        Self { input, host, halves }
    }

    /// Targets of the rows that were loaded last.
    pub(super) fn targets(&self) -> &HostTargets {
        &self.host.targets
    }

    /// Writes rows to the network's input, ahead of the next submission.
    pub(super) fn load(&mut self, gpu: &Gpu, data: &Rows, rows: &[u32]) -> Result<()> {
        data.fill(rows, &mut self.host)?;
        match &self.host.input {
            Input::Floats(features) if self.input.dtype() == DType::F16 => {
                self.halves.convert_from_f32_slice(features);
                gpu.write(&self.input, &self.halves)
            }
            Input::Floats(features) => gpu.write(&self.input, features),
            Input::Ids(ids) => gpu.write(&self.input, ids),
        }
    }
}
