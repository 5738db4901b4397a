//! Checks of gates.

use super::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Element, Gpu, Recorder, Tensor};
use crate::ops::gate::{Draw, Grads, Inputs, Outputs, Results};
use crate::ops::{self, ABSENT, SelectK, Step, StepValues};
use crate::random::{Key, Stream};
use crate::reference::gate::{self, Balance, Gate, Overflow, Rule, Token, Weights};
use crate::reference::{self, Order, bound::UNIT};

/// More than one chunk of tokens and one workgroup, and a whole number of neither.
const TOKENS: usize = 141;
const EXPERTS: usize = 7;
const INDEX: u32 = 5;

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![
        Check::new("fretwork.gate.noise.f32", noise),
        Check::new("fretwork.gate.count.f32", count),
        Check::new("fretwork.gate.bias.f32", bias),
        Check::new("fretwork.gate.tally.f32", tally),
        Check::new("fretwork.gate.scores.f32.only", |gpu| keep(gpu, Overflow::Probability)),
        Check::new("fretwork.gate.first.f32", |gpu| keep(gpu, Overflow::Position)),
        Check::new("fretwork.gate.capacity.f32", quota),
        Check::new("fretwork.select.radix.f32 by columns", columns),
    ];
    for valid in [false, true] {
        let suffix = if valid { ".valid" } else { "" };
        table.push(Check::new(format!("fretwork.gate.hash.f32{suffix}"), move |gpu| hash(gpu, valid)));
    }
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

/// A gate and what it is given.
#[derive(Clone, Copy)]
struct Case {
    text: &'static str,
    biased: bool,
    drawn: bool,
}

fn key() -> Key {
    Key::new(21, Stream::Gate(1))
}

fn step(gpu: &Gpu) -> Result<Step> {
    Step::new(gpu, StepValues::forward(INDEX))
}

fn words(gpu: &Gpu, words: &[u32]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", &[words.len()], words)
}

/// Words that no result has.
fn poisoned_words(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", shape, &vec![77u32; shape.iter().product()])
}

/// Logits with ties, some far apart, and tokens that do not count.
struct Operands {
    logits: Vec<f32>,
    noise: Vec<f32>,
    bias: Vec<f32>,
    valid: Vec<u32>,
    weights_grad: Vec<f32>,
}

