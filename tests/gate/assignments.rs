//! Expert assignments, compared exactly.

use fretwork::gpu::{Class, Gpu, Options, Recorder, Sources};
use fretwork::ops::IGNORED;
use fretwork::ops::gate::{self, ABSENT, Gate};
use fretwork::random::{Key, Stream};
use fretwork::reference;

use crate::truth::{Truth, below, best, quantile};
use crate::{Found, Setup, gpu, read, run, twin, walk};

/// Expected assignments. Where probabilities decide, the device's own bits of them are used.
fn wanted(setup: &Setup, found: &Found) -> Vec<u32> {
    let (n, tokens) = (setup.experts, setup.tokens());
    let counting: Vec<usize> = (0..tokens).filter(|&t| setup.counts(t)).collect();
    // Experts of one token in order of preference.
    let preferred = |t: usize| -> Vec<usize> {
        let keys: Vec<f64> = (t * n..(t + 1) * n)
            .map(|i| match &setup.bias {
                Some(bias) => f64::from(found.probs[i] + bias[i % n]),
                None => f64::from(if setup.draws { found.noisy[i] } else { setup.logits[i] }),
            })
            .collect();
        best(&keys)
    };
    let k = setup.assignments();
    let mut experts = vec![ABSENT; tokens * k];
    if !setup.gate.by_expert() {
        for &t in &counting {
            experts[t * k..][..k].iter_mut().zip(preferred(t)).for_each(|(to, e)| *to = e as u32);
        }
        return experts;
    }
    for e in 0..n {
        let prob = |t: usize| f64::from(found.probs[t * n + e]);
        let by_prob = |tokens: &[usize]| -> Vec<usize> {
            best(&tokens.iter().map(|&t| prob(t)).collect::<Vec<_>>())
                .into_iter()
                .map(|i| tokens[i])
                .collect()
        };
        let (order, capacity) = match setup.gate {
            Gate::TopK { k, tile: Some(tile), .. } => {
                let (those, others): (Vec<usize>, Vec<usize>) =
                    counting.iter().partition(|&&t| preferred(t)[..k].contains(&e));
                let tiles = (those.len() as f64 / tile as f64 + 0.5).floor() as usize;
                ([by_prob(&those), by_prob(&others)].concat(), tiles * tile)
            }
            Gate::ExpertChoice { factor } => {
                // Padding does not count.
                let capacity = (counting.len() as f64 * f64::from(factor) / n as f64).ceil() as usize;
                (by_prob(&counting), capacity)
            }
            other => panic!("{other} is not a gate in which experts select tokens"),
        };
        for &t in order.iter().take(capacity) {
            experts[t * n + e] = e as u32;
        }
    }
    experts
}

/// First mismatch of assignments and weights, if any.
fn objection(gpu: &Gpu, setup: &Setup) -> Option<String> {
    objection_to(&run(gpu, setup), setup)
}

fn objection_to(found: &Found, setup: &Setup) -> Option<String> {
    let wanted = wanted(setup, found);
    if let Some(i) = (0..wanted.len()).find(|&i| found.experts[i] != wanted[i]) {
        return Some(format!("choice {i} is {}, should be {}", found.experts[i], wanted[i]));
    }
    let truth = Truth::new(setup, &found.experts).results();
    for (what, found, wanted) in
        [("prob", &found.probs, truth.probs), ("weight", &found.weights, truth.weights)]
    {
        let near = |i: usize| (f64::from(found[i]) - wanted[i]).abs() <= 2e-5 * wanted[i] + 1e-9;
        if let Some(i) = (0..wanted.len()).find(|&i| !near(i)) {
            return Some(format!("{what} {i} is {}, should be {}", found[i], wanted[i]));
        }
    }
    None
}

