//! Scores and schedules compared with the published formulas.

use std::collections::BTreeSet;

use fretwork::gpu::Tensor;
use fretwork::methods::{EarlyCrop, Every, Kind, MutableTopology, Updates};
use fretwork::sparse::BlockMatrix;
use fretwork::train::{Event, Flow, Length, Trainer};

use super::sets::largest;

use super::{digits, gpu, mlp, settings, stored, topologies};

/// The trigger, against the reference's formula written out for a recorded trajectory.
#[test]
fn early_crop_settles_when_the_reference_does() {
    let distances = [0.0, 0.40, 0.55, 0.66, 0.70, 0.705];
    // tau = 0.4 * (1 - 0.8) = 0.08; changes are 0.4, 0.15, 0.11, 0.04.
    let settled: Vec<bool> = (1..=6).map(|n| EarlyCrop::is_settled(&distances[..n], 0.8)).collect();
    assert_eq!(settled, [false, false, false, false, true, true]);
    // k = 0.9 - 0.4 * 0.5^i
    let rounds = EarlyCrop::rounds(0.9, 1000, 100);
    assert_eq!(rounds[..4], [500, 300, 200, 150]);
    assert_eq!(rounds.last(), Some(&100));
    assert!(rounds.windows(2).all(|pair| pair[0] > pair[1]));
}

/// The score of every block by a formula, in the order of the grid, from a network that stores them all.
fn dense_run(kind: Kind) -> (Trainer, Vec<Vec<f64>>) {
    let mut all = settings(kind, Length::Steps(1));
    mlp(&mut all).sparsity = Some(0.0);
    let mut trainer = Trainer::new(&gpu(), all, digits()).unwrap();
    trainer.backward(0).unwrap();
    let mut scores = Vec::new();
    for (layer, weight) in trainer.sparse_layers() {
        let read = |tensor: &Tensor| trainer.gpu().read::<f32>(tensor).unwrap().wait().unwrap();
        let (w, g) = (read(weight.values()), read(trainer.model().store().get(layer).grads()));
        let area = w.len() / weight.pattern().nnz();
        let block = |(w, g): (&[f32], &[f32])| {
            w.iter().zip(g).map(|(w, g)| (f64::from(*w) * f64::from(*g)).abs()).sum::<f64>()
        };
        scores.push(w.chunks(area).zip(g.chunks(area)).map(block).collect());
    }
    (trainer, scores)
}

/// SNIP keeps the blocks of the largest sensitivity, which is worked out here in f64.
#[test]
fn snip_keeps_what_the_formula_keeps() {
    let (_, scores) = dense_run(Kind::Snip);
    let snip = settings(Kind::Snip, Length::Steps(1));
    let targets = snip.model.counts(Some(0.8)).unwrap();
    let trainer = Trainer::new(&gpu(), snip, digits()).unwrap();
    for (layer, topology) in topologies(&trainer).iter().enumerate() {
        let scored = scores[layer].iter().copied().enumerate().map(|(place, score)| (score, place)).collect();
        let found: BTreeSet<usize> = topology.places().collect();
        assert_eq!(found, largest(scored, targets[layer]), "layer {layer}");
    }
}

/// SBP-SR keeps the same blocks, and in each layer the squares that reach an output add up to what ReLU makes up for: 2.
#[test]
fn sbp_sr_rescales_to_the_edge_of_chaos() {
    let run = |kind| Trainer::new(&gpu(), settings(kind, Length::Steps(1)), digits()).unwrap();
    let (snip, rescaled) = (run(Kind::Snip), run(Kind::SbpSr));
    assert_eq!(topologies(&snip), topologies(&rescaled));
    let squares = |trainer: &Trainer| -> Vec<f64> {
        let layers = trainer.sparse_layers();
        let of = |weight: &BlockMatrix| {
            let w = trainer.gpu().read::<f32>(weight.values()).unwrap().wait().unwrap();
            w.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / weight.pattern().rows() as f64
        };
        layers.iter().map(|(_, weight)| of(weight)).collect()
    };
    assert!(squares(&snip).iter().all(|&sum| sum < 1.5), "there would be nothing to rescale");
    assert!(squares(&rescaled).iter().all(|&sum| (sum - 2.0).abs() < 1e-4), "{:?}", squares(&rescaled));
}

/// SynFlow's first round, by hand: with magnitudes for weights, what flows through a block of the first layer is the sum of
/// its |w| times what its outputs are worth further on.
#[test]
fn synflow_conserves_what_flows() {
    let mut synflow = settings(Kind::SynFlow, Length::Steps(1));
    mlp(&mut synflow).hidden = vec![64];
    let target = synflow.model.counts(Some(0.8)).unwrap()[0];
    let mut all = synflow.clone();
    mlp(&mut all).sparsity = Some(0.0);
    let dense = Trainer::new(&gpu(), all, digits()).unwrap();
    let pruned = Trainer::new(&gpu(), synflow, digits()).unwrap();
    let read = |tensor: &Tensor| -> Vec<f64> {
        dense.gpu().read::<f32>(tensor).unwrap().wait().unwrap().iter().map(|w| f64::from(w.abs())).collect()
    };
    let w = read(dense.model().layers()[0].weight().values());
    let last = read(dense.model().layers()[1].weight().values());
    let worth = |out: usize| (0..10).map(|class| last[class * 64 + out]).sum::<f64>();
    // One layer is pruned, and what its blocks are worth does not depend on which others are left.
    let scored = (0..16).map(|place| {
        let row = |r: usize| w[place * 256 + r * 16..][..16].iter().sum::<f64>();
        ((0..16).map(|r| row(r) * worth(place / 4 * 16 + r)).sum(), place)
    });
    let found: BTreeSet<usize> = topologies(&pruned)[0].places().collect();
    assert_eq!(found, largest(scored.collect(), target));
}

/// Gradual pruning follows the cubic, and what is dropped is gone from memory.
#[test]
fn magnitude_follows_the_cubic() {
    let mut settings = settings(Kind::Magnitude, Length::Steps(40));
    *settings.method.shared().updates.unwrap() = Updates { every: Every::Steps(5), ..Updates::RIGL };
    let target = settings.model.counts(Some(0.8)).unwrap();
    let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    assert_eq!(stored(&trainer), [16, 24]);
    let begun = trainer.gpu().bytes().values;
    // Five updates, at steps 5 to 25.
    let wanted = |turn: i32| -> Vec<usize> {
        let open = (1.0 - f64::from(turn) / 5.0).powi(3);
        (0..2).map(|l| target[l] + ((([16, 24][l] - target[l]) as f64) * open).round() as usize).collect()
    };
    // The first six steps contain one update; every five more contain another.
    for (turn, until) in (1..=5).zip([6, 5, 5, 5, 5]) {
        let mut steps = 0;
        trainer
            .run(None, &mut |event| {
                steps += u64::from(matches!(event, Event::Progress { .. }));
                if steps == until { Flow::Stop } else { Flow::Continue }
            })
            .unwrap();
        assert_eq!(stored(&trainer), wanted(turn), "after update {turn}");
    }
    assert_eq!(wanted(5), target[..2]);
    let freed = (16 + 24 - target[0] - target[1]) as u64 * 1024;
    assert_eq!(begun - trainer.gpu().bytes().values, freed);
}
