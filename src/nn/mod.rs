//! Layers and ready-made networks: descriptions of [graphs](crate::graph), nothing more.

mod add;
mod attention;
mod composed;
mod config;
mod embedding;
mod feed_forward;
mod graph_conv;
mod layer_norm;
mod linear;
mod lm;
mod local;
mod local_parts;
mod mlp;
mod mlps;
mod module;
mod moe;
mod norm;
mod operand;
mod residual;
mod sequential;

pub use crate::graph::{
    Blocks, FanIn, Half, Layer, LayerSparsity, Load, Network, Param, Precision, Signals, Weight, blocks,
};
pub use add::add;
pub use attention::Attention;
pub use composed::{Composed, Row};
pub use config::ModelConfig;
pub use embedding::Embedding;
pub use feed_forward::FeedForward;
pub use graph_conv::GraphConv;
#[cfg(feature = "onnx")]
pub(crate) use layer_norm::EPSILON as LAYER_NORM_EPSILON;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lm::LmConfig;
pub(crate) use local::HEADS;
pub use local::Local;
pub use local_parts::LocalParts;
pub use mlp::MlpConfig;
pub use mlps::{Codistillation, MlpsConfig, OneOf, Together};
pub(crate) use mlps::{Piece, Place};
pub use module::{Module, single};
pub(crate) use moe::{Described as DescribedMoe, gate_biases};
pub use moe::{Moe, MoeConfig, Overflow};
#[cfg(feature = "onnx")]
pub(crate) use norm::EPSILON as NORM_EPSILON;
pub use norm::Norm;
pub use residual::Residual;
pub use sequential::Sequential;
