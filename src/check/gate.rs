//! Checks of gates, forward and backward.

use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Element, Gpu, Recorder, Tensor};
use crate::ops::gate::{Balance, Draw, Gate, Grads, Inputs, Outputs, Results, Weights};
use crate::ops::{self, ABSENT, Order, Step, StepValues};
use crate::random::{Key, Stream};
use crate::reference::gate::{self, Rule, Token};
use crate::reference::{self, bound::UNIT};

/// Number of tokens: more than one chunk and one workgroup, and a multiple of neither.
pub(super) const TOKENS: usize = 141;
pub(super) const EXPERTS: usize = 7;
pub(super) const INDEX: u32 = 5;

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for (text, biased, drawn) in [
        ("softmax-top:3", false, false),
        ("softmax-top:3", true, false),
        ("softmax-top:7:renormalised", false, false),
        ("softmax-top:2:chosen", false, false),
        ("sigmoid-top:2", true, false),
        ("sigmoid-top:3:renormalised", false, false),
        ("softmax-top:2:renormalised:tile=16", false, false),
        ("sigmoid-top:2:tile=8", true, false),
        ("noisy-top:2", false, false),
        ("noisy-top:2", false, true),
        ("noisy-top:7", false, true),
        ("gshard", false, true),
        ("gshard:random", false, true),
        ("expert-choice:1.5", false, false),
    ] {
        let suffix = if biased { ", biased" } else { "" };
        let drawing = if drawn { ", drawing" } else { "" };
        let case = Case { text, biased, drawn };
        for (pass, run) in [("forward", forward as fn(&Gpu, Case) -> Result<Verdict>), ("backward", backward)]
        {
            let name = format!("fretwork.gate.{pass}.f32({text}{suffix}{drawing})");
            table.push(Check::new(name, move |gpu| run(gpu, case)));
        }
    }
    table
}

/// A gate and its options.
#[derive(Clone, Copy)]
struct Case {
    text: &'static str,
    biased: bool,
    drawn: bool,
}

pub(super) fn key() -> Key {
    Key::new(21, Stream::Gate(1))
}

pub(super) fn step(gpu: &Gpu) -> Result<Step> {
    Step::new(gpu, StepValues::forward(INDEX))
}

pub(super) fn words(gpu: &Gpu, words: &[u32]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", &[words.len()], words)
}

/// A tensor of words that no result contains.
pub(super) fn poisoned_words(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", shape, &vec![77u32; shape.iter().product()])
}

/// Logits with ties, some far apart, and tokens that do not count.
pub(super) struct Operands {
    pub(super) logits: Vec<f32>,
    pub(super) noise: Vec<f32>,
    bias: Vec<f32>,
    valid: Vec<u32>,
    weights_grad: Vec<f32>,
}

impl Operands {
    pub(super) fn new() -> Self {
        let mut walk = operands(1100);
        let mut logits = numbers(&mut walk, TOKENS * EXPERTS, 3.0);
        logits.iter_mut().step_by(3).for_each(|x| *x = (*x * 2.0).round() / 2.0);
        logits[..EXPERTS].fill(0.5);
        logits[EXPERTS..2 * EXPERTS].copy_from_slice(&[90.0, -90.0, 0.0, -0.0, 200.0, 80.0, 1e-30]);
        logits[5 * EXPERTS + 2] = f32::NAN;
        logits[6 * EXPERTS + 1] = f32::NEG_INFINITY;
        let mut valid: Vec<u32> = (0..TOKENS).map(|_| walk.below(5).wrapping_sub(1)).collect();
        valid[..5].fill(1);
        let noise = numbers(&mut walk, TOKENS * EXPERTS, 2.0);
        let bias = numbers(&mut walk, EXPERTS, 0.2);
        let weights_grad = numbers(&mut walk, TOKENS * EXPERTS, 1.0);
        Self { logits, noise, bias, valid, weights_grad }
    }
}

/// [`Operands`] on the device.
struct Placed {
    logits: Tensor,
    noise: Tensor,
    bias: Tensor,
    valid: Tensor,
    step: Step,
}

