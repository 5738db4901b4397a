//! Operators of each kind of node, but mixtures.

use serde_json::Value;

use super::writer::Attr;
use super::{Lowering, refused};
use crate::Result;
use crate::graph::NodeDescription;
use crate::nn::{LAYER_NORM_EPSILON, NORM_EPSILON};
use crate::ops::Activation;

impl Lowering<'_> {
    /// Adds the operators of a node.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the name of a node of another kind.
    pub(super) fn node(&mut self, node: &NodeDescription) -> Result<()> {
        let (made, width) = match node.kind.as_str() {
            "linear" => self.linear(node)?,
            "embedding" => self.embedding(node)?,
            "norm" => self.norm(node)?,
            "layer norm" => self.layer_norm(node)?,
            "attention" => self.attention(node)?,
            "add" => {
                let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
                (self.writer.op("Add", &[&a, &b], &[]), self.width(node)?)
            }
            "moe" => self.mixture(node)?,
            _ => return Err(refused(node.name.clone())),
        };
        let [output] = node.outputs.as_slice() else { return Err(refused(node.name.clone())) };
        self.values.insert(output.clone(), made);
        self.widths.insert(output.clone(), width);
        Ok(())
    }

    /// Width of a node's first input, which another node made.
    fn width(&self, node: &NodeDescription) -> Result<usize> {
        let width = node.inputs.first().and_then(|value| self.widths.get(value));
        width.copied().ok_or_else(|| refused(format!("{}, of an input of unknown width", node.name)))
    }

    pub(super) fn activate(
        &mut self,
        x: &str,
        activation: Activation,
        node: &NodeDescription,
    ) -> Result<String> {
        let made = self.writer.activation(x, activation);
        made.ok_or_else(|| refused(format!("the activation of {}", node.name)))
    }

    fn linear(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let [weight, bias] = node.params.as_slice() else { return Err(refused(node.name.clone())) };
        let x = self.input(node, 0)?;
        let width = self.shape(weight)?[0];
        let (weight, bias) = (self.param(weight)?, self.param(bias)?);
        let sum = self.writer.linear(&x, &weight, Some(&bias));
        let activation: Option<Activation> = option(node, "activation")?;
        Ok((self.activate(&sum, activation.unwrap_or(Activation::Identity), node)?, width))
    }

    /// A row of both tables for each character.
    fn embedding(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let [table, positions] = node.params.as_slice() else { return Err(refused(node.name.clone())) };
        let ids = self.input(node, 0)?;
        let [context, width] = <[usize; 2]>::try_from(self.shape(positions)?).unwrap_or_default();
        let (table, positions) = (self.param(table)?, self.param(positions)?);
        let rows = self.writer.op("Gather", &[&table, &ids], &[]);
        let windows = self.writer.reshape(&rows, &[-1, context as i64, width as i64]);
        let sum = self.writer.op("Add", &[&windows, &positions], &[]);
        Ok((self.writer.reshape(&sum, &[-1, width as i64]), width))
    }

    fn norm(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let x = self.input(node, 0)?;
        let width = self.width(node)?;
        let gain = self.param(&node.within("weight"))?;
        let square = self.writer.op("Mul", &[&x, &x], &[]);
        let axes = [Attr::Ints("axes", vec![-1]), Attr::Int("keepdims", 1)];
        let mean = self.writer.op("ReduceMean", &[&square], &axes);
        let epsilon = self.writer.float(NORM_EPSILON);
        let shifted = self.writer.op("Add", &[&mean, &epsilon], &[]);
        let root = self.writer.op("Sqrt", &[&shifted], &[]);
        let unit = self.writer.op("Div", &[&x, &root], &[]);
        Ok((self.writer.op("Mul", &[&unit, &gain], &[]), width))
    }

    fn layer_norm(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let x = self.input(node, 0)?;
        let width = self.width(node)?;
        let (gain, bias) = (self.param(&node.within("weight"))?, self.param(&node.within("bias"))?);
        let options = [Attr::Int("axis", -1), Attr::Float("epsilon", LAYER_NORM_EPSILON)];
        Ok((self.writer.op("LayerNormalization", &[&x, &gain, &bias], &options), width))
    }

    /// Causal attention of several heads on projections `[rows, 3 * width]`.
    fn attention(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let projected = self.input(node, 0)?;
        let width = self.width(node)? / 3;
        let (context, heads): (usize, Option<usize>) = (option(node, "context")?, option(node, "heads")?);
        let Some(heads) = heads.filter(|&heads| heads > 0) else {
            return Err(refused(format!(
                "{}, whose description lacks the number of heads: it is of an older version",
                node.name
            )));
        };
        let head = width / heads;
        let w = &mut self.writer;
        let [t, h, d] = [context, heads, head].map(|size| size as i64);
        let split = w.reshape(&projected, &[-1, t, 3, h, d]);
        let split = w.op("Transpose", &[&split], &[Attr::Ints("perm", vec![2, 0, 3, 1, 4])]);
        let [q, k, v] = [0, 1, 2].map(|part| {
            let part = w.int(part);
            w.op("Gather", &[&split, &part], &[Attr::Int("axis", 0)])
        });
        let k = w.op("Transpose", &[&k], &[Attr::Ints("perm", vec![0, 1, 3, 2])]);
        let scores = w.op("MatMul", &[&q, &k], &[]);
        let scale = w.float(1.0 / (head as f32).sqrt());
        let scores = w.op("Mul", &[&scores, &scale], &[]);
        let later = |at: usize| if at % context > at / context { f32::NEG_INFINITY } else { 0.0 };
        let mask = w.floats(&[context, context], &(0..context * context).map(later).collect::<Vec<_>>());
        let scores = w.op("Add", &[&scores, &mask], &[]);
        let weights = w.op("Softmax", &[&scores], &[Attr::Int("axis", -1)]);
        let mean = w.op("MatMul", &[&weights, &v], &[]);
        let mean = w.op("Transpose", &[&mean], &[Attr::Ints("perm", vec![0, 2, 1, 3])]);
        Ok((w.reshape(&mean, &[-1, width as i64]), width))
    }
}

/// An option of a node; `null` and a missing one are equal.
fn option<T: serde::de::DeserializeOwned>(node: &NodeDescription, name: &str) -> Result<T> {
    let value = node.options.get(name).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value)
        .map_err(|error| refused(format!("{}, whose option {name} is damaged: {error}", node.name)))
}