/// Logits with many ties, and a padding mask.
fn quantised(gate: &str, tokens: usize, experts: usize, case: u32) -> Setup {
    let mut walk = walk(case);
    let mut setup = Setup::new(gate, tokens, experts, &mut walk);
    let steps = [2.0, 4.0, 1000.0][walk.below(3) as usize];
    setup.logits.iter_mut().for_each(|x| *x = (*x * steps).round() / steps);
    if walk.below(2) == 0 {
        setup.valid = Some((0..tokens).map(|_| walk.below(3).wrapping_sub(1)).collect());
    }
    if gate.contains("-top") && !gate.starts_with("noisy") && walk.below(3) == 0 {
        setup.bias = Some((0..experts).map(|_| (walk.uniform() - 0.5) * 0.5).collect());
    }
    setup
}

#[test]
fn a_thousand_sets_of_logits() {
    let gpu = gpu();
    let mut case = 1000;
    for experts in [1, 2, 7, 8, 64, 512] {
        // Every k for few experts, else the extremes and some in between.
        for turn in 0..167 {
            let tokens = [1, 3, 33, 40][turn % 4];
            let k = match (turn, experts) {
                (0, _) => experts,
                (_, ..=8) => 1 + turn % experts,
                _ if turn % 40 == 1 => experts / 2,
                _ => 1 + turn % 9,
            };
            let tile = [1, 4, 16][turn % 3];
            let gate = match turn % 8 {
                0 => format!("softmax-top:{k}"),
                1 => format!("softmax-top:{k}:renormalised"),
                2 => format!("softmax-top:{k}:chosen"),
                3 => format!("sigmoid-top:{k}"),
                4 => format!("sigmoid-top:{k}:renormalised"),
                5 => format!("softmax-top:{k}:tile={tile}"),
                6 => format!("expert-choice:{}", 0.1 + k as f32 / 2.0),
                _ if experts > 1 && turn % 16 == 7 => "gshard".to_owned(),
                _ => format!("noisy-top:{k}"),
            };
            let setup = quantised(&gate, tokens, experts, case);
            let objection = objection(&gpu, &setup);
            assert_eq!(objection, None, "{gate}, {tokens} tokens, {experts} experts, case {case}");
            let objection = objection_to(&twin(&setup), &setup);
            assert_eq!(objection, None, "the twin, {gate}, {experts} experts, case {case}");
            case += 1;
        }
    }
    assert!(case >= 2000);
}

#[test]
fn wrong_assignments_are_seen() {
    for (gate, file, from, to) in [
        // Ties broken towards the last index; a bias with the wrong sign; probabilities not normalised over all
        // experts.
        ("softmax-top:3", "gate/choose", "key > largest", "key >= largest"),
        ("sigmoid-top:3", "gate/choose", "x += bias[expert];", "x -= bias[expert];"),
        (
            "softmax-top:3",
            "gate/probs",
            "small_exp(logits[i] - largest) / sum",
            "small_exp(logits[i] - largest)",
        ),
        ("softmax-top:3:renormalised", "gate/weigh", "weight /= sum;", ""),
        // Assigned padding.
        ("softmax-top:3", "gate/probs", "!= IGNORED;", "!= IGNORED - 1u;"),
        // Token rounding downwards; tokens assigned to the expert not selected before others.
        ("softmax-top:3:tile=4", "gate/count", "params.tile / 2u", "0u"),
        ("softmax-top:3:tile=4", "gate/scores", "+ FAVOUR", ""),
        // An expert that selects one token too few.
        ("expert-choice:2", "select/radix", "remaining = min(k[column]", "remaining = min(k[column] - 1u"),
    ] {
        let mut setup = quantised(gate, 33, 7, 1);
        setup.logits.iter_mut().for_each(|x| *x = x.round());
        setup.valid = Some((0..33).map(|t| if t % 5 == 0 { IGNORED } else { t }).collect());
        setup.bias = gate.starts_with("sigmoid").then(|| vec![0.3, 0.0, -0.3, 0.1, 0.2, -0.1, 0.0]);
        assert_eq!(objection(&gpu(), &setup), None, "{gate}");
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let broken = Gpu::request(Options { sources, ..Options::default() }).unwrap();
        assert!(objection(&broken, &setup).is_some(), "{file}: {from:?} became {to:?}, and nobody noticed");
    }
}

