//! Upcycling: feed-forward networks of a language model as experts, each a copy (Komatsuzaki et al. 2023).

use super::Weights;
use super::tensor_data::{TensorData, Values};
use crate::Result;
use crate::graph::{Description, NodeDescription, ParamDescription};
use crate::nn::{DescribedMoe, MoeConfig};

impl Weights {
    /// The weights with experts in the place of feed-forward networks, for mixtures of the network that the file has none of, and notices
    /// of what experts cannot hold: they have no biases. Routers are drawn.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) for experts of other sizes, gated ones, and a shared expert.
    pub(super) fn upcycled(&self, description: &Description) -> Result<(Self, Vec<String>)> {
        let (mut weights, mut notices) = (self.clone(), Vec::new());
        for node in &description.nodes {
            let Some(DescribedMoe { config, .. }) = DescribedMoe::of(node) else { continue };
            let [up, experts] = ["up.weight", "experts.up.weight"].map(|name| node.within(name));
            if self.has(&up) && !self.has(&experts) {
                notices.extend(weights.upcycle(node, &config, description)?);
            }
        }
        Ok((weights, notices))
    }

    /// Replaces one feed-forward network; a notice names biases that are lost.
    fn upcycle(
        &mut self,
        node: &NodeDescription,
        config: &MoeConfig,
        description: &Description,
    ) -> Result<Option<String>> {
        let scope = node.within("");
        let scope = scope.trim_end_matches('.');
        if config.gated || config.shared > 0 {
            let what = if config.gated { "gated experts" } else { "a shared expert" };
            return Err(
                self.bad(format!("has a feed-forward network {scope}, of which {what} can be no copy"))
            );
        }
        let param = description.param(&node.within("experts.up.weight"))?;
        let width = param.shape[1];
        let Some(&hidden) =
            config.experts.first().filter(|&first| config.experts.iter().all(|of| of == first))
        else {
            return Err(
                self.bad(format!("has a feed-forward network {scope}, but experts of different widths"))
            );
        };
        let [up, down] = [("up", [hidden, width]), ("down", [width, hidden])].map(|(name, shape)| {
            let name = node.within(&format!("{name}.weight"));
            let blocks = None;
            self.dense(&ParamDescription {
                name,
                shape: shape.to_vec(),
                blocks,
                ..ParamDescription::default()
            })
        });
        // Experts store the lower layer transposed, a row for each hidden unit.
        let (up, down) = (up?, down?);
        let transposed: Vec<f32> =
            (0..hidden * width).map(|at| down[at % width * hidden + at / width]).collect();
        let count = config.experts.len();
        for (name, copy) in [("experts.up.weight", up), ("experts.down.weight", transposed)] {
            let tensor =
                TensorData { shape: vec![count * hidden, width], values: Values::F32(copy.repeat(count)) };
            self.put(node.within(name), tensor);
        }
        let mut largest = 0.0f32;
        for layer in ["up", "down"] {
            let bias = node.within(&format!("{layer}.bias"));
            let values = self.floats(&bias).map_or(&[][..], |(_, values)| values);
            largest = values.iter().fold(largest, |largest, value| largest.max(value.abs()));
            self.remove(&bias);
            self.remove(&node.within(&format!("{layer}.weight")));
        }
        ["router.weight", "noise.weight"].into_iter().for_each(|name| self.leave_drawn(node.within(name)));
        Ok((largest > 0.0).then(|| {
            format!(
                "experts have no biases, so those of {scope}, up to {largest:.2e}, are left out: the first outputs are not those \
                 of the file's network"
            )
        }))
    }
}
