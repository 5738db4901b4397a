//! Gate gradients against central differences, and losses against their formulas.

use fretwork::gpu::{Gpu, Options, Sources};
use fretwork::ops::gate::{ABSENT, Balance};

use crate::truth::Truth;
use crate::{Found, Setup, gpu, run, twin, walk};
use fretwork::ops::IGNORED;

const GATES: [&str; 13] = [
    "softmax-top:1",
    "softmax-top:3",
    "softmax-top:3:renormalised",
    "softmax-top:2:chosen",
    "softmax-top:2:renormalised:tile=4",
    "softmax-top:2:chosen:tile=4",
    "sigmoid-top:2",
    "sigmoid-top:3:renormalised",
    "noisy-top:2",
    "noisy-top:5",
    "gshard",
    "gshard:random",
    "expert-choice:1.5",
];

const NONE: Balance = Balance { aux: 0.0, importance: 0.0, load: 0.0, z: 0.0 };

/// Each loss alone with a coefficient other than 1, and all of them together.
const BALANCES: [(&str, Balance); 5] = [
    ("aux", Balance { aux: 0.7, ..NONE }),
    ("importance", Balance { importance: 1.3, ..NONE }),
    ("load", Balance { load: 0.6, ..NONE }),
    ("z", Balance { z: 0.4, ..NONE }),
    ("all", Balance { aux: 0.7, importance: 1.3, load: 0.6, z: 0.4 }),
];

/// A case with five experts and two padding tokens.
fn setup(gate: &str, case: u32) -> Setup {
    let mut setup = Setup::new(gate, 19, 5, &mut walk(case));
    let mut valid = vec![1; 19];
    (valid[4], valid[18]) = (IGNORED, IGNORED);
    setup.valid = Some(valid);
    if gate == "gshard:random" {
        setup.draws = true;
        // Logits spread far enough for some second experts to be dropped.
        setup.logits.iter_mut().for_each(|x| *x *= 2.0);
    }
    setup
}

/// Largest gradient error relative to the largest gradient, and loss error relative to the losses.
fn errors(gpu: &Gpu, setup: &Setup) -> (f64, f64) {
    errors_of(&run(gpu, setup), setup)
}

fn errors_of(found: &Found, setup: &Setup) -> (f64, f64) {
    const H: f64 = 1e-5;
    let mut truth = Truth::new(setup, &found.experts);
    let mut pairs = Vec::new();
    for i in 0..setup.logits.len() {
        for noise in [false, true] {
            if noise && setup.noise.is_none() {
                continue;
            }
            let mut at = |offset: f64| {
                let place = if noise { &mut truth.noise[i] } else { &mut truth.logits[i] };
                let before = *place;
                *place += offset;
                let total = truth.results().total;
                let place = if noise { &mut truth.noise[i] } else { &mut truth.logits[i] };
                *place = before;
                total
            };
            let slope = (at(H) - at(-H)) / (2.0 * H);
            pairs.push((if noise { found.noise_grad[i] } else { found.logits_grad[i] }, slope));
        }
    }
    let largest = pairs.iter().fold(1e-4, |largest: f64, (_, slope)| largest.max(slope.abs()));
    // NaN counts as the largest error.
    let worst = |worst: f64, error: f64| if error <= worst { worst } else { error };
    let gradient =
        pairs.iter().map(|&(found, slope)| (f64::from(found) - slope).abs() / largest).fold(0.0, worst);
    let mut loss = 0.0;
    if setup.balance.is_some() {
        let results = truth.results();
        let wanted = results.losses;
        loss = (0..4)
            .map(|i| (f64::from(found.losses[i]) - wanted[i]).abs() / (1.0 + wanted[i].abs()))
            .fold(0.0, worst);
    }
    (gradient, loss)
}

const TOLERANCE: f64 = 5e-5;

