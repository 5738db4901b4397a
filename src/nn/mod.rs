//! Layers and networks: forward and backward over [`ops`](crate::ops).

mod config;
mod feed;
mod linear;
mod mlp;
mod network;

pub use config::{LayerShape, ModelConfig};
pub use feed::FeedForward;
pub use linear::{FanIn, Init, Linear, Parameter, Weight};
pub use mlp::{Mlp, MlpConfig};
pub use network::{After, Network, Passage};
