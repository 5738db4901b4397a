//! Networks of parameters that are a caller's tensors.

use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::graph::{FanIn, Graph, Network, Precision, Start, Weight, blocks};
use fretwork::nn::{Linear, Module, Sequential};
use fretwork::ops::{self, Step, StepValues};
use fretwork::optim::{AdamW, Optimizer, Update};
use fretwork::random::{Key, Stream};
use fretwork::sparse::Topology;

use super::bench::{foreign, foreign_blocks, gpu, numbers, read};

const ROWS: usize = 12;
const INPUTS: usize = 16;
const CLASSES: usize = 4;

fn graph() -> Graph {
    let mut graph = Graph::new(4, Precision::F32);
    let x = graph.input("x", &[ROWS, INPUTS], fretwork::gpu::DType::F32).unwrap();
    let module = Sequential::new()
        .add(Linear::new(INPUTS, 24).sparse(blocks(8).density(0.5)).gelu().dropout(0.2))
        .add(Linear::new(24, CLASSES));
    let y = module.apply(&mut graph, x).unwrap();
    graph.output(y).unwrap();
    graph
}

fn ours(gpu: &Gpu) -> (Network, Vec<Option<Topology>>) {
    let topologies = graph().topologies(None).unwrap();
    let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
    (Network::new(gpu, graph(), start).unwrap(), topologies)
}

/// Copies of a network's weights in buffers of a caller's, and buffers for gradients.
fn theirs(gpu: &Gpu, ours: &Network) -> Vec<[Weight; 2]> {
    let copy = |weight: &Weight| match weight {
        Weight::Dense(values) => Weight::Dense(foreign(gpu, &read(gpu, values), values.shape())),
        Weight::Sparse(matrix) => Weight::Sparse(foreign_blocks(gpu, matrix)),
    };
    ours.parameters().into_iter().map(|param| [copy(param.weight()), copy(param.weight_grad())]).collect()
}

/// Twenty steps, and the bits of all parameters.
fn trained(gpu: &Gpu, network: &mut Network) -> Vec<Vec<u32>> {
    let mut walk = Key::new(6, Stream::Check(33)).walk();
    gpu.write(network.input(), &numbers(&mut walk, ROWS * INPUTS)).unwrap();
    let labels: Vec<u32> = (0..ROWS).map(|_| walk.below(CLASSES as u32)).collect();
    let labels = gpu.upload(Class::Scratch, "labels", &[ROWS], &labels).unwrap();
    let report = gpu.alloc::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
    let step = Step::new(gpu, StepValues::forward(0)).unwrap();
    let optimizer = AdamW::default();
    network.allocate_state(gpu, optimizer.state_names()).unwrap();
    let mut rec = Recorder::new(gpu);
    network.forward(&mut rec, Some(&step)).unwrap();
    let (logits, grad) = (network.logits(), network.logits_grad());
    ops::softmax_cross_entropy(&mut rec, logits, &labels, &report, grad, &step).unwrap();
    network.backward(&mut rec, Some(&step)).unwrap();
    for span in network.store().spans() {
        optimizer.record(&mut rec, &Update { span, born: None, step: &step }).unwrap();
    }
    let plan = rec.finish().unwrap();
    let loss = || read(gpu, &report).chunks(2).map(|row| row[0]).sum::<f32>();
    let mut losses = Vec::new();
    for index in 0..20 {
        let corrections = Optimizer::corrections(&optimizer, index);
        let values = StepValues::backward(index, 1.0 / ROWS as f32);
        step.write(gpu, StepValues { learning_rate: 0.02, corrections, ..values }).unwrap();
        gpu.run(&plan).unwrap();
        losses.push(loss());
    }
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
    let bits = |tensor: &Tensor| read(gpu, tensor).into_iter().map(f32::to_bits).collect();
    network.parameters().into_iter().map(|param| bits(param.values())).collect()
}

#[test]
fn a_callers_tensors_are_trained_to_the_same_bits() {
    let gpu = gpu();
    let (mut ours, _) = ours(&gpu);
    let weights = theirs(&gpu, &ours);
    let kept: Vec<Tensor> = weights.iter().map(|[weight, _]| weight.values().clone()).collect();
    let before: Vec<Vec<f32>> = kept.iter().map(|tensor| read(&gpu, tensor)).collect();
    let values = gpu.bytes().values;
    let mut own = Network::with_params(&gpu, graph(), weights).unwrap();
    assert_eq!(gpu.bytes().values, values, "weights of a caller's were copied");
    let wanted = trained(&gpu, &mut ours);
    assert!(trained(&gpu, &mut own) == wanted);
    // The caller's buffers are what was trained.
    for ((kept, before), wanted) in kept.iter().zip(before).zip(wanted) {
        let now = read(&gpu, kept);
        assert!(now != before);
        assert!(now.into_iter().map(f32::to_bits).eq(wanted));
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let gpu = gpu();
    let (ours, topologies) = ours(&gpu);
    let says = |change: &dyn Fn(&mut Vec<[Weight; 2]>), wanted: &str| {
        let mut weights = theirs(&gpu, &ours);
        change(&mut weights);
        let said = Network::with_params(&gpu, graph(), weights).expect_err(wanted).to_string();
        assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
    };
    let dense = |shape: &[usize]| Weight::Dense(gpu.zeros::<f32>(Class::Values, "other", shape).unwrap());
    says(&|weights| drop(weights.pop()), "network: weights should be 4, but is 3");
    says(&|weights| weights[1][0] = dense(&[23]), "0.bias: weight should be [24], dense, but is [23]");
    says(&|weights| weights[3][1] = dense(&[5]), "1.bias: gradient");
    says(&|weights| weights[0][0] = dense(&[24, 16]), "0.weight: weight should be [24, 16], sparse");
    says(&|weights| weights[0][1] = dense(&[24, 16]), "0.weight: gradient");
    says(&|weights| weights[2][0] = weights[0][0].clone(), "1.weight: weight should be [4, 24], dense");
    let blocks = topologies[0].as_ref().unwrap().nnz();
    assert!(blocks < 6, "the layer would be dense");
}
