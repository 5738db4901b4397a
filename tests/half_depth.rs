//! Accumulation of rounding errors over thirty layers in half precision: gradients of the device against those of a network in
//! f64 with the same active units.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod halves;

use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::graph::Start;
use fretwork::nn::{FanIn, Half, MlpConfig, ModelConfig, Precision, Weight};
use fretwork::ops::{self, Activation, LossScale, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::sparse::Density;
use half::f16;
use halves::gpu;

const LAYERS: usize = 30;
const WIDTH: usize = 64;
const CLASSES: usize = 10;
const ROWS: usize = 32;

/// Unit roundoff of half precision, the largest relative error of a value rounded to the nearest f16.
const UNIT_F16: f64 = 1.0 / 2048.0;
const UNIT_F32: f64 = UNIT_F16 / 8192.0;

/// Largest relative error of the gradient of a weight, divided by the layer's condition number.
///
/// **Random signs.** A value is rounded to the nearest multiple of its spacing, `2 u` times a power of two that is at most the
/// value. The error is uniform within half a spacing, so its root mean square is at most `r = u / sqrt(3)` of the value. Four
/// tensors of a layer are rounded to f16: the weight for the forward product, the activation that the product gives, the weight
/// for the backward product, and the gradient that this product gives. Sums are f32 and add 2^-13 of that. Errors of different
/// tensors are independent, and initial weights preserve the mean square of signal and error alike, forward and backward.
/// Relative errors therefore add up as squares: `sqrt(4 L) r` for `L` layers.
///
/// **Condition.** The gradient of a weight is a sum over rows, `dW = sum of dy_r^T x_r`. Independent errors of the terms add up as
/// `sqrt(sum |dy_r|^2 |x_r|^2)`, and terms that cancel make `dW` smaller than this sum: their ratio is the condition number,
/// which [`Reference`] has for each layer. It is 1 at least, since the error of a weight is common to all rows.
///
/// **Spread.** Norms of signal and error take different random walks through layers of 64 units. Over 200 simulated networks the
/// worst layer's error is 0.8 times the estimate in the median and 2.2 times at most; the bound is three times the estimate,
/// 0.0093.
///
/// **Worst case.** With all signs alike, errors add up as `4 L u` = 0.059, six times the bound.
///
/// **ReLU.** The bound holds for given active units only. A pre-activation of relative error `e` has the wrong sign with probability
/// `arctan(e) / pi`, and a gradient element appears or vanishes as a whole: a relative squared error of `2 e / pi` a layer, which
/// outweighs rounding by far, `sqrt(2 / pi * sum over k of sqrt(2 k) r)` = 0.16 in all 30 layers. Some twenty such elements make
/// up the whole, so this error varies from 0.07 to 0.7 between networks. The reference takes its active units from the device, which
/// removes this error.
fn bound(unit: f64, roundings: usize) -> f64 {
    3.0 * ((roundings * LAYERS) as f64 / 3.0).sqrt() * unit
}

/// `c[i, j] = sum over k of a(i, k) b(k, j)`, row-major.
fn product(
    [rows, inner, cols]: [usize; 3],
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut c = vec![0.0; rows * cols];
    for (at, c) in c.iter_mut().enumerate() {
        *c = (0..inner).map(|k| a(at / cols, k) * b(k, at % cols)).sum();
    }
    c
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// `ROWS` rows of inputs, exact in f16.
fn inputs() -> Vec<f32> {
    let mut walk = Key::new(9, Stream::Check(0)).walk();
    (0..ROWS * WIDTH).map(|_| f16::from_f32(walk.uniform()).to_f32()).collect()
}

fn label(row: usize) -> usize {
    row % CLASSES
}

/// A forward and a backward pass of the device, on the host.
struct Run {
    /// Of each layer, `[out, in]`, dense, before rounding.
    weights: Vec<Vec<f64>>,
    /// Elements that are in a present block, of each layer.
    present: Vec<Vec<bool>>,
    /// Units with a positive activation, `[rows, width]`, of each hidden layer.
    active: Vec<Vec<bool>>,
    /// Gradients of the weights, unscaled.
    grads: Vec<Vec<f64>>,
}

impl Run {
    fn new(gpu: &Gpu, seed: u64, precision: Precision) -> Self {
        let config = MlpConfig {
            inputs: WIDTH,
            hidden: vec![WIDTH; LAYERS - 1],
            classes: CLASSES,
            block: 16,
            sparsity: Some(0.5),
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed,
            layers: Default::default(),
            local: None,
        };
        let config = ModelConfig::from(config);
        let topologies = config.topologies(config.sparsity()).unwrap();
        let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
        let model = config.build(gpu, ROWS, start, precision, None).unwrap();
        let step = Step::new(gpu, StepValues::backward(0, 1.0 / ROWS as f32)).unwrap();
        let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<f16>>();
        let (step, scale) = match precision.half() {
            None => {
                gpu.write(model.input(), &inputs()).unwrap();
                (step, 1.0)
            }
            Some(half) => {
                gpu.write(model.input(), &halves(inputs())).unwrap();
                (step.with_scale(LossScale::new(gpu, half.loss_scale).unwrap()), f64::from(half.loss_scale))
            }
        };
        let labels: Vec<u32> = (0..ROWS).map(|row| label(row) as u32).collect();
        let labels = gpu.upload(Class::Scratch, "labels", &[ROWS], &labels).unwrap();
        let report = gpu.alloc::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
        let mut rec = Recorder::new(gpu);
        model.refresh(&mut rec, Some(&step)).unwrap();
        model.forward(&mut rec, Some(&step)).unwrap();
        let (logits, grad) = (model.logits(), model.logits_grad());
        ops::softmax_cross_entropy(&mut rec, logits, &labels, &report, grad, &step).unwrap();
        model.backward(&mut rec, Some(&step)).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();

        let float = |tensor: &Tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
        let dense = |weight: &Weight| match weight {
            Weight::Dense(values) => wide(&float(values)),
            Weight::Sparse(matrix) => wide(&matrix.to_dense(gpu).unwrap()),
        };
        let positive = |tensor: &Tensor| match precision {
            Precision::F32 => float(tensor).into_iter().map(|x| x > 0.0).collect(),
            Precision::F16(_) => {
                let values = gpu.read::<f16>(tensor).unwrap().wait().unwrap();
                values.into_iter().map(|x| x > f16::ZERO).collect()
            }
        };
        let layers = model.layers();
        let present = layers.iter().zip(&topologies).map(|(layer, topology)| match topology {
            None => vec![true; layer.sides().into_iter().product()],
            Some(topology) => {
                topology.scatter(&vec![1.0; topology.elements()]).into_iter().map(|x| x > 0.0).collect()
            }
        });
        let unscaled = |weight| dense(weight).into_iter().map(|g| g / scale).collect();
        Self {
            weights: layers.iter().map(|layer| dense(layer.weight())).collect(),
            present: present.collect(),
            active: model.activations().iter().take(LAYERS - 1).map(|(_, y)| positive(y)).collect(),
            grads: layers.iter().map(|layer| unscaled(layer.weight_grad())).collect(),
        }
    }

    /// Relative errors of the gradients against a reference, each divided by the layer's condition number: the largest of all
    /// layers.
    fn worst(&self, reference: &Reference) -> f64 {
        let layers = self.grads.iter().zip(&reference.grads).zip(&reference.conditions);
        let errors = layers.map(|((found, wanted), condition)| {
            let difference: f64 = found.iter().zip(wanted).map(|(a, b)| (a - b).powi(2)).sum();
            let length: f64 = wanted.iter().map(|x| x * x).sum();
            (difference / length).sqrt() / condition
        });
        // A NaN counts as the largest error.
        errors.fold(0.0, |worst: f64, error| if worst >= error { worst } else { error })
    }
}

/// Gradients of the network in f64, for weights and active units of the device.
struct Reference {
    grads: Vec<Vec<f64>>,
    /// `max(1, sqrt(sum over rows of |dy|^2 |x|^2) / |dW|)` of each layer.
    conditions: Vec<f64>,
}

impl Reference {
    fn new(run: &Run) -> Self {
        Self::with(run, &run.active, ROWS)
    }

    /// Reference whose backward pass has other active units, and the gradients of the first `rows` rows only.
    fn with(run: &Run, active: &[Vec<bool>], rows: usize) -> Self {
        let mut xs = vec![wide(&inputs())];
        for (weight, active) in run.weights.iter().zip(&run.active) {
            let x = xs.last().unwrap();
            let mut y = product([ROWS, WIDTH, WIDTH], |r, k| x[r * WIDTH + k], |k, j| weight[j * WIDTH + k]);
            y.iter_mut().zip(active).for_each(|(y, active)| *y *= f64::from(u8::from(*active)));
            xs.push(y);
        }
        let (x, weight) = (xs.last().unwrap(), run.weights.last().unwrap());
        let logits = product([ROWS, WIDTH, CLASSES], |r, k| x[r * WIDTH + k], |k, j| weight[j * WIDTH + k]);
        let mut dy = Vec::new();
        for (row, logits) in logits.chunks(CLASSES).enumerate() {
            let largest = logits.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
            dy.extend(logits.iter().enumerate().map(|(class, z)| {
                let error = (z - largest).exp() / sum - f64::from(u8::from(class == label(row)));
                if row < rows { error / ROWS as f64 } else { 0.0 }
            }));
        }
        let (mut grads, mut conditions) = (Vec::new(), Vec::new());
        for layer in (0..LAYERS).rev() {
            let (weight, x) = (&run.weights[layer], &xs[layer]);
            let out = dy.len() / ROWS;
            let on_blocks = |mut values: Vec<f64>| {
                let present = values.iter_mut().zip(&run.present[layer]);
                present.for_each(|(value, present)| *value *= f64::from(u8::from(*present)));
                values
            };
            let sum = |power: i32| {
                let dy = |j: usize, r: usize| dy[r * out + j].powi(power);
                on_blocks(product([out, ROWS, WIDTH], dy, |r, k| x[r * WIDTH + k].powi(power)))
            };
            let grad = sum(1);
            let length: f64 = grad.iter().map(|g| g * g).sum();
            conditions.push((sum(2).into_iter().sum::<f64>() / length).sqrt().max(1.0));
            grads.push(grad);
            if layer > 0 {
                dy = product([ROWS, out, WIDTH], |r, j| dy[r * out + j], |j, k| weight[j * WIDTH + k]);
                let active = dy.iter_mut().zip(&active[layer - 1]);
                active.for_each(|(dy, active)| *dy *= f64::from(u8::from(*active)));
            }
        }
        grads.reverse();
        conditions.reverse();
        Self { grads, conditions }
    }
}

#[test]
fn gradients_through_thirty_layers_err_by_their_roundings() {
    let Some(gpu) = gpu() else { return };
    let bound_f16 = bound(UNIT_F16, 4);
    for seed in 1..=6 {
        // In f32 each term of a product's sum is rounded: of two products, 64 terms each.
        let float = Run::new(&gpu, seed, Precision::F32);
        let (far, most) = (float.worst(&Reference::new(&float)), bound(UNIT_F32, 2 * WIDTH));
        assert!(far < most, "seed {seed}: f32 is off by {far:e} from the reference, may be {most:e}");

        let half = |loss_scale| Precision::F16(Half { loss_scale, ..Half::default() });
        let mut found = Run::new(&gpu, seed, half(1024.0));
        let reference = Reference::new(&found);
        let condition = reference.conditions.iter().copied().fold(0.0, f64::max);
        let far = found.worst(&reference);
        println!("seed {seed}: {far:.4} of {bound_f16:.4}, condition numbers up to {condition:.2}");
        assert!(far < bound_f16, "seed {seed}: {far}, may be {bound_f16}");

        // Wrong gradients are far outside: of one layer a tenth too large, or missing;
        let objects = |why: &str, found: &Run, reference: &Reference| {
            let far = found.worst(reference);
            assert!(far > 2.0 * bound_f16, "seed {seed}: {why}: {far}, may be {bound_f16}");
        };
        for layer in 0..LAYERS {
            for factor in [1.1, 1.5, 0.0] {
                let right = found.grads[layer].clone();
                found.grads[layer].iter_mut().for_each(|g| *g *= factor);
                objects("scaled", &found, &reference);
                found.grads[layer] = right;
            }
        }
        // of one row less, or of one layer that passes gradients through inactive units;
        objects("a row less", &found, &Reference::with(&found, &found.active, ROWS - 1));
        let mut active = found.active.clone();
        active[LAYERS / 2].fill(true);
        objects("no ReLU", &found, &Reference::with(&found, &active, ROWS));
        // or below the range of f16.
        let lost = Run::new(&gpu, seed, half(2f32.powi(-18)));
        objects("lost", &lost, &Reference::new(&lost));
    }
}
