//! A layer in half precision in the middle of a graph: what its products give, forward and backward, against an f64 layer of
//! the same f16 numbers.
//!
//! The gradient that comes in is none of 1, and what comes out is held to a bound that follows from the arithmetic: sums in
//! f32, and a single rounding to f16 where a tensor is stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activation;
mod halves;

use activation::activate;
use fretwork::gpu::{Class, DType, Element, Gpu, Recorder, Tensor, Variant};
use fretwork::graph::{Graph, Half, Network, Precision, Start};
use fretwork::nn::{FanIn, Linear, Module, Weight, blocks};
use fretwork::ops::{self, Activation, Epilogue};
use fretwork::random::{Key, Stream};
use fretwork::reference::bound::{Mismatch, UNIT, compare, gamma};
use fretwork::sparse::{self, Topology};
use half::f16;
use halves::gpu;

const ROWS: usize = 37;
const INPUTS: usize = 48;
const OUTPUTS: usize = 64;

/// Random f16 numbers, none so small that a driver may flush it, or that a step of the differences changes its sign.
fn halves(case: u32, count: usize) -> Vec<f16> {
    let mut walk = Key::new(41, Stream::Check(case)).walk();
    let mut draw = || {
        let x = 2.0 * walk.uniform() - 1.0;
        f16::from_f32(x + 0.01f32.copysign(x))
    };
    (0..count).map(|_| draw()).collect()
}

