//! SCL: connections that learn with the weights, which blocks stand, and which are left when the pattern is settled.

use std::collections::BTreeSet;

use fretwork::gpu::{Class, Tensor};
use fretwork::methods::{
    LayerContext, Method, MutableTopology, Phase, Saved, Scl, SclOptions, Scope, Workspace,
};
use fretwork::nn::Signals;
use fretwork::ops::{Step, StepValues};
use fretwork::reference::bits;

use crate::BLOCK;
use crate::fixture::{Case, Fixture, Layer, Sets, block, compare, run, run_cases};

/// Costs of a connection. No sum of a cost and a slope moves a connection to 0, so that no rounding decides.
const COSTS: [f32; 4] = [0.0, 0.25, 0.75, 60.0];

/// The step size of connections.
const RATE: f64 = 0.01;

/// A method that has seen the network, whose connections are then given, one for each place; and where they are.
fn method(fixture: &mut Fixture, cost: f32, scope: Scope, connections: &[Vec<f32>]) -> (Scl, Vec<Tensor>) {
    let mut method = Scl::from(SclOptions { cost: cost.into(), scope });
    method.mutate(Phase::Start { epochs: 8 }, fixture).unwrap();
    let part = |name: &str| -> Vec<Tensor> {
        let saved = method.tensors().into_iter().filter(|(part, _)| part.starts_with(name));
        let tensor = |(_, saved)| match saved {
            Saved::Numbers(tensor) | Saved::Set { words: tensor, .. } => tensor,
            other => panic!("{other:?}"),
        };
        saved.map(tensor).collect()
    };
    let (learning, awake) = (part("connections."), part("awake."));
    for ((connections, learning), awake) in connections.iter().zip(&learning).zip(&awake) {
        fixture.gpu.write(learning, connections).unwrap();
        let standing = (0..connections.len()).filter(|&place| connections[place] >= 0.0);
        fixture.gpu.write(awake, &bits::set(connections.len(), standing)).unwrap();
    }
    (method, learning)
}

/// Connections of a few numbers around 0, some of them 0.
fn connections(case: &Case) -> Vec<Vec<f32>> {
    let of = |(at, layer): (usize, &Layer)| {
        (0..layer.places())
            .map(|place| (case.draw((at * 4096 + place) as u32, 7) as f32 - 3.0) / 128.0)
            .collect()
    };
    case.layers.iter().enumerate().map(of).collect()
}

/// A connection's gradient is the sum of w * g over its block, over the largest of its row of blocks.
fn learned(layer: &Layer, connections: &[f32], cost: f32) -> Vec<f64> {
    let slope = |place: usize| 2 * layer.weight[place] * layer.grad[place];
    (0..layer.places())
        .map(|place| {
            let row = place / layer.grid[1] * layer.grid[1];
            let largest = (row..row + layer.grid[1]).map(|at| slope(at).abs()).max().unwrap();
            let slope = if largest == 0 { 0.0 } else { f64::from(slope(place)) / f64::from(largest) };
            (f64::from(connections[place]) - RATE * (slope + f64::from(cost))).max(-1.0)
        })
        .collect()
}

/// One step of one layer, and what it should have done.
fn check_step(fixture: &mut Fixture, case: &Case, slip: f32) -> Result<(), String> {
    let cost = COSTS[case.draw(u32::MAX, 4)];
    let begun = connections(case);
    let (method, learning) = method(fixture, cost + slip, case.scope, &begun);
    for (at, layer) in case.layers.iter().enumerate() {
        let (param, weight) = &fixture.sparse_layers()[at];
        let gpu = &fixture.gpu;
        let grad = fixture.model().store().get(*param).grads().clone();
        let grads: Vec<f32> = layer
            .slots
            .iter()
            .flat_map(|&place| block(place, layer.grad[place] as f32, -layer.grad[place] as f32))
            .collect();
        gpu.write(&grad, &grads).unwrap();
        let workspace = Workspace::new(gpu, weight.pattern(), false).unwrap();
        let step = Step::new(gpu, StepValues::forward(0)).unwrap();
        // The method reads no activation.
        let nothing = gpu.zeros::<f32>(Class::Scratch, "nothing", &[1, 1]).unwrap();
        let signals = Signals::Rows { x: &nothing, y: &nothing, dy: &nothing };
        let context = LayerContext {
            param: *param,
            ..LayerContext::new(at as u32, 1, weight, &grad, signals, &step, &workspace)
        };
        run(gpu, |rec| method.each_step(rec, &context));

        let wanted = learned(layer, &begun[at], cost);
        let topology = weight.pattern().topology(gpu).map_err(|error| error.to_string())?;
        let standing: BTreeSet<usize> = (0..wanted.len()).filter(|&place| wanted[place] >= 0.0).collect();
        let awake = topology.places().zip(topology.active());
        let found: BTreeSet<usize> = awake.filter_map(|(place, awake)| awake.then_some(place)).collect();
        if found != standing {
            return Err(format!("layer {at}: blocks {found:?} instead of {standing:?}"));
        }
        let found = gpu.read::<f32>(&learning[at]).unwrap().wait().unwrap();
        if let Some(place) =
            (0..wanted.len()).find(|&place| (f64::from(found[place]) - wanted[place]).abs() > 1e-6)
        {
            return Err(format!("layer {at}: connection {place} is {}, not {}", found[place], wanted[place]));
        }
        // The weights of a block that did not stand have no gradient.
        let area = BLOCK * BLOCK;
        let trained: Vec<f32> = (0..grads.len())
            .map(|i| if begun[at][layer.slots[i / area]] < 0.0 { 0.0 } else { grads[i] })
            .collect();
        if gpu.read::<f32>(&grad).unwrap().wait().unwrap() != trained {
            return Err(format!(
                "layer {at}: gradients of blocks that do not stand, or none of some that do"
            ));
        }
    }
    Ok(())
}

