//! Graphs that make no network: each is refused by name, before anything is allocated or recorded.

use fretwork::Result;
use fretwork::gpu::{Class, DType, Gpu, Recorder};
use fretwork::graph::{
    Backward, Buffer, FanIn, Forward, Graph, Init, Input, Network, Node, Output, ParamSpec, Precision, Start,
    Value, Wiring, blocks,
};
use fretwork::nn::{Attention, Linear, Module, Norm, Residual, add};
use fretwork::sparse::Topology;

use super::bench::{finish, gpu, network};
use super::nodes::{Fault, square, tied, weighted};

#[track_caller]
fn assert_says<T>(result: Result<T>, wanted: &str) {
    let said = result.err().unwrap_or_else(|| panic!("it should be refused: {wanted}")).to_string();
    assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
}

fn begin() -> (Graph, Value) {
    let mut graph = Graph::new(1, Precision::F32);
    let x = graph.input("x", &[4, 16], DType::F32).unwrap();
    (graph, x)
}

/// A layer of 16 to 16 features.
fn square_layer(graph: &mut Graph, name: &str, x: Value) -> Value {
    graph.scope(name, |graph| Linear::new(16, 16).apply(graph, x)).unwrap()
}

/// The network of a graph is refused, and nothing is left of it on the device.
#[track_caller]
fn assert_no_network(gpu: &Gpu, graph: Graph, topologies: &[Option<Topology>], wanted: &str) {
    let before = gpu.bytes();
    let peak = gpu.peak_bytes();
    assert_says(Network::new(gpu, graph, Start { fan_in: FanIn::Present, topologies, fixed: true }), wanted);
    assert_eq!(gpu.bytes(), before, "something was allocated: {wanted}");
    assert_eq!(gpu.peak_bytes(), peak, "something was allocated: {wanted}");
}

#[test]
fn shapes_that_do_not_meet() {
    let (mut graph, x) = begin();
    let narrow = graph.input("narrow", &[4, 8], DType::F32).unwrap();
    let short = graph.input("short", &[3, 16], DType::F32).unwrap();
    let row = graph.input("row", &[16], DType::F32).unwrap();
    let ids = graph.input("ids", &[4], DType::U32).unwrap();
    let layer = |graph: &mut Graph, x| graph.scope("part", |graph| Linear::new(16, 8).apply(graph, x));
    assert_says(layer(&mut graph, narrow), "part.linear: input should be of width 16, but is of width 8");
    assert_says(layer(&mut graph, row), "part.linear: input should be a matrix [rows, width], but is row");
    assert_says(layer(&mut graph, ids), "part.linear: input should be a matrix");
    assert_says(add(&mut graph, x, narrow), "add: inputs should be of one shape, [4, 16], but is [4, 8]");
    assert_says(add(&mut graph, short, x), "add: inputs should be of one shape, [3, 16]");
    assert_says(Norm.apply(&mut graph, row), "norm: input should be a matrix");
    let attention = Attention { width: 16, heads: 2, context: 3, sparse: None, variance: 1.0 };
    assert_says(attention.apply(&mut graph, x), "attention: sizes should be whole heads and sequences");
    assert_says(Residual::new(Linear::new(16, 8)).apply(&mut graph, x), "add: inputs should be of one shape");
    assert_says(Linear::new(16, 16).dropout(1.0).apply(&mut graph, x), "dropout should be in [0, 1)");
    assert_says(graph.input("empty", &[4, 0], DType::F32), "empty: shape should be 1 to");
    assert_says(graph.input("vast", &[usize::MAX, 2], DType::F32), "vast: shape should be 1 to");
    assert_says(graph.input("x", &[4, 16], DType::F32), "graph: input should be a name of its own");
}

#[test]
fn outputs() {
    let gpu = gpu();
    let (mut graph, x) = begin();
    let y = square_layer(&mut graph, "layer", x);
    graph.output(y).unwrap();
    assert_says(graph.output(y), "graph: output should be a node's output, once, but is layer.output");
    assert_says(graph.output(x), "graph: output should be a node's output, once, but is x");
    let detached = graph.stop_gradient(y).unwrap();
    assert_says(graph.output(detached), "graph: output should be a node's output, once");

    let (mut graph, x) = begin();
    square_layer(&mut graph, "layer", x);
    assert_no_network(&gpu, graph, &[None], "graph: outputs should be one at least, but is 0");
}

