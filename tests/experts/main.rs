//! Layer of experts, forward and backward, against a loop in f64 over assignments.
//!
//! The incoming gradient is random rather than 1, so that a backward pass that ignores it is objected to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../activation/mod.rs"]
mod activation;
mod layer;
mod refusals;
mod twin;

use fretwork::gpu::{Gpu, Options, Variant};
use fretwork::ops::{ABSENT, Activation};
use fretwork::random::{Key, Stream};
use layer::{Layer, Results};
use twin::Twin;

/// Bound of relative errors: 335 times the unit roundoff of f32. The longest sums, over the columns of sparse layers with blocks of 64,
/// have 192 terms.
const TOLERANCE: f64 = 2e-5;

#[test]
fn layers_and_their_gradients() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let activations = [Activation::Relu, Activation::Gelu, Activation::Silu];
    for (number, variant) in Variant::ALIKE.into_iter().enumerate() {
        let gpu = gpu.with_variant(Some(variant));
        for (block, widths) in [
            (8, vec![16, 8, 24, 8, 8]),
            (16, vec![32, 16, 16, 48]),
            (32, vec![32, 64, 32]),
            (64, vec![64, 64, 64]),
        ] {
            for gated in [false, true] {
                for capacity in [0, 9] {
                    let layer = Layer {
                        activation: activations[(number + block / 8 + capacity) % 3],
                        ..Layer::new(number as u32, &widths, block, capacity, gated)
                    };
                    let results = layer.run(&gpu);
                    assert_eq!(
                        results.dropped > 0,
                        capacity > 0,
                        "block {block}: {} dropped",
                        results.dropped
                    );
                    let worst = Twin::new(&layer).worst(&results);
                    let what = format!("{variant:?}, {block}, gated {gated}, capacity {capacity}");
                    assert!(worst < TOLERANCE, "{what}, {}: {worst:e}", layer.activation);
                }
            }
        }
    }
}

/// Layers whose three weights are block-sparse, each with a topology of its own.
#[test]
fn sparse_experts_and_their_gradients() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for (number, (block, widths)) in [
        (8, vec![16, 8, 24, 8, 8]),
        (16, vec![32, 16, 16, 48]),
        (32, vec![32, 64, 32]),
        (64, vec![64, 64, 64]),
    ]
    .into_iter()
    .enumerate()
    {
        for gated in [false, true] {
            let capacity = if gated { 9 } else { 0 };
            let layer = Layer::new(20 + number as u32, &widths, block, capacity, gated).sparse();
            let results = layer.run(&gpu);
            assert_eq!(results.dropped > 0, capacity > 0, "block {block}: {} dropped", results.dropped);
            let worst = Twin::new(&layer).worst(&results);
            assert!(worst < TOLERANCE, "{block}, gated {gated}: {worst:e}");
            // Dense operations on the same weights also add the zeros of absent blocks, which changes no bit of a sum.
            let dense = Layer { patterns: None, ..layer.clone() }.run(&gpu);
            assert_eq!((&dense.y, &dense.dx), (&results.y, &results.dx), "{block}, gated {gated}");
            assert_eq!(dense.dweights, results.dweights);
            // A wrong weight is objected to.
            let mut other = layer;
            other.w1.rotate_left(block);
            assert!(Twin::new(&other).worst(&results) > TOLERANCE);
        }
    }
}

/// Gradients of an expert without tokens are 0, not NaN from the buffer before.
#[test]
fn an_expert_without_tokens_has_gradients_of_zero() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let layer = Layer::new(9, &[16, 8, 24, 16], 8, 0, true);
    let results = layer.run(&gpu);
    let last = 48 * layer.d;
    for grads in [&results.dw1, &results.dw2, results.dup.as_ref().unwrap()] {
        assert!(grads[last..].iter().all(|&x| x == 0.0));
        assert!(grads[..last].iter().any(|&x| x != 0.0));
    }
    // A batch without assignments has an output and gradients of 0.
    let unassigned = Layer { experts: vec![ABSENT; layer.experts.len()], ..layer };
    let results = unassigned.run(&gpu);
    for zeros in [&results.y, &results.dx, &results.dweights, &results.dw1, &results.dw2] {
        assert!(zeros.iter().all(|&x| x == 0.0));
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Outputs and gradients of a token have the same bits at each position in the batch and with each variant.
#[test]
fn tokens_have_the_same_bits_at_each_position() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for gated in [false, true] {
        let layer = Layer::new(10, &[32, 16, 48, 16], 16, 0, gated);
        let results = layer.run(&gpu);
        for variant in Variant::ALIKE {
            assert_eq!(layer.run(&gpu.with_variant(Some(variant))), results, "{variant:?}");
        }
        let (tokens, d, k) = (layer.shape.tokens, layer.d, layer.shape.choices);
        let mut order: Vec<usize> = (0..tokens).collect();
        Key::new(6, Stream::Check(2110)).walk().shuffle(&mut order);
        fn moved<T: Copy>(order: &[usize], x: &[T], row: usize) -> Vec<T> {
            order.iter().flat_map(|&token| x[token * row..][..row].to_vec()).collect()
        }
        let shuffled = Layer {
            experts: moved(&order, &layer.experts, k),
            weights: moved(&order, &layer.weights, k),
            x: moved(&order, &layer.x, d),
            dy: moved(&order, &layer.dy, d),
            ..layer
        }
        .run(&gpu);
        assert_eq!(bits(&shuffled.y), bits(&moved(&order, &results.y, d)));
        assert_eq!(bits(&shuffled.dx), bits(&moved(&order, &results.dx, d)));
        assert_eq!(bits(&shuffled.dweights), bits(&moved(&order, &results.dweights, k)));
        assert_ne!(bits(&shuffled.y), bits(&results.y));
    }
}

/// Typical mistakes in a result exceed the tolerance.
#[test]
fn wrong_results_are_objected_to() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let layer = Layer::new(11, &[16, 8, 24, 8], 8, 9, true);
    let right = layer.run(&gpu);
    let mut twin = Twin::new(&layer);
    assert!(twin.worst(&right) < TOLERANCE);
    let mut objects = |why: &str, spoil: &dyn Fn(&mut Results)| {
        let mut wrong = right.clone();
        spoil(&mut wrong);
        assert!(twin.worst(&wrong) > TOLERANCE, "{why}");
    };
    objects("tokens out of place", &|wrong| wrong.y.rotate_right(20));
    objects("an incoming gradient that was ignored", &|wrong| {
        wrong.dx.iter_mut().for_each(|x| *x = x.signum());
    });
    objects("a gradient of dropped assignments", &|wrong| {
        wrong.dweights.iter_mut().filter(|x| **x == 0.0).for_each(|x| *x = 0.1);
    });
    objects("weights of assignments left out", &|wrong| {
        let weights = &layer.weights;
        wrong.dw1.iter_mut().enumerate().for_each(|(i, x)| *x /= weights[i % weights.len()]);
    });
    objects("one matrix's gradient for the other's", &|wrong| std::mem::swap(&mut wrong.dw1, &mut wrong.dw2));
    // A twin without a capacity objects to the output of a layer that drops assignments.
    let dropless = Layer { capacity: 0, ..layer.clone() };
    assert!(Twin::new(&dropless).worst(&right) > TOLERANCE);
}
