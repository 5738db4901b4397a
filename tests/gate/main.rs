//! Gates on the device and as twins, against an independent oracle in f64: assignments exactly, weights and losses by
//! formula, gradients by central differences. Wrong gates must be rejected by it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod assignments;
mod gradients;
mod keep;
mod refusals;
mod truth;

use fretwork::gpu::{Class, Element, Gpu, Options, Recorder, Tensor};
use fretwork::ops::gate::{self, Balance, Draw, Gate, Grads, Inputs, Outputs, Results};
use fretwork::ops::{IGNORED, Order, Step, StepValues};
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference::{gate as twins, select_columns};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

const INDEX: u32 = 3;

fn key() -> Key {
    Key::new(40, Stream::Gate(2))
}

fn walk(case: u32) -> Walk {
    Key::new(41, Stream::Check(case)).walk()
}

/// A gate and its inputs on the host.
#[derive(Clone)]
struct Setup {
    gate: Gate,
    experts: usize,
    logits: Vec<f32>,
    noise: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
    valid: Option<Vec<u32>>,
    draws: bool,
    /// One entry per assignment.
    weights_grad: Vec<f32>,
    balance: Option<Balance>,
}

impl Setup {
    /// Random logits and a random weight gradient.
    fn new(gate: &str, tokens: usize, experts: usize, walk: &mut Walk) -> Self {
        let gate: Gate = gate.parse().unwrap();
        let mut numbers = |count: usize, size: f32| {
            (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * size).collect::<Vec<_>>()
        };
        let noisy = matches!(gate, Gate::NoisyTopK { .. });
        Self {
            gate,
            experts,
            logits: numbers(tokens * experts, 2.0),
            noise: noisy.then(|| numbers(tokens * experts, 1.5)),
            bias: None,
            valid: None,
            draws: noisy,
            weights_grad: numbers(tokens * gate.assignments(experts), 1.0),
            balance: None,
        }
    }

    fn tokens(&self) -> usize {
        self.logits.len() / self.experts
    }

    fn assignments(&self) -> usize {
        self.gate.assignments(self.experts)
    }

    fn counts(&self, token: usize) -> bool {
        let row = &self.logits[token * self.experts..][..self.experts];
        self.valid.as_ref().is_none_or(|valid| valid[token] != IGNORED) && row.iter().all(|x| x.is_finite())
    }
}

/// Results of the device.
#[derive(Debug, PartialEq)]
struct Found {
    probs: Vec<f32>,
    experts: Vec<u32>,
    weights: Vec<f32>,
    noisy: Vec<f32>,
    losses: Vec<f32>,
    counts: Vec<u32>,
    logits_grad: Vec<f32>,
    noise_grad: Vec<f32>,
}

impl Found {
    /// All results as bits.
    fn bits(&self) -> Vec<u32> {
        let floats =
            [&self.probs, &self.weights, &self.noisy, &self.losses, &self.logits_grad, &self.noise_grad];
        let bits = floats.into_iter().flatten().map(|x| x.to_bits());
        bits.chain(self.experts.iter().copied()).chain(self.counts.iter().copied()).collect()
    }
}

fn read<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Vec<T> {
    gpu.read(tensor).unwrap().wait().unwrap()
}

fn run(gpu: &Gpu, setup: &Setup) -> Found {
    let (tokens, experts, assignments) = (setup.tokens(), setup.experts, setup.assignments());
    let floats = |shape: &[usize], values: &[f32]| gpu.upload(Class::Scratch, "test", shape, values).unwrap();
    let words = |shape: &[usize], values: &[u32]| gpu.upload(Class::Scratch, "test", shape, values).unwrap();
    let poison = |shape: &[usize]| floats(shape, &vec![f32::NAN; shape.iter().product()]);
    let matrix = [tokens, experts];
    let logits = floats(&matrix, &setup.logits);
    let noise = setup.noise.as_ref().map(|noise| floats(&matrix, noise));
    let bias = setup.bias.as_ref().map(|bias| floats(&[experts], bias));
    let valid = setup.valid.as_ref().map(|valid| words(&[tokens], valid));
    let step = Step::new(gpu, StepValues::forward(INDEX)).unwrap();
    let [probs, noisy, logits_grad, noise_grad] = [(); 4].map(|()| poison(&matrix));
    let (per_token, chosen) =
        (poison(&[tokens, 4]), words(&[tokens, assignments], &vec![77; tokens * assignments]));
    let (weights, weights_grad) =
        (poison(&[tokens, assignments]), floats(&[tokens, assignments], &setup.weights_grad));
    let (losses, slopes) = (poison(&[5]), poison(&[4, experts]));
    let counts = words(&[experts], &vec![77; experts]);

    let inputs = Inputs {
        logits: &logits,
        noise: noise.as_ref(),
        bias: bias.as_ref(),
        valid: valid.as_ref(),
        draw: setup.draws.then_some(Draw { key: key(), step: &step }),
    };
    let out = Outputs {
        probs: &probs,
        tokens: &per_token,
        experts: &chosen,
        weights: &weights,
        noisy: noise.is_some().then_some(&noisy),
    };
    let mut rec = Recorder::new(gpu);
    gate::forward(&mut rec, setup.gate, inputs, out).unwrap();
    if let Some(balance) = setup.balance {
        let results = Results { losses: &losses, counts: &counts, slopes: &slopes };
        gate::losses(&mut rec, setup.gate, inputs, out, balance, results).unwrap();
    }
    let slopes = setup.balance.map(|_| &slopes);
    let grads = Grads { logits: &logits_grad, noise: noise.is_some().then_some(&noise_grad) };
    gate::backward(&mut rec, setup.gate, inputs, out, &weights_grad, slopes, grads).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    Found {
        probs: read(gpu, &probs),
        experts: read(gpu, &chosen),
        weights: read(gpu, &weights),
        noisy: read(gpu, &noisy),
        losses: read(gpu, &losses),
        counts: read(gpu, &counts),
        logits_grad: read(gpu, &logits_grad),
        noise_grad: read(gpu, &noise_grad),
    }
}

