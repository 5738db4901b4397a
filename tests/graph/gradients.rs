//! Gradients of values and parameters that are used more than once, of inputs, and past detached branches. Every operation is in
//! the middle of its graph: none of the gradients that it is handed is 1.

use fretwork::gpu::{DType, Recorder};
use fretwork::graph::{Graph, Precision, Value, blocks};
use fretwork::nn::{Attention, FeedForward, LayerNorm, Linear, Module, Norm, Residual, Sequential, add};
use fretwork::ops::Activation;
use fretwork::sparse::Density;

use super::bench::{Bench, TOLERANCE, assert_right, finish, gpu, network};
use super::nodes::{Fault, square, tied, weighted};

const ROWS: usize = 6;
const WIDTH: usize = 8;

/// A graph with an input of [`WIDTH`] whose gradient is asked for.
fn begin() -> (Graph, Value) {
    let mut graph = Graph::new(4, Precision::F32);
    let x = graph.differentiable_input("x", &[ROWS, WIDTH]).unwrap();
    (graph, x)
}

/// A layer under a name.
fn linear(graph: &mut Graph, name: &str, x: Value, activation: Option<Activation>) -> Value {
    let plain = Linear::new(WIDTH, WIDTH);
    let layer = activation.map_or(plain.clone(), |activation| plain.activation(activation));
    graph.scope(name, |graph| layer.apply(graph, x)).unwrap()
}

/// Between an input layer and an output layer, `middle`.
fn sandwich(middle: impl FnOnce(&mut Graph, Value) -> Value) -> Graph {
    let (mut graph, x) = begin();
    let h = linear(&mut graph, "in", x, Some(Activation::Gelu));
    let y = middle(&mut graph, h);
    let y = linear(&mut graph, "out", y, None);
    finish(graph, &[y])
}

#[test]
fn values_that_are_used_more_than_once() {
    let gpu = gpu();
    let sum = |graph: &mut Graph, a, b| add(graph, a, b).unwrap();
    for activation in [None, Some(Activation::Relu), Some(Activation::Gelu), Some(Activation::Silu)] {
        assert_right(
            &gpu,
            "x + f(x)",
            sandwich(|graph, x| {
                let y = linear(graph, "f", x, activation);
                sum(graph, x, y)
            }),
        );
        assert_right(
            &gpu,
            "f(x) + x",
            sandwich(|graph, x| {
                let y = linear(graph, "f", x, activation);
                sum(graph, y, x)
            }),
        );
        assert_right(
            &gpu,
            "f(x) + g(x)",
            sandwich(|graph, x| {
                let (a, b) = (linear(graph, "f", x, activation), linear(graph, "g", x, activation));
                sum(graph, a, b)
            }),
        );
        assert_right(
            &gpu,
            "f(x) + g(x) + x",
            sandwich(|graph, x| {
                let (a, b) = (linear(graph, "f", x, activation), linear(graph, "g", x, activation));
                let y = sum(graph, a, b);
                sum(graph, y, x)
            }),
        );
        assert_right(
            &gpu,
            "y = f(x); y + y",
            sandwich(|graph, x| {
                let y = linear(graph, "f", x, activation);
                sum(graph, y, y)
            }),
        );
        assert_right(
            &gpu,
            "y = f(x); y + y + x",
            sandwich(|graph, x| {
                let y = linear(graph, "f", x, activation);
                let y = sum(graph, y, y);
                sum(graph, x, y)
            }),
        );
        assert_right(
            &gpu,
            "f(g(x) + x) + g(x)",
            sandwich(|graph, x| {
                let g = linear(graph, "g", x, activation);
                let y = sum(graph, g, x);
                let y = linear(graph, "f", y, activation);
                sum(graph, y, g)
            }),
        );
    }
    assert_right(&gpu, "x + x", sandwich(|graph, x| sum(graph, x, x)));
}

