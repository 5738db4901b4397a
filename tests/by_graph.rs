//! Methods ask the graph and the store, and assume no order of layers and no pairs of weights and biases.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "this is a part of what tests of language models share")]
mod small_lm;

use std::collections::BTreeSet;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options, Tensor};
use fretwork::graph::{Graph, ParamId, Value};
use fretwork::methods::{EarlyCrop, EarlyCropOptions, Importance, Method, MutableTopology, Phase, Scope};
use fretwork::nn::{Linear, ModelConfig, Module, Network, Norm, Precision, Sequential, add, blocks};
use fretwork::train::{Parts, Trainer};
use fretwork::{Error, Result};

/// The middle of a run of ten epochs.
const MIDDLE: Phase = Phase::EpochEnd { epoch: 4, epochs: 10, train_loss: 1.0 };

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

/// Method that does nothing, but has its workspaces allocated.
#[derive(Debug)]
struct Idle;

impl Method for Idle {}

fn places(network: &dyn MutableTopology, param: ParamId) -> BTreeSet<usize> {
    let weight = network.model().store().get(param).weight().sparse().unwrap();
    weight.pattern().topology(network.gpu()).unwrap().places().collect()
}

/// Two layers side by side on the input, of which the first feeds a third: the layer before the third in the list is the second.
#[derive(Debug)]
struct Fork;

impl Module for Fork {
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let sparse = || Linear::new(64, 64).sparse(blocks(8).density(0.5)).relu();
        let first = graph.scope("first", |graph| sparse().apply(graph, inputs[0]))?;
        let second = graph.scope("second", |graph| sparse().apply(graph, inputs[0]))?;
        let third = graph.scope("third", |graph| sparse().apply(graph, first))?;
        let left = graph.scope("left", |graph| Linear::new(64, 10).apply(graph, third))?;
        let right = graph.scope("right", |graph| Linear::new(64, 10).apply(graph, second))?;
        Ok(vec![add(graph, left, right)?])
    }
}

