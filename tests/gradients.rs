//! Gradients of a whole network against central differences of an independent f64 network.
//!
//! The layers are in the middle of a graph, so a backward pass that ignores the gradient it is handed cannot pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activation;
use activation::activate;
use fretwork::check;
use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::graph::Start;
use fretwork::nn::{FanIn, MlpConfig, ModelConfig, Param, Precision, Weight};
use fretwork::ops::{self, Activation, Dropout, IGNORED, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{Density, Topology};

const ROWS: usize = 20;
const INDEX: u32 = 3;

fn config(activation: Activation, dropout: f32) -> MlpConfig {
    MlpConfig {
        inputs: 30,
        hidden: vec![48, 32],
        classes: 5,
        block: 16,
        sparsity: Some(0.5),
        density: Density::Uniform,
        activation,
        dropout,
        seed: 4,
        layers: Default::default(),
        local: None,
    }
}

/// The network in f64, dense, with nothing of the library but its draws.
struct Twin {
    config: MlpConfig,
    weights: Vec<Vec<f64>>,
    biases: Vec<Vec<f64>>,
    input: Vec<f64>,
    labels: Vec<u32>,
}

impl Twin {
    fn loss(&self) -> f64 {
        let mut x = self.input.clone();
        let layers = ModelConfig::from(self.config.clone()).layers().unwrap();
        let widths: Vec<usize> = layers.iter().map(|layer| layer.sides[0]).collect();
        for (layer, &width) in widths.iter().enumerate() {
            let inputs = x.len() / ROWS;
            let mut y = vec![0.0; ROWS * width];
            for row in 0..ROWS {
                for out in 0..width {
                    let sum: f64 = (0..inputs)
                        .map(|i| x[row * inputs + i] * self.weights[layer][out * inputs + i])
                        .sum();
                    let at = row * width + out;
                    y[at] = sum + self.biases[layer][out];
                    if layer + 1 < widths.len() {
                        let key = Key::new(self.config.seed, Stream::Dropout(layer as u32));
                        let dropout = (self.config.dropout > 0.0)
                            .then_some((Dropout { rate: self.config.dropout, key }, INDEX));
                        y[at] = activate(self.config.activation.at_layer(layer), y[at])
                            * f64::from(Dropout::factor(dropout, at));
                    }
                }
            }
            x = y;
        }
        let classes = self.config.classes;
        let counted = self.labels.iter().filter(|&&label| label != IGNORED).count() as f64;
        let loss = |(row, &label): (usize, &u32)| {
            if label == IGNORED {
                return 0.0;
            }
            let x = &x[row * classes..(row + 1) * classes];
            let largest = x.iter().copied().fold(f64::MIN, f64::max);
            x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest - x[label as usize]
        };
        self.labels.iter().enumerate().map(loss).sum::<f64>() / counted
    }

    /// The derivative of the loss by one weight or bias.
    fn slope(&mut self, bias: bool, layer: usize, element: usize) -> f64 {
        const H: f64 = 1e-6;
        let mut at = |offset: f64| {
            let place =
                if bias { &mut self.biases[layer][element] } else { &mut self.weights[layer][element] };
            let before = *place;
            *place += offset;
            let loss = self.loss();
            let place =
                if bias { &mut self.biases[layer][element] } else { &mut self.weights[layer][element] };
            *place = before;
            loss
        };
        (at(H) - at(-H)) / (2.0 * H)
    }
}

/// The gradients that the kernels compute, densified, and the twin they belong to. Of some networks a part rests.
fn gradients(gpu: &Gpu, config: MlpConfig, inactive: bool) -> (Twin, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let described = ModelConfig::from(config.clone());
    let topologies = described.topologies(config.sparsity).unwrap();
    let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
    let model = described.build(gpu, ROWS, start, Precision::F32, None).unwrap();
    let biases: Vec<&Param> = model.store().iter().filter(|param| !param.is_matrix()).collect();
    if inactive {
        let mut rec = Recorder::new(gpu);
        for pattern in model.layers().iter().filter_map(|layer| Some(layer.weight().sparse()?.pattern())) {
            let map = gpu.alloc::<u32>(Class::Scratch, "map", &[pattern.places()]).unwrap();
            // Every place but every third is awake; all of these grids have fewer than 32.
            let awake = gpu.upload(Class::Scratch, "awake", &[1], &[0xB6DB_6DB6u32]).unwrap();
            ops::index_pattern(&mut rec, pattern, &map, Some(&awake)).unwrap();
        }
        gpu.run(&rec.finish().unwrap()).unwrap();
    }
    let mut walk = Key::new(9, Stream::Check(0)).walk();
    let padded = config.padded_inputs();
    let input: Vec<f32> = (0..ROWS * padded)
        .map(|i| if i % padded < config.inputs { 2.0 * walk.uniform() - 1.0 } else { 0.0 })
        .collect();
    let mut labels: Vec<u32> = (0..ROWS).map(|_| walk.below(5)).collect();
    labels[3] = IGNORED;
    gpu.write(model.input(), &input).unwrap();
    for bias in &biases {
        let values: Vec<f32> = (0..bias.values().len()).map(|_| walk.uniform() - 0.5).collect();
        gpu.write(bias.values(), &values).unwrap();
    }
    let label_tensor = gpu.upload(Class::Scratch, "labels", &[ROWS], &labels).unwrap();
    let report = gpu.alloc::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
    let values = StepValues::backward(INDEX, 1.0 / (ROWS - 1) as f32);
    let step = Step::new(gpu, values).unwrap();

    let mut rec = Recorder::new(gpu);
    model.forward(&mut rec, Some(&step)).unwrap();
    let (logits, grad) = (model.logits(), model.logits_grad());
    ops::softmax_cross_entropy(&mut rec, logits, &label_tensor, &report, grad, &step).unwrap();
    model.backward(&mut rec, Some(&step)).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();

    let dense = |weight: &Weight| match weight {
        Weight::Dense(values) => gpu.read::<f32>(values).unwrap().wait().unwrap(),
        Weight::Sparse(matrix) => matrix.to_dense(gpu).unwrap(),
    };
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let read = |tensor: &Tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
    let twin = Twin {
        config,
        weights: model.layers().iter().map(|layer| wide(dense(layer.weight()))).collect(),
        biases: biases.iter().map(|bias| wide(read(bias.values()))).collect(),
        input: wide(input),
        labels,
    };
    // Also those of blocks that rest.
    let dense_grad = |weight: &Weight| match weight {
        Weight::Dense(values) => read(values),
        Weight::Sparse(matrix) => {
            let topology = matrix.pattern().topology(gpu).unwrap();
            let coordinates: Vec<_> = topology.coordinates().map(|(r, c)| (r as u32, c as u32)).collect();
            let all =
                Topology::from_coordinates(topology.rows(), topology.cols(), topology.block(), &coordinates);
            all.unwrap().scatter(&read(matrix.values()))
        }
    };
    let weights = model.layers().iter().map(|layer| dense_grad(layer.weight_grad())).collect();
    let biases = biases.iter().map(|bias| read(bias.grads())).collect();
    (twin, weights, biases)
}

/// The largest difference between computed and true gradients, over some elements of every tensor, as a share of the
/// tensor's largest gradient.
fn worst(twin: &mut Twin, weights: &[Vec<f32>], biases: &[Vec<f32>]) -> f64 {
    let mut worst: f64 = 0.0;
    for layer in 0..weights.len() {
        for (bias, grads) in [(false, &weights[layer]), (true, &biases[layer])] {
            let largest = grads.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0, "layer {layer} has no gradient");
            // Elements of absent blocks have no gradient here, though the twin's would.
            let present: Vec<usize> = (0..grads.len()).filter(|&i| grads[i] != 0.0).collect();
            for &element in present.iter().step_by(present.len().div_ceil(25)) {
                let error = (f64::from(grads[element]) - twin.slope(bias, layer, element)).abs();
                worst = worst.max(error / f64::from(largest));
            }
        }
    }
    worst
}