fn wide(x: &[f16]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// Inputs and parameters of a layer.
struct Given {
    topology: Option<Topology>,
    activation: Activation,
    /// Pre-activations of the layer's input, and the gradient of its pre-activations.
    before: Vec<f16>,
    incoming: Vec<f16>,
    bias: Vec<f32>,
}

/// Results of the kernels.
struct Found {
    /// The weights in f32, dense.
    weights: Vec<f32>,
    x: Vec<f16>,
    pre: Vec<f16>,
    out: Vec<f16>,
    /// The gradients of `before` and of the weights, the latter dense.
    before_grad: Vec<f16>,
    weights_grad: Vec<f32>,
}

impl Given {
    fn new(sparse: bool, activation: Activation) -> Self {
        let key = Key::new(6, Stream::Check(0));
        let topology = sparse.then(|| sparse::random(OUTPUTS, INPUTS, 16, 7, key).unwrap());
        let bias = halves(3, OUTPUTS).iter().map(|x| x.to_f32() / 3.0).collect();
        let (before, incoming) = (halves(1, ROWS * INPUTS), halves(2, ROWS * OUTPUTS));
        Self { topology, activation, before, incoming, bias }
    }

    fn run(&self, gpu: &Gpu) -> Found {
        fn read<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Vec<T> {
            gpu.read(tensor).unwrap().wait().unwrap()
        }
        let dense = |weight: &Weight| match weight {
            Weight::Dense(values) => read::<f32>(gpu, values),
            Weight::Sparse(matrix) => matrix.to_dense(gpu).unwrap(),
        };
        let place = |width: usize, values: &[f16]| {
            gpu.upload(Class::Scratch, "given", &[ROWS, width], values).unwrap()
        };
        let room = |width: usize| gpu.alloc::<f16>(Class::Scratch, "found", &[ROWS, width]).unwrap();
        let mut graph = Graph::new(7, Precision::F16(Half::default()));
        let input = graph.input("x", &[ROWS, INPUTS], DType::F16).unwrap();
        let linear = Linear::new(INPUTS, OUTPUTS).sparse(self.topology.as_ref().map(|_| blocks(16)));
        let output = linear.variance(1.0).apply(&mut graph, input).unwrap();
        graph.output(output).unwrap();
        let start =
            Start { fan_in: FanIn::Present, topologies: std::slice::from_ref(&self.topology), fixed: true };
        let network = Network::new(gpu, graph, start).unwrap();
        let layer = network.layers()[0];
        let (before, incoming) = (place(INPUTS, &self.before), place(OUTPUTS, &self.incoming));
        let bias = gpu.upload(Class::Scratch, "bias", &[OUTPUTS], &self.bias).unwrap();
        let (x, pre, out, before_grad) = (room(INPUTS), room(OUTPUTS), room(OUTPUTS), room(INPUTS));

        let mut rec = Recorder::new(gpu);
        layer.refresh(&mut rec, None).unwrap();
        let activation = self.activation;
        ops::activation_forward(&mut rec, &before, &x, activation, None).unwrap();
        let epilogue = Epilogue::Forward { bias: &bias, activation, dropout: None, pre: Some(&pre) };
        layer.forward(&mut rec, &x, &out, epilogue).unwrap();
        layer.backward_weight(&mut rec, &incoming, &x, layer.weight_grad()).unwrap();
        let epilogue = Epilogue::Backward { pre: &before, activation, dropout: None };
        layer.backward_input(&mut rec, &incoming, &before_grad, epilogue).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        Found {
            weights: dense(layer.weight()),
            x: read(gpu, &x),
            pre: read(gpu, &pre),
            out: read(gpu, &out),
            before_grad: read(gpu, &before_grad),
            weights_grad: dense(layer.weight_grad()),
        }
    }
}

/// How far f32 may be from a sigmoid, as a share of it: an exponential of `x` errs by some units and by some times `x`.
fn sigmoid_error(activation: Activation, x: f64) -> f64 {
    let argument = match activation {
        Activation::Relu => return 0.0,
        Activation::Gelu => (x * (1.6 + 0.0714 * x * x)).abs(),
        _ => x.abs(),
    };
    (16.0 + 8.0 * argument) * 2.0 * UNIT
}

/// Half a unit in the last place of what is stored as f16; what is no normal number of it may be flushed.
fn stored(wanted: f64, error: f64) -> f64 {
    let size = wanted.abs() + error;
    if size < 2f64.powi(-14) { size + 2f64.powi(-25) } else { error + size * 2f64.powi(-11) }
}

/// Error of central differences: a third derivative below 3, and f64's rounding divided by the step.
const SLOPE_ERROR: f64 = 1e-8;

/// Results in f64, from the operands that the products read. Gradients are central differences of a loss whose gradient is
/// `incoming`; those of absent blocks are 0.
struct Truth {
    /// Values, and how far a right result may be from each.
    pre: [Vec<f64>; 2],
    out: [Vec<f64>; 2],
    before_grad: [Vec<f64>; 2],
    weights_grad: [Vec<f64>; 2],
}

impl Truth {
    fn of(given: &Given, found: &Found) -> Self {
        let weights: Vec<f64> = found.weights.iter().map(|&w| f16::from_f32(w).to_f64()).collect();
        let (before, incoming, x) = (wide(&given.before), wide(&given.incoming), wide(&found.x));
        let activation = given.activation;
        let activated: Vec<f64> = before.iter().map(|&x| activate(activation, x)).collect();
        let pairs = |rows: usize, columns: usize, each: &dyn Fn(usize, usize) -> [f64; 2]| {
            let places = (0..rows * columns).map(|i| each(i / columns, i % columns));
            let (values, bounds) = places.map(|[value, bound]| (value, bound)).unzip();
            [values, bounds]
        };
        let sum = |x: &[f64], out: usize| -> f64 {
            x.iter().zip(&weights[out * INPUTS..]).map(|(x, weight)| x * weight).sum()
        };
        let pre = |row: usize, out: usize| {
            let bias = f64::from(given.bias[out]);
            let sizes: f64 =
                (0..INPUTS).map(|i| (x[row * INPUTS + i] * weights[out * INPUTS + i]).abs()).sum();
            [sum(&x[row * INPUTS..][..INPUTS], out) + bias, gamma(INPUTS + 1) * (sizes + bias.abs())]
        };
        // The loss is the sum of what comes out times its gradient. Only one row of it changes with an input, and one column
        // with a weight, and it is linear in that.
        let of_row = |row: usize, x: &[f64]| -> f64 {
            (0..OUTPUTS).map(|out| incoming[row * OUTPUTS + out] * sum(x, out)).sum()
        };
        let of_column = |out: usize, moved: usize, by: f64| -> f64 {
            let weight = |i: usize| weights[out * INPUTS + i] + if i == moved { by } else { 0.0 };
            let row = |row: usize| (0..INPUTS).map(|i| x[row * INPUTS + i] * weight(i)).sum::<f64>();
            (0..ROWS).map(|r| incoming[r * OUTPUTS + out] * row(r)).sum()
        };
        let present: Vec<bool> = match &given.topology {
            None => vec![true; OUTPUTS * INPUTS],
            Some(topology) => {
                topology.scatter(&vec![1.0; topology.elements()]).iter().map(|&x| x != 0.0).collect()
            }
        };
        Self {
            pre: pairs(ROWS, OUTPUTS, &|row, out| {
                let [value, error] = pre(row, out);
                [value, stored(value, error)]
            }),
            out: pairs(ROWS, OUTPUTS, &|row, out| {
                let [before, error] = pre(row, out);
                let value = activate(activation, before);
                // No activation is steeper than 1.13.
                let error = 1.13 * error + before.abs() * sigmoid_error(activation, before);
                [value, stored(value, error)]
            }),
            before_grad: pairs(ROWS, INPUTS, &|row, input| {
                const H: f64 = 1e-5;
                let here = before[row * INPUTS + input];
                let mut activated = activated[row * INPUTS..][..INPUTS].to_vec();
                let mut loss = |by: f64| {
                    activated[input] = activate(activation, here + by);
                    of_row(row, &activated)
                };
                let value = (loss(H) - loss(-H)) / (2.0 * H);
                let sizes: f64 = (0..OUTPUTS)
                    .map(|out| (incoming[row * OUTPUTS + out] * weights[out * INPUTS + input]).abs())
                    .sum();
                // The derivative has the sigmoid twice, and a polynomial of what it is of.
                let steepness = 1.6 + 0.22 * here * here;
                let slope = (2.0 + 2.0 * here.abs() * steepness) * sigmoid_error(activation, here);
                let error = sizes * (1.13 * gamma(OUTPUTS + 1) + slope) + SLOPE_ERROR;
                [value, stored(value, error)]
            }),
            weights_grad: pairs(OUTPUTS, INPUTS, &|out, input| {
                if !present[out * INPUTS + input] {
                    return [0.0; 2];
                }
                let value = of_column(out, input, 0.5) - of_column(out, input, -0.5);
                let sizes: f64 = (0..ROWS)
                    .map(|row| (incoming[row * OUTPUTS + out] * x[row * INPUTS + input]).abs())
                    .sum();
                [value, gamma(ROWS) * sizes + SLOPE_ERROR]
            }),
        }
    }

    /// The first result that is none of the right ones, by name.
    fn judge(&self, found: &Found) -> Result<(), (&'static str, Mismatch)> {
        let floats = |x: &[f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let results = [
            ("pre", floats(&found.pre), &self.pre),
            ("out", floats(&found.out), &self.out),
            ("before_grad", floats(&found.before_grad), &self.before_grad),
            ("weights_grad", found.weights_grad.clone(), &self.weights_grad),
        ];
        for (name, found, [wanted, bounds]) in results {
            compare(&found, wanted, |i| bounds[i]).map_err(|mismatch| (name, mismatch))?;
        }
        Ok(())
    }
}

#[test]
fn a_layer_in_the_middle_is_within_the_bound_of_f64() {
    let Some(gpu) = gpu() else { return };
    for sparse in [false, true] {
        for activation in [Activation::Relu, Activation::Gelu, Activation::Silu] {
            let given = Given::new(sparse, activation);
            let mut truth = None;
            for variant in Variant::ALL {
                let found = given.run(&gpu.with_variant(Some(variant)));
                // The activation on its own has the same bits in all of them, as its result is what the products read.
                let truth = truth.get_or_insert_with(|| Truth::of(&given, &found));
                let verdict = truth.judge(&found);
                assert!(verdict.is_ok(), "{variant:?}, sparse {sparse}, {activation}: {verdict:?}");
            }
        }
    }
}

/// Results that are wrong in the ways that results go wrong are none.
#[test]
fn wrong_products_are_seen() {
    let Some(gpu) = gpu() else { return };
    let given = Given::new(true, Activation::Gelu);
    let found = given.run(&gpu);
    let truth = Truth::of(&given, &found);
    assert!(truth.judge(&found).is_ok());
    let blamed = |found: &Found| truth.judge(found).expect_err("it should be seen").0;
    // A gradient of 1 for the one that comes in, as at the end of a graph.
    let deaf = Given { incoming: vec![f16::ONE; ROWS * OUTPUTS], ..Given::new(true, Activation::Gelu) };
    assert_eq!(blamed(&deaf.run(&gpu)), "before_grad");
    // The gradient that comes in, taken through the activation after the layer once more.
    let mut twice = Given::new(true, Activation::Gelu);
    for (incoming, pre) in twice.incoming.iter_mut().zip(&found.pre) {
        *incoming = f16::from_f32(incoming.to_f32() * Activation::Gelu.derivative(pre.to_f32()));
    }
    assert_eq!(blamed(&twice.run(&gpu)), "before_grad");
    // The wrong activation on the way back.
    let other = Given::new(true, Activation::Silu).run(&gpu);
    assert_eq!(blamed(&Found { before_grad: other.before_grad, ..given.run(&gpu) }), "before_grad");
    // A gradient of the weights that was f16 on its way: what a loss of half the digits would look like.
    let mut short = given.run(&gpu);
    short.weights_grad.iter_mut().for_each(|g| *g = f16::from_f32(*g).to_f32());
    assert_eq!(blamed(&short), "weights_grad");
    // Two units in the last place, where one half is what rounding explains.
    let mut off = given.run(&gpu);
    let largest = (0..off.pre.len()).max_by(|&a, &b| off.pre[a].total_cmp(&off.pre[b])).unwrap();
    off.pre[largest] = f16::from_bits(off.pre[largest].to_bits() + 2);
    assert_eq!(blamed(&off), "pre");
}
