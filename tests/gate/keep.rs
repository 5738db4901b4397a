//! Capacity selection, and capacities that depend on the number of tokens.

use fretwork::gpu::{Class, Gpu, Options, Recorder, Sources};
use fretwork::ops::IGNORED;
use fretwork::ops::gate::{self, ABSENT, Gate, Overflow};
use fretwork::random::Walk;

use crate::{Setup, gpu, read, run, walk};

/// Assignments of grouped tokens, with many equal weights.
#[derive(Clone)]
struct Case {
    groups: usize,
    group: usize,
    count: usize,
    assignments: usize,
    experts: Vec<u32>,
    weights: Vec<f32>,
    /// Capacities, `[groups, count]`.
    capacity: Vec<u32>,
}

impl Case {
    fn new([groups, group, count, assignments]: [usize; 4], walk: &mut Walk) -> Self {
        let mut experts = Vec::new();
        for _ in 0..groups * group {
            let mut all: Vec<u32> = (0..count as u32).collect();
            walk.shuffle(&mut all);
            experts.extend(all[..assignments].iter().map(|&e| if walk.below(5) == 0 { ABSENT } else { e }));
        }
        let weights = experts.iter().map(|_| walk.below(8) as f32 / 8.0).collect();
        let capacity = (0..groups * count).map(|_| [0, 1, 5, 40, u32::MAX][walk.below(5) as usize]).collect();
        Self { groups, group, count, assignments, experts, weights, capacity }
    }

    fn run(&self, gpu: &Gpu, overflow: Overflow) -> Vec<bool> {
        let Self { groups, group, count, assignments, experts, weights, capacity } = self;
        let (tokens, words) = (groups * group, group.div_ceil(32));
        let experts = gpu.upload(Class::Scratch, "experts", &[tokens, *assignments], experts).unwrap();
        let weights = gpu.upload(Class::Scratch, "weights", &[tokens, *assignments], weights).unwrap();
        let capacity = gpu.upload(Class::Scratch, "capacity", &[*groups, *count], capacity).unwrap();
        let poison = vec![77u32; groups * count * words];
        let kept = gpu.upload(Class::Scratch, "kept", &[*groups, *count, words], &poison).unwrap();
        let mut rec = Recorder::new(gpu);
        gate::keep(&mut rec, &experts, &weights, overflow, &capacity, &kept).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        let kept: Vec<u32> = read(gpu, &kept);
        // By assignment; bits of tokens not assigned to the expert must be 0.
        let stays = |at: usize| {
            let (token, expert) = (at / assignments, self.experts[at] as usize);
            let set = token / group * count + expert;
            expert < *count && kept[set * words + token % group / 32] >> (token % group % 32) & 1 == 1
        };
        let found: Vec<bool> = (0..self.experts.len()).map(stays).collect();
        let bits: u32 = kept.iter().map(|word| word.count_ones()).sum();
        assert_eq!(bits as usize, found.iter().filter(|stays| **stays).count(), "a bit of nobody");
        found
    }

    /// Expected result by definition: in each group, an expert's first assignments in token or weight order.
    fn wanted(&self, overflow: Overflow) -> Vec<bool> {
        let mut stays = vec![false; self.experts.len()];
        for (set, &capacity) in self.capacity.iter().enumerate() {
            let (group, expert) = (set / self.count, (set % self.count) as u32);
            let first = group * self.group * self.assignments;
            let mut those: Vec<usize> = (first..first + self.group * self.assignments)
                .filter(|&at| self.experts[at] == expert)
                .collect();
            if overflow == Overflow::Probability {
                those
                    .sort_by(|&a, &b| self.weights[b].partial_cmp(&self.weights[a]).unwrap().then(a.cmp(&b)));
            }
            those.iter().take(capacity as usize).for_each(|&at| stays[at] = true);
        }
        stays
    }
}

/// Sizes `[groups, tokens per group, experts, assignments]`: groups of one token, of less than a word, of whole
/// words, and of more words than a workgroup has lanes.
const SIZES: [[usize; 4]; 6] =
    [[1, 50, 4, 2], [7, 1, 3, 1], [5, 31, 6, 3], [3, 64, 2, 2], [2, 1100, 3, 2], [1, 2100, 5, 5]];

#[test]
fn each_group_keeps_its_first_or_its_largest() {
    let gpu = gpu();
    for (number, sizes) in SIZES.into_iter().enumerate() {
        let case = Case::new(sizes, &mut walk(300 + number as u32));
        for overflow in [Overflow::Position, Overflow::Probability] {
            assert!(case.run(&gpu, overflow) == case.wanted(overflow), "{sizes:?}, {overflow:?}");
        }
    }
}

