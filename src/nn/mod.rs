//! Layers and networks: forward and backward over [`ops`](crate::ops).

mod linear;
mod mlp;

pub use linear::{FanIn, Linear, Parameter, Weight};
pub(crate) use mlp::layer_name;
pub use mlp::{Buffers, Mlp, MlpConfig, Passage};
