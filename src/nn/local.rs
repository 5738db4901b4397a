//! Local training: a network is cut into parts, each of which learns from a loss of its own.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Linear, Module as _};
use crate::graph::{Graph, Value};
use crate::{Error, Result};

/// How the hidden layers of a network are cut into J parts that learn without the layers behind them (Belilovsky et al. 2019, Laskin,
/// Metz et al. 2020).
///
/// Part `j` of parameters `θ_j` maps `z_{j-1}` to `z_j`; its head, a linear layer, gives logits `h_j(z_j)` and the loss `L_j`, the
/// objective on those. The last part has no head: its loss is that of the network's output layer, which belongs to it. Heads are trained
/// with the parts and left out of predictions and exports.
///
/// A step does forward pass, loss and backward pass of a part before those of the next, so that the memory of a step is that of the
/// largest part. All weights move at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Local {
    /// Each hidden layer is a part: `dθ_j = ∂L_j/∂θ_j`, with `z_{j-1}` detached.
    Greedy,
    /// Each hidden layer is a part, and a loss also reaches the layer before (Xiong et al. 2020): `dθ_j = ∂L_j/∂θ_j + ∂L_{j+1}/∂θ_j`.
    /// A layer is computed once, and the gradient of its weights is one product.
    Overlapping,
    /// A given number of parts, whose numbers of layers differ by 1 at most, the larger ones last. Backpropagation runs within each, and
    /// `z_{j-1}` is detached. One part is plain backpropagation.
    Chunked(usize),
}

impl Local {
    /// The hidden layers of each part, of `layers` in all.
    ///
    /// # Errors
    /// [`Error::Config`] for no part, and for more parts than hidden layers.
    pub fn parts(self, layers: usize) -> Result<Vec<Range<usize>>> {
        let bad = |reason: String| Err(Error::Config { option: "local", reason });
        let parts = match self {
            Self::Greedy | Self::Overlapping => layers,
            Self::Chunked(parts) => parts,
        };
        if parts == 0 && layers > 0 {
            return bad("chunked:0 has no part to train".to_owned());
        }
        if layers == 0 {
            return bad("a network without a hidden layer has no parts".to_owned());
        }
        if parts > layers {
            let hidden = if layers == 1 { "hidden layer" } else { "hidden layers" };
            return bad(format!("{self} has more parts than the network has {hidden}, {layers}"));
        }
        // Products of two counts, of which neither is near the root of the largest number.
        let bound = |part: usize| (part as u128 * layers as u128 / parts as u128) as usize;
        Ok((0..parts).map(|part| bound(part)..bound(part + 1)).collect())
    }

    /// The value that the next part reads of the end of one.
    pub(super) fn cut(self, graph: &mut Graph, end: Value) -> Result<Value> {
        match self {
            Self::Overlapping => graph.stop_gradient_behind(end),
            Self::Greedy | Self::Chunked(_) => graph.stop_gradient(end),
        }
    }
}

/// Adds the heads of parts that end with these values, behind the whole network, so that everything that is drawn for the network is
/// the same with and without them. `head` makes the layer of a part's number and width.
pub(super) fn add_heads(
    graph: &mut Graph,
    ends: &[Value],
    head: impl Fn(usize, usize) -> Linear,
) -> Result<()> {
    for (part, &end) in ends.iter().enumerate() {
        let [_, width] = graph.matrix("local", end)?;
        let logits =
            graph.scope(format!("{HEADS}.{part}"), |graph| head(part, width).untied().apply(graph, end))?;
        graph.head(logits)?;
    }
    Ok(())
}

/// Scope of the parameters of heads: `heads.0.weight`.
pub(crate) const HEADS: &str = "heads";

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greedy => f.write_str("greedy"),
            Self::Overlapping => f.write_str("overlapping"),
            Self::Chunked(parts) => write!(f, "chunked:{parts}"),
        }
    }
}

impl FromStr for Local {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::Config {
            option: "local",
            reason: format!("greedy, overlapping or chunked:PARTS, not {text:?}"),
        };
        match (text, text.strip_prefix("chunked:")) {
            ("greedy", _) => Ok(Self::Greedy),
            ("overlapping", _) => Ok(Self::Overlapping),
            (_, Some(parts)) => parts.parse().map(Self::Chunked).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_cut_into_parts_of_near_equal_numbers() {
        let parts = |local: Local, layers| local.parts(layers).unwrap();
        assert_eq!(parts(Local::Greedy, 3), [0..1, 1..2, 2..3]);
        assert_eq!(parts(Local::Overlapping, 2), [0..1, 1..2]);
        assert_eq!(parts(Local::Chunked(1), 5).first(), Some(&(0..5)));
        assert_eq!(parts(Local::Chunked(2), 5), [0..2, 2..5]);
        assert_eq!(parts(Local::Chunked(3), 8), [0..2, 2..5, 5..8]);
        for (local, layers, wanted) in [
            (Local::Chunked(0), 2, "chunked:0 has no part"),
            (Local::Chunked(3), 2, "chunked:3 has more parts than the network has hidden layers, 2"),
            (Local::Chunked(2), 1, "chunked:2 has more parts than the network has hidden layer, 1"),
            (Local::Greedy, 0, "a network without a hidden layer has no parts"),
            (Local::Chunked(0), 0, "a network without a hidden layer has no parts"),
        ] {
            let refused = local.parts(layers).unwrap_err().to_string();
            assert!(refused.contains(wanted), "{refused}");
        }
    }

    #[test]
    fn text_is_parsed_and_printed_alike() {
        for local in [Local::Greedy, Local::Overlapping, Local::Chunked(4)] {
            assert_eq!(local.to_string().parse::<Local>().unwrap(), local);
        }
        for text in ["", "chunked", "chunked:", "chunked:-1", "layerwise"] {
            assert!(text.parse::<Local>().is_err(), "{text}");
        }
    }
}