/// A token's results depend neither on other tokens nor on its position.
#[test]
fn a_token_gets_the_same_bits_wherever_it_stands() {
    let gpu = gpu();
    for (case, gate) in [
        "softmax-top:2",
        "softmax-top:3:renormalised",
        "softmax-top:2:chosen",
        "sigmoid-top:2:renormalised",
        "gshard",
    ]
    .into_iter()
    .enumerate()
    {
        let (experts, tokens) = (9, 150);
        let setup = Setup::new(gate, tokens, experts, &mut walk(20 + case as u32));
        let k = setup.assignments();
        let whole = run(&gpu, &setup);
        let mut order: Vec<usize> = (0..tokens).collect();
        walk(30).shuffle(&mut order);
        order.truncate(70);
        let gather = |x: &[f32], width: usize| -> Vec<f32> {
            order.iter().flat_map(|&t| x[t * width..][..width].to_vec()).collect()
        };
        let mut part = setup.clone();
        part.logits = gather(&setup.logits, experts);
        part.weights_grad = gather(&setup.weights_grad, k);
        let part = run(&gpu, &part);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&part.weights), bits(&gather(&whole.weights, k)), "{gate}");
        assert_eq!(bits(&part.logits_grad), bits(&gather(&whole.logits_grad, experts)), "{gate}");
        let there: Vec<u32> = order.iter().flat_map(|&t| whole.experts[t * k..][..k].to_vec()).collect();
        assert_eq!(part.experts, there, "{gate}");
    }
}

#[test]
fn the_same_bits_thrice() {
    let gpu = gpu();
    for (case, gate) in [
        "softmax-top:2:renormalised",
        "sigmoid-top:3:tile=16",
        "noisy-top:2",
        "gshard:random",
        "expert-choice:2",
    ]
    .into_iter()
    .enumerate()
    {
        let mut setup = Setup::new(gate, 700, 13, &mut walk(200 + case as u32));
        setup.draws |= gate == "gshard:random";
        setup.balance = Some(gate::Balance { aux: 0.1, importance: 0.2, load: 0.3, z: 0.4 });
        let bits = run(&gpu, &setup).bits();
        for _ in 0..2 {
            assert_eq!(run(&gpu, &setup).bits(), bits, "{gate}");
        }
    }
}

/// GShard's random second expert is kept with probability g / 0.2, and the first keeps its weight.
#[test]
fn second_experts_by_chance() {
    let gpu = gpu();
    let tokens = 20_000;
    for (weight, kept) in [(0.05f64, 0.25), (0.1, 0.5), (0.3, 1.0)] {
        let mut setup = Setup::new("gshard:random", tokens, 2, &mut walk(40));
        let gap = ((1.0 - weight) / weight).ln() as f32;
        setup.logits = [gap, 0.0].repeat(tokens);
        setup.draws = true;
        let found = run(&gpu, &setup);
        let second = found.experts.iter().skip(1).step_by(2).filter(|&&expert| expert == 1).count();
        // Six standard deviations.
        let margin = 6.0 * (kept * (1.0 - kept) / tokens as f64).sqrt();
        assert!((second as f64 / tokens as f64 - kept).abs() <= margin, "{weight}: {second} of {tokens}");
        assert!(found.weights.iter().step_by(2).all(|w| (f64::from(*w) - 1.0 + weight).abs() < 1e-6));
        for (expert, weight) in found.experts.iter().zip(&found.weights) {
            assert_eq!(*expert == ABSENT, *weight == 0.0);
        }
    }
}