/// With [`Overflow::Position`], neither later tokens of the group nor other groups affect an assignment.
#[test]
fn by_position_no_later_token_matters() {
    let gpu = gpu();
    let mut walk = walk(320);
    let case = Case::new([3, 70, 4, 2], &mut walk);
    let kept = case.run(&gpu, Overflow::Position);
    for from in [1, 33, 69] {
        let other = Case::new([3, 70, 4, 2], &mut walk);
        let mut changed = case.clone();
        // Changes the second group from this token on, and all of the third.
        let first = (70 + from) * 2;
        changed.experts[first..].copy_from_slice(&other.experts[first..]);
        changed.weights[first..].copy_from_slice(&other.weights[first..]);
        let found = changed.run(&gpu, Overflow::Position);
        assert!(found[..first] == kept[..first], "from token {from} on");
        assert!(found[first..] != kept[first..], "nothing changed from token {from} on");
    }
}

#[test]
fn broken_queues_are_noticed() {
    let case = Case::new([2, 1100, 3, 2], &mut walk(321));
    for (file, from, to) in [
        ("gate/first", "left -= min(left, all)", "left -= 0u"),
        ("gate/first", "left - min(left, before)", "left"),
        ("gate/first", "i < local", "i <= local"),
        ("gate/first", "i < most && rest", "i <= most && rest"),
        ("gate/scores", "(token % params.group) * groups", "(token % params.group)"),
    ] {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let broken = Gpu::request(Options { sources, checked_shaders: true, ..Options::default() }).unwrap();
        let kept =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run(&broken, Overflow::Position)));
        assert!(
            kept.is_err() || kept.unwrap() != case.wanted(Overflow::Position),
            "{file}: {from:?} became {to:?}, and nobody noticed"
        );
    }
}

/// Padding does not raise capacities: experts select as many tokens as without it.
#[test]
fn padding_raises_no_capacity() {
    let gpu = gpu();
    for (tokens, counting, factor, each) in [
        (40, 40, 2.0, 20),
        (40, 20, 2.0, 10),
        (40, 21, 2.0, 11),
        (40, 3, 1.0, 1),
        (40, 0, 1.0, 0),
        (600, 300, 1.25, 94),
    ] {
        let mut setup = Setup::new(&format!("expert-choice:{factor}"), tokens, 4, &mut walk(330));
        setup.valid = Some((0..tokens).map(|t| if t < counting { 1 } else { IGNORED }).collect());
        let found = run(&gpu, &setup);
        for expert in 0..4 {
            let load = found.experts.iter().filter(|&&e| e == expert).count();
            assert_eq!(load, each, "{counting} of {tokens} tokens, factor {factor}, expert {expert}");
        }
    }
}

/// Evaluation rounds nothing: tokens have the experts and weights of the gate without tiles.
#[test]
fn without_rounding_tokens_get_what_they_chose() {
    let gpu = gpu();
    for text in ["softmax-top:2", "sigmoid-top:3", "softmax-top:2:chosen"] {
        let plain = Setup::new(text, 50, 6, &mut walk(340));
        let mut tiles = Setup::new(&format!("{text}:tile=16"), 50, 6, &mut walk(340));
        tiles.logits.clone_from(&plain.logits);
        let rounded = run(&gpu, &tiles);
        tiles.gate = tiles.gate.evaluated();
        let found = run(&gpu, &tiles);
        let k = plain.assignments();
        let wanted = run(&gpu, &plain);
        for token in 0..50 {
            let mut pairs: Vec<(u32, f32)> =
                (token * k..(token + 1) * k).map(|at| (wanted.experts[at], wanted.weights[at])).collect();
            pairs.sort_by_key(|pair| pair.0);
            let places = token * 6..(token + 1) * 6;
            let there: Vec<(u32, f32)> = places
                .filter(|&at| found.experts[at] != ABSENT)
                .map(|at| (found.experts[at], found.weights[at]))
                .collect();
            assert_eq!(there.len(), pairs.len(), "{text}, token {token}");
            for (found, wanted) in there.iter().zip(&pairs) {
                assert_eq!(found.0, wanted.0, "{text}, token {token}");
                // The normaliser is summed in another order.
                assert!((found.1 - wanted.1).abs() <= 2e-7, "{text}, token {token}");
            }
        }
        assert_ne!(rounded.experts, found.experts, "{text}: nothing was rounded");
        assert!(!Gate::is_causal(format!("{text}:tile=16").parse().unwrap()) && tiles.gate.is_causal());
    }
}
