//! How large things are that are timed.

use super::moe;
use crate::gpu::Gpu;
use crate::nn::Precision;
use crate::sparse::BLOCKS;

/// The sizes of everything that is timed, and what it is stored in.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// How often all take their turns.
    pub rounds: usize,
    /// What the operands of products are stored in, and what networks train in. A mixture of experts is f32 in any case.
    pub precision: Precision,
    /// Rows, inputs and outputs of the layer whose products are timed: all multiples of 16, and of the blocks.
    pub layer: [usize; 3],
    /// The sides of its blocks.
    pub blocks: Vec<usize>,
    /// Its densities, in ascending order.
    pub densities: Vec<f64>,
    /// Hidden units of the network whose steps are timed, from 784 inputs to 10 classes: multiples of 16.
    pub hidden: Vec<usize>,
    /// Its rows.
    pub batch: usize,
    /// Steps in a row, so that what a run costs at its ends does not count for much.
    pub steps: u64,
    /// Sparsities at which its topologies change.
    pub sparsities: Vec<f64>,
    /// The mixture of experts.
    pub experts: moe::Sizes,
    /// Rows of each expert, in ascending order.
    pub rows: Vec<usize>,
    /// Elements that are copied.
    pub copied: usize,
    /// Invocations that multiply and add, and their rounds.
    pub multiply_adds: [usize; 2],
}

impl Sizes {
    /// As large as fills a device of this kind, and does not keep it busy for more than some minutes.
    pub fn of(gpu: &Gpu) -> Self {
        let software = gpu.is_software();
        Self {
            rounds: 9,
            precision: Precision::F32,
            layer: if software { [256, 1024, 1024] } else { [512, 4096, 4096] },
            blocks: BLOCKS.to_vec(),
            densities: vec![0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0],
            hidden: vec![1024, 1024],
            batch: 128,
            steps: 10,
            sparsities: vec![0.9, 0.98],
            experts: moe::Sizes::of(gpu),
            rows: vec![4, 16, 64, 128, 256],
            // Far more than caches hold, and no more than every device binds.
            copied: if software { 8 << 20 } else { 32 << 20 },
            multiply_adds: if software { [16 << 10, 256] } else { [1 << 20, 256] },
        }
    }
}
