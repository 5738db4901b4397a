//! Sup-tickets: the average of several tickets, pruned back after each. (Blocks are exchanged as by RigL; see `exchange`.)

use std::collections::{BTreeMap, BTreeSet};

use fretwork::methods::{Method, Phase, Saved, Scope, SupTickets, SupTicketsOptions};
use fretwork::random::{Key, Stream};

use crate::fixture::{Case, Fixture, Sets, numbers, run_cases};

/// Epochs of a run, and the ends of those after which a ticket is ready: one, two and three tickets, and cycles of two
/// epochs.
const RUNS: [(u64, &[u64]); 4] = [(3, &[3]), (4, &[3, 4]), (7, &[5, 6, 7]), (60, &[56, 58, 60])];

/// An average as the device holds it: sums of products that f32 holds exactly are rounded once.
type Average = Vec<BTreeMap<usize, f32>>;

fn mean(before: Option<f32>, now: Option<f32>, share: f32) -> f32 {
    let (before, now) = (before.unwrap_or(0.0), now.unwrap_or(0.0));
    (f64::from(share) * f64::from(now) + f64::from(1.0 - share) * f64::from(before)) as f32
}

/// Adds a ticket and prunes; nothing if that leaves a layer without blocks.
fn add(average: &mut Average, tickets: usize, case: &Case) -> Option<()> {
    let share = 1.0 / (tickets + 1) as f32;
    for (average, layer) in average.iter_mut().zip(&case.layers) {
        let ticket: BTreeMap<usize, f32> =
            layer.slots.iter().map(|&place| (place, layer.weight[place] as f32)).collect();
        let union: BTreeSet<usize> = average.keys().chain(ticket.keys()).copied().collect();
        let blended = |place: usize| mean(average.get(&place).copied(), ticket.get(&place).copied(), share);
        *average = union.into_iter().map(|place| (place, blended(place))).collect();
    }
    let mut ranks: Vec<(usize, usize)> =
        average.iter().enumerate().flat_map(|(layer, of)| of.keys().map(move |&at| (layer, at))).collect();
    ranks.sort_by(|&(a, at), &(b, bt)| average[b][&bt].abs().total_cmp(&average[a][&at].abs()));
    let mut left: Vec<usize> = match case.scope {
        Scope::Global => vec![case.budget()],
        Scope::Layer => case.layers.iter().map(|layer| layer.target).collect(),
    };
    for (layer, place) in ranks {
        let group = layer % left.len();
        match left[group].checked_sub(1) {
            Some(rest) => left[group] = rest,
            None => drop(average[layer].remove(&place)),
        }
    }
    average.iter().all(|average| !average.is_empty()).then_some(())
}

/// The tickets of a case: the same network with other blocks and weights, all with the first one's budget.
fn tickets(first: &Case, grids: &[[usize; 2]], count: usize) -> Vec<Case> {
    let mut walk = Key::new(first.index as u64, Stream::Check(12)).walk();
    let mut ticket = |_| {
        let index = first.index + walk.below(50) as usize;
        Case::new(grids, &mut walk, index)
    };
    let mut tickets: Vec<Case> = (0..count).map(&mut ticket).collect();
    for ticket in &mut tickets {
        ticket.scope = first.scope;
        for (layer, of) in ticket.layers.iter_mut().zip(&first.layers) {
            layer.target = of.target;
            // Thirds of three would be rounded.
            layer.weight.iter_mut().for_each(|w| *w = (*w).clamp(-2, 2));
        }
    }
    tickets
}

