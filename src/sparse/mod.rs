//! Block sparsity on host and device: topologies, block matrices, initial patterns, routing tables.

mod adjacency;
mod density;
mod device;
mod initial;
mod mask;
mod packed;
mod reorder;
mod routing;
mod topology;

pub use adjacency::{Adjacency, Links};
pub use density::{Density, Grid};
pub use device::{BlockMatrix, Pattern, upload_mask};
pub use initial::{Draw, connected, connects, random};
pub use mask::BlockMask;
pub use routing::{MOST_EXPERTS, Routing, RoutingBounds, RoutingShape};
pub use topology::{BLOCKS, Topology};
