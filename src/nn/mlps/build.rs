//! The graph of many perceptrons: a product for each layer of a group.

use std::ops::Range;

use super::MlpsConfig;
use crate::Result;
use crate::graph::{Extent, Graph, Precision, Value, blocks};
use crate::nn::{Linear, Module as _};

impl MlpsConfig {
    /// The networks as one graph for `batch` rows: an input of the [padded](MlpsConfig::padded_inputs) width, and for each group its
    /// linear layers and its logits, an output `[batch, networks * columns]`.
    ///
    /// # Errors
    /// As [`MlpConfig::graph`](crate::nn::MlpConfig::graph).
    pub fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        let mut graph = Graph::new(self.seed, precision);
        let input = graph.input("input", &[batch, self.padded_inputs()], graph.operand())?;
        let groups = self.groups();
        for (number, group) in groups.iter().enumerate() {
            let output = match groups.len() {
                1 => self.group(&mut graph, input, group)?,
                _ => {
                    let name = format!("groups.{number}");
                    graph.scope(name, |graph| self.group(graph, input, group))?
                }
            };
            graph.output(output)?;
        }
        Ok(graph)
    }

    /// The layers of one group, and its logits.
    fn group(&self, graph: &mut Graph, input: Value, group: &Range<usize>) -> Result<Value> {
        let networks = &self.networks[group.clone()];
        let depth = networks[0].hidden.len();
        let block = self.block;
        let padded = |width: usize| width.next_multiple_of(block);
        let (mut x, mut reads, mut width) = (input, None, self.padded_inputs());
        for number in 0..=depth {
            let hidden = number < depth;
            let units = |at: usize| if hidden { networks[at].hidden[number] } else { self.classes };
            let widths = (0..networks.len()).map(units);
            let outputs = widths.clone().map(padded).sum();
            let writes = Extent::of_parts(widths.clone(), widths.map(padded));
            let stored = self.stored_blocks(group, number)?;
            let sparse = stored.map(|count| {
                let places = (outputs / block) as f64 * (width / block) as f64;
                blocks(block).density(count as f64 / places)
            });
            let mut linear = Linear::new(width, outputs).sparse(sparse).variance(2.0);
            linear = match number {
                0 => linear.features(self.inputs).extents(writes.clone(), None),
                _ => linear.extents(writes.clone(), reads),
            };
            if hidden {
                let activation = networks[0].activation.at_layer(number);
                linear = linear.activation(activation).dropout(self.dropout);
            }
            let name = format!("layers.{number}");
            x = graph.scope(&name, |graph| linear.apply(graph, x))?;
            let watched = graph.name(&name);
            graph.watch(x, &watched)?;
            (reads, width) = (writes, outputs);
        }
        Ok(x)
    }
}
