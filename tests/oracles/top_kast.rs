//! Top-KAST: the smaller set is the largest of the stored blocks; of the others, some are exchanged for random ones.

use std::collections::BTreeSet;

use fretwork::gpu::Class;
use fretwork::methods::{LayerContext, Method, MutableTopology, Phase, TopKast, Workspace};
use fretwork::nn::Signals;
use fretwork::ops::{Step, StepValues};
use fretwork::random::{Key, Stream, unit};

use crate::fixture::{Case, Fixture, Layer, run, run_cases};
use crate::sets::{largest, smallest};

fn key(layer: usize) -> Key {
    Key::new(9, Stream::Growth(layer as u32))
}

/// The blocks with a part in the network, and all that are stored.
#[derive(Debug, PartialEq)]
struct Nested {
    active: BTreeSet<usize>,
    stored: BTreeSet<usize>,
}

fn by_magnitude(layer: &Layer) -> impl Iterator<Item = (f64, usize)> {
    layer.slots.iter().map(|&place| (f64::from(layer.weight[place].abs()), place))
}

fn at_the_start(layer: &Layer) -> Nested {
    let active = largest(by_magnitude(layer).collect(), layer.target);
    Nested { active, stored: layer.slots.iter().copied().collect() }
}

/// After an update that exchanges as many inactive blocks as are wanted.
fn updated(case: &Case, at: usize, wanted: usize) -> Nested {
    let (layer, index) = (&case.layers[at], case.index);
    let Nested { active, mut stored } = at_the_start(layer);
    let inactive = by_magnitude(layer).filter(|(_, place)| !active.contains(place)).collect();
    let draw = |place: usize| f64::from(unit(key(at).at([place as u32, index as u32])[0]));
    let absent = (0..layer.places()).filter(|place| !stored.contains(place));
    let grown = largest(absent.map(|place| (draw(place), place)).collect(), wanted);
    // No more are dropped than can grow.
    for place in smallest(inactive, grown.len()) {
        stored.remove(&place);
    }
    stored.extend(grown);
    Nested { active, stored }
}

fn expect(fixture: &Fixture, layer: usize, wanted: &Nested) -> Result<(), String> {
    let topology = fixture.pattern(layer).topology(&fixture.gpu).map_err(|error| error.to_string())?;
    let places = || topology.places().zip(topology.active());
    let found = Nested {
        active: places().filter_map(|(place, active)| active.then_some(place)).collect(),
        stored: topology.places().collect(),
    };
    if &found == wanted { Ok(()) } else { Err(format!("layer {layer}: {found:?} instead of {wanted:?}")) }
}

/// Updates a layer, so many blocks of it.
fn update(fixture: &Fixture, method: &TopKast, case: &Case, layer: usize, wanted: usize) {
    let gpu = &fixture.gpu;
    let (param, weight) = &fixture.sparse_layers()[layer];
    let workspace = Workspace::new(gpu, weight.pattern(), false).unwrap();
    gpu.write(workspace.wanted(), &[wanted as u32]).unwrap();
    let step = Step::new(gpu, StepValues::forward(case.index as u32)).unwrap();
    // The method reads no activation.
    let nothing = gpu.zeros::<f32>(Class::Scratch, "nothing", &[1, 1]).unwrap();
    let signals = Signals::Rows { x: &nothing, y: &nothing, dy: &nothing };
    let context = LayerContext {
        param: *param,
        ..LayerContext::new(layer as u32, 9, weight, &nothing, signals, &step, &workspace)
    };
    run(gpu, |rec| method.update(rec, &context));
}

/// Checks a layer before and after an update, with other weights, as if there had been steps.
fn check_update(
    fixture: &Fixture,
    method: &TopKast,
    case: &Case,
    at: usize,
    wanted: usize,
) -> Result<(), String> {
    let layer = &case.layers[at];
    fixture.write_weight(at, &layer.weight);
    update(fixture, method, case, at, wanted);
    let Nested { active, stored } = updated(case, at, wanted);
    // Where none rests there is no update.
    let active = if layer.slots.len() <= layer.target { stored.clone() } else { active };
    expect(fixture, at, &Nested { active, stored })?;
    for (place, found) in fixture.numbers(at)? {
        let weight = if layer.slots.contains(&place) { layer.weight[place] } else { 0 };
        if found != weight as f32 {
            return Err(format!("layer {at}: block {place} is {found}, not {weight}"));
        }
    }
    Ok(())
}

/// Checks a thousand cases; `slip` is what the oracle is not told.
fn thousand_updates(slip: &dyn Fn(&mut Case)) -> Result<(), String> {
    run_cases(&mut |fixture, mut case, walk| {
        let mut given = case.clone();
        slip(&mut given);
        fixture.load(&given);
        let mut method = TopKast::default();
        method.mutate(Phase::Start { epochs: 5 }, fixture).unwrap();
        for at in 0..case.layers.len() {
            expect(fixture, at, &at_the_start(&case.layers[at]))?;
            walk.shuffle(&mut case.layers[at].weight);
            let inactive = case.layers[at].slots.len().saturating_sub(case.layers[at].target);
            // None, all that rest, and whatever lies between.
            let wanted = match case.index % 7 {
                0 => 0,
                1 => inactive,
                _ => walk.below(inactive as u32 + 1) as usize,
            };
            check_update(fixture, &method, &case, at, wanted)?;
        }
        Ok(())
    })
}

#[test]
fn top_kast_nests_and_exchanges_as_its_oracle() {
    thousand_updates(&|_| {}).unwrap();
}

#[test]
fn the_oracle_objects() {
    for slip in [
        |case: &mut Case| case.layers[0].target = case.layers[0].target.saturating_sub(1),
        |case: &mut Case| case.layers[0].weight.reverse(),
    ] {
        assert!(thousand_updates(&slip).unwrap_err().contains("instead of"));
    }
}
