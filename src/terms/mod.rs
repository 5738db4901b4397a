//! Vocabulary that operations, twins and readers share: options, selections and null indices, without arithmetic.
//!
//! [`ops`](crate::ops) re-exports it; that is its public path.

mod activation;
mod basis;
mod blocks;
pub(crate) mod ceiling;
mod dropout;
pub(crate) mod gate;
mod index;
mod params;
mod scale;
mod score;
mod select;
mod set;
mod side_by_side;
mod sums;
mod transpose;

pub use activation::Activation;
pub use basis::{BASIS_GROUP, BasisRange, basis_chunk};
pub use blocks::BlockRange;
pub use dropout::Dropout;
pub use index::{ABSENT, IGNORED};
pub use params::ParamRange;
pub use scale::LossScaleState;
pub use score::{ProductScore, ValueScore};
pub use select::{Order, Share};
pub use set::SetOp;
pub use side_by_side::SideBySide;
pub use sums::{SUM_ROWS, SUM_TOKENS};
pub use transpose::Transpose;
