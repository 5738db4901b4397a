//! Methods that prune between steps: what they keep, given scores, a budget, and whose blocks compete for it.

use std::collections::BTreeSet;

use fretwork::Result;
use fretwork::gpu::{Gpu, Tensor};
use fretwork::graph::{Graph, Network, ParamId};
use fretwork::methods::{
    EarlyCrop, EarlyCropOptions, Gap, Magnitude, Method, MutableTopology, Phase, SbpSr, Scope, Snip, SynFlow,
};
use fretwork::random::{Key, Stream, Walk};

use crate::BLOCK;
use crate::fixture::{
    CLASSES, Case, Fixture, Layer, Sets, WIDTHS, compare, expect_mutations, mutate, run_cases,
};
use crate::sets::largest;

const START: Phase = Phase::Start { epochs: 9 };

fn epoch_end(epoch: u64, epochs: u64) -> Phase {
    Phase::EpochEnd { epoch, epochs, train_loss: 1.0 }
}

/// The best `counts` of each layer's stored blocks; nothing if a layer is left without.
fn of_each(stored: &Sets, counts: &[usize], score: impl Fn(usize, usize) -> i64) -> Option<Sets> {
    let kept: Sets = stored
        .iter()
        .enumerate()
        .zip(counts)
        .map(|((layer, set), &count)| {
            largest(set.iter().map(|&place| (score(layer, place) as f64, place)).collect(), count)
        })
        .collect();
    kept.iter().all(|set| !set.is_empty()).then_some(kept)
}

/// The best `count` of all.
fn of_all(stored: &Sets, count: usize, score: impl Fn(usize, usize) -> i64) -> Option<Sets> {
    let blocks = stored.iter().enumerate().flat_map(|(layer, set)| set.iter().map(move |&at| (layer, at)));
    let mut blocks: Vec<(usize, usize)> = blocks.collect();
    // A stable sort leaves equals in the order of the layers and their grids.
    blocks.sort_by_key(|&(layer, place)| -score(layer, place));
    let mut kept = vec![BTreeSet::new(); stored.len()];
    for (layer, place) in blocks.into_iter().take(count) {
        kept[layer].insert(place);
    }
    kept.iter().all(|set| !set.is_empty()).then_some(kept)
}

/// The best `count`, as the case has it: of all, or of each layer what it is to have in the end and its share of the rest.
fn of(case: &Case, stored: &Sets, count: usize, score: impl Fn(usize, usize) -> i64) -> Option<Sets> {
    if case.scope == Scope::Global {
        return of_all(stored, count, score);
    }
    let places: usize = case.layers.iter().map(Layer::places).sum();
    let (rest, most) = (count.saturating_sub(case.budget()), (places - case.budget()).max(1));
    of_each(stored, &shared_out(case, rest as f64 / most as f64), score)
}

fn shared_out(case: &Case, open: f64) -> Vec<usize> {
    let count =
        |layer: &Layer| layer.target + ((layer.places() - layer.target) as f64 * open).round() as usize;
    case.layers.iter().map(count).collect()
}

fn magnitude_of(case: &Case) -> impl Fn(usize, usize) -> i64 {
    |layer, place| case.layers[layer].weight[place].abs().into()
}

fn sensitivity(case: &Case) -> impl Fn(usize, usize) -> i64 {
    |layer, place| (case.layers[layer].weight[place] * case.layers[layer].grad[place]).abs().into()
}

/// One of six updates, or the end of the last epoch or of another.
fn magnitude_phase(case: &Case) -> Phase {
    match case.draw(1, 8) as u64 {
        6 => epoch_end(4, 5),
        7 => epoch_end(3, 5),
        update => Phase::Update { update, updates: 6 },
    }
}

fn magnitude(case: &Case) -> Option<Sets> {
    let left = match magnitude_phase(case) {
        Phase::Update { update, .. } => 5 - update,
        Phase::EpochEnd { epoch: 4, .. } => 0,
        _ => return Some(case.stored()),
    };
    let open = left as f64 / 6.0;
    of_each(&case.stored(), &shared_out(case, open * open * open), magnitude_of(case))
}

#[test]
fn magnitude_keeps_as_its_oracle() {
    expect_mutations(
        &|fixture, case| mutate(Magnitude::default(), fixture, magnitude_phase(case)),
        &magnitude,
        true,
    )
    .unwrap();
}

fn gap_phase(case: &Case) -> Phase {
    match case.draw(1, 8) as u64 {
        6 => START,
        7 => Phase::Start { epochs: 1 },
        epoch => epoch_end(epoch, 6),
    }
}

