//! Block-sparse layers for [Burn](https://burn.dev), by fretwork's kernels, on the wgpu device that Burn uses.

mod autodiff;
mod blocks;
mod buffers;
mod dense;
mod device;
mod error;
mod evolve;
mod files;
mod layout;
mod linear;
mod mixture;
mod ops;
mod prune;
mod state;
mod watch;

pub use blocks::Blocks;
pub use device::{FEATURES, adopt, init, lend};
pub use error::{Error, Result};
pub use evolve::{Evolution, Exchanged};
pub use files::save_safetensors;
pub use fretwork;
pub use linear::{SparseLinear, SparseLinearConfig};
pub use mixture::{SparseMoe, SparseMoeConfig};
pub use prune::{Pruned, Pruning};
pub use state::{carry_state, zero_state};
