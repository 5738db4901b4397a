//! Codistillation: networks that learn from each other.

use fretwork::data::{Features, Rows, Table};
use fretwork::nn::{Codistillation, MlpsConfig, Together};
use fretwork::ops::{Activation, SideBySide};
use fretwork::reference;
use fretwork::train::{Checkpoint, Event, Flow, Settings, Trainer};

use crate::{digits, gpu, many, one, onward, parameters, path, settings, trained};

fn networks(options: Codistillation) -> MlpsConfig {
    let networks = (0..2).map(|number| one(&[24], Activation::Relu, 3 + number)).collect();
    MlpsConfig { together: Together::Codistillation(options), ..many(networks) }
}

const OPTIONS: Codistillation =
    Codistillation { weight: 1.0, burn_in: 4, exchange_every: 5, disjoint: false };

#[test]
fn a_weight_of_zero_is_independent_training_to_the_same_bits() {
    let gpu = gpu();
    let independent = MlpsConfig { together: Together::Ensemble, ..networks(OPTIONS) };
    let wanted = parameters(&trained(&gpu, settings(independent, 12, 0.1)));
    let none = networks(Codistillation { weight: 0.0, ..OPTIONS });
    assert!(wanted == parameters(&trained(&gpu, settings(none, 12, 0.1))));
    // Up to the burn-in nothing is learned from others, and from there on something is.
    let burning = |steps| parameters(&trained(&gpu, settings(networks(OPTIONS), steps, 0.1)));
    let alone = MlpsConfig { together: Together::Ensemble, ..networks(OPTIONS) };
    assert!(burning(4) == parameters(&trained(&gpu, settings(alone, 4, 0.1))));
    assert!(burning(12) != wanted);
}

/// The gradient that the twin writes is that of the loss: cross-entropy to the label plus `weight` times that to the mean of the
/// others' probabilities.
#[test]
fn the_gradient_is_that_of_both_terms() {
    const ROWS: usize = 3;
    let of = SideBySide { networks: 3, begin: 0, all: 3, classes: 4, columns: 8, shared_out: false };
    let width = of.networks * of.columns;
    let draw = |at: usize, by: f32| ((at * 7919 % 101) as f32 / 101.0 - 0.5) * by;
    let logits: Vec<f32> = (0..ROWS * width).map(|at| draw(at + 5, 4.0)).collect();
    let mut teachers: Vec<f32> = (0..ROWS * width).map(|at| draw(3 * at + 1, 5.0)).collect();
    reference::network_probabilities(&mut teachers, of);
    let labels = [2u32, 0, 3];
    let (weight, scale) = (0.7f32, 0.25f32);
    let (mut report, mut grad) = (vec![0.0; 2 * ROWS * 3], vec![0.0; ROWS * width]);
    reference::networks_cross_entropy(
        &logits,
        &labels,
        &mut report,
        &mut grad,
        scale,
        of,
        Some((&teachers, weight)),
    );
    let loss = |logits: &[f64]| {
        let mut sum = 0.0;
        for (row, &label) in labels.iter().enumerate() {
            for network in 0..3 {
                let at = |other: usize| (row * 3 + other) * of.columns;
                let x = &logits[at(network)..at(network) + of.classes];
                let log_sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
                sum += log_sum - x[label as usize];
                for class in 0..of.classes {
                    let others = (0..3).filter(|&other| other != network);
                    let wanted: f64 =
                        others.map(|other| f64::from(teachers[at(other) + class])).sum::<f64>() / 2.0;
                    sum += f64::from(weight) * wanted * (log_sum - x[class]);
                }
            }
        }
        f64::from(scale) * sum
    };
    let exact: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    for at in 0..logits.len() {
        let moved = |by: f64| {
            let mut moved = exact.clone();
            moved[at] += by;
            loss(&moved)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((f64::from(grad[at]) - slope).abs() < 1e-6, "{at}: {} is not {slope}", grad[at]);
    }
    // An oracle that ignores the second term objects.
    let mut plain = vec![0.0; ROWS * width];
    reference::networks_cross_entropy(&logits, &labels, &mut report, &mut plain, scale, of, None);
    assert!(plain.iter().zip(&grad).any(|(a, b)| (a - b).abs() > 1e-3));
}

#[test]
fn a_run_with_stale_teachers_is_resumed_to_the_same_bits() {
    // Exchanges before steps 4, 9, 14, …; stopped within the burn-in, at the first exchange, behind it, and between two.
    let run = settings(networks(OPTIONS), 18, 0.1);
    let bytes = |trainer: &Trainer| trainer.checkpoint().unwrap().to_bytes(path()).unwrap();
    let mut whole = Trainer::new(&gpu(), run.clone(), digits()).unwrap();
    whole.run(None, &mut onward).unwrap();
    for stop in [2, 4, 5, 12] {
        let mut trainer = Trainer::new(&gpu(), run.clone(), digits()).unwrap();
        let mut steps = 0;
        let watch = &mut |event: &Event| {
            steps += u64::from(matches!(event, Event::Progress { .. }));
            if steps == stop { Flow::Stop } else { Flow::Continue }
        };
        trainer.run(None, watch).unwrap();
        let checkpoint = trainer.checkpoint().unwrap();
        assert_eq!(checkpoint.position.step, stop);
        let mut resumed = Trainer::resume(&gpu(), &checkpoint, path(), digits()).unwrap();
        resumed.run(None, &mut onward).unwrap();
        assert!(bytes(&whole) == bytes(&resumed), "stopped after {stop} steps");
    }
}

/// Labels of rows that are one network's alone change no other.
#[test]
fn networks_with_rows_of_their_own_see_no_others() {
    let gpu = gpu();
    let own = networks(Codistillation { weight: 0.0, disjoint: true, ..OPTIONS });
    let run = Settings { batch: 64, ..settings(own, 10, 0.1) };
    let found = trained(&gpu, run.clone());
    let mut data = digits();
    let Rows::Table(table) = &data.train else { panic!("digits are a table") };
    let (count, width) = (table.rows(), table.width());
    let (mut features, mut labels) = (vec![0.0; count * width], vec![0; count]);
    table.fill(&(0..count as u32).collect::<Vec<_>>(), width, &mut features, &mut labels);
    labels.iter_mut().skip(1).step_by(2).for_each(|label| *label = (*label + 1) % 10);
    data.train = Rows::Table(Table::new(Features::Floats(features), labels, width).unwrap());
    let mut trainer = Trainer::new(&gpu, run, data).unwrap();
    trainer.run(None, &mut onward).unwrap();
    let changed = trainer.checkpoint().unwrap();
    let of = |checkpoint: &Checkpoint, number| parameters(&checkpoint.extract(path(), number).unwrap());
    assert!(of(&found, 0) == of(&changed, 0));
    assert!(of(&found, 1) != of(&changed, 1));
}
