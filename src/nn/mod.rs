//! Layers and networks: forward and backward over [`ops`](crate::ops).

mod builder;
mod config;
mod feed;
mod linear;
mod lm;
mod mlp;
mod moe;
mod network;
mod operand;
mod param;
mod precision;
mod projection;

pub use builder::{FanIn, Init};
pub use config::{LayerShape, ModelConfig};
pub use feed::FeedForward;
pub use linear::{Activated, Linear};
pub use lm::{Lm, LmConfig};
pub use mlp::{Mlp, MlpConfig};
pub use moe::{Moe, MoeConfig, Overflow};
pub use network::{After, Load, Network, Passage, Signals};
use operand::Operand;
pub use param::{Param, Parameter};
pub use precision::{Half, Precision};
pub use projection::{Projection, Weight};
