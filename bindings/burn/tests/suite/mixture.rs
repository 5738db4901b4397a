//! Mixtures of experts against their definition, computed on the host in f64, and as Burn modules.

use burn_core::module::Module;
use burn_core::store::ModuleRecord;
use burn_core::tensor::{Device, Tensor};
use fretwork_burn::fretwork::ops::Activation;
use fretwork_burn::{Blocks, SparseMoe, SparseMoeConfig};

use crate::{device, floats, numbers, tensor, walk};

/// Output, and gradients of the input, the router and the experts' weights as dense ones.
struct Found {
    y: Vec<f32>,
    grads: [Vec<f32>; 4],
}

/// A mixture of a random shape, its input and the gradient of its output.
struct Case {
    config: SparseMoeConfig,
    moe: SparseMoe,
    rows: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn draw(number: u32, device: &Device) -> Self {
        let mut walk = walk(8000 + number);
        let block = [8, 16][number as usize % 2];
        let [width, hidden] = [0; 2].map(|_| block * (1 + walk.below(4) as usize));
        let experts = 1 + walk.below(8) as usize;
        let top_k = 1 + walk.below(experts.min(3) as u32) as usize;
        let activation = [Activation::Relu, Activation::Silu, Activation::Gelu][number as usize % 3];
        let density = [1.0, 0.5][number as usize / 2 % 2];
        let config = SparseMoeConfig::new(width, experts).hidden(hidden).top_k(top_k).block(block);
        let config =
            config.activation(activation).density(density).balance([0.0, 0.1][number as usize / 4 % 2]);
        let rows = 1 + walk.below(70) as usize;
        let moe = config.clone().seed(number.into()).init(device);
        let [x, dy] = [0; 2].map(|_| numbers(&mut walk, rows * width));
        Self { config, moe, rows, x, dy }
    }

    fn input(&self, device: &Device) -> [Tensor<2>; 2] {
        let dims = [self.rows, self.config.width];
        [&self.x, &self.dy].map(|values| tensor(values.clone(), dims, device))
    }

    /// By the mixture, in the middle of a graph.
    fn sparse(&self, device: &Device) -> Found {
        let [x, dy] = self.input(device);
        let x = x.require_grad();
        let y = self.moe.forward(x.clone());
        let grads = (y.clone() * dy).sum().backward();
        let moe = &self.moe;
        let wide = |weight: Tensor<3>, blocks: Option<&Blocks>| {
            let values = floats(weight);
            blocks.map_or(values.clone(), |blocks| blocks.topology().unwrap().scatter(&values))
        };
        Found {
            y: floats(y),
            grads: [
                floats(x.grad(&grads).unwrap()),
                floats(moe.router.val().grad(&grads).unwrap()),
                wide(moe.up.val().grad(&grads).unwrap(), moe.up_blocks.as_ref()),
                wide(moe.down.val().grad(&grads).unwrap(), moe.down_blocks.as_ref()),
            ],
        }
    }

    /// Input, router, upper and lower weight on the host, the experts' as dense matrices.
    fn operands(&self) -> [Vec<f64>; 4] {
        let wide = |weight: Tensor<3>, blocks: Option<&Blocks>| {
            let values = floats(weight);
            blocks.map_or(values.clone(), |blocks| blocks.topology().unwrap().scatter(&values))
        };
        let up = wide(self.moe.up.val(), self.moe.up_blocks.as_ref());
        let down = wide(self.moe.down.val(), self.moe.down_blocks.as_ref());
        [self.x.clone(), floats(self.moe.router.val()), up, down]
            .map(|values| values.into_iter().map(f64::from).collect())
    }

    /// The output by its definition, and the loss that its gradients are of: `sum(y * dy)` and the load balancing loss.
    fn definition(&self, [x, router, up, down]: &[Vec<f64>; 4]) -> (Vec<f64>, f64) {
        let SparseMoeConfig { width, experts, top_k, hidden, balance, .. } = self.config;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut y = vec![0.0; x.len()];
        let (mut means, mut firsts) = (vec![0.0; experts], vec![0.0; experts]);
        for (x, y) in x.chunks(width).zip(y.chunks_mut(width)) {
            let logits: Vec<f64> = router.chunks(width).map(|row| dot(row, x)).collect();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            let probs: Vec<f64> = logits.iter().map(|logit| logit.exp() / sum).collect();
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|&a, &b| probs[b].total_cmp(&probs[a]));
            let total: f64 = order[..top_k].iter().map(|&expert| probs[expert]).sum();
            for &expert in &order[..top_k] {
                let weight = if top_k == 1 { probs[expert] } else { probs[expert] / (total + 1e-9) };
                for unit in expert * hidden..(expert + 1) * hidden {
                    let h = weight * self.activation(dot(&up[unit * width..][..width], x));
                    y.iter_mut().zip(&down[unit * width..]).for_each(|(y, down)| *y += h * down);
                }
            }
            firsts[order[0]] += 1.0 / self.rows as f64;
            means.iter_mut().zip(&probs).for_each(|(mean, prob)| *mean += prob / self.rows as f64);
        }
        let aux = f64::from(balance) * experts as f64 * dot(&means, &firsts);
        let loss = y.iter().zip(&self.dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>() + aux;
        (y, loss)
    }