/// A norm adds its input's gradient to what is there; a sum passes its own on to both inputs.
#[test]
fn sums_and_norms_side_by_side() {
    let gpu = gpu();
    let norm = |graph: &mut Graph, name: &str, x| graph.scope(name, |graph| Norm.apply(graph, x)).unwrap();
    assert_right(
        &gpu,
        "x + norm(x)",
        sandwich(|graph, x| {
            let y = norm(graph, "norm", x);
            add(graph, x, y).unwrap()
        }),
    );
    assert_right(
        &gpu,
        "f(norm(x)) + x, twice",
        sandwich(|graph, mut x| {
            for (f, n) in [("f_1", "norm_1"), ("f_2", "norm_2")] {
                let y = norm(graph, n, x);
                let y = linear(graph, f, y, None);
                x = add(graph, x, y).unwrap();
            }
            x
        }),
    );
    assert_right(
        &gpu,
        "norm(x) + (norm(x) + x)",
        sandwich(|graph, x| {
            let (a, b) = (norm(graph, "a", x), norm(graph, "b", x));
            let y = add(graph, b, x).unwrap();
            add(graph, a, y).unwrap()
        }),
    );
    // The sum's gradient is that of the first layer's output, too, which is still to be read when the norm adds its own.
    assert_right(
        &gpu,
        "y = f(x); s = y + x; norm(x) + s",
        sandwich(|graph, x| {
            let y = linear(graph, "f", x, None);
            let s = add(graph, y, x).unwrap();
            let n = norm(graph, "norm", y);
            add(graph, n, s).unwrap()
        }),
    );
}

/// Layer normalisation alone, and beside a residual connection, to whose gradient it adds its own.
#[test]
fn layer_norms_in_the_middle() {
    let gpu = gpu();
    let norm = |graph: &mut Graph, x| graph.scope("norm", |graph| LayerNorm.apply(graph, x)).unwrap();
    assert_right(&gpu, "layer norm", sandwich(norm));
    assert_right(
        &gpu,
        "x + layer norm(x)",
        sandwich(|graph, x| {
            let y = norm(graph, x);
            add(graph, x, y).unwrap()
        }),
    );
}

#[test]
fn whole_modules_in_the_middle() {
    const CONTEXT: usize = 3;
    let (gpu, width, sparse) = (gpu(), 16, Some(blocks(8).density(0.6)));
    for sparse in [None, sparse] {
        let (heads, variance) = (2, 1.0);
        let attention = Attention { width, heads, context: CONTEXT, sparse, variance };
        let feed = FeedForward { width, hidden: 24, activation: Activation::Silu, sparse, variance };
        let module = Sequential::new()
            .add(Linear::new(width, width).sparse(sparse).gelu())
            .add(Residual::new(Sequential::new().add(Norm).add(attention)))
            .add(Residual::new(Sequential::new().add(Norm).add(feed)))
            .add(Norm)
            .add(Linear::new(width, 5));
        let mut graph = Graph::new(4, Precision::F32);
        graph.allot(Density::Uniform, 0.4);
        let x = graph.differentiable_input("x", &[2 * CONTEXT, width]).unwrap();
        let y = module.apply(&mut graph, x).unwrap();
        assert_right(&gpu, &format!("sparse {sparse:?}"), finish(graph, &[y]));
    }
}

