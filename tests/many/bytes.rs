//! No block between networks costs a byte.

use fretwork::gpu::Class;
use fretwork::nn::{Codistillation, MlpsConfig, Together};
use fretwork::ops::Activation;
use fretwork::train::{Footprint, Settings, Trainer};

use crate::{digits, gpu, many, one, settings};

fn footprint(settings: &Settings) -> Footprint {
    let optimizer = settings.optimizer.build(settings.momentum, settings.weight_decay);
    Footprint::of_run(settings, &*settings.method.build(), &*optimizer).unwrap()
}

/// Networks of these widths, of one activation and of two.
fn widths(range: std::ops::Range<usize>, activations: &[Activation]) -> MlpsConfig {
    let of = |&activation: &Activation| range.clone().map(move |width| one(&[width], activation, 3));
    many(activations.iter().flat_map(of).collect())
}

#[test]
fn bytes_are_those_of_the_networks() {
    let config = widths(9..41, &[Activation::Relu, Activation::Silu]);
    let run = settings(config.clone(), 10, 0.1);
    let estimate = footprint(&run);
    let gpu = gpu();
    let _trainer = Trainer::new(&gpu, run, digits()).unwrap();
    let found = gpu.bytes();
    // Each network alone, its widths padded to blocks: nothing for pairs of networks, of which there are a thousand times as many.
    let elements = |width: usize| {
        let width = width.next_multiple_of(8);
        64 * width + width + width * 16 + 16
    };
    let wanted: usize = config.networks.iter().map(|network| 4 * elements(network.hidden[0])).sum();
    for (class, found) in [(Class::Values, found.values), (Class::Gradients, found.gradients)] {
        let [low, high] = [wanted as u64, wanted as u64 + wanted as u64 / 20];
        assert!((low..high).contains(&found), "{class:?}: {found} bytes, not {wanted}");
        assert_eq!(u128::from(found), estimate.of(class), "{class:?}");
    }
    assert_eq!(u128::from(found.activations), estimate.of(Class::Activations));
    // Activations and their gradients, logits and theirs: a few numbers for a row and a unit or a logit.
    let units: usize = config.networks.iter().map(|network| network.hidden[0].next_multiple_of(8)).sum();
    let most = 4 * 128 * (4 * units + 4 * 16 * config.networks.len() + 2 * 64);
    assert!(found.activations <= most as u64, "{} bytes of activations, not {most}", found.activations);
}

/// Twice as many networks take twice the bytes, where a dense weight between layers would take four times as many.
#[test]
fn bytes_grow_with_the_number_of_networks() {
    let of = |networks: usize| {
        let run = settings(many(vec![one(&[32, 32], Activation::Relu, 3); networks]), 10, 0.1);
        footprint(&run).total() as f64
    };
    let growth = of(400) / of(200);
    assert!((1.9..2.1).contains(&growth), "{growth}");
}

/// The teachers of codistillation are a copy of the weights, with activations, and without gradients and topologies.
#[test]
fn teachers_cost_their_weights_and_activations() {
    let with = |weight: f32| {
        let options = Codistillation { weight, burn_in: 0, exchange_every: 1, disjoint: false };
        let networks = vec![one(&[40, 40], Activation::Relu, 3); 3];
        let config =
            MlpsConfig { sparsity: Some(0.5), together: Together::Codistillation(options), ..many(networks) };
        let run = settings(config, 10, 0.1);
        let estimate = footprint(&run);
        let gpu = gpu();
        let _trainer = Trainer::new(&gpu, run, digits()).unwrap();
        let found = gpu.bytes();
        assert_eq!(u128::from(found.values), estimate.of(Class::Values));
        assert_eq!(u128::from(found.gradients), estimate.of(Class::Gradients));
        assert_eq!(u128::from(found.topology), estimate.of(Class::Topology));
        assert_eq!(u128::from(found.activations), estimate.of(Class::Activations));
        found
    };
    let (alone, taught) = (with(0.0), with(1.0));
    assert_eq!(taught.values, 2 * alone.values);
    assert_eq!(taught.gradients, alone.gradients);
    assert_eq!(taught.optimizer, alone.optimizer);
}