    fn activation(&self, x: f64) -> f64 {
        match self.config.activation {
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            _ => x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()) / 2.0,
        }
    }

    /// Compares the output, and of each gradient the largest element and some others, with differences of the loss in f64.
    fn compare(&self, found: &Found) {
        let what = format!("{:?} of {} rows", self.config, self.rows);
        let operands = self.operands();
        let (y, _) = self.definition(&operands);
        let largest = y.iter().fold(1e-3, |largest: f64, y| largest.max(y.abs()));
        for (at, (&found, &wanted)) in found.y.iter().zip(&y).enumerate() {
            let off = (f64::from(found) - wanted).abs() / largest;
            assert!(off < 1e-5, "{what}: y[{at}] is {found}, should be {wanted}");
        }
        for (at, name) in ["x", "router", "up", "down"].into_iter().enumerate() {
            let grad = &found.grads[at];
            assert_eq!(grad.len(), operands[at].len(), "{what}: {name}");
            let size = |&index: &usize| f64::from(grad[index].abs());
            let top = (0..grad.len()).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
            for index in (0..grad.len()).step_by(grad.len().div_ceil(9)).chain([top]) {
                // An absent block has no gradient, whatever the loss does there.
                if grad[index] == 0.0 && operands[at][index] == 0.0 {
                    continue;
                }
                let side = |step: f64| {
                    let mut operands = operands.clone();
                    operands[at][index] += step;
                    self.definition(&operands).1
                };
                let wanted = (side(1e-6) - side(-1e-6)) / 2e-6;
                let off = (f64::from(grad[index]) - wanted).abs() / size(&top).max(1e-3);
                assert!(
                    off < 5e-5,
                    "{what}: the gradient of {name}[{index}] is {}, should be {wanted}",
                    grad[index]
                );
            }
        }
    }
}

#[test]
fn mixtures_agree_with_their_definition() {
    let device = device().autodiff();
    for number in 0..24 {
        let case = Case::draw(number, &device);
        case.compare(&case.sparse(&device));
    }
}

#[test]
fn the_comparison_objects() {
    let device = device().autodiff();
    let case = Case::draw(1, &device);
    for at in 0..5 {
        let mut found = case.sparse(&device);
        let part = if at == 0 { &mut found.y } else { &mut found.grads[at - 1] };
        let largest = part.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        *largest *= 1.001;
        let objects = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.compare(&found)));
        assert!(objects.is_err(), "part {at}");
    }
}

/// Activations of one application that others have overwritten are computed anew.
#[test]
fn applications_before_a_backward_pass_do_not_disturb_it() {
    let device = device().autodiff();
    let case = Case::draw(7, &device);
    let wanted = case.sparse(&device);
    let [x, dy] = case.input(&device);
    let x = x.require_grad();
    let y = case.moe.forward(x.clone());
    let other = case.moe.forward(x.clone().detach() * 2.0);
    case.moe.valid().forward(x.clone().detach().without_autodiff());
    let grads = (y.clone() * dy.clone()).sum().backward();
    assert_eq!(floats(y), wanted.y);
    assert_eq!(floats(x.grad(&grads).unwrap()), wanted.grads[0]);
    assert_eq!(floats(case.moe.router.val().grad(&grads).unwrap()), wanted.grads[1]);
    // The other's backward pass is its own.
    let grads = (other * dy).sum().backward();
    assert_ne!(floats(case.moe.router.val().grad(&grads).unwrap()), wanted.grads[1]);
}

#[test]
fn rows_of_sequences_are_rows() {
    let device = device();
    let moe = SparseMoeConfig::new(32, 4).init(&device);
    let x = numbers(&mut walk(8500), 6 * 32);
    let flat = floats(moe.forward(tensor(x.clone(), [6, 32], &device)));
    assert_eq!(floats(moe.forward(tensor(x, [2, 3, 32], &device))), flat);
    assert_eq!(moe.forward(Tensor::<2>::zeros([0, 32], &device)).dims(), [0, 32]);
}

#[test]
fn records_hold_mixtures() {
    let device = device();
    let config = SparseMoeConfig::new(32, 4).density(0.5);
    let [one, other] = [1, 2].map(|seed| config.clone().seed(seed).init(&device));
    let output = |moe: &SparseMoe| floats(moe.forward(Tensor::<2>::ones([5, 32], &device)));
    assert_ne!(output(&one), output(&other));
    let bytes = one.clone().into_record().into_bytes().unwrap();
    let loaded = other.load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_eq!(output(&one), output(&loaded));
}

#[test]
fn settings_and_inputs_that_do_not_fit_are_refused() {
    let device = device();
    let says = |error: Option<fretwork_burn::Error>, words: &str| {
        let message = error.expect("it is refused").to_string();
        assert!(message.contains(words), "{message}");
    };
    let config = SparseMoeConfig::new(32, 4);
    says(config.clone().hidden(40).try_init(&device).err(), "hidden should be a multiple of the block, 16");
    says(config.clone().density(0.0).try_init(&device).err(), "density");
    says(config.clone().top_k(5).try_init(&device).err(), "4");
    says(SparseMoeConfig::new(32, 0).try_init(&device).err(), "experts");
    says(config.clone().balance(f32::NAN).try_init(&device).err(), "balance");
    let moe = config.init(&device);
    says(moe.try_forward(Tensor::<2>::zeros([3, 48], &device)).err(), "of width 32");
    let half = Tensor::<2>::zeros([3, 32], &device).cast(burn_core::tensor::DType::F16);
    says(moe.try_forward(half).err(), "the input is of F16");
}
