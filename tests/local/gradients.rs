//! Gradients of parts: none of a later loss reaches an earlier part, and each is that of central differences of an f64 network.

use std::collections::BTreeMap;

use fretwork::gpu::{Class, Gpu, Recorder};
use fretwork::graph::Start;
use fretwork::nn::{FanIn, Local, MlpConfig, ModelConfig, Network, Precision, Weight};
use fretwork::ops::{self, Activation, Step, StepValues};
use fretwork::random::{Key, Stream};

use crate::activation::activate;
use crate::{WAYS, gpu, mlp};

const ROWS: usize = 20;
const HIDDEN: [usize; 3] = [48, 32, 40];

fn config(local: Local, activation: Activation) -> MlpConfig {
    MlpConfig { activation, block: 8, ..mlp(&HIDDEN, Some(0.5), Some(local)) }
}

/// A network of three hidden layers with a batch of random rows.
struct Bench {
    config: MlpConfig,
    network: Network,
    input: Vec<f32>,
    labels: Vec<u32>,
}

impl Bench {
    fn new(gpu: &Gpu, config: MlpConfig) -> Self {
        let model = ModelConfig::from(config.clone());
        let topologies = model.topologies(config.sparsity).unwrap();
        let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
        let network = model.build(gpu, ROWS, start, Precision::F32, None).unwrap();
        let mut walk = Key::new(9, Stream::Check(0)).walk();
        let input: Vec<f32> = (0..ROWS * 64).map(|_| 2.0 * walk.uniform() - 1.0).collect();
        let labels = (0..ROWS).map(|_| walk.below(10)).collect();
        gpu.write(network.input(), &input).unwrap();
        for param in network.store().iter().filter(|param| !param.is_matrix()) {
            let values: Vec<f32> = (0..param.values().len()).map(|_| walk.uniform() - 0.5).collect();
            gpu.write(param.values(), &values).unwrap();
        }
        Self { config, network, input, labels }
    }

    /// Gradients of all parameters by name, bits of f32, after the first `parts` parts, of the losses of the parts that `counts`.
    /// They are NaN where nothing was written.
    fn gradients(
        &self,
        gpu: &Gpu,
        parts: usize,
        counts: &dyn Fn(usize) -> bool,
    ) -> BTreeMap<String, Vec<f32>> {
        let network = &self.network;
        let labels = gpu.upload(Class::Scratch, "labels", &[ROWS], &self.labels).unwrap();
        let report = gpu.alloc::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
        let step = Step::new(gpu, StepValues::backward(0, 1.0 / ROWS as f32)).unwrap();
        let mut rec = Recorder::new(gpu);
        for param in network.store().iter() {
            ops::fill(&mut rec, param.grads(), f32::NAN.to_bits()).unwrap();
        }
        for part in 0..parts {
            network.forward_part(&mut rec, part, Some(&step)).unwrap();
            let (logits, grad) = (network.part_outputs(part)[0], network.part_output_grads(part)[0]);
            ops::softmax_cross_entropy(&mut rec, logits, &labels, &report, grad, &step).unwrap();
            if !counts(part) {
                ops::fill(&mut rec, grad, 0).unwrap();
            }
            network.backward_part(&mut rec, part, Some(&step)).unwrap();
        }
        gpu.run(&rec.finish().unwrap()).unwrap();
        let read = |param: &fretwork::nn::Param| gpu.read::<f32>(param.grads()).unwrap().wait().unwrap();
        network.store().iter().map(|param| (param.name().to_owned(), read(param))).collect()
    }

    /// Parts whose losses reach a parameter.
    fn reached_by(&self, name: &str) -> Vec<usize> {
        let local = self.config.local.unwrap();
        let parts = local.parts(HIDDEN.len()).unwrap();
        let number = name.split('.').nth(1).unwrap().parse().unwrap();
        if name.starts_with("heads") {
            return vec![number];
        }
        let of = parts.iter().position(|part| part.contains(&number)).unwrap_or(parts.len() - 1);
        match local {
            Local::Overlapping if of + 1 < parts.len() => vec![of, of + 1],
            _ => vec![of],
        }
    }
}

/// The gradient of a part's loss is 0 for every parameter of a part that it does not reach.
#[test]
fn a_loss_reaches_its_own_part_alone() {
    let gpu = gpu();
    for local in WAYS {
        let bench = Bench::new(&gpu, config(local, Activation::Gelu));
        let parts = bench.network.parts();
        for part in 0..parts {
            for (name, grads) in bench.gradients(&gpu, parts, &|of| of == part) {
                let reached = bench.reached_by(&name).contains(&part);
                let zero = grads.iter().all(|&x| x == 0.0);
                assert!(grads.iter().all(|x| x.is_finite()), "{local}, {name}");
                assert_eq!(zero, !reached, "{local}: the loss of part {part} and {name}");
            }
        }
    }
}