/// Blocks left after pruning, before a layer grows.
fn gap_pruned(case: &Case) -> Option<Sets> {
    let Phase::EpochEnd { .. } = gap_phase(case) else { return Some(case.stored()) };
    let targets: Vec<usize> = case.layers.iter().map(|layer| layer.target).collect();
    of_each(&case.stored(), &targets, magnitude_of(case))
}

fn gap(case: &Case) -> Option<Sets> {
    let mut sets = gap_pruned(case)?;
    let dense = match gap_phase(case) {
        Phase::Start { epochs: 1 } => None,
        // All are sparse in the last epoch.
        Phase::EpochEnd { epoch, epochs, .. } => (epoch < epochs - 2).then_some(epoch as usize + 1),
        _ => Some(0),
    };
    if let Some(phase) = dense {
        let layer = phase % sets.len();
        sets[layer] = (0..case.layers[layer].places()).collect();
    }
    Some(sets)
}

/// Blocks that grow are 0, also where they were pruned a moment ago.
#[test]
fn gap_keeps_and_grows_as_its_oracle() {
    let act = |fixture: &mut Fixture, case: &Case| {
        mutate(Gap, fixture, gap_phase(case))?;
        let kept = gap_pruned(case).unwrap();
        for (index, layer) in case.layers.iter().enumerate() {
            for (place, found) in fixture.numbers(index).unwrap() {
                let wanted = if kept[index].contains(&place) { layer.weight[place] } else { 0 };
                assert_eq!(found, wanted as f32, "case {}, layer {index}, block {place}", case.index);
            }
        }
        Ok(())
    };
    expect_mutations(&act, &gap, false).unwrap();
}

fn snip(case: &Case) -> Option<Sets> {
    of(case, &case.stored(), case.budget(), sensitivity(case))
}

#[test]
fn snip_keeps_as_its_oracle() {
    expect_mutations(&|fixture, case| mutate(Snip { scope: case.scope }, fixture, START), &snip, true)
        .unwrap();
}

/// Kept weights are rescaled so that the mean sum of squares into an output is 2; zeros stay zeros.
#[test]
fn sbp_sr_keeps_as_its_oracle() {
    let act = |fixture: &mut Fixture, case: &Case| {
        mutate(SbpSr { scope: case.scope }, fixture, START)?;
        for (index, layer) in case.layers.iter().enumerate() {
            let numbers = fixture.numbers(index).unwrap();
            let squares: f64 = numbers.iter().map(|&(_, w)| 2.0 * f64::from(w).powi(2)).sum();
            let before: i32 = numbers.iter().map(|&(place, _)| layer.weight[place].pow(2)).sum();
            let wanted = if before == 0 { 0.0 } else { 2.0 };
            let found = squares / (layer.grid[0] * BLOCK) as f64;
            assert!((found - wanted).abs() < 1e-5, "case {}, layer {index}: {found}", case.index);
        }
        Ok(())
    };
    expect_mutations(&act, &snip, false).unwrap();
}

/// Sparsities that floating point holds exactly. One is on the way to most, because every round takes ten backward passes.
const SPARSITIES: [f64; 8] = [0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.75, 0.875];

/// The gradient's number in a backward pass of Early-CroP: in each round five batches here, and five a little further on.
/// Only their sums are small.
fn early_crop_gradient(index: usize, pass: usize, layer: usize, place: usize) -> i32 {
    let sum = early_crop_sum(index, pass / 5, layer, place);
    let share = if pass % 5 == place % 5 { sum } else { 0 };
    share + [3, -3, 0, 5, -5][pass % 5]
}

fn early_crop_sum(index: usize, turn: usize, layer: usize, place: usize) -> i32 {
    let key = Key::new(index as u64, Stream::Check(10));
    (key.at([turn as u32, (layer * 4096 + place) as u32])[0] % 5) as i32 - 2
}

/// Of ten. Half of the run is the latest; before that, one epoch settles nothing.
fn early_crop_epoch(case: &Case) -> u64 {
    if case.draw(2, 5) == 0 { 3 } else { 4 }
}