#[test]
fn inputs() {
    let gpu = gpu();
    let (mut graph, x) = begin();
    graph.input("left out", &[4], DType::U32).unwrap();
    let y = square_layer(&mut graph, "layer", x);
    let wanted = "graph: input should be read by a node, but is left out";
    assert_no_network(&gpu, finish(graph, &[y]), &[None], wanted);

    // Read by a node that leads nowhere, or past a detached value alone.
    for detached in [false, true] {
        let (mut graph, x) = begin();
        let other = graph.differentiable_input("other", &[4, 16]).unwrap();
        let mut y = square_layer(&mut graph, "layer", x);
        if detached {
            let other = graph.stop_gradient(other).unwrap();
            y = add(&mut graph, y, other).unwrap();
        } else {
            add(&mut graph, other, other).unwrap();
        }
        let wanted =
            "graph: input should be with a gradient, but is other, from which no path leads to an output";
        assert_no_network(&gpu, finish(graph, &[y]), &[None], wanted);
    }
}

#[test]
fn values_and_parameters_of_another_graph() {
    let (mut graph, x) = begin();
    let (_, stranger) = begin();
    let foreign = |wanted: &str| format!("{wanted}: value should be of this graph, but is of another");
    assert_says(Linear::new(16, 8).apply(&mut graph, stranger), &foreign("linear"));
    assert_says(add(&mut graph, x, stranger), &foreign("shape"));
    assert_says(graph.stop_gradient(stranger), &foreign("stop_gradient"));
    assert_says(graph.output(stranger), &foreign("output"));
    assert_says(graph.watch(stranger, "stranger"), &foreign("watch"));
    assert_says(graph.is_watched(stranger), &foreign("is_watched"));
    assert_says(graph.always(stranger), &foreign("always"));
    assert_says(graph.dtype(stranger), &foreign("dtype"));
    let wiring = Wiring { inputs: vec![Input::new(stranger)], ..Wiring::default() };
    assert_says(graph.add(Asker, wiring), &foreign("asker"));

    let (mut other, _) = begin();
    let params = square(&mut other, "stranger", 16);
    let wiring = Wiring { params: params.to_vec(), ..Wiring::default() };
    assert_says(graph.add(Asker, wiring), "asker: params should be parameters of this graph, once each");
}

#[test]
fn parameters() {
    let gpu = gpu();
    let (mut graph, x) = begin();
    square_layer(&mut graph, "layer", x);
    let again = graph.scope("layer", |graph| Linear::new(16, 16).apply(graph, x));
    assert_says(again, "graph: parameter should be a name of its own, but is layer.weight");
    let spec = |shape: &[usize]| ParamSpec::new("gain", shape, Init::Constant(1.0));
    assert_says(graph.param(spec(&[4, 0])), "gain: shape should be of sides from 1 up");
    assert_says(graph.param(spec(&[])), "gain: shape should be of sides from 1 up");
    let sparse = |sides, blocks| ParamSpec::matrix("matrix", sides, 1.0).sparse(Some(blocks));
    assert_says(graph.param(sparse([16, 16], blocks(5))), "matrix: block should be one of");
    assert_says(
        graph.param(sparse([16, 20], blocks(8))),
        "matrix: sides should be multiples of the block, 8",
    );
    for density in [0.0, -1.0, 1.5, f64::NAN] {
        assert_says(
            graph.param(sparse([16, 16], blocks(8).density(density))),
            "matrix: density should be in (0, 1]",
        );
    }
    // Refused parameters are not in the graph.
    let gain = graph.param(spec(&[4])).unwrap();
    let twice = Wiring { params: vec![gain, gain], ..Wiring::default() };
    assert_says(graph.add(Asker, twice), "asker: params should be parameters of this graph, once each");

    let (mut graph, x) = begin();
    let y = square_layer(&mut graph, "layer", x);
    graph.param(spec(&[4])).unwrap();
    let wanted = "graph: parameter should be of a node, but is gain";
    assert_no_network(&gpu, finish(graph, &[y]), &[None], wanted);

    let (mut graph, x) = begin();
    let weight = graph.param(sparse([16, 16], blocks(8).density(0.5))).unwrap();
    let bias = graph.param(ParamSpec::new("bias", &[16], Init::Constant(0.0))).unwrap();
    let y = tied(&mut graph, [weight, bias], x, Fault::None);
    let y = tied(&mut graph, [weight, bias], y, Fault::None);
    let graph = finish(graph, &[y]);
    let topologies = graph.topologies(None).unwrap();
    let wanted = "graph: parameter should be of one node, as it is block-sparse, but is matrix";
    assert_no_network(&gpu, graph, &topologies, wanted);

    // Parameters behind which the path ends, at a value that nothing reads, or at one that is detached.
    for detached in [false, true] {
        let (mut graph, x) = begin();
        let mut y = square_layer(&mut graph, "layer", x);
        let mut end = square_layer(&mut graph, "end", x);
        if detached {
            end = graph.stop_gradient(end).unwrap();
            y = weighted(&mut graph, [y, end], false, Fault::None);
        }
        let wanted =
            "graph: node should be whose parameters have a gradient, but is end (linear), from which no path";
        assert_no_network(&gpu, finish(graph, &[y]), &[None, None], wanted);
    }
}