impl Placed {
    fn new(gpu: &Gpu, from: &Operands) -> Result<Self> {
        Ok(Self {
            logits: place(gpu, &[TOKENS, EXPERTS], &from.logits)?,
            noise: place(gpu, &[TOKENS, EXPERTS], &from.noise)?,
            bias: place(gpu, &[EXPERTS], &from.bias)?,
            valid: words(gpu, &from.valid)?,
            step: step(gpu)?,
        })
    }

    fn inputs(&self, case: Case, gate: Gate) -> Inputs<'_> {
        let noisy = matches!(gate, Gate::NoisyTopK { .. });
        Inputs {
            logits: &self.logits,
            noise: noisy.then_some(&self.noise),
            bias: case.biased.then_some(&self.bias),
            valid: Some(&self.valid),
            draw: case.drawn.then_some(Draw { key: key(), step: &self.step }),
        }
    }
}

/// Results of a gate on the device.
pub(super) struct Left {
    probs: Tensor,
    tokens: Tensor,
    experts: Tensor,
    weights: Tensor,
    pub(super) noisy: Tensor,
}

impl Left {
    pub(super) fn new(gpu: &Gpu, gate: Gate) -> Result<Self> {
        let choices = gate.assignments(EXPERTS);
        Ok(Self {
            probs: poisoned(gpu, &[TOKENS, EXPERTS])?,
            tokens: poisoned(gpu, &[TOKENS, 4])?,
            experts: poisoned_words(gpu, &[TOKENS, choices])?,
            weights: poisoned(gpu, &[TOKENS, choices])?,
            noisy: poisoned(gpu, &[TOKENS, EXPERTS])?,
        })
    }

    pub(super) fn outputs(&self, gate: Gate) -> Outputs<'_> {
        let noisy = matches!(gate, Gate::NoisyTopK { .. });
        Outputs {
            probs: &self.probs,
            tokens: &self.tokens,
            experts: &self.experts,
            weights: &self.weights,
            noisy: noisy.then_some(&self.noisy),
        }
    }
}

pub(super) fn read<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Result<Vec<T>> {
    gpu.read(tensor)?.wait()
}