/// Rows of blocks whose sum of |w| is not above the percentile of the rows that have blocks.
fn unimportant(network: &dyn MutableTopology, param: ParamId, percentile: f64) -> BTreeSet<usize> {
    let weight = network.model().store().get(param).weight().sparse().unwrap();
    let topology = weight.pattern().topology(network.gpu()).unwrap();
    let values = network.gpu().read::<f32>(weight.values()).unwrap().wait().unwrap();
    let mut importance = vec![0.0; topology.row_blocks()];
    for (block, (row, _)) in values.chunks(64).zip(topology.coordinates()) {
        importance[row] += block.iter().map(|w| f64::from(w.abs())).sum::<f64>();
    }
    let mut sorted: Vec<f64> = importance.iter().copied().filter(|&sum| sum > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let at = percentile * (sorted.len() - 1) as f64;
    let [low, high] = [at.floor(), at.ceil()].map(|at| sorted[at as usize]);
    let bar = low + (high - low) * at.fract();
    (0..importance.len()).filter(|&row| importance[row] <= bar).collect()
}

#[test]
fn outgoing_weights_are_those_of_the_layer_that_reads() {
    const PERCENTILE: f64 = 0.3;
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let mut trainer =
        Trainer::builder(&gpu(), Fork).data(data).method(Idle).steps(1).batch(8).build().unwrap();
    let params: Vec<ParamId> = trainer.model().graph().sparse_params().map(|(param, _)| param).collect();
    let [first, second, third] = params[..] else { panic!("{params:?}") };
    let mut method = Importance { percentile: PERCENTILE, outgoing: true, ..Importance::default() };
    method.accepts(trainer.model().graph()).unwrap();

    let before = places(&trainer, third);
    let [of_first, of_second, of_third] =
        [first, second, third].map(|param| unimportant(&trainer, param, PERCENTILE));
    assert_ne!(of_first, of_second, "the test could not tell the layers apart");
    method.mutate(MIDDLE, &mut trainer).unwrap();
    let kept = |&place: &usize| !of_third.contains(&(place / 8)) && !of_first.contains(&(place % 8));
    assert_eq!(places(&trainer, third), before.into_iter().filter(kept).collect());
}

/// A network whose loss is the sum of d * w * w / 2 over the elements of its sparse layers, with d = 3 or 1 for each place.
struct Quadratic {
    trainer: Trainer,
    targets: Vec<usize>,
}

/// Whether d is 3 at a place of a parameter.
fn is_curved(param: ParamId, place: usize) -> bool {
    (place * 7 + param.index()) % 5 < 2
}

impl MutableTopology for Quadratic {
    fn gpu(&self) -> &Gpu {
        self.trainer.gpu()
    }

    fn model(&self) -> &Network {
        self.trainer.model()
    }

    fn sparsity(&self) -> f64 {
        0.5
    }

    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn backward(&mut self, _batch: u64) -> Result<()> {
        for param in self.model().store().iter() {
            let mut grads = self.gpu().read::<f32>(param.values())?.wait()?;
            match param.weight().sparse() {
                Some(weight) => {
                    let topology = weight.pattern().topology(self.gpu())?;
                    for (block, place) in grads.chunks_mut(64).zip(topology.places()) {
                        let d = if is_curved(param.id(), place) { 3.0 } else { 1.0 };
                        block.iter_mut().for_each(|w| *w *= d);
                    }
                }
                None => grads.fill(0.0),
            }
            self.gpu().write(param.grads(), &grads)?;
        }
        Ok(())
    }

    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()> {
        self.trainer.reshape(param, set, nnz)
    }

    fn smallest_graph(&self) -> Result<Graph> {
        self.trainer.smallest_graph()
    }

    fn features(&self) -> usize {
        self.trainer.features()
    }
}

/// In a language model, gains of norms and tables of embeddings stand between the weights, and Early-CroP still finds each
/// weight's own Hessian product.
#[test]
fn early_crop_pairs_weights_with_their_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_lm::text(folder.path());
    let (mut settings, dataset) = small_lm::settings(&data, None, Precision::F32, 10);
    let ModelConfig::Lm(config) = &mut settings.model else { unreachable!() };
    (config.block, config.sparsity) = (8, Some(0.0));
    let trainer = Trainer::with_parts(
        &gpu(),
        settings.clone(),
        dataset,
        Parts { method: Box::new(Idle), ..settings.parts() },
    )
    .unwrap();
    let mut network = Quadratic { targets: vec![0; trainer.model().store().len()], trainer };
    let layers = network.sparse_layers();
    for (param, weight) in &layers {
        let pattern = weight.pattern();
        network.targets[param.index()] =
            (0..pattern.places()).filter(|&place| is_curved(*param, place)).count();
        network.gpu().write(weight.values(), &vec![1.0f32; weight.values().len()]).unwrap();
    }
    let mut method = EarlyCrop::from(EarlyCropOptions { scope: Scope::Layer });
    method.mutate(MIDDLE, &mut network).unwrap();
    for (param, weight) in layers {
        let curved = (0..weight.pattern().places()).filter(|&place| is_curved(param, place)).collect();
        assert_eq!(places(&network, param), curved, "{}", network.model().store().get(param).name());
    }
}

/// Methods refuse a graph that they can't work on, by what the graph is made of.
#[test]
fn a_composed_network_is_refused_by_its_nodes() {
    let refused = |module: Sequential, method: Box<dyn Method>| -> Option<Error> {
        let mut graph = Graph::new(1, Precision::F32);
        let input = graph.input("input", &[4, 64], fretwork::gpu::DType::F32).unwrap();
        let output = module.apply(&mut graph, input).unwrap();
        graph.output(output).unwrap();
        method.accepts(&graph).err()
    };
    let sparse = || Linear::new(64, 64).sparse(blocks(8).density(0.5));
    let plain = || Sequential::new().add(sparse().relu()).add(Linear::new(64, 10));
    let normed = || Sequential::new().add(sparse()).add(Norm).add(Linear::new(64, 10));
    for kind in ["synflow", "sbp-sr"] {
        let method = || fretwork::methods::MethodConfig::new(kind.parse().unwrap()).build();
        assert!(refused(plain(), method()).is_none(), "{kind} is refused");
        let said = refused(normed(), method()).unwrap().to_string();
        assert!(said.contains("method") && said.contains(kind), "{said}");
    }
}