/// Results of the CPU twins.
fn twin(setup: &Setup) -> Found {
    let (count, experts, gate) = (setup.tokens(), setup.experts, setup.gate);
    let (logits, all) = (&setup.logits, setup.logits.len());
    let noise = setup.noise.as_ref().filter(|_| setup.draws);
    let mut noisy = logits.clone();
    if let Some(noise) = noise {
        twins::noise(logits, noise, &mut noisy, key(), INDEX);
    }
    let mut probs = vec![f32::NAN; all];
    let mut tokens = vec![twins::Token { lse: 0.0, square: 0.0, counts: 0.0, total: 0.0 }; count];
    twins::probs(&noisy, setup.valid.as_deref(), &mut probs, &mut tokens, gate.score());

    let keys = if setup.bias.is_some() { &probs } else { &noisy };
    let choose = |assignments: usize| {
        let mut chosen = vec![77; count * assignments];
        twins::choose(keys, setup.bias.as_deref(), &tokens, &mut chosen);
        chosen
    };
    let mut scores = vec![f32::NAN; all];
    let mut capacity = vec![77; experts];
    let mut chosen = match gate {
        Gate::TopK { k, tile: Some(tile), .. } => {
            let chosen = choose(k);
            twins::count(&chosen, &mut capacity, tile as u32);
            twins::scores(&probs, &tokens, &mut scores, twins::Rule::Favour(&chosen));
            vec![77; all]
        }
        Gate::ExpertChoice { .. } => {
            let by_count: Vec<u32> = (0..=count).map(|count| gate.capacity(count, experts) as u32).collect();
            twins::capacity(&tokens, &by_count, &mut capacity);
            twins::scores(&probs, &tokens, &mut scores, twins::Rule::Probs);
            vec![77; all]
        }
        _ => choose(setup.assignments()),
    };
    if gate.by_expert() {
        twins::assign(&select_columns(&scores, &capacity, Order::Largest), &mut chosen, count);
    }
    let mut weights = vec![f32::NAN; chosen.len()];
    let values = if gate.weights() == gate::Weights::Chosen { &noisy } else { &probs };
    let random = (setup.draws && gate == Gate::GShard { random: true }).then_some((key(), INDEX));
    twins::weigh(values, &mut chosen, &mut weights, count, gate.weights(), random);

    let drawn = noise.filter(|_| setup.assignments() < experts);
    let results = setup.balance.map(|balance| {
        let mut load = vec![f32::NAN; all];
        if let Some(noise) = drawn {
            twins::load(logits, noise, &noisy, &chosen, &tokens, &mut load);
        }
        let load = drawn.map(|_| load.as_slice());
        let (statistics, sums) =
            twins::statistics(&probs, &tokens, &chosen, &weights, load, gate.by_expert());
        twins::losses(&statistics, sums, balance)
    });
    let slopes = results.as_ref().map(|results| results.slopes.as_slice());
    let (mut logits_grad, mut noise_grad) = (vec![f32::NAN; all], vec![0.0; all]);
    let grad = &setup.weights_grad;
    twins::backward(gate, &noisy, &probs, &tokens, &chosen, &weights, grad, slopes, &mut logits_grad);
    if let Some(noise) = noise {
        let slopes = slopes.filter(|_| drawn.is_some());
        let grads = (&mut logits_grad, &mut noise_grad);
        twins::noise_backward(
            logits,
            noise,
            &noisy,
            &chosen,
            &tokens,
            slopes,
            grads.0,
            grads.1,
            key(),
            INDEX,
        );
    }
    let (losses, counts) =
        results.map_or((Vec::new(), Vec::new()), |results| (results.losses.to_vec(), results.counts));
    Found { probs, experts: chosen, weights, noisy, losses, counts, logits_grad, noise_grad }
}
