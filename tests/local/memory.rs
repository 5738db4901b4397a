//! Memory of a step: that of the largest part, and nothing for absent blocks.

use fretwork::gpu::{Class, Gpu};
use fretwork::nn::{Local, ModelConfig, Precision};
use fretwork::ops::Activation;
use fretwork::train::{Footprint, Settings, Trainer};

use crate::{digits, gpu, mlp, settings};

fn footprint(settings: &Settings) -> Footprint {
    let optimizer = settings.optimizer.build(settings.momentum, settings.weight_decay);
    Footprint::of_run(settings, &*settings.method.build(), &*optimizer).unwrap()
}

/// Bytes of activations by the plan of a step, where the trainer allocates as many.
fn activations(gpu: &Gpu, hidden: &[usize], activation: Activation, local: Option<Local>) -> u64 {
    let mut model = mlp(hidden, Some(0.8), local);
    model.activation = activation;
    let settings = settings(model, 1);
    let graph = settings.model.graph(settings.batch, Precision::F32).unwrap();
    let plan = graph.step_memory().unwrap();
    assert!(plan.in_use.iter().all(|&bytes| bytes <= plan.allocated), "{plan:?}");
    let estimate = footprint(&settings).of(Class::Activations);
    let before = gpu.bytes().activations;
    let trainer = Trainer::new(gpu, settings, digits()).unwrap();
    let found = gpu.bytes().activations - before;
    drop(trainer);
    assert_eq!(u128::from(found), estimate, "{local:?}");
    println!("{local:?}: {:?} of {}", plan.in_use.iter().max(), plan.allocated);
    plan.allocated
}

#[test]
fn parts_of_one_layer_take_less_than_three_fifths() {
    let gpu = gpu();
    for activation in [Activation::Relu, Activation::Gelu] {
        let of = |local| activations(&gpu, &[256; 6], activation, local);
        let whole = of(None);
        let ways = [Local::Greedy, Local::Overlapping, Local::Chunked(2), Local::Chunked(3)];
        let [greedy, overlapping, halves, thirds] = ways.map(|local| of(Some(local)));
        println!("{activation}: {whole} bytes; {greedy}, {overlapping}, {halves}, {thirds}");
        assert!(10 * greedy <= 6 * whole, "{greedy} of {whole}");
        assert!(greedy <= overlapping && overlapping < whole);
        assert!(greedy <= thirds && thirds <= halves && halves < whole);
        assert_eq!(of(Some(Local::Chunked(1))), whole);
    }
}

/// A step's memory does not grow with the number of parts, but for the totals of their heads.
#[test]
fn more_parts_take_no_more() {
    let gpu = gpu();
    let of = |layers: usize, local| activations(&gpu, &vec![128; layers], Activation::Relu, local);
    assert_eq!(of(12, Some(Local::Greedy)), of(4, Some(Local::Greedy)));
    assert!(of(12, None) > 2 * of(4, None));
}

/// Weights, gradients and optimizer state are those of the stored blocks, with the dense heads.
#[test]
fn absent_blocks_cost_nothing() {
    let plain = settings(mlp(&[256; 4], Some(0.9), None), 1);
    for local in [Local::Greedy, Local::Overlapping, Local::Chunked(2)] {
        let run = settings(mlp(&[256; 4], Some(0.9), Some(local)), 1);
        let heads = local.parts(4).unwrap().len() as u128 - 1;
        let (estimate, whole) = (footprint(&run), footprint(&plain));
        let gpu = gpu();
        let trainer = Trainer::new(&gpu, run, digits()).unwrap();
        let found = gpu.bytes();
        let classes = [
            (Class::Values, found.values),
            (Class::Gradients, found.gradients),
            (Class::Optimizer, found.optimizer),
        ];
        for (class, found) in classes {
            // Places in a buffer of all parameters are rounded up.
            let rounding = u128::from(found) - estimate.of(class);
            assert!(rounding <= 256 * heads, "{local}, {class:?}: {rounding} bytes more");
            // Two moments of each weight; every buffer is rounded up to 256 bytes.
            let copies = if class == Class::Optimizer { 2 } else { 1 };
            let most = heads * copies * (4 * (256 * 10 + 10) + 2 * 256);
            assert!(estimate.of(class) <= whole.of(class) + most, "{local}, {class:?}");
        }
        assert_eq!(u128::from(found.topology), whole.of(Class::Topology), "{local}");
        let dense = ModelConfig::from(mlp(&[256; 4], None, None)).params_dense();
        assert_eq!(trainer.model().graph().params_dense(), dense, "{local}");
    }
}
