//! Every example runs and returns what it should. Gradients of layers and objectives of examples equal central differences.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::graph::Half;
use fretwork::ops::IGNORED;
use fretwork::ops::{Step, StepValues};
use fretwork::prelude::*;
use fretwork::random::{Key, Stream};

#[path = "../examples/compose.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod compose;
#[path = "../examples/embed.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod embed;
#[path = "../examples/graph_conv.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod graph_conv;
#[path = "../examples/input_gradient.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod input_gradient;
#[path = "../examples/local.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod local;
#[path = "../examples/many_networks.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod many_networks;
#[path = "../examples/method.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod method;
#[path = "../examples/own_kernel.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod own_kernel;
#[path = "../examples/own_layer.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod own_layer;
#[path = "../examples/own_objective.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod own_objective;
#[path = "../examples/own_optimizer.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod own_optimizer;
#[path = "../examples/regression.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod regression;

fn device() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn numbers(stream: u32, count: usize) -> Vec<f32> {
    let mut walk = Key::new(3, Stream::Check(stream)).walk();
    (0..count).map(|_| 2.0 * walk.uniform() - 1.0).collect()
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    gpu.read(tensor).unwrap().wait().unwrap()
}

/// Fails unless each of `slopes` is the central difference of `loss`, a function of the elements of `tensor`.
fn assert_slopes(gpu: &Gpu, tensor: &Tensor, slopes: &[f32], mut loss: impl FnMut() -> f64) {
    const H: f32 = 0.01;
    let largest = slopes.iter().fold(0.0f32, |largest, slope| largest.max(slope.abs()));
    assert!(largest > 0.0, "no element has a gradient");
    let values = read(gpu, tensor);
    for at in (0..values.len()).step_by(values.len().div_ceil(40)) {
        let mut at_offset = |offset: f32| {
            let mut moved = values.clone();
            moved[at] += offset;
            gpu.write(tensor, &moved).unwrap();
            loss()
        };
        let difference = (at_offset(H) - at_offset(-H)) / f64::from(2.0 * H);
        let error = (difference - f64::from(slopes[at])).abs();
        assert!(error < 2e-3 * f64::from(largest), "element {at}: {} instead of {difference}", slopes[at]);
    }
    gpu.write(tensor, &values).unwrap();
}

#[test]
fn a_composed_network_trains() {
    let accuracy = compose::run().unwrap();
    assert!(accuracy > 0.94, "{accuracy}");
}

