//! Block-sparse layers for [Burn](https://burn.dev), by fretwork's kernels, on the wgpu device that Burn uses.

mod autodiff;
mod blocks;
mod buffers;
mod dense;
mod device;
mod error;
mod evolve;
mod layout;
mod linear;
mod ops;
mod state;
mod watch;

pub use blocks::Blocks;
pub use device::{FEATURES, adopt, init, lend};
pub use error::{Error, Result};
pub use evolve::{Evolution, Exchanged};
pub use fretwork;
pub use linear::{SparseLinear, SparseLinearConfig};
pub use state::zero_state;
