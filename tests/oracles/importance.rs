//! Neuron-importance pruning: which groups of neurons lose their inputs, and what leads on from them.

use std::collections::BTreeSet;

use fretwork::methods::{Importance, Phase};

use crate::fixture::{Case, Fixture, Layer, Sets, expect_mutations, mutate};

/// Percentiles as fractions.
const PERCENTILES: [[i64; 2]; 4] = [[1, 5], [1, 2], [0, 1], [1, 1]];

/// Epochs done, of how many: too early, in time, at the end, and between two turns of a long run.
const EPOCHS: [[u64; 2]; 8] = [[1, 10], [3, 10], [4, 10], [9, 10], [10, 10], [60, 150], [61, 150], [63, 150]];

fn method(case: &Case) -> Importance {
    let [over, under] = PERCENTILES[case.draw(1, 4)];
    let percentile = over as f64 / under as f64;
    Importance { percentile, outgoing: case.draw(2, 2) == 1, ..Importance::default() }
}

fn moment(case: &Case) -> Phase {
    let [done, epochs] = EPOCHS[case.draw(3, 8)];
    Phase::EpochEnd { epoch: done - 1, epochs, train_loss: 1.0 }
}

/// The rows of blocks whose importance is not above the percentile, in whole numbers.
fn lost(layer: &Layer, [over, under]: [i64; 2]) -> BTreeSet<usize> {
    let importance = |row: usize| -> i64 {
        let of = layer.slots.iter().filter(|&&place| place / layer.grid[1] == row);
        of.map(|&place| i64::from(layer.weight[place].abs())).sum()
    };
    let all: Vec<i64> = (0..layer.grid[0]).map(importance).collect();
    let mut sorted: Vec<i64> = all.iter().copied().filter(|&importance| importance != 0).collect();
    sorted.sort_unstable();
    let Some(last) = sorted.len().checked_sub(1) else { return BTreeSet::new() };
    let (at, part) = (over * last as i64 / under, over * last as i64 % under);
    let (low, high) = (sorted[at as usize], sorted[(at as usize + 1).min(last)]);
    let below = |&row: &usize| under * all[row] <= under * low + (high - low) * part;
    (0..all.len()).filter(below).collect()
}

fn importance(case: &Case) -> Option<Sets> {
    let mut sets = case.stored();
    let [done, epochs] = EPOCHS[case.draw(3, 8)];
    let turn = if epochs < 100 { 1 } else { epochs / 50 };
    if (done as f64) < 0.4 * epochs as f64 || done == epochs || done % turn != 0 {
        return Some(sets);
    }
    let lost: Vec<_> = case.layers.iter().map(|layer| lost(layer, PERCENTILES[case.draw(1, 4)])).collect();
    for (index, layer) in case.layers.iter().enumerate() {
        let led_on = |col: usize| case.draw(2, 2) == 1 && index > 0 && lost[index - 1].contains(&col);
        let kept: BTreeSet<usize> = layer
            .slots
            .iter()
            .copied()
            .filter(|place| !lost[index].contains(&(place / layer.grid[1])) && !led_on(place % layer.grid[1]))
            .collect();
        // A layer is never emptied.
        if !kept.is_empty() {
            sets[index] = kept;
        }
    }
    Some(sets)
}

fn act(fixture: &mut Fixture, case: &Case) -> fretwork::Result<()> {
    mutate(method(case), fixture, moment(case))
}

#[test]
fn importance_removes_as_its_oracle() {
    expect_mutations(&act, &importance, true).unwrap();
}

/// It objects where outgoing weights stay, or inputs of a group that matters are lost.
#[test]
fn the_oracle_objects() {
    for wrong in
        [|method: &mut Importance| method.outgoing = false, |method: &mut Importance| method.percentile = 0.9]
    {
        let act = |fixture: &mut Fixture, case: &Case| {
            let mut method = method(case);
            wrong(&mut method);
            mutate(method, fixture, moment(case))
        };
        let why = expect_mutations(&act, &importance, true).unwrap_err();
        assert!(why.contains("instead of"), "{why}");
    }
}