fn early_crop(case: &Case) -> Option<Sets> {
    let mut sets = case.stored();
    if early_crop_epoch(case) == 3 {
        return Some(sets);
    }
    let sparsity = SPARSITIES[case.draw(1, 8)];
    let places: usize = case.layers.iter().map(Layer::places).sum();
    let mut counts = Vec::new();
    for i in 0..=101 {
        let before = if sparsity > 0.5 { 0.5 } else { 0.25 };
        let share = if i <= 100 { sparsity - (sparsity - before) / 2f64.powi(i) } else { sparsity };
        let count = (places - (share * places as f64).floor() as usize).max(case.budget());
        if counts.last() != Some(&count) {
            counts.push(count);
        }
    }
    if counts.last() != Some(&case.budget()) {
        counts.push(case.budget());
    }
    for (round, count) in counts.into_iter().enumerate() {
        // H g is what has changed from here to there.
        let change = |layer, place| {
            let at = |turn| early_crop_sum(case.index, turn, layer, place);
            at(2 * round + 1) - at(2 * round)
        };
        let score = |layer: usize, place: usize| {
            i64::from((case.layers[layer].weight[place] * change(layer, place)).abs())
        };
        sets = of(case, &sets, count, score)?;
    }
    Some(sets)
}

/// The weights are checked as well: they must be unchanged, although the method took a step along the gradient.
#[test]
fn early_crop_keeps_as_its_oracle() {
    let act = |fixture: &mut Fixture, case: &Case| {
        let index = case.index;
        fixture.set_gradient(move |pass, layer, place| early_crop_gradient(index, pass, layer, place));
        fixture.set_sparsity(SPARSITIES[case.draw(1, 8)]);
        let method = EarlyCrop::from(EarlyCropOptions { scope: case.scope });
        mutate(method, fixture, epoch_end(early_crop_epoch(case), 10))
    };
    expect_mutations(&act, &early_crop, true).unwrap();
}

/// The magnitudes of a layer's weights, `[out][in]`, where a block is kept.
fn magnitudes(case: &Case, sets: &Sets, layer: usize) -> Vec<Vec<i64>> {
    let of = &case.layers[layer];
    let mut dense = vec![vec![0; of.grid[1] * BLOCK]; of.grid[0] * BLOCK];
    for &place in &sets[layer] {
        for element in [place * 7 % 63, place * 7 % 63 + 1] {
            let (row, col) = (place / of.grid[1] * BLOCK, place % of.grid[1] * BLOCK);
            dense[row + element / BLOCK][col + element % BLOCK] = of.weight[place].abs().into();
        }
    }
    dense
}

/// Synaptic flow of each block: the sum over its elements of inflow times weight times outflow.
fn flows(case: &Case, sets: &Sets) -> Vec<Vec<i64>> {
    let weights: Vec<_> = (0..sets.len()).map(|layer| magnitudes(case, sets, layer)).collect();
    let mut inflow = vec![vec![1; weights[0][0].len()]];
    for weight in &weights {
        let x = &inflow[inflow.len() - 1];
        inflow.push(weight.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect());
    }
    let width = case.head.len() / CLASSES;
    let mut worth: Vec<i64> =
        (0..width).map(|j| (0..CLASSES).map(|i| i64::from(case.head[i * width + j].abs())).sum()).collect();
    let mut flows = vec![Vec::new(); sets.len()];
    for (layer, weight) in weights.iter().enumerate().rev() {
        let of = &case.layers[layer];
        flows[layer] = vec![0; of.places()];
        for (i, row) in weight.iter().enumerate() {
            for (j, w) in row.iter().enumerate() {
                flows[layer][i / BLOCK * of.grid[1] + j / BLOCK] += w * worth[i] * inflow[layer][j];
            }
        }
        worth = (0..weight[0].len())
            .map(|j| weight.iter().zip(&worth).map(|(row, v)| row[j] * v).sum())
            .collect();
    }
    flows
}

fn synflow(case: &Case) -> Option<Sets> {
    let places: usize = case.layers.iter().map(Layer::places).sum();
    let mut sets = case.stored();
    let mut before = places;
    for round in 1..=100 {
        let density = (case.budget() as f64 / places as f64).powf(f64::from(round) / 100.0);
        let count = (density * places as f64).round() as usize;
        if count < before {
            let flows = flows(case, &sets);
            sets = of(case, &sets, count, |layer, place| flows[layer][place])?;
            before = count;
        }
    }
    Some(sets)
}

/// A case with few rounds, since each is a network of its own, and with magnitudes whose products are small.
fn gentle(mut case: Case) -> Case {
    let rounds = case.draw(2, 3);
    for layer in &mut case.layers {
        layer.weight.iter_mut().for_each(|w| *w = (*w).clamp(-2, 2));
        let most = layer.places();
        if !(case.index.is_multiple_of(50) || case.index % 100 == 7) {
            layer.target = most - rounds.min(most - 1);
        }
    }
    case
}

#[test]
fn synflow_keeps_as_its_oracle() {
    run_cases(&mut |fixture, case, _| {
        let case = gentle(case);
        fixture.load(&case);
        let outcome = mutate(SynFlow { scope: case.scope }, fixture, START);
        compare(fixture, &case, outcome, synflow(&case), true)
    })
    .unwrap();
}