#[test]
fn every_gate_and_every_loss() {
    let gpu = gpu();
    for (case, gate) in GATES.into_iter().enumerate() {
        let plain = setup(gate, case as u32);
        let (gradient, _) = errors(&gpu, &plain);
        assert!(gradient < TOLERANCE, "{gate}: {gradient:e}");
        let left_out = run(&gpu, &plain).experts.iter().filter(|&&expert| expert == ABSENT).count();
        assert!(gate != "gshard:random" || left_out > 4, "no second expert is left out, only padding");
        for (name, balance) in BALANCES {
            let mut setup = plain.clone();
            setup.balance = Some(balance);
            if name != "all" {
                // Alone, because a larger term would hide its errors.
                setup.weights_grad.fill(0.0);
            }
            for (who, found) in [("device", run(&gpu, &setup)), ("twin", twin(&setup))] {
                let (gradient, loss) = errors_of(&found, &setup);
                assert!(gradient < TOLERANCE, "{who}, {gate}, {name}: {gradient:e}");
                assert!(loss < 2e-6, "{who}, {gate}, {name}: losses {loss:e}");
            }
        }
    }
}

#[test]
fn a_bias_selects_and_does_no_more() {
    let gpu = gpu();
    for (case, gate) in
        ["softmax-top:2", "sigmoid-top:2:renormalised", "softmax-top:2:chosen"].into_iter().enumerate()
    {
        let mut setup = setup(gate, 50 + case as u32);
        let without = run(&gpu, &setup);
        setup.bias = Some(vec![0.5, -0.5, 0.1, 0.0, 0.2]);
        setup.balance = Some(BALANCES[4].1);
        assert_ne!(run(&gpu, &setup).experts, without.experts);
        let (gradient, loss) = errors(&gpu, &setup);
        assert!(gradient < TOLERANCE && loss < 2e-6, "{gate}: {gradient:e}, {loss:e}");
    }
}

/// With one renormalised assignment the weight is always 1: only the losses have a gradient.
#[test]
fn one_choice_renormalised_has_no_gradient() {
    let gpu = gpu();
    for gate in
        ["softmax-top:1:renormalised", "softmax-top:1:chosen", "sigmoid-top:1:renormalised", "noisy-top:1"]
    {
        let found = run(&gpu, &setup(gate, 65));
        let grads = found.logits_grad.iter().chain(found.noise_grad.iter().filter(|x| !x.is_nan()));
        assert!(grads.copied().all(|x| x.abs() < 1e-6), "{gate}");
        assert!(found.weights.iter().all(|w| *w == 0.0 || (w - 1.0).abs() < 1e-6), "{gate}");
    }
}

/// Without draws, a noisy gate equals a plain one: no noise, loads are counts, and the noise has no gradient.
#[test]
fn noise_is_for_training() {
    let gpu = gpu();
    let mut setup = setup("noisy-top:2", 60);
    setup.draws = false;
    setup.balance = Some(BALANCES[4].1);
    let found = run(&gpu, &setup);
    let (gradient, loss) = errors(&gpu, &setup);
    assert!(gradient < TOLERANCE && loss < 2e-6, "{gradient:e}, {loss:e}");
    assert!(found.noise_grad.iter().all(|x| x.to_bits() == 0));
}