/// Compares the method's average of each sparse layer.
fn expect_average(fixture: &Fixture, method: &SupTickets, wanted: &Average) -> Result<(), String> {
    let saved: BTreeMap<String, Saved> = method.tensors().into_iter().collect();
    for (layer, wanted) in wanted.iter().enumerate() {
        let part = |part: &str| &saved[&format!("average.layers.{layer}.weight{part}")];
        let (Saved::Numbers(values), Saved::Pattern(pattern)) = (part(""), part(".pattern")) else {
            panic!("{saved:?}");
        };
        let topology = pattern.topology(&fixture.gpu).map_err(|error| error.to_string())?;
        let values = fixture.gpu.read::<f32>(values).unwrap().wait().unwrap();
        let found = numbers(&topology, &values)?.into_iter().collect();
        if wanted != &found {
            return Err(format!("layer {layer}: blocks {found:?} instead of {wanted:?}"));
        }
    }
    Ok(())
}

/// Gives a method the tickets of a case one after the other, and compares the average with each, and the network with the
/// last. `slip` is what the oracle is not told.
fn check(
    fixture: &mut Fixture,
    first: &Case,
    slip: &dyn Fn(&mut Case),
    averages: &mut usize,
) -> Result<(), String> {
    let grids = fixture.grids();
    let (epochs, ends) = RUNS[first.draw(4, 4)];
    let mut method =
        SupTickets::from(SupTicketsOptions { scope: first.scope, ..SupTicketsOptions::default() });
    let mut average: Average = vec![BTreeMap::new(); grids.len()];
    let mut head = Vec::new();
    let mut tickets = tickets(first, &grids, ends.len()).into_iter().enumerate();
    for epoch in 0..epochs {
        let end = Phase::EpochEnd { epoch, epochs, train_loss: 1.0 };
        if !ends.contains(&(epoch + 1)) {
            method.mutate(end, fixture).unwrap();
            continue;
        }
        let (at, ticket) = tickets.next().unwrap();
        let mut given = ticket.clone();
        slip(&mut given);
        fixture.load(&given);
        let outcome = method.mutate(end, fixture);
        *averages += 1;
        if add(&mut average, at, &ticket).is_none() {
            let refused = outcome.is_err_and(|error| error.to_string().contains("with no block"));
            return if refused { Ok(()) } else { Err("a layer without blocks is not refused".to_owned()) };
        }
        outcome.map_err(|error| format!("blocks are refused: {error}"))?;
        expect_average(fixture, &method, &average)?;
        let now = ticket.head.iter().map(|&w| w as f32);
        head = match at {
            0 => now.collect(),
            _ => head
                .iter()
                .zip(now)
                .map(|(&w, now)| mean(Some(w), Some(now), 1.0 / (at + 1) as f32))
                .collect(),
        };
    }
    let wanted: Sets = average.iter().map(|average| average.keys().copied().collect()).collect();
    let found = fixture.sets()?;
    if found != wanted {
        return Err(format!("the network ends with blocks {found:?} instead of {wanted:?}"));
    }
    for (layer, average) in average.iter().enumerate() {
        if &fixture.numbers(layer)?.into_iter().collect::<BTreeMap<_, _>>() != average {
            return Err(format!("layer {layer} does not end with the weights of the average"));
        }
    }
    let found = fixture.gpu.read::<f32>(fixture.head()).unwrap().wait().unwrap();
    if found == head { Ok(()) } else { Err("the dense layer does not end as the average".to_owned()) }
}

/// Half as many runs make more than a run_cases averages.
fn thousand_averages(slip: &dyn Fn(&mut Case)) -> Result<(), String> {
    let mut averages = 0;
    run_cases(&mut |fixture, case, _| match case.index / 2 % 2 {
        0 => check(fixture, &case, slip, &mut averages),
        _ => Ok(()),
    })?;
    assert!(averages >= 1000, "{averages}");
    Ok(())
}

#[test]
fn sup_tickets_average_and_prune_as_their_oracle() {
    thousand_averages(&|_| {}).unwrap();
}

/// It objects to tickets whose budget or weights are not those it was told of.
#[test]
fn the_oracle_objects() {
    for slip in [
        |ticket: &mut Case| ticket.layers[0].target = 1,
        |ticket: &mut Case| ticket.layers[0].weight.reverse(),
    ] {
        let why = thousand_averages(&slip).unwrap_err();
        assert!(why.contains("instead of"), "{why}");
    }
}