#[test]
fn topologies() {
    let gpu = gpu();
    let graph = || {
        let (mut graph, x) = begin();
        let sparse = Linear::new(16, 32).sparse(blocks(8).density(0.5));
        let y = graph.scope("sparse", |graph| sparse.apply(graph, x)).unwrap();
        let y = graph.scope("dense", |graph| Linear::new(32, 4).apply(graph, y)).unwrap();
        finish(graph, &[y])
    };
    let right = graph().topologies(None).unwrap();
    let drawn = right[0].clone();
    let of = |rows, cols| Some(Topology::full(rows, cols, 8).unwrap());
    for (topologies, wanted) in [
        (vec![], "network: topologies should be 2, but is 0"),
        (vec![drawn.clone()], "network: topologies should be 2, but is 1"),
        (vec![drawn.clone(), None, None], "network: topologies should be 2, but is 3"),
        (vec![None, None], "sparse.weight: topology should be a topology, but is none"),
        (vec![of(16, 32), None], "sparse.weight: topology should be [32, 16], but is [16, 32]"),
    ] {
        assert_no_network(&gpu, graph(), &topologies, wanted);
    }
    let start = Start { fan_in: FanIn::Present, topologies: &[drawn, of(8, 32)], fixed: true };
    assert_says(
        Network::new(&gpu, graph(), start),
        "dense.weight: topology should be none, but is a topology",
    );
    assert_eq!(gpu.bytes().total(), 0);

    // Blocks without a density, in a graph that has none to share out.
    let (mut graph, x) = begin();
    let y = Linear::new(16, 32).sparse(blocks(8)).apply(&mut graph, x).unwrap();
    assert_says(finish(graph, &[y]).topologies(None), "density");
}

/// A node that asks for a buffer that it doesn't have.
#[derive(Debug)]
struct Asker;

impl Node for Asker {
    fn kind(&self) -> &'static str {
        "asker"
    }

    fn forward(&self, rec: &mut Recorder<'_>, pass: &Forward<'_>) -> Result<()> {
        fretwork::ops::fill(rec, pass.buffer("sums")?, 0)?;
        fretwork::ops::fill(rec, pass.buffer("unknown")?, 0)
    }

    fn backward(&self, rec: &mut Recorder<'_>, pass: &mut Backward<'_>) -> Result<()> {
        fretwork::ops::fill(rec, pass.buffer("other")?, 0)
    }
}

#[test]
fn buffers() {
    let gpu = gpu();
    let wiring = |x, names: [&'static str; 2]| Wiring {
        inputs: vec![Input::new(x)],
        outputs: vec![Output::new("asked", &[4])],
        buffers: names.map(|name| Buffer::kept(name, &[4], DType::F32)).to_vec(),
        ..Wiring::default()
    };
    let (mut graph, _) = begin();
    let x = graph.differentiable_input("y", &[4, 16]).unwrap();
    let twice = graph.scope("part", |graph| graph.add_one(Asker, wiring(x, ["sums", "sums"])));
    assert_says(twice, "part (asker): buffers should be names of their own, but is sums");

    let mut graph = Graph::new(1, Precision::F32);
    let x = graph.differentiable_input("x", &[4, 16]).unwrap();
    let y = graph.scope("part", |graph| graph.add_one(Asker, wiring(x, ["sums", "counts"]))).unwrap();
    let network = network(&gpu, finish(graph, &[y]));
    let known = "should be one of [\"sums\", \"counts\"], but is";
    let rec = &mut Recorder::new(&gpu);
    assert_says(network.forward(rec, None), &format!("part (asker): buffer {known} unknown"));
    assert_eq!(rec.len(), 1);
    let rec = &mut Recorder::new(&gpu);
    assert_says(network.backward(rec, None), &format!("part (asker): buffer {known} other"));
    assert!(rec.is_empty());
    assert_says(network.store().by_name("weight").map(|_| ()), "parameters: name should be one of []");
    let status = gpu.zeros::<u32>(Class::Scratch, "status", &[1]).unwrap();
    network.scan(rec, &status).unwrap();
    assert!(rec.is_empty());
}