/// The comparison rejects typical errors of gradients and losses.
#[test]
fn wrong_gradients_are_seen() {
    let all = BALANCES[4].1;
    for (gate, file, from, to) in [
        // Softmax backward without its mean term; the incoming gradient ignored; the guard of padding.
        ("softmax-top:3", "gate/backward", "balance, total) - mean_grad)", "balance, total))"),
        (
            "softmax-top:3",
            "gate/backward",
            "var grad = weights_grad[i];",
            "var grad = 1.0 + 0.0 * weights_grad[i];",
        ),
        ("softmax-top:3:renormalised", "gate/backward", "(grad_of(i) - mean) / sum", "grad_of(i) / sum"),
        (
            "softmax-top:2:chosen",
            "gate/backward",
            "weights[i] * (grad_of(i) - mean)",
            "weights[i] * grad_of(i)",
        ),
        ("sigmoid-top:2", "gate/backward", "(slopes[expert] - balance)", "(slopes[expert])"),
        // The normaliser without a dropped second expert.
        ("gshard:random", "gate/backward", "sum += probs[row + left_out];", ""),
        // Losses: a slope from the wrong row, z without its log-sum-exp, a coefficient of variation with a constant
        // mean.
        ("softmax-top:3", "gate/backward", "slopes[params.experts + experts[i]]", "slopes[experts[i]]"),
        ("softmax-top:3", "gate/backward", "tokens[4u * token + TOKEN_LSE] * softmax", "softmax"),
        ("softmax-top:3", "gate/losses", "- variance / scale * mean / n", ""),
        // Load loss: constant thresholds, swapped thresholds, no gradient of the standard deviation.
        ("noisy-top:2", "gate/noise_backward", "logits_grad[row + brink.last] += last;", ""),
        ("noisy-top:2", "gate/noise_backward", "logits_grad[row + brink.next] += next;", ""),
        ("noisy-top:2", "gate/noise_backward", "grad -= own * distance;", ""),
        ("noisy-top:2", "common/load", "select(brink.last, brink.next,", "select(brink.next, brink.last,"),
        // Noise drawn at another step.
        (
            "noisy-top:2",
            "common/noise",
            "vec2<u32>(element, now.index)",
            "vec2<u32>(element, now.index + 1u)",
        ),
    ] {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let broken = Gpu::request(Options { sources, ..Options::default() }).unwrap();
        let mut setup = setup(gate, 70);
        setup.balance = Some(all);
        let (gradient, _) = errors(&gpu(), &setup);
        assert!(gradient < TOLERANCE, "{gate} is wrong as it is: {gradient:e}");
        let (gradient, _) = errors(&broken, &setup);
        // NaN is detected too.
        assert!(
            gradient.is_nan() || gradient > TOLERANCE,
            "{file}: {from:?} became {to:?}, and nobody noticed: {gradient:e}"
        );
    }
    let mut sources = Sources::default();
    sources.patch("gate/statistics", "begin + SHORT", "begin + SHORT - 1u").unwrap();
    let broken = Gpu::request(Options { sources, ..Options::default() }).unwrap();
    let mut setup = setup("softmax-top:2", 71);
    setup.balance = Some(all);
    assert!(errors(&broken, &setup).1 > 2e-6);
}

#[test]
fn the_auxiliary_loss_of_balance_and_of_collapse() {
    let gpu = gpu();
    for experts in [1usize, 2, 7, 8, 64, 512] {
        for tokens in [experts, 1000, 4096] {
            let tokens = tokens.next_multiple_of(experts);
            let mut setup = Setup::new("softmax-top:1", tokens, experts, &mut walk(80));
            setup.balance = Some(BALANCES[4].1);
            // Uniform probabilities; one expert per token in turn; everything on the last expert.
            let logits: [&dyn Fn(usize, usize) -> f32; 3] =
                [&|_, _| 0.25, &|t, e| if t % experts == e { 60.0 } else { 0.0 }, &|_, e| {
                    if e + 1 == experts { 60.0 } else { 0.0 }
                }];
            for (logits, wanted) in logits.into_iter().zip([1.0, 1.0, experts as f64]) {
                setup.logits = (0..tokens * experts).map(|i| logits(i / experts, i % experts)).collect();
                let found = run(&gpu, &setup);
                let aux = f64::from(found.losses[0]);
                assert!(
                    (aux - wanted).abs() <= 1e-6,
                    "{tokens} tokens, {experts} experts: {aux} is not {wanted}"
                );
                assert_eq!(found.counts.iter().sum::<u32>() as usize, tokens);
            }
        }
    }
}

/// A batch of padding has no losses, counts or gradients.
#[test]
fn nothing_but_padding() {
    let gpu = gpu();
    for gate in GATES {
        let mut setup = setup(gate, 90);
        setup.valid = Some(vec![IGNORED; setup.tokens()]);
        setup.balance = Some(BALANCES[4].1);
        let found = run(&gpu, &setup);
        assert!(
            found.losses.iter().chain(&found.logits_grad).chain(&found.weights).all(|x| *x == 0.0),
            "{gate}"
        );
        assert!(found.counts.iter().all(|count| *count == 0), "{gate}");
        assert!(found.experts.iter().all(|expert| *expert == u32::MAX), "{gate}");
    }
}
