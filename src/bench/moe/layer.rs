//! The timed mixture of experts, with all its operands.

use super::{ACTIVATION, MoeSizes, noise};
use crate::bench::Bench;
use crate::gpu::{DType, Gpu, Recorder, Tensor};
use crate::graph::{FanIn, Graph, Network, Param, Precision, Start, Weight};
use crate::nn::{Module, Moe};
use crate::ops::{Step, StepValues};
use crate::random::{Key, Stream};
use crate::{Error, Result};

/// Mixture of experts with its input, output and gradients.
pub(super) struct Layer {
    pub(super) network: Network,
    pub(super) step: Step,
}

/// A mixture of experts alone, for so many tokens.
fn network(gpu: &Gpu, sizes: &MoeSizes, tokens: usize) -> Result<Network> {
    let mut graph = Graph::new(1, Precision::F32);
    let x = graph.differentiable_input("x", &[tokens, sizes.width])?;
    let ids = graph.input("ids", &[tokens], DType::U32)?;
    let moe = Moe {
        config: sizes.config(),
        activation: ACTIVATION,
        block: sizes.block,
        sparse: None,
        width: sizes.width,
        sequence: tokens,
        variance: 1.0,
    };
    for output in moe.build(&mut graph, &[x, ids])? {
        graph.output(output)?;
    }
    let topologies = vec![None; graph.layers().len()];
    Network::new(gpu, graph, Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true })
}

impl Layer {
    /// Layer for a batch of `tokens` tokens. Experts have equal loads where `even`, otherwise those of a random router.
    pub(super) fn new(bench: &Bench, tokens: usize, even: bool) -> Result<Self> {
        let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
        let mut walk = Key::new(1, Stream::Check(u32::from(even))).walk();
        let mut x = noise(&mut walk, tokens * sizes.width);
        let dy = noise(&mut walk, tokens * sizes.width);
        let network = network(gpu, sizes, tokens)?;
        if even {
            // The router reads the logits of the experts from the first columns of a token. Consecutive tokens take consecutive
            // experts, which gives equal loads; the rows are then shuffled.
            let Weights { router: weight, .. } = Weights::of(&network)?;
            let mut router = gpu.read::<f32>(weight)?.wait()?;
            for (e, row) in router.chunks_mut(sizes.width).enumerate() {
                row[..sizes.experts].fill(0.0);
                row[e] = 4.0;
            }
            gpu.write(weight, &router)?;
            let mut order: Vec<usize> = (0..tokens).collect();
            walk.shuffle(&mut order);
            for (row, token) in x.chunks_mut(sizes.width).zip(order) {
                row[..sizes.experts].fill(0.0);
                for j in 0..sizes.choices {
                    let expert = (token * sizes.choices + j) % sizes.experts;
                    row[expert] = 1.0 - j as f32 / (2 * sizes.choices) as f32;
                }
            }
        }
        gpu.write(network.input(), &x)?;
        gpu.write(network.logits_grad(), &dy)?;
        Ok(Self { network, step: Step::new(gpu, StepValues::forward(0))? })
    }

    /// Records a forward and a backward pass; with a step, those of training.
    pub(super) fn pass(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.network.forward(rec, step)?;
        self.network.backward(rec, step)
    }

    /// Input, output, and the gradients of the output and of the input.
    pub(super) fn tensors(&self) -> Result<[&Tensor; 4]> {
        let network = &self.network;
        let dx = network
            .input_grad(0)
            .ok_or_else(|| Error::argument("moe", "input", "with a gradient", "none"))?;
        Ok([network.input(), network.logits(), network.logits_grad(), dx])
    }
}

/// Weight matrices of a mixture.
pub(super) struct Weights<'a> {
    pub(super) router: &'a Tensor,
    pub(super) up: &'a Tensor,
    pub(super) down: &'a Tensor,
}

impl<'a> Weights<'a> {
    pub(super) fn of(network: &'a Network) -> Result<Self> {
        match network.layers()[..] {
            [router, up, down] => {
                let [router, up, down] = [router, up, down].map(Param::weight).map(Weight::values);
                Ok(Self { router, up, down })
            }
            ref parts => Err(Error::argument("moe", "layers", 3, parts.len())),
        }
    }
}