impl Operands {
    fn new() -> Self {
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
struct Left {
    probs: Tensor,
    tokens: Tensor,
    experts: Tensor,
    weights: Tensor,
    noisy: Tensor,
}

impl Left {
    fn new(gpu: &Gpu, gate: Gate) -> Result<Self> {
        let choices = gate.assignments(EXPERTS);
        Ok(Self {
            probs: poisoned(gpu, &[TOKENS, EXPERTS])?,
            tokens: poisoned(gpu, &[TOKENS, 4])?,
            experts: poisoned_words(gpu, &[TOKENS, choices])?,
            weights: poisoned(gpu, &[TOKENS, choices])?,
            noisy: poisoned(gpu, &[TOKENS, EXPERTS])?,
        })
    }

    fn outputs(&self, gate: Gate) -> Outputs<'_> {
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

fn read<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Result<Vec<T>> {
    gpu.read(tensor)?.wait()
}

/// The first of some verdicts that is wrong, or that of the largest error.
fn all(verdicts: impl IntoIterator<Item = (&'static str, Verdict)>) -> Verdict {
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

/// The twin's choices by what the device has found so far.
fn choices(gate: Gate, logits: &[f32], bias: Option<&Vec<f32>>, probs: &[f32], tokens: &[Token]) -> Vec<u32> {
    let k = gate.assignments(EXPERTS);
    let mut experts = vec![77; TOKENS * k];
    let keys = if bias.is_some() { probs } else { logits };
    let bias = bias.map(Vec::as_slice);
    let mut scores = vec![f32::NAN; TOKENS * EXPERTS];
    let by_count: Vec<u32> = (0..=TOKENS).map(|count| gate.capacity(count, EXPERTS) as u32).collect();
    let mut quota = vec![77; EXPERTS];
    match gate {
        Gate::TopK { k, tile: Some(tile), .. } => {
            let mut chosen = vec![77; TOKENS * k];
            gate::choose(keys, bias, tokens, &mut chosen);
            gate::count(&chosen, &mut quota, tile as u32);
            gate::scores(probs, tokens, &mut scores, Rule::Favour(&chosen));
        }
        Gate::ExpertChoice { .. } => {
            gate::capacity(tokens, &by_count, &mut quota);
            gate::scores(probs, tokens, &mut scores, Rule::Probs);
        }
        _ => {
            gate::choose(keys, bias, tokens, &mut experts);
            return experts;
        }
    }
    gate::assign(&reference::select_columns(&scores, &quota, Order::Largest), &mut experts, TOKENS);
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
    // Twins go by what the device chose, so that must make sense.
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
        // Everything that is summed is of the order of the incoming gradient, which is below 1, or of a slope.
        let scale = 1.0 + slope_values.iter().fold(0.0f32, |most, x| most.max(x.abs())) * 300.0;
        let bound = |_| 1e-5 * f64::from(scale);
        verdicts.push(("gradient of the logits", judge(&found, &wanted, bound)));
        verdicts.push(("gradient of the noise", judge(&read(gpu, &noise_grad)?, &wanted_noise, bound)));
    }
    Ok(all(verdicts))
}

fn noise(gpu: &Gpu) -> Result<Verdict> {
    let mut from = Operands::new();
    from.noise[9] = f32::INFINITY;
    from.noise[10] = -120.0;
    from.noise[11] = 120.0;
    // Values that are not finite are compared by their bits.
    let mut wanted = vec![0.0; TOKENS * EXPERTS];
    gate::noise(&from.logits, &from.noise, &mut wanted, key(), INDEX);
    let (logits, noise) =
        (place(gpu, &[TOKENS, EXPERTS], &from.logits)?, place(gpu, &[TOKENS, EXPERTS], &from.noise)?);
    let valid = words(gpu, &[1; TOKENS])?;
    let step = step(gpu)?;
    let gate = Gate::NoisyTopK { k: 2 };
    let draw = Some(Draw { key: key(), step: &step });
    let inputs = Inputs { logits: &logits, noise: Some(&noise), bias: None, valid: Some(&valid), draw };
    let left = Left::new(gpu, gate)?;
    let found = thrice::<f32>(gpu, |rec| {
        ops::gate::forward(rec, gate, inputs, left.outputs(gate))?;
        Ok(left.noisy.clone())
    })?;
    let found = match found {
        Ok(found) => found,
        Err(verdict) => return Ok(verdict),
    };
    for (i, wanted) in wanted.iter_mut().enumerate() {
        if !wanted.is_finite() {
            if found[i].is_finite() {
                return Ok(Verdict::Wrong(format!("element {i} is {}, should not be finite", found[i])));
            }
            *wanted = 0.0;
        }
    }
    let found: Vec<f32> = found.iter().map(|x| if x.is_finite() { *x } else { 0.0 }).collect();
    // A logarithm's 2^-21, a square root and quotients of functions that sum to 100; draws are below 6.
    let bound = |i: usize| {
        64.0 * UNIT * (8.0 + f64::from(from.noise[i].max(0.0)).min(1e3) * 6.0 + f64::from(wanted[i]).abs())
    };
    Ok(judge(&found, &wanted, bound))
}

fn some_choices(case: u32, k: usize) -> (Vec<u32>, Vec<f32>) {
    let mut walk = operands(case);
    let mut experts = Vec::new();
    for _ in 0..TOKENS {
        let mut all: Vec<u32> = (0..EXPERTS as u32).collect();
        walk.shuffle(&mut all);
        experts.extend(all[..k].iter().map(|&e| if walk.below(4) == 0 { ABSENT } else { e }));
    }
    // With ties.
    let weights = experts.iter().map(|&e| if e == ABSENT { 0.0 } else { walk.below(6) as f32 / 8.0 });
    let weights = weights.collect();
    (experts, weights)
}

fn count(gpu: &Gpu) -> Result<Verdict> {
    let (experts, _) = some_choices(1101, 3);
    let mut wanted = vec![0; EXPERTS];
    gate::count(&experts, &mut wanted, 1);
    let tensor = gpu.upload(Class::Scratch, "check", &[TOKENS, 3], &experts)?;
    let found = thrice::<u32>(gpu, |rec| {
        let counts = poisoned_words(gpu, &[EXPERTS])?;
        ops::gate::count(rec, &tensor, &counts)?;
        Ok(counts)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn bias(gpu: &Gpu) -> Result<Verdict> {
    let mut verdicts = Vec::new();
    // With a mean that is whole, and with one that is not.
    for counts in [[10, 10, 0, 20, 9, 11, 10], [3, 4, 4, 4, 3, 4, 4]] {
        let before = numbers(&mut operands(1102), EXPERTS, 1.0);
        let mut wanted = before.clone();
        gate::rebalance(&counts, &mut wanted, 0.25);
        let counts = words(gpu, &counts)?;
        let found = thrice::<f32>(gpu, |rec| {
            let bias = place(gpu, &[EXPERTS], &before)?;
            ops::gate::rebalance(rec, &counts, &bias, 0.25)?;
            Ok(bias)
        })?;
        verdicts
            .push(("bias", found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| UNIT))));
    }
    Ok(all(verdicts))
}

/// Three groups, each of more than one word and not of whole words, and experts of different quotas.
fn keep(gpu: &Gpu, overflow: Overflow) -> Result<Verdict> {
    const GROUPS: usize = 3;
    const GROUP: usize = TOKENS / GROUPS;
    let (experts, weights) = some_choices(1103, 2);
    let tokens = vec![Token { lse: 0.0, square: 0.0, counts: 1.0, total: 1.0 }; TOKENS];
    let mut scores = vec![f32::NAN; TOKENS * EXPERTS];
    let probs = vec![0.0; TOKENS * EXPERTS];
    gate::scores(&probs, &tokens, &mut scores, Rule::Only(&experts, &weights, GROUP));
    let quota: Vec<u32> = (0..GROUPS * EXPERTS).map(|i| [9, 0, 4, 1000][i % 4]).collect();
    let wanted = match overflow {
        Overflow::Probability => reference::select_columns(&scores, &quota, Order::Largest),
        Overflow::Position => gate::first(&scores, &quota),
    };
    let experts = gpu.upload(Class::Scratch, "check", &[TOKENS, 2], &experts)?;
    let weights = place(gpu, &[TOKENS, 2], &weights)?;
    let quota = gpu.upload(Class::Scratch, "check", &[GROUPS, EXPERTS], &quota)?;
    let found = thrice::<u32>(gpu, |rec| {
        let kept = poisoned_words(gpu, &[GROUPS, EXPERTS, GROUP.div_ceil(32)])?;
        ops::gate::keep(rec, &experts, &weights, overflow, &quota, &kept)?;
        Ok(kept)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn quota(gpu: &Gpu) -> Result<Verdict> {
    let counts = |token: usize| if token.is_multiple_of(3) { 0.0 } else { 1.0 };
    let tokens: Vec<Token> =
        (0..TOKENS).map(|token| Token { lse: 0.0, square: 0.0, counts: counts(token), total: 1.0 }).collect();
    let by_count: Vec<u32> = (0..=TOKENS as u32).map(|count| 3 * count + 1).collect();
    let mut wanted = vec![0; EXPERTS];
    gate::capacity(&tokens, &by_count, &mut wanted);
    let tokens = place(gpu, &[TOKENS, 4], bytemuck::cast_slice(&tokens))?;
    let by_count = words(gpu, &by_count)?;
    let found = thrice::<u32>(gpu, |rec| {
        let quota = poisoned_words(gpu, &[EXPERTS])?;
        ops::gate::capacity(rec, &tokens, &by_count, &quota)?;
        Ok(quota)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn columns(gpu: &Gpu) -> Result<Verdict> {
    const ROWS: usize = 1000;
    let mut walk = operands(1104);
    let scores: Vec<f32> =
        (0..ROWS * 5).map(|_| [-1.0, 0.25, 3.0, walk.uniform()][walk.below(4) as usize]).collect();
    let quota = [0, 1, 300, 740, 5000];
    let wanted = reference::select_columns(&scores, &quota, Order::Smallest);
    let (tensor, quota) = (place(gpu, &[ROWS, 5], &scores)?, words(gpu, &quota)?);
    let found = thrice::<u32>(gpu, |rec| {
        let chosen = poisoned_words(gpu, &[5, ROWS.div_ceil(32)])?;
        ops::select_columns(rec, &tensor, SelectK::Count(&quota), Order::Smallest, &chosen)?;
        Ok(chosen)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn tally(gpu: &Gpu) -> Result<Verdict> {
    let mut walk = operands(1106);
    let mut draw = || -> Vec<u32> { (0..gate::MOST_EXPERTS).map(|_| walk.below(1 << 20)).collect() };
    let (counts, totals) = (draw(), draw());
    let mut wanted = totals.clone();
    gate::tally(&counts, &mut wanted);
    let counts = words(gpu, &counts)?;
    let found = thrice::<u32>(gpu, |rec| {
        let totals = words(gpu, &totals)?;
        ops::gate::tally(rec, &counts, &totals)?;
        Ok(totals)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn hash(gpu: &Gpu, masked: bool) -> Result<Verdict> {
    let mut walk = operands(1105);
    let ids: Vec<u32> = (0..TOKENS).map(|_| walk.below(50)).collect();
    let valid: Vec<u32> = (0..TOKENS).map(|_| walk.below(3).wrapping_sub(1)).collect();
    let mut experts = vec![77; TOKENS * EXPERTS];
    let mut weights = vec![f32::NAN; TOKENS * EXPERTS];
    gate::hash(&ids, masked.then_some(&valid), &mut experts, &mut weights, EXPERTS, key());
    let (ids, valid) = (words(gpu, &ids)?, words(gpu, &valid)?);
    let found_weights = poisoned(gpu, &[TOKENS, EXPERTS])?;
    let found = thrice::<u32>(gpu, |rec| {
        let experts = poisoned_words(gpu, &[TOKENS, EXPERTS])?;
        let valid = masked.then_some(&valid);
        ops::gate::hash(rec, &ids, valid, key(), EXPERTS, &experts, &found_weights)?;
        Ok(experts)
    })?;
    let verdict = found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &experts));
    let found = read::<f32>(gpu, &found_weights)?;
    Ok(all([("experts", verdict), ("weights", judge(&found, &weights, |_| 4.0 * UNIT))]))
}
