//! A network in half precision against the one of f32: gradients of values that are used twice, and of outputs that are read.

use std::sync::Arc;

use fretwork::gpu::{Gpu, Options, Recorder};
use fretwork::graph::{Graph, Half, Precision};
use fretwork::nn::{GraphConv, Linear, Module, Norm, Sequential, add};
use fretwork::ops::{Activation, LossScale, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{Adjacency, Links};
use half::f16;

use super::bench::{finish, network, numbers, read};

const ROWS: usize = 16;
const WIDTH: usize = 32;

/// `h = f(x); s = h + g(h); outputs s and out(norm(s))`: the first output is read, and both inputs of the sum are behind products.
fn graph(precision: Precision, activation: Option<Activation>) -> Graph {
    let mut graph = Graph::new(4, precision);
    let x = graph.differentiable_input("x", &[ROWS, WIDTH]).unwrap();
    let layer = Linear::new(WIDTH, WIDTH);
    let layer = activation.map_or(layer.clone(), |activation| layer.activation(activation));
    let plain = Linear::new(WIDTH, WIDTH);
    let h = graph.scope("f", |graph| layer.apply(graph, x)).unwrap();
    let y = graph.scope("g", |graph| plain.apply(graph, h)).unwrap();
    let s = add(&mut graph, h, y).unwrap();
    let n = graph.scope("norm", |graph| Norm.apply(graph, s)).unwrap();
    let out = graph.scope("out", |graph| plain.apply(graph, n)).unwrap();
    // The layer's output is an output of the network that two nodes read.
    finish(graph, &[y, s, out])
}

/// Two graph convolutions, one behind the other, over a ring of 64 nodes.
fn convolutions(precision: Precision, _: Option<Activation>) -> Graph {
    let ring: Vec<(u32, u32)> = (0..64).map(|node| (node, (node + 1) % 64)).collect();
    let ring = Arc::new(Adjacency::new(64, &ring, 8, Links::Undirected).unwrap());
    let mut graph = Graph::new(4, precision);
    let x = graph.differentiable_input("x", &[ring.places(), WIDTH]).unwrap();
    let net = Sequential::new()
        .add(GraphConv::new(&ring, Linear::new(WIDTH, WIDTH).gelu()))
        .add(GraphConv::new(&ring, Linear::new(WIDTH, WIDTH)));
    let out = net.apply(&mut graph, x).unwrap();
    finish(graph, &[out])
}

/// Outputs, and gradients by name, of numbers that f16 holds; gradients are unscaled.
fn passes(gpu: &Gpu, graph: Graph) -> Vec<(String, Vec<f32>)> {
    let precision = graph.precision();
    let network = network(gpu, graph);
    let mut walk = Key::new(6, Stream::Check(32)).walk();
    let halves = |values: Vec<f32>| values.into_iter().map(|x| f16::from_f32(x).to_f32()).collect::<Vec<_>>();
    for param in network.parameters() {
        gpu.write(param.values(), &halves(read(gpu, param.values()))).unwrap();
    }
    gpu.write(network.input(), &halves(numbers(&mut walk, network.input().len()))).unwrap();
    for grad in network.output_grads() {
        gpu.write(grad, &halves(numbers(&mut walk, grad.len()))).unwrap();
    }
    let step = Step::new(gpu, StepValues::forward(0)).unwrap();
    let (step, scale) = match precision.half() {
        None => (step, 1.0),
        Some(half) => (step.with_scale(LossScale::new(gpu, half.loss_scale).unwrap()), half.loss_scale),
    };
    let mut rec = Recorder::new(gpu);
    network.refresh(&mut rec, Some(&step)).unwrap();
    network.forward(&mut rec, Some(&step)).unwrap();
    network.backward(&mut rec, Some(&step)).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let unscaled = |tensor| read(gpu, tensor).into_iter().map(|g| g / scale).collect::<Vec<f32>>();
    let mut found: Vec<_> = network
        .parameters()
        .into_iter()
        .map(|param| (param.name().to_owned(), unscaled(param.grads())))
        .collect();
    found.push(("x".to_owned(), unscaled(network.input_grad(0).unwrap())));
    for (number, output) in network.outputs().into_iter().enumerate() {
        found.push((format!("output {number}"), read(gpu, output)));
    }
    found
}

/// Distance of tensors from others, relative to the length of those: the largest, and its name.
fn distance(found: &[(String, Vec<f32>)], wanted: &[(String, Vec<f32>)]) -> (f64, String) {
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let mut worst = (0.0, String::new());
    for ((name, found), (other, wanted)) in found.iter().zip(wanted) {
        assert_eq!(name, other);
        let difference = &mut found.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let share = length(difference) / length(&mut wanted.iter().map(|&x| f64::from(x)));
        if share.is_nan() || share > worst.0 {
            worst = (share, name.clone());
        }
    }
    worst
}

/// Of the longest path, forward through three products and back, each stored tensor is rounded to f16 once, by 2^-11 of an element at
/// most: the operands of three products, three activations and four gradients. Roundings are independent of each other, so that
/// lengths err by less than their sum; terms of a sum that cancel make an error larger relative to the sum, twice at the most here.
const BOUND: f64 = 2.0 * 10.0 / 2048.0;

#[test]
fn a_network_in_half_precision_is_near_that_of_f32() {
    let gpu = Gpu::request(Options::default()).unwrap();
    if !gpu.has_f16() {
        return println!("SKIPPED: {} has no half precision", gpu.info().name);
    }
    let networks: [(fn(_, _) -> _, _, _); 4] = [
        (graph, None, 7 + 1 + 3),
        (graph, Some(Activation::Gelu), 7 + 1 + 3),
        (graph, Some(Activation::Silu), 7 + 1 + 3),
        (convolutions, None, 4 + 1 + 1),
    ];
    for (graph, activation, tensors) in networks {
        let wanted = passes(&gpu, graph(Precision::F32, activation));
        assert_eq!(wanted.len(), tensors);
        let half = |loss_scale| Precision::F16(Half { loss_scale, ..Half::default() });
        let (far, name) = distance(&passes(&gpu, graph(half(1024.0), activation)), &wanted);
        assert!(far < BOUND, "{activation:?}: {name} is off by {far}, may be by {BOUND}");
        assert!(far > 0.0);
        // Gradients that f16 loses are noticed.
        let (far, _) = distance(&passes(&gpu, graph(half(2f32.powi(-20)), activation)), &wanted);
        assert!(far > BOUND, "{activation:?}: {far}");
    }
}