/// The first wrong verdict, or that of the largest error.
pub(super) fn all(verdicts: impl IntoIterator<Item = (&'static str, Verdict)>) -> Verdict {
    let mut worst = 0.0f64;
    for (what, verdict) in verdicts {
        match verdict {
            Verdict::Right(share) => worst = worst.max(share),
            Verdict::Wrong(why) => return Verdict::Wrong(format!("{what}: {why}")),
        }
    }
    Verdict::Right(worst)
}

/// Judges each stage by itself: the twin of a stage takes the device's results of the stage before, so choices must be equal.
fn forward(gpu: &Gpu, case: Case) -> Result<Verdict> {
    let gate: Gate = case.text.parse()?;
    let from = Operands::new();
    let placed = Placed::new(gpu, &from)?;
    let mut last = None;
    let found = thrice::<f32>(gpu, |rec| {
        let left = last.insert(Left::new(gpu, gate)?);
        ops::gate::forward(rec, gate, placed.inputs(case, gate), left.outputs(gate))?;
        Ok(left.weights.clone())
    })?;
    let (found, left) = match (found, last) {
        (Ok(found), Some(left)) => (found, left),
        (Err(verdict), _) => return Ok(verdict),
        (_, None) => return Ok(Verdict::Wrong("it did not run".to_owned())),
    };
    let drawn = case.drawn && matches!(gate, Gate::NoisyTopK { .. });
    let logits = if drawn { read::<f32>(gpu, &left.noisy)? } else { from.logits.clone() };

    let mut probs = vec![f32::NAN; TOKENS * EXPERTS];
    let mut tokens = vec![Token { lse: 0.0, square: 0.0, counts: 0.0, total: 0.0 }; TOKENS];
    gate::probs(&logits, Some(&from.valid), &mut probs, &mut tokens, gate.score());
    let found_probs = read::<f32>(gpu, &left.probs)?;
    let found_tokens = read::<f32>(gpu, &left.tokens)?;

    let mut experts = choices(gate, &logits, case.biased.then_some(&from.bias), &found_probs, &tokens);
    let mut weights = vec![f32::NAN; experts.len()];
    let values = if gate.weights() == Weights::Chosen { &logits } else { &found_probs };
    let random = (case.drawn && gate == Gate::GShard { random: true }).then_some((key(), INDEX));
    gate::weigh(values, &mut experts, &mut weights, TOKENS, gate.weights(), random);
    Ok(all([
        ("probabilities", judge(&found_probs, &probs, |i| EXP * f64::from(probs[i]))),
        (
            "tokens",
            judge(&found_tokens, bytemuck::cast_slice(&tokens), |i| token_error(&tokens[i / 4], i % 4)),
        ),
        ("experts", judge_exact(&read::<u32>(gpu, &left.experts)?, &experts)),
        ("weights", judge(&found, &weights, |i| EXP * f64::from(weights[i]))),
    ]))
}

/// A device's exponential errs by 3 + 2 |x| units in the last place, and exponents here are at most 87; sums, quotients and the
/// twin have their roundings.
const EXP: f64 = 400.0 * UNIT;

/// The logarithm of a sum may err by an absolute 2^-21, and by the sum's own error.
fn token_error(token: &Token, column: usize) -> f64 {
    let lse = 8.0 * UNIT * (8.0 + f64::from(token.lse).abs()) + EXP;
    match column {
        0 => lse,
        1 => 2.0 * lse * (f64::from(token.lse).abs() + 1.0),
        2 => 0.0,
        _ => EXP * f64::from(token.total),
    }
}

/// The twin's assignments, from the device's probabilities and tokens.
fn choices(gate: Gate, logits: &[f32], bias: Option<&Vec<f32>>, probs: &[f32], tokens: &[Token]) -> Vec<u32> {
    let k = gate.assignments(EXPERTS);
    let mut experts = vec![77; TOKENS * k];
    let keys = if bias.is_some() { probs } else { logits };
    let bias = bias.map(Vec::as_slice);
    let mut scores = vec![f32::NAN; TOKENS * EXPERTS];
    let by_count: Vec<u32> = (0..=TOKENS).map(|count| gate.capacity(count, EXPERTS) as u32).collect();
    let mut capacity = vec![77; EXPERTS];
    match gate {
        Gate::TopK { k, tile: Some(tile), .. } => {
            let mut chosen = vec![77; TOKENS * k];
            gate::choose(keys, bias, tokens, &mut chosen);
            gate::count(&chosen, &mut capacity, tile as u32);
            gate::scores(probs, tokens, &mut scores, Rule::Favour(&chosen));
        }
        Gate::ExpertChoice { .. } => {
            gate::capacity(tokens, &by_count, &mut capacity);
            gate::scores(probs, tokens, &mut scores, Rule::Probs);
        }
        _ => {
            gate::choose(keys, bias, tokens, &mut experts);
            return experts;
        }
    }
    gate::assign(&reference::select_columns(&scores, &capacity, Order::Largest), &mut experts, TOKENS);
    experts
}

const BALANCE: Balance = Balance { aux: 0.3, importance: 0.02, load: 0.05, z: 0.01 };

fn backward(gpu: &Gpu, case: Case) -> Result<Verdict> {
    let gate: Gate = case.text.parse()?;
    let from = Operands::new();
    let placed = Placed::new(gpu, &from)?;
    let left = Left::new(gpu, gate)?;
    let (inputs, out) = (placed.inputs(case, gate), left.outputs(gate));
    let mut rec = Recorder::new(gpu);
    ops::gate::forward(&mut rec, gate, inputs, out)?;
    gpu.run(&rec.finish()?)?;
    let drawn = case.drawn && matches!(gate, Gate::NoisyTopK { .. });
    let logits = if drawn { read::<f32>(gpu, &left.noisy)? } else { from.logits.clone() };
    let (probs, experts) = (read::<f32>(gpu, &left.probs)?, read::<u32>(gpu, &left.experts)?);
    // The twins index by the assignments of the device, so these are validated first.
    let nobody = |&&expert: &&u32| expert != ABSENT && expert as usize >= EXPERTS;
    if let Some(expert) = experts.iter().find(nobody) {
        return Ok(Verdict::Wrong(format!("a token goes to expert {expert} of {EXPERTS}")));
    }
    let (weights, tokens) = (read::<f32>(gpu, &left.weights)?, read::<f32>(gpu, &left.tokens)?);
    let tokens: &[Token] = bytemuck::cast_slice(&tokens);
    let weights_grad = &from.weights_grad[..weights.len()];
    let grad = place(gpu, left.weights.shape(), weights_grad)?;

    let mut verdicts = Vec::new();
    for balance in [None, Some(BALANCE)] {
        let (losses, slopes) = (poisoned(gpu, &[5])?, poisoned(gpu, &[4, EXPERTS])?);
        let counts = poisoned_words(gpu, &[EXPERTS])?;
        let noise_grad = poisoned(gpu, &[TOKENS, EXPERTS])?;
        let found = thrice::<f32>(gpu, |rec| {
            let logits = poisoned(gpu, &[TOKENS, EXPERTS])?;
            if let Some(balance) = balance {
                let results = Results { losses: &losses, counts: &counts, slopes: &slopes };
                ops::gate::losses(rec, gate, inputs, out, balance, results)?;
            }
            let grads = Grads { logits: &logits, noise: Some(&noise_grad) };
            ops::gate::backward(rec, gate, inputs, out, &grad, balance.map(|_| &slopes), grads)?;
            Ok(logits)
        })?;
        let found = match found {
            Ok(found) => found,
            Err(verdict) => return Ok(verdict),
        };
        let mut slope_values = vec![0.0; 4 * EXPERTS];
        if let Some(balance) = balance {
            let mut load = vec![f32::NAN; TOKENS * EXPERTS];
            let load_drawn = drawn && gate.assignments(EXPERTS) < EXPERTS;
            if load_drawn {
                gate::load(&from.logits, &from.noise, &logits, &experts, tokens, &mut load);
            }
            let load = load_drawn.then_some(load.as_slice());
            let (statistics, sums) =
                gate::statistics(&probs, tokens, &experts, &weights, load, gate.by_expert());
            let wanted = gate::losses(&statistics, sums, balance);
            slope_values = read(gpu, &slopes)?;
            let near = |wanted: f32| 1e-5 * f64::from(wanted.abs()) + 1e-6;
            verdicts.extend([
                ("losses", judge(&read(gpu, &losses)?, &wanted.losses, |i| near(wanted.losses[i]))),
                ("counts", judge_exact(&read::<u32>(gpu, &counts)?, &wanted.counts)),
                ("slopes", judge(&slope_values, &wanted.slopes, |i| near(wanted.slopes[i]))),
            ]);
        }
        let mut wanted = vec![f32::NAN; TOKENS * EXPERTS];
        let mut wanted_noise = vec![0.0; TOKENS * EXPERTS];
        let slopes = balance.map(|_| slope_values.as_slice());
        gate::backward(gate, &logits, &probs, tokens, &experts, &weights, weights_grad, slopes, &mut wanted);
        if drawn {
            let slopes = slopes.filter(|_| gate.assignments(EXPERTS) < EXPERTS);
            let (clean, noise) = (&from.logits, &from.noise);
            gate::noise_backward(
                clean,
                noise,
                &logits,
                &experts,
                tokens,
                slopes,
                &mut wanted,
                &mut wanted_noise,
                key(),
                INDEX,
            );
        }
        // All terms are of the order of the incoming gradient, which is below 1, or of a slope.
        let scale = 1.0 + slope_values.iter().fold(0.0f32, |most, x| most.max(x.abs())) * 300.0;
        let bound = |_| 1e-5 * f64::from(scale);
        verdicts.push(("gradient of the logits", judge(&found, &wanted, bound)));
        verdicts.push(("gradient of the noise", judge(&read(gpu, &noise_grad)?, &wanted_noise, bound)));
    }
    Ok(all(verdicts))
}
