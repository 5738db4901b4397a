//! Layers and networks: forward and backward over [`ops`](crate::ops).

mod config;
mod linear;
mod mlp;
mod network;

pub use config::{LayerShape, ModelConfig};
pub use linear::{FanIn, Linear, Parameter, Weight};
pub use mlp::{Mlp, MlpConfig};
pub use network::{After, Network, Passage};
