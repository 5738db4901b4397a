//! Sizes of the benches.

use super::MoeSizes;
use crate::gpu::Gpu;
use crate::nn::Precision;
use crate::sparse::BLOCKS;

/// Sizes and precision of all benches.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Interleaved rounds.
    pub rounds: usize,
    /// Precision of the operands of products and of training. The mixture of experts is f32 at every precision.
    pub precision: Precision,
    /// Rows, inputs and outputs of the layer whose products are timed: multiples of 16, inputs and outputs also of `blocks`.
    pub layer: [usize; 3],
    /// Block sides of the layer.
    pub blocks: Vec<usize>,
    /// Densities of the layer, in ascending order.
    pub densities: Vec<f64>,
    /// Hidden units of the network whose steps are timed, multiples of 16; it has 784 inputs and 10 classes.
    pub hidden: Vec<usize>,
    /// Rows of a batch of the network.
    pub batch: usize,
    /// Consecutive steps in one timing, so that the ends of a run hardly count.
    pub steps: u64,
    /// Sparsities at which topology updates are timed.
    pub sparsities: Vec<f64>,
    /// Parameters and directions of a random base.
    pub basis: [usize; 2],
    /// Sizes of the mixture of experts.
    pub experts: MoeSizes,
    /// Mean rows of an expert, in ascending order.
    pub rows: Vec<usize>,
    /// Elements copied for the ceiling of bandwidth.
    pub copied: usize,
    /// Invocations and rounds of multiply-adds for the ceiling of arithmetic.
    pub multiply_adds: [usize; 2],
}

impl Sizes {
    /// Sizes that fill the device and take a few minutes on it.
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
            // 784-128-10 and 250 directions, as published.
            basis: if software { [101_770, 250] } else { [4 << 20, 256] },
            experts: MoeSizes::of(gpu),
            rows: vec![4, 16, 64, 128, 256],
            // Far larger than caches, and within the binding limit of every device.
            copied: if software { 8 << 20 } else { 32 << 20 },
            multiply_adds: if software { [16 << 10, 256] } else { [1 << 20, 256] },
        }
    }
}
