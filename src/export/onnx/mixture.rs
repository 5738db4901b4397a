//! Operators of a mixture of experts. Every expert computes every token, and the gate's weights, 0 for all but the chosen experts,
//! scale hidden units: an expert's hidden units are columns of one matrix.

use super::writer::Attr;
use super::{Lowering, proto, refused};
use crate::Result;
use crate::graph::NodeDescription;
use crate::nn::DescribedMoe;
use crate::ops::gate::{Gate, Score, Weights};
use crate::random::{Key, Stream};
use crate::reference;

impl Lowering<'_> {
    pub(super) fn mixture(&mut self, node: &NodeDescription) -> Result<(String, usize)> {
        let lost = || refused(format!("{}, whose options are damaged", node.name));
        let DescribedMoe { config, activation } = DescribedMoe::of(node).ok_or_else(lost)?;
        let x = self.input(node, 0)?;
        let weights = self.weights(node, config.gate, config.experts.len(), &x)?;
        self.mixtures += 1;

        let hidden: usize = config.experts.iter().sum();
        let expert = config.experts.iter().enumerate().flat_map(|(expert, &units)| vec![expert; units]);
        let mut member = vec![0.0; config.experts.len() * hidden];
        expert.enumerate().for_each(|(unit, expert)| member[expert * hidden + unit] = 1.0);
        let member = self.writer.floats(&[config.experts.len(), hidden], &member);
        let scale = self.writer.op("MatMul", &[&weights, &member], &[]);

        let first = if config.gated { "gate" } else { "up" };
        let first = self.param(&node.within(&format!("experts.{first}.weight")))?;
        let pre = self.writer.linear(&x, &first, None);
        let mut units = self.activate(&pre, activation, node)?;
        if config.gated {
            let up = self.param(&node.within("experts.up.weight"))?;
            let factor = self.writer.linear(&x, &up, None);
            units = self.writer.op("Mul", &[&units, &factor], &[]);
        }
        units = self.writer.op("Mul", &[&units, &scale], &[]);
        let down = node.within("experts.down.weight");
        let width = self.shape(&down)?[1];
        let down = self.param(&down)?;
        let mut y = self.writer.op("MatMul", &[&units, &down], &[]);
        if config.shared > 0 {
            let [up, up_bias, down, down_bias] = ["up.weight", "up.bias", "down.weight", "down.bias"]
                .map(|part| self.param(&node.within(&format!("shared.{part}"))));
            let pre = self.writer.linear(&x, &up?, Some(&up_bias?));
            let shared = self.activate(&pre, activation, node)?;
            let shared = self.writer.linear(&shared, &down?, Some(&down_bias?));
            y = self.writer.op("Add", &[&y, &shared], &[]);
        }
        Ok((y, width))
    }

    /// Weight of each expert for each token, `[tokens, experts]`, as in a test.
    fn weights(&mut self, node: &NodeDescription, gate: Gate, experts: usize, x: &str) -> Result<String> {
        if let Gate::Hash { k } = gate {
            return self.hashed(node, k, experts);
        }
        let router = self.param(&node.within("router.weight"))?;
        let logits = self.writer.linear(x, &router, None);
        let score = match gate.score() {
            Score::Softmax => self.softmax(&logits),
            Score::Sigmoid => self.writer.op("Sigmoid", &[&logits], &[]),
        };
        if let Gate::ExpertChoice { factor } = gate {
            return Ok(self.expert_choice(&score, factor, experts));
        }
        let bias = node.within("bias");
        let keys = match self.trained.state.get(&bias) {
            Some(values) => {
                let bias = self.writer.parameter(&bias, &[experts], values);
                self.writer.op("Add", &[&score, &bias], &[])
            }
            None => logits.clone(),
        };
        let count = self.writer.ints(&[gate.top_k(experts) as i64]);
        let chosen = self.writer.op_of("TopK", &[&keys, &count], &[Attr::Int("axis", -1)], 2).remove(1);
        let from = if gate.weights() == Weights::Chosen { &logits } else { &score };
        let values = self.writer.op("GatherElements", &[from, &chosen], &[Attr::Int("axis", 1)]);
        let values = match gate.weights() {
            Weights::Probs => values,
            Weights::Chosen => self.softmax(&values),
            Weights::Renormalised => {
                let (axes, least) = (self.writer.ints(&[1]), self.writer.float(1e-9));
                let sum = self.writer.op("ReduceSum", &[&values, &axes], &[Attr::Int("keepdims", 1)]);
                let sum = self.writer.op("Add", &[&sum, &least], &[]);
                self.writer.op("Div", &[&values, &sum], &[])
            }
        };
        Ok(self.scatter(&score, &chosen, &values))
    }

    fn softmax(&mut self, x: &str) -> String {
        self.writer.op("Softmax", &[x], &[Attr::Int("axis", -1)])
    }

    /// A matrix of the shape of `like`, 0 but for `values` in the columns `chosen` of each row.
    fn scatter(&mut self, like: &str, chosen: &str, values: &str) -> String {
        let shape = self.writer.op("Shape", &[like], &[]);
        let zeros = self.writer.op("ConstantOfShape", &[&shape], &[]);
        self.writer.op("ScatterElements", &[&zeros, chosen, values], &[Attr::Int("axis", 1)])
    }

    /// Each expert's most probable tokens of the batch, `ceil(factor * tokens / experts)`, at least 1 and at most all.
    fn expert_choice(&mut self, score: &str, factor: f32, experts: usize) -> String {
        let w = &mut self.writer;
        let by_expert = w.op("Transpose", &[score], &[Attr::Ints("perm", vec![1, 0])]);
        let shape = w.op("Shape", &[score], &[]);
        let first = w.ints(&[0]);
        let tokens = w.op("Gather", &[&shape, &first], &[]);
        let double = w.op("Cast", &[&tokens], &[Attr::Int("to", proto::DOUBLE.into())]);
        let (factor, count) = (w.double(f64::from(factor)), w.double(experts as f64));
        let share = w.op("Mul", &[&factor, &double], &[]);
        let share = w.op("Div", &[&share, &count], &[]);
        let share = w.op("Ceil", &[&share], &[]);
        let share = w.op("Cast", &[&share], &[Attr::Int("to", proto::INT64.into())]);
        let one = w.ints(&[1]);
        let share = w.op("Max", &[&share, &one], &[]);
        let share = w.op("Min", &[&share, &tokens], &[]);
        let found = w.op_of("TopK", &[&by_expert, &share], &[Attr::Int("axis", -1)], 2);
        let weights = self.scatter(&by_expert, &found[1], &found[0]);
        self.writer.op("Transpose", &[&weights], &[Attr::Ints("perm", vec![1, 0])])
    }

    /// Equal weights of `k` experts by the character: a table of all characters.
    fn hashed(&mut self, node: &NodeDescription, k: usize, experts: usize) -> Result<String> {
        let ids = node.inputs.get(1);
        let embedding = self
            .trained
            .description
            .nodes
            .iter()
            .find(|other| other.kind == "embedding" && other.inputs.first() == ids);
        let lost = || refused(format!("{}, which hashes ids that no embedding reads", node.name));
        let table = embedding.and_then(|embedding| embedding.params.first()).ok_or_else(lost)?;
        let characters = self.shape(table)?[0];
        let key = Key::new(self.trained.seed, Stream::Gate(self.mixtures));
        let tokens: Vec<u32> = (0..characters as u32).collect();
        let (mut chosen, mut weights) = (vec![0; characters * k], vec![0.0; characters * k]);
        reference::gate::hash(&tokens, None, &mut chosen, &mut weights, experts, key);
        let mut table = vec![0.0; characters * experts];
        for (at, (&expert, weight)) in chosen.iter().zip(weights).enumerate() {
            table[at / k * experts + expert as usize] = weight;
        }
        let table = self.writer.floats(&[characters, experts], &table);
        let ids = self.input(node, 1)?;
        Ok(self.writer.op("Gather", &[&table, &ids], &[]))
    }
}