/// All blocks are stored while connections learn.
fn all_stored(mut case: Case) -> Case {
    for layer in &mut case.layers {
        let absent = (0..layer.places()).filter(|place| !layer.slots.contains(place));
        let absent: Vec<usize> = absent.collect();
        layer.slots.extend(absent);
    }
    case
}

fn thousand_steps(slip: f32) -> Result<(), String> {
    run_cases(&mut |fixture, case, _| {
        let case = all_stored(case);
        fixture.load(&case);
        check_step(fixture, &case, slip)
    })
}

#[test]
fn connections_learn_as_their_oracle() {
    thousand_steps(0.0).unwrap();
}

/// Those that do not stand are let go, and of the others the ones with the largest connections are kept. Where layers do not
/// compete and none of a layer's stand, that of the largest is kept; else nothing if a layer is left without any.
fn settled(case: &Case, connections: &[Vec<f32>]) -> Option<Sets> {
    let places = |at: usize| (0..case.layers[at].places()).map(move |place| (at, place));
    let mut blocks: Vec<(usize, usize)> = (0..case.layers.len()).flat_map(places).collect();
    blocks.retain(|&(at, place)| connections[at][place] >= 0.0);
    // A stable sort leaves equals in the order of the layers and their grids.
    blocks.sort_by(|a, b| connections[b.0][b.1].total_cmp(&connections[a.0][a.1]));
    let mut sets: Sets = vec![BTreeSet::new(); case.layers.len()];
    for (at, place) in blocks {
        let full = match case.scope {
            Scope::Global => sets.iter().map(BTreeSet::len).sum::<usize>() == case.budget(),
            Scope::Layer => sets[at].len() == case.layers[at].target,
        };
        if !full {
            sets[at].insert(place);
        }
    }
    let spared = |at: usize, set: &BTreeSet<usize>| {
        case.scope == Scope::Layer && case.layers[at].target > 0 && set.is_empty()
    };
    for (at, set) in sets.iter_mut().enumerate().filter(|(at, set)| spared(*at, set)) {
        let all = connections[at].iter().enumerate();
        set.extend(all.rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(place, _)| place));
    }
    sets.iter().all(|set| !set.is_empty()).then_some(sets)
}

/// At the end of the epoch in which three quarters are done, and not before. The connections are `slip` larger than the
/// oracle is told.
fn thousand_endings(slip: f32) -> Result<(), String> {
    run_cases(&mut |fixture, case, _| {
        let case = all_stored(case);
        fixture.load(&case);
        let told = connections(&case);
        let given: Vec<Vec<f32>> =
            told.iter().map(|layer| layer.iter().map(|connection| connection + slip).collect()).collect();
        let (mut method, _) = method(fixture, 0.1, case.scope, &given);
        let end = |epoch| Phase::EpochEnd { epoch, epochs: 8, train_loss: 1.0 };
        let early = method.mutate(end(4), fixture);
        compare(fixture, &case, early, Some(case.stored()), true)?;
        let outcome = method.mutate(end(5), fixture);
        compare(fixture, &case, outcome, settled(&case, &told), true)
    })
}

#[test]
fn connections_settle_as_their_oracle() {
    thousand_endings(0.0).unwrap();
}

#[test]
fn the_oracles_object() {
    let why = thousand_steps(1.0).unwrap_err();
    assert!(why.contains("instead of"), "{why}");
    let why = thousand_endings(1.0 / 128.0).unwrap_err();
    assert!(why.contains("instead of"), "{why}");
}