/// Normal draws have the right distribution up to the tails.
#[test]
fn normal_draws_are_normal() {
    for part in (0..1u32 << 24).step_by(4_099).chain([0, 1, 2, (1 << 24) - 1]) {
        let wanted = quantile((f64::from(part) + 0.5) / 16_777_216.0);
        let found = f64::from(reference::gate::normal(part << 8));
        assert!((found - wanted).abs() <= 2e-6 * (1.0 + wanted.abs()), "{part}: {found} is not {wanted}");
    }
    for i in -1600..=1600 {
        let x = f64::from(i) / 100.0;
        let found = f64::from(reference::gate::probability_below(x as f32));
        assert!((found - below(x)).abs() <= 2.5e-7, "{x}: {found} is not {}", below(x));
    }
    // Known values of the reference itself.
    assert!((below(1.959_963_984_540_054) - 0.975).abs() < 1e-14);
    assert!((below(-5.0) - 2.866_515_718_791_939e-7).abs() < 1e-19);
    assert!((quantile(0.25) + 0.674_489_750_196_081_7).abs() < 1e-12);
}

#[test]
fn hashes_go_by_identity_and_are_even() {
    let gpu = gpu();
    let (tokens, experts, k) = (30_000, 6, 3);
    let ids: Vec<u32> = (0..tokens as u32).map(|t| t % 10_000).collect();
    let key = Key::new(3, Stream::Gate(0));
    let ids = gpu.upload(Class::Scratch, "ids", &[tokens], &ids).unwrap();
    let chosen = gpu.alloc::<u32>(Class::Scratch, "experts", &[tokens, k]).unwrap();
    let weights = gpu.alloc::<f32>(Class::Scratch, "weights", &[tokens, k]).unwrap();
    let counts = gpu.alloc::<u32>(Class::Scratch, "counts", &[experts]).unwrap();
    let mut rec = Recorder::new(&gpu);
    gate::hash(&mut rec, &ids, None, key, experts, &chosen, &weights).unwrap();
    gate::count(&mut rec, &chosen, &counts).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let chosen: Vec<u32> = read(&gpu, &chosen);
    let rows: Vec<&[u32]> = chosen.chunks(k).collect();
    assert_eq!(rows[..10_000], rows[10_000..20_000]);
    for row in &rows {
        assert!(
            row[0] != row[1] && row[0] != row[2] && row[1] != row[2] && row.iter().all(|&e| e < 6),
            "{row:?}"
        );
    }
    assert!(read::<f32>(&gpu, &weights).iter().all(|w| (w - 1.0 / 3.0).abs() < 1e-7));
    // 5,000 ids with two of the experts each; first assignments alone are uniform too.
    let counts: Vec<u32> = read(&gpu, &counts);
    assert!(counts.iter().all(|&n| n.abs_diff(15_000) < 900), "{counts:?}");
    let mut firsts = [0u32; 6];
    rows[..10_000].iter().for_each(|row| firsts[row[0] as usize] += 1);
    assert!(firsts.iter().all(|&n| n.abs_diff(1_667) < 230), "{firsts:?}");
}

/// Loss-free balancing brings a collapsed gate into balance.
#[test]
fn a_bias_balances_without_a_loss() {
    let gpu = gpu();
    let (tokens, experts) = (400, 4);
    let mut setup = Setup::new("sigmoid-top:1", tokens, experts, &mut walk(310));
    // Every token prefers the first expert.
    setup.logits.iter_mut().step_by(experts).for_each(|x| *x += 3.0);
    setup.balance = Some(gate::Balance::default());
    setup.bias = Some(vec![0.0; experts]);
    let before = run(&gpu, &setup).counts;
    assert!(before[0] > 300, "{before:?}");
    for _ in 0..200 {
        let counts = run(&gpu, &setup).counts;
        let counts = gpu.upload(Class::Scratch, "counts", &[experts], &counts).unwrap();
        let bias = gpu.upload(Class::Scratch, "bias", &[experts], setup.bias.as_ref().unwrap()).unwrap();
        let mut rec = Recorder::new(&gpu);
        gate::rebalance(&mut rec, &counts, &bias, 0.005).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        setup.bias = Some(read(&gpu, &bias));
    }
    let after = run(&gpu, &setup).counts;
    assert!(after.iter().all(|count| count.abs_diff(100) < 15), "{after:?}");
}