/// A network whose loss is the sum of d * w * w / 2 over all elements, with a d for each place.
struct Quadratic {
    fixture: Fixture,
    curvature: Vec<f32>,
}

impl MutableTopology for Quadratic {
    fn gpu(&self) -> &Gpu {
        MutableTopology::gpu(&self.fixture)
    }

    fn model(&self) -> &Network {
        self.fixture.model()
    }

    fn sparsity(&self) -> f64 {
        0.75
    }

    fn targets(&self) -> &[usize] {
        self.fixture.targets()
    }

    fn backward(&mut self, _batch: u64) -> Result<()> {
        let layer = self.model().layers()[0];
        let weight = layer.weight().sparse().unwrap();
        let places = weight.pattern().topology(self.gpu())?.places().collect::<Vec<_>>();
        let mut values = self.gpu().read::<f32>(weight.values())?.wait()?;
        for (block, place) in values.chunks_mut(BLOCK * BLOCK).zip(places) {
            block.iter_mut().for_each(|w| *w *= self.curvature[place]);
        }
        self.gpu().write(layer.weight_grad().values(), &values)
    }

    fn reshape(&mut self, param: ParamId, set: &Tensor, nnz: usize) -> Result<()> {
        self.fixture.reshape(param, set, nnz)
    }

    fn smallest_graph(&self) -> Result<Graph> {
        self.fixture.smallest_graph()
    }

    fn features(&self) -> usize {
        self.fixture.features()
    }
}

/// H g by a formula: in a quadratic, H g is d * d * w, so that blocks are kept by d * w. Numbers are so chosen that no two
/// blocks are near each other, and neither magnitude nor sensitivity would keep the same ones.
#[test]
fn early_crop_follows_the_curvature() {
    let mut fixture = Fixture::new(WIDTHS[2]);
    let mut walk = Key::new(6, Stream::Check(11)).walk();
    for index in 0..5 {
        let mut case = Case::new(&fixture.grids(), &mut walk, index);
        let layer = &mut case.layers[0];
        (layer.slots, layer.target) = ((0..32).collect(), 10);
        layer.weight = (0..32).map(|_| 1 + walk.below(2) as i32).collect();
        let mut curvature: Vec<f32> = (0..32).map(|i| 2.0 * i as f32 + 1.0).collect();
        walk.shuffle(&mut curvature);
        let kept = |score: &dyn Fn(i32, i32) -> i32| {
            let numbers = layer.weight.iter().zip(&curvature).enumerate();
            largest(numbers.map(|(at, (&w, &d))| (f64::from(score(w, d as i32)), at)).collect(), 10)
        };
        let wanted = kept(&|w, d| d * w);
        assert!(wanted != kept(&|w, d| d * w * w) && wanted != kept(&|_, d| d));
        fixture.load(&case);
        let mut network = Quadratic { fixture, curvature };
        EarlyCrop::from(EarlyCropOptions { scope: case.scope })
            .mutate(epoch_end(4, 10), &mut network)
            .unwrap();
        fixture = network.fixture;
        assert_eq!(fixture.sets().unwrap(), [wanted]);
    }
}

/// Each oracle is shown the set of another method, another budget or another moment.
#[test]
fn the_oracles_object() {
    let objects = |act: &dyn Fn(&mut Fixture, &Case) -> Result<()>,
                   oracle: &dyn Fn(&Case) -> Option<Sets>| {
        let trial = &mut |fixture: &mut Fixture, case: Case, _: &mut Walk| {
            fixture.load(&case);
            // A refusal leaves no set to compare.
            match (act(fixture, &case), oracle(&case)) {
                (Ok(()), wanted @ Some(_)) => compare(fixture, &case, Ok(()), wanted, false),
                _ => Ok(()),
            }
        };
        let why = run_cases(trial).unwrap_err();
        assert!(why.contains("instead of"), "{why}");
    };
    let sensitive = |fixture: &mut Fixture, case: &Case| mutate(Snip { scope: case.scope }, fixture, START);
    objects(&|fixture, _| mutate(Snip { scope: Scope::Layer }, fixture, START), &snip);
    let early = Phase::Update { update: 1, updates: 6 };
    objects(&|fixture, _| mutate(Magnitude::default(), fixture, early), &magnitude);
    objects(&|fixture, _| mutate(Gap, fixture, epoch_end(0, 6)), &gap);
    objects(&sensitive, &early_crop);
    objects(&sensitive, &synflow);
}