#[test]
fn several_outputs_and_inputs() {
    let gpu = gpu();
    for activation in [None, Some(Activation::Relu), Some(Activation::Gelu)] {
        let (mut graph, x) = begin();
        let h = linear(&mut graph, "in", x, activation);
        let (a, b) = (linear(&mut graph, "a", h, None), linear(&mut graph, "b", h, activation));
        assert_right(&gpu, "two heads", finish(graph, &[a, b]));

        // An output that other nodes read, before the last.
        let (mut graph, x) = begin();
        let h = linear(&mut graph, "in", x, activation);
        let y = linear(&mut graph, "out", h, None);
        let s = add(&mut graph, h, y).unwrap();
        assert_right(&gpu, "an output that is read", finish(graph, &[h, s]));

        let (mut graph, x) = begin();
        let fixed = graph.input("fixed", &[ROWS, WIDTH], DType::F32).unwrap();
        let other = graph.differentiable_input("other", &[ROWS, WIDTH]).unwrap();
        let h = weighted(&mut graph, [x, fixed], false, Fault::None);
        let h = linear(&mut graph, "in", h, activation);
        let h = weighted(&mut graph, [other, h], true, Fault::None);
        let y = linear(&mut graph, "out", h, None);
        let y = add(&mut graph, y, other).unwrap();
        let graph = finish(graph, &[y]);
        let bench = Bench::new(&gpu, graph);
        assert!(bench.network.input_grad(0).is_some() && bench.network.input_grad(2).is_some());
        assert!(bench.network.input_grad(1).is_none() && bench.network.input_grad(3).is_none());
        let (worst, place) = bench.worst();
        assert!(worst < TOLERANCE, "several inputs: {worst:e} at {place}");
    }
}

/// A network that is a sum of its input alone passes the output's gradient on.
#[test]
fn inputs_that_sums_lead_to() {
    let gpu = gpu();
    let (mut graph, x) = begin();
    let y = add(&mut graph, x, x).unwrap();
    assert_right(&gpu, "x + x", finish(graph, &[y]));
    let (mut graph, x) = begin();
    let fixed = graph.input("fixed", &[ROWS, WIDTH], DType::F32).unwrap();
    let y = add(&mut graph, x, fixed).unwrap();
    assert_right(&gpu, "x + fixed", finish(graph, &[y]));
}

/// Parameters of two and of three nodes get the sum of the gradients, and are reported once.
#[test]
fn parameters_of_several_nodes() {
    let gpu = gpu();
    for times in [1, 2, 3] {
        let graph = sandwich(|graph, mut x| {
            let params = square(graph, "shared", WIDTH);
            for _ in 0..times {
                x = tied(graph, params, x, Fault::None);
            }
            x
        });
        let bench = Bench::new(&gpu, graph);
        let (worst, place) = bench.worst();
        assert!(worst < TOLERANCE, "{times} nodes: {worst:e} at {place}");
        let mut done = Vec::new();
        let mut rec = Recorder::new(&gpu);
        let name = |id| bench.network.store().get(id).name().to_owned();
        bench
            .network
            .backward_with(&mut rec, None, &mut |_, ready| {
                done.push(name(ready.param));
                Ok(())
            })
            .unwrap();
        done.sort_unstable();
        let wanted = ["in.bias", "in.weight", "out.bias", "out.weight", "shared.bias", "shared.weight"];
        assert_eq!(done, wanted, "{times} nodes");
    }
}

