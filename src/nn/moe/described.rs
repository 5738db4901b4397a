//! Mixtures of experts in the description of a network.

use super::MoeConfig;
use crate::graph::{Description, NodeDescription};
#[cfg(feature = "onnx")]
use crate::ops::Activation;

/// Options of a mixture's node.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Described {
    pub(crate) config: MoeConfig,
    #[cfg(feature = "onnx")]
    pub(crate) activation: Activation,
}

impl Described {
    /// The options of a node, where it is a mixture.
    pub(crate) fn of(node: &NodeDescription) -> Option<Self> {
        let of_kind = node.kind == super::node::KIND;
        of_kind.then(|| serde_json::from_value(node.options.clone()).ok()).flatten()
    }
}

/// Biases of gates that balance experts without a loss: name, and number of experts. They are state of a network, and part of its
/// function.
pub(crate) fn gate_biases(description: &Description) -> impl Iterator<Item = (String, usize)> {
    description.nodes.iter().filter_map(|node| {
        let config = Described::of(node)?.config;
        (config.bias_rate > 0.0).then(|| (node.within("bias"), config.experts.len()))
    })
}