/// Forty roundings of single precision through three layers.
const TOLERANCE: f64 = 2e-5;

#[test]
fn every_activation_with_and_without_dropout() {
    let activations =
        [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::AllRelu { slope: 0.6 }];
    let all = Variant::ALIKE.map(|variant| activations.map(|activation| (variant, activation)));
    let open = || Gpu::request(Options::default());
    check::parallel_for_each(
        all.as_flattened(),
        open().unwrap().compilers(),
        open,
        |gpu, &(variant, activation)| {
            let gpu = gpu.with_variant(Some(variant));
            for dropout in [0.0, 0.4] {
                let (mut twin, weights, biases) = gradients(&gpu, config(activation, dropout), false);
                let worst = worst(&mut twin, &weights, &biases);
                assert!(worst < TOLERANCE, "{variant:?}, {activation}, dropout {dropout}: {worst:e}");
            }
            Ok(())
        },
    )
    .unwrap();
}

/// A block that rests has no part in the output, and yet a gradient: that of waking it a little. It is what Top-KAST trains
/// its larger set by, and the factor's gradient of connections that learn.
#[test]
fn inactive_blocks_have_gradients() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let (mut twin, weights, biases) = gradients(&gpu, config(Activation::Gelu, 0.0), true);
    let inactive = (0..48 * 32).filter(|&i| twin.weights[0][i] == 0.0 && weights[0][i] != 0.0).count();
    assert!(inactive > 0, "no block is inactive, or inactive blocks have no gradient");
    let worst = worst(&mut twin, &weights, &biases);
    assert!(worst < TOLERANCE, "{worst:e}");
    // With all blocks active the network is another one.
    let (mut active, ..) = gradients(&gpu, config(Activation::Gelu, 0.0), false);
    assert!(self::worst(&mut active, &weights, &biases) > TOLERANCE);
}

/// The check itself objects to gradients that are wrong in the ways that gradients go wrong.
#[test]
fn wrong_gradients_are_seen() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let (mut twin, weights, biases) = gradients(&gpu, config(Activation::Relu, 0.0), false);
    // The first layer's gradient as if the incoming gradient had lost its scale.
    let mut scaled = weights.clone();
    scaled[0].iter_mut().for_each(|x| *x *= (ROWS - 1) as f32);
    assert!(worst(&mut twin, &scaled, &biases) > TOLERANCE);
    // Transposed within a block.
    let mut turned = weights.clone();
    for i in 0..16 {
        for j in 0..16 {
            turned[2][i.min(4) * 32 + j] = weights[2][j.min(4) * 32 + i];
        }
    }
    assert!(worst(&mut twin, &turned, &biases) > TOLERANCE);
    // Dropout drawn from another step.
    let (_, stale, stale_biases) = gradients(&gpu, config(Activation::Relu, 0.4), false);
    assert!(worst(&mut twin, &stale, &stale_biases) > TOLERANCE);
}