/// Nodes after a detached value have gradients; nodes before it receive those of the other paths only.
#[test]
fn no_gradient_passes_a_detached_value() {
    let gpu = gpu();
    let graph = |detached: Option<bool>| {
        let (mut graph, x) = begin();
        let h = linear(&mut graph, "in", x, Some(Activation::Gelu));
        let direct = linear(&mut graph, "direct", h, None);
        let mut outputs = vec![direct];
        if let Some(detached) = detached {
            let d = if detached { graph.stop_gradient(h).unwrap() } else { h };
            outputs.push(linear(&mut graph, "branch", d, None));
        }
        finish(graph, &outputs)
    };
    let bench = |detached| Bench::new(&gpu, graph(detached));
    let names = |bench: &Bench| -> Vec<String> {
        bench
            .gradients()
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with("branch"))
            .collect()
    };
    let (alone, cut, whole) = (bench(None), bench(Some(true)), bench(Some(false)));
    assert_eq!(names(&alone), ["in.weight", "in.bias", "direct.weight", "direct.bias", "x"]);
    assert_eq!(names(&cut), names(&alone));
    // The three have the same weights, inputs and gradient of the first output.
    let copy = |from: &Bench, to: &Bench| {
        for param in to.network.parameters() {
            if let Ok(same) = from.network.store().by_name(param.name()) {
                gpu.write(param.values(), &super::bench::read(&gpu, same.values())).unwrap();
            }
        }
        for (from, to) in [
            (from.network.input(), to.network.input()),
            (from.network.output_grads()[0], to.network.output_grads()[0]),
        ] {
            gpu.write(to, &super::bench::read(&gpu, from)).unwrap();
        }
    };
    copy(&alone, &cut);
    copy(&alone, &whole);
    let before = |bench: &Bench| -> Vec<(String, Vec<f32>)> {
        bench.gradients().into_iter().filter(|(name, _)| !name.starts_with("branch")).collect()
    };
    let wanted = before(&alone);
    assert!(before(&cut) == wanted, "the detached branch changes a gradient");
    assert!(before(&whole) != wanted, "the test would not see a gradient that passes");
    let branch = |bench: &Bench| -> Vec<(String, Vec<f32>)> {
        bench.gradients().into_iter().filter(|(name, _)| name.starts_with("branch")).collect()
    };
    assert!(branch(&cut).iter().all(|(_, grads)| grads.iter().any(|&g| g != 0.0)));
    assert_eq!(branch(&cut).len(), 2);
}

/// Nodes of a program's own, with inputs that are one value.
#[test]
fn nodes_of_ones_own() {
    let gpu = gpu();
    for accumulates in [false, true] {
        assert_right(
            &gpu,
            "2 x - 3 x",
            sandwich(|graph, x| weighted(graph, [x, x], accumulates, Fault::None)),
        );
        assert_right(
            &gpu,
            "2 x - 3 f(x), and x",
            sandwich(|graph, x| {
                let f = linear(graph, "f", x, Some(Activation::Relu));
                let y = weighted(graph, [x, f], accumulates, Fault::None);
                add(graph, y, x).unwrap()
            }),
        );
        assert_right(
            &gpu,
            "x + (2 x - 3 f(x))",
            sandwich(|graph, x| {
                let s = add(graph, x, x).unwrap();
                let y = weighted(graph, [s, x], accumulates, Fault::None);
                weighted(graph, [x, y], accumulates, Fault::None)
            }),
        );
    }
}

/// The check objects to backward passes that lack a term or a factor.
#[test]
fn faults_are_seen() {
    let gpu = gpu();
    let seen = |name: &str, graph: Graph| {
        let (worst, place) = Bench::new(&gpu, graph).worst();
        assert!(worst.is_nan() || worst > 50.0 * TOLERANCE, "{name} is not seen: {worst:e} at {place}");
    };
    for (fault, accumulates) in [
        (Fault::Factor, false),
        (Fault::Factor, true),
        (Fault::Overwrite, true),
        (Fault::Second, true),
        (Fault::Second, false),
    ] {
        let name = format!("{fault:?}, accumulates {accumulates}");
        seen(&name, sandwich(|graph, x| weighted(graph, [x, x], accumulates, fault)));
        seen(
            &name,
            sandwich(|graph, x| {
                let f = linear(graph, "f", x, None);
                let y = weighted(graph, [f, x], accumulates, fault);
                weighted(graph, [x, y], accumulates, fault)
            }),
        );
    }
    seen(
        "a bias of one row",
        sandwich(|graph, x| {
            let params = square(graph, "tied", WIDTH);
            tied(graph, params, x, Fault::Bias)
        }),
    );
    // A network is its own oracle only as long as its forward pass isn't wrong in the same way.
    let plain = network(&gpu, sandwich(|graph, x| weighted(graph, [x, x], false, Fault::None)));
    assert_eq!(plain.kinds(), ["linear", "weighted", "linear"]);
}