/// Gradients of the first parts have the same bits whether or not later parts follow.
#[test]
fn later_losses_change_no_bit_of_earlier_parts() {
    let gpu = gpu();
    let bits = |grads: &[f32]| grads.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for local in WAYS {
        let bench = Bench::new(&gpu, config(local, Activation::Relu));
        let parts = bench.network.parts();
        let whole = bench.gradients(&gpu, parts, &|_| true);
        let mut compared = 0;
        for first in 1..parts {
            for (name, grads) in bench.gradients(&gpu, first, &|_| true) {
                if bench.reached_by(&name).into_iter().all(|part| part < first) {
                    assert_eq!(bits(&grads), bits(&whole[&name]), "{local}: {name} after {first} parts");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared > 0, parts > 1, "{local}");
    }
}

/// The network in f64, dense.
struct Twin<'a> {
    bench: &'a Bench,
    values: BTreeMap<String, Vec<f64>>,
}

impl Twin<'_> {
    fn layer(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = (&self.values[&format!("{name}.weight")], &self.values[&format!("{name}.bias")]);
        let inputs = x.len() / ROWS;
        let unit = |row: usize, out: usize| {
            let weights = &weight[out * inputs..][..inputs];
            let products = x[row * inputs..][..inputs].iter().zip(weights).map(|(x, w)| x * w);
            products.sum::<f64>() + bias[out]
        };
        (0..ROWS)
            .flat_map(|row| (0..bias.len()).map(move |out| (row, out)))
            .map(|(r, o)| unit(r, o))
            .collect()
    }

    fn cross_entropy(&self, logits: &[f64]) -> f64 {
        let rows = logits.chunks(10).zip(&self.bench.labels);
        let loss = |(logits, &label): (&[f64], &u32)| {
            logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[label as usize]
        };
        rows.map(loss).sum::<f64>() / ROWS as f64
    }

    /// Sum of the losses of these parts.
    fn loss(&self, parts: &[usize]) -> f64 {
        let config = &self.bench.config;
        let cuts = config.local.unwrap().parts(HIDDEN.len()).unwrap();
        let mut x: Vec<f64> = self.bench.input.iter().copied().map(f64::from).collect();
        let mut sum = 0.0;
        for number in 0..=HIDDEN.len() {
            x = self.layer(&format!("layers.{number}"), &x);
            if number < HIDDEN.len() {
                x.iter_mut().for_each(|x| *x = activate(config.activation, *x));
            }
            let part = cuts.iter().position(|cut| cut.end == number + 1).unwrap_or(usize::MAX);
            if part < cuts.len() - 1 && parts.contains(&part) {
                sum += self.cross_entropy(&self.layer(&format!("heads.{part}"), &x));
            }
        }
        sum + if parts.contains(&(cuts.len() - 1)) { self.cross_entropy(&x) } else { 0.0 }
    }

    /// The derivative of the losses of these parts by one element of a parameter.
    fn slope(&mut self, name: &str, element: usize, parts: &[usize]) -> f64 {
        const H: f64 = 1e-6;
        let before = self.values[name][element];
        let mut at = |offset: f64| {
            self.values.get_mut(name).unwrap()[element] = before + offset;
            let loss = self.loss(parts);
            self.values.get_mut(name).unwrap()[element] = before;
            loss
        };
        (at(H) - at(-H)) / (2.0 * H)
    }
}

/// The largest difference between computed gradients and differences of the losses that should reach each parameter, over some
/// elements of each, as a share of the parameter's largest gradient.
fn worst(gpu: &Gpu, bench: &Bench, reached: &dyn Fn(&str) -> Vec<usize>) -> f64 {
    let grads = bench.gradients(gpu, bench.network.parts(), &|_| true);
    let dense = |weight: &Weight| match weight {
        Weight::Dense(values) => gpu.read::<f32>(values).unwrap().wait().unwrap(),
        Weight::Sparse(matrix) => matrix.to_dense(gpu).unwrap(),
    };
    let params = bench.network.store().iter();
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    let values = params.map(|param| (param.name().to_owned(), wide(dense(param.weight())))).collect();
    let mut twin = Twin { bench, values };
    let mut worst: f64 = 0.0;
    for param in bench.network.store().iter() {
        let (name, grads) = (param.name(), &grads[param.name()]);
        // Elements of absent blocks have no gradient.
        let grads = match param.weight() {
            Weight::Dense(_) => grads.clone(),
            Weight::Sparse(matrix) => matrix.pattern().topology(gpu).unwrap().scatter(grads),
        };
        let largest = grads.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.0, "{name} has no gradient");
        let present: Vec<usize> = (0..grads.len()).filter(|&i| grads[i] != 0.0).collect();
        for &element in present.iter().step_by(present.len().div_ceil(15)) {
            let error = (f64::from(grads[element]) - twin.slope(name, element, &reached(name))).abs();
            worst = worst.max(error / f64::from(largest));
        }
    }
    worst
}

/// Forty roundings of single precision through three layers.
const TOLERANCE: f64 = 2e-5;

#[test]
fn gradients_are_those_of_the_losses_that_reach_a_part() {
    let gpu = gpu();
    for local in WAYS {
        for activation in [Activation::Gelu, Activation::Relu] {
            let bench = Bench::new(&gpu, config(local, activation));
            let found = worst(&gpu, &bench, &|name| bench.reached_by(name));
            assert!(found < TOLERANCE, "{local}, {activation}: {found:e}");
        }
    }
}

/// The check objects where losses of all parts should reach all parameters, and where overlapping parts should be apart.
#[test]
fn other_losses_are_seen() {
    let gpu = gpu();
    let bench = Bench::new(&gpu, config(Local::Greedy, Activation::Gelu));
    assert!(worst(&gpu, &bench, &|_| vec![0, 1, 2]) > TOLERANCE);
    let bench = Bench::new(&gpu, config(Local::Overlapping, Activation::Gelu));
    assert!(worst(&gpu, &bench, &|name| bench.reached_by(name)[..1].to_vec()) > TOLERANCE);
}
