//! What sparsity is, on host and device: topologies, block matrices, initial patterns.

mod density;
mod device;
mod mask;
mod topology;

pub use density::{Density, Grid, random};
pub use device::{BlockMatrix, Pattern, upload_mask};
pub use mask::BlockMask;
pub use topology::{BLOCKS, Topology};