/// With the edges nodes are classified, without them hardly; in the karate club at most two members are taken for the other side's.
#[test]
fn graph_convolutions_classify_nodes() {
    let [with, without] = graph_conv::communities(&device(), 1).unwrap();
    assert!(with > 0.85 && without < with - 0.2, "{with} {without}");
    let accuracy = graph_conv::karate(&device(), 1).unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn a_network_learns_a_function() {
    let error = regression::run().unwrap();
    assert!(error < 0.06, "{error}");
}

#[test]
fn a_method_of_ones_own_trains() {
    let accuracy = method::run().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn a_foreign_device_gets_the_references_numbers() {
    embed::run().unwrap();
}

#[test]
fn a_foreign_device_gets_the_gradient_of_a_networks_input() {
    let error = input_gradient::run().unwrap();
    assert!(error < 2e-3, "{error}");
}

#[test]
fn a_kernel_of_ones_own_agrees_with_a_loop() {
    let error = own_kernel::run().unwrap();
    assert!(error < 1e-5, "{error}");
}

#[test]
fn a_layer_of_ones_own_trains() {
    let accuracy = own_layer::run().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

/// The layer stands in the middle of a network, so a backward pass that ignores its incoming gradient fails.
#[test]
fn a_layer_of_ones_own_has_the_gradients_of_its_gain_and_its_input() {
    let gpu = device();
    let source = include_str!("../examples/own_layer.wgsl");
    let scale = own_layer::LayerScale(gpu.add_shader("mine", "multiply", source).unwrap());
    let net = Sequential::new()
        .add(Linear::new(12, 20).gelu())
        .add(scale)
        .add(Linear::new(20, 8).gelu())
        .add(Linear::new(8, 5));
    let mut graph = Graph::new(2, Precision::F32);
    let input = graph.differentiable_input("x", &[7, 12]).unwrap();
    let output = net.apply(&mut graph, input).unwrap();
    graph.output(output).unwrap();
    let topologies = graph.topologies(None).unwrap();
    let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
    let network = Network::new(&gpu, graph, start).unwrap();

    let weights = numbers(1, 7 * 5);
    gpu.write(network.input(), &numbers(0, 7 * 12)).unwrap();
    gpu.write(network.output_grads()[0], &weights).unwrap();
    let mut rec = Recorder::new(&gpu);
    network.forward(&mut rec, None).unwrap();
    network.backward(&mut rec, None).unwrap();
    let plan = rec.finish().unwrap();
    let loss = || {
        gpu.run(&plan).unwrap();
        let output = read(&gpu, network.outputs()[0]);
        output.iter().zip(&weights).map(|(&y, &weight)| f64::from(y) * f64::from(weight)).sum::<f64>()
    };
    loss();
    let gain = network.store().by_name("1.gain").unwrap();
    let slopes = [read(&gpu, gain.grads()), read(&gpu, network.input_grad(0).unwrap())];
    assert_slopes(&gpu, gain.values(), &slopes[0], loss);
    assert_slopes(&gpu, network.input(), &slopes[1], loss);
}

#[test]
fn an_objective_of_ones_own_trains() {
    let accuracy = own_objective::run().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

#[test]
fn an_objective_of_ones_own_has_the_gradient_of_its_loss() {
    const ROWS: usize = 6;
    let gpu = device();
    let source = include_str!("../examples/own_objective.wgsl");
    let focal = own_objective::Focal { gamma: 2.0, kernel: gpu.add_shader("mine", "focal", source).unwrap() };
    let logits = gpu.upload(Class::Scratch, "logits", &[ROWS, 4], &numbers(2, ROWS * 4)).unwrap();
    let grad = gpu.zeros::<f32>(Class::Scratch, "grad", &[ROWS, 4]).unwrap();
    let report = gpu.zeros::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
    let targets = gpu.upload(Class::Scratch, "labels", &[ROWS], &[0, 3, 1, IGNORED, 2, 2]).unwrap();
    let step = Step::new(&gpu, StepValues::backward(0, 1.0)).unwrap();
    let (outputs, output_grads) = ([&logits], [&grad]);
    let pass = LossPass {
        outputs: &outputs,
        output_grads: &output_grads,
        targets: &targets,
        report: &report,
        step: &step,
        training: true,
        taught: None,
    };
    let mut rec = Recorder::new(&gpu);
    focal.record(&mut rec, &pass).unwrap();
    let plan = rec.finish().unwrap();
    let loss = || {
        gpu.run(&plan).unwrap();
        read(&gpu, &report).chunks(2).map(|row| f64::from(row[0])).sum::<f64>()
    };
    loss();
    let slopes = read(&gpu, &grad);
    assert_eq!(slopes[12..16], [0.0; 4], "the row without a label");
    assert_slopes(&gpu, &logits, &slopes, loss);
}

#[test]
fn layers_learn_apart_in_less_memory() {
    let [accuracy, local, whole] = local::run().unwrap();
    assert!(accuracy > 0.9 && local < 0.8 * whole, "{accuracy}, {local} and {whole} bytes");
}

#[test]
fn many_networks_are_ranked() {
    let ranked = many_networks::run().unwrap();
    assert_eq!(ranked.len(), 60);
    assert!(ranked[0].1 > 0.9 && ranked[0].0.hidden[0] > ranked[59].0.hidden[0], "{ranked:?}");
}

#[test]
fn an_optimizer_of_ones_own_trains() {
    let accuracy = own_optimizer::run().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

/// In half precision gradients are scaled, and the kernel divides by the scale.
#[test]
fn an_optimizer_of_ones_own_trains_in_half_precision() {
    let gpu = device();
    if !gpu.has_f16() {
        println!("skipped: the device has no half precision");
        return;
    }
    let source = include_str!("../examples/own_optimizer.wgsl");
    let lion = own_optimizer::Lion(gpu.add_shader("mine", "lion", source).unwrap());
    let net = Sequential::new().add(Linear::new(64, 128).relu()).add(Linear::new(128, 10));
    let builder = Trainer::builder(&gpu, net).data(Dataset::load(&Source::Digits, 1, 0).unwrap());
    let builder = builder.optimizer(lion).learning_rate(0.002, Schedule::OneCycle).epochs(5);
    let mut trainer = builder.precision(Precision::F16(Half::default())).build().unwrap();
    let accuracy = trainer.run(None, &mut |_| Flow::Continue).unwrap().test_accuracy;
    assert!(accuracy > 0.9, "{accuracy}");
}
