//! LARS, LAMB and warm-up: an update against an oracle in f64, and runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor};
use fretwork::methods::{Every, Rigl, Updates};
use fretwork::nn::{Half, MlpConfig, Precision};
use fretwork::ops::{self, Activation, BlockRange, Lamb, Lars, LossScale, ParamRange, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{Density, Topology};
use fretwork::train::{Checkpoint, Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

const fn range(first: usize, len: usize, decays: bool) -> ParamRange {
    ParamRange { first, len, decays }
}

/// A matrix of several chunks, one of zeros, one without a gradient, one without blocks, two blocks, and biases.
const PARAMS: [ParamRange; 6] = [
    range(0, 10_000, true),
    range(10_048, 64, true),
    range(10_112, 256, true),
    range(10_368, 0, true),
    range(10_368, 128, true),
    range(10_496, 10, false),
];
const BLOCKS: [BlockRange; 1] = [BlockRange { first: 10_368, block: 8, nnz: 2, word: 0 }];
const ELEMENTS: usize = 10_508;
/// Birth of each block; updates so far are 9.
const BORN: [u32; 2] = [0, 7];
const RATE: f32 = 0.25;
const LARS: Lars = Lars { momentum: 0.9, trust: 0.125, weight_decay: 0.0625 };
const LAMB: Lamb = Lamb { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-6, weight_decay: 0.0625 };
const BEFORE: u32 = 8;

/// Values, gradients and two states.
fn operands() -> [Vec<f32>; 4] {
    let mut walk = Key::new(3, Stream::Check(0)).walk();
    let mut draw =
        |scale: f32| -> Vec<f32> { (0..ELEMENTS).map(|_| (2.0 * walk.uniform() - 1.0) * scale).collect() };
    let [mut values, mut grads, mut first, mut second] = [draw(0.5), draw(0.01), draw(0.02), draw(0.001)];
    second.iter_mut().for_each(|x| *x = x.abs());
    values[10_048..10_112].fill(0.0);
    grads[10_112..10_368].fill(0.0);
    // Between parameters.
    for x in [&mut values, &mut grads, &mut first, &mut second] {
        x[10_000..10_048].fill(0.0);
        x[10_506..].fill(0.0);
    }
    [values, grads, first, second]
}

/// What an oracle gets wrong on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// One norm for all parameters.
    Global,
    /// Biases are scaled and decay.
    Biases,
    /// No ratio.
    Unscaled,
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Values and states after the step, and the magnitude of the terms of each value.
type After = [Vec<f64>; 3];

/// The update in f64, from the formulas. `updates` computes state and direction of each element.
fn oracle(lamb: bool, fault: Fault) -> After {
    let wide = operands().map(|x| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    let [mut w, g, mut first, mut second] = wide;
    let (old, rate) = (w.clone(), f64::from(RATE));
    for param in PARAMS {
        let within = param.first..param.end();
        let scales = param.decays || fault == Fault::Biases;
        let beta = f64::from(LARS.weight_decay) * f64::from(u8::from(scales));
        let mut direction = Vec::new();
        for i in within.clone() {
            if !lamb {
                direction.push(g[i]);
                continue;
            }
            let [b1, b2] = [LAMB.beta_1, LAMB.beta_2].map(f64::from);
            first[i] = b1 * first[i] + (1.0 - b1) * g[i];
            second[i] = b2 * second[i] + (1.0 - b2) * g[i] * g[i];
            let birth = BLOCKS[0].word_of(i).map_or(0, |word| BORN[word]);
            let age = if birth == 0 { BEFORE + 1 } else { BEFORE + 2 - birth };
            let corrected =
                [(first[i], b1), (second[i], b2)].map(|(x, b)| x / (1.0 - b.powf(f64::from(age))));
            let adam = corrected[0] / (corrected[1].sqrt() + f64::from(LAMB.epsilon));
            direction.push(adam + beta * old[i]);
        }
        let mut norms = [norm(&old[within.clone()]), norm(&direction)];
        if fault == Fault::Global {
            norms = [norm(&old), norm(if lamb { &direction } else { &g })];
        }
        let mut ratio = match lamb {
            true => norms[0] / norms[1],
            false => f64::from(LARS.trust) * norms[0] / (norms[1] + beta * norms[0]),
        };
        if norms.contains(&0.0) || !scales || fault == Fault::Unscaled {
            ratio = 1.0;
        }
        for (i, direction) in within.zip(direction) {
            if lamb {
                w[i] -= rate * ratio * direction;
            } else {
                first[i] = f64::from(LARS.momentum) * first[i] + ratio * (direction + beta * old[i]);
                w[i] -= rate * first[i];
            }
        }
    }
    [w, first, second]
}

/// The update on the device. With a scale the gradients are scaled, and the step is the scale's first.
fn update(gpu: &Gpu, lamb: bool) -> [Vec<f32>; 3] {
    let [w, g, first, second] =
        operands().map(|x| gpu.upload(Class::Scratch, "operand", &[ELEMENTS], &x).unwrap());
    let values = StepValues {
        learning_rate: RATE,
        corrections: LAMB.corrections(BEFORE),
        moves: BEFORE + 1,
        ..StepValues::forward(20)
    };
    let step = Step::new(gpu, values).unwrap();
    let born = gpu.upload(Class::Scratch, "born", &[2], &BORN).unwrap();
    let mut rec = Recorder::new(gpu);
    if lamb {
        let births = Some((&born, &BLOCKS[..]));
        ops::lamb(&mut rec, &w, &g, &first, &second, LAMB, &PARAMS, births, &step).unwrap();
    } else {
        ops::lars(&mut rec, &w, &g, &first, LARS, &PARAMS, &step).unwrap();
    }
    let plan = rec.finish().unwrap();
    assert_eq!(plan.len(), 3, "two passes of the norms, and the update");
    gpu.run(&plan).unwrap();
    [w, first, second].map(|tensor| read(gpu, &tensor))
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    gpu.read::<f32>(tensor).unwrap().wait().unwrap()
}

/// The largest error of values and states, relative to the size of what is added up in each.
fn error(found: &[Vec<f32>; 3], wanted: &After) -> f64 {
    let before = operands();
    let before = [&before[0], &before[2], &before[3]];
    let mut largest: f64 = 0.0;
    for ((found, wanted), before) in found.iter().zip(wanted).zip(before) {
        for ((&found, &wanted), &before) in found.iter().zip(wanted).zip(before) {
            let size = wanted.abs().max(f64::from(before).abs());
            let error = (f64::from(found) - wanted).abs();
            largest = largest.max(if error == 0.0 { 0.0 } else { error / size });
        }
    }
    largest
}

#[test]
fn a_step_is_the_oracles() {
    let gpu = gpu();
    for lamb in [false, true] {
        let found = update(&gpu, lamb);
        let wrong = error(&found, &oracle(lamb, Fault::None));
        println!("lamb {lamb}: {wrong:.1e}");
        assert!(wrong < 1e-6, "lamb {lamb}: {wrong:e}");
        for fault in [Fault::Global, Fault::Biases, Fault::Unscaled] {
            let wrong = error(&found, &oracle(lamb, fault));
            assert!(wrong > 1e-4, "lamb {lamb}: the oracle does not object: {wrong:e}");
        }
        // Elements between parameters stay.
        assert!(found[0][10_000..10_048].iter().chain(&found[0][10_506..]).all(|&x| x == 0.0));
    }
}

/// Sums of squares of f16 gradients are taken after they are divided by the loss scale, or they would overflow.
#[test]
fn scaled_gradients_do_not_overflow() {
    let gpu = gpu();
    let place = |x: &[f32]| gpu.upload(Class::Scratch, "operand", &[x.len()], x).unwrap();
    let params = [range(0, 4, true)];
    let (w, v) = (place(&[1.0, 2.0, 3.0, 4.0]), place(&[0.0; 4]));
    // Gradients of 1 at a scale of 2^64, whose square is beyond f32.
    let g = place(&[2f32.powi(24) * 1e12; 4]);
    let scale = LossScale::new(&gpu, 2f32.powi(24)).unwrap();
    let step = Step::new(&gpu, StepValues { learning_rate: 0.5, ..StepValues::forward(0) }).unwrap();
    let step = step.with_scale(scale.clone());
    let mut rec = Recorder::new(&gpu);
    ops::decide_scale(&mut rec, &scale, 10, true).unwrap();
    let settings = Lars { momentum: 0.0, trust: 0.5, weight_decay: 0.0 };
    ops::lars(&mut rec, &w, &g, &v, settings, &params, &step).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    // An update of half the norm of the weights, sqrt(30), in each of four equal directions.
    let wanted = 0.5 * 30f32.sqrt() / 2.0;
    let found = read(&gpu, &v);
    assert!(found.iter().all(|x| (x - wanted).abs() < 1e-5), "{found:?}, should be {wanted}");
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

fn settings(optimizer: OptimizerKind, length: Length) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length,
        optimizer,
        learning_rate: if optimizer == OptimizerKind::Lars { 4.0 } else { 0.02 },
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![128, 128],
            classes: 10,
            block: 16,
            sparsity: Some(0.8),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        })
    }
}

const LAYERWISE: [OptimizerKind; 2] = [OptimizerKind::Lars, OptimizerKind::Lamb];

#[test]
fn runs_learn_in_f32_and_f16() {
    let gpu = gpu();
    for optimizer in LAYERWISE {
        for half in [false, true] {
            if half && !gpu.has_f16() {
                println!("SKIPPED: {} has no half precision", gpu.info().name);
                continue;
            }
            let mut settings = settings(optimizer, Length::Epochs(12));
            settings.precision = if half { Precision::F16(Half::default()) } else { Precision::F32 };
            let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
            let summary = trainer.run(None, &mut |_: &Event| Flow::Continue).unwrap();
            println!("{optimizer}, f16 {half}: {:.4}", summary.test_accuracy);
            assert!(summary.test_accuracy > 0.9, "{optimizer}, f16 {half}: {}", summary.test_accuracy);
            assert_eq!(summary.blocking_waits, 0);
        }
    }
}

/// Runs `steps` more steps.
fn run_for(trainer: &mut Trainer, steps: u64) -> Checkpoint {
    let mut done = 0;
    trainer
        .run(None, &mut |event: &Event| {
            done += u64::from(matches!(event, Event::Progress { .. }));
            if done == steps { Flow::Stop } else { Flow::Continue }
        })
        .unwrap();
    trainer.checkpoint().unwrap()
}

/// An update of RigL moves the state of kept blocks with them, and grown blocks begin with none.
#[test]
fn state_moves_with_the_blocks() {
    let gpu = gpu();
    for (optimizer, part) in [(OptimizerKind::Lars, "velocity"), (OptimizerKind::Lamb, "second")] {
        let mut settings = settings(optimizer, Length::Steps(40));
        let updates = Updates { every: Every::Steps(5), ..Updates::RIGL };
        settings.method = Rigl { updates, score_rows: None }.into();
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        // Step 5, counted from 0, is an update.
        let before = run_for(&mut trainer, 5);
        let after = run_for(&mut trainer, 1);
        let path = Path::new("memory");
        let pattern =
            |checkpoint: &Checkpoint| checkpoint.topology(path, "layers.0.weight", [128, 64], 16).unwrap();
        let state = |checkpoint: &Checkpoint, topology: &Topology| -> Vec<f32> {
            let name = format!("optimizer.layers.0.weight.{part}");
            checkpoint.get(path, &name, &[topology.nnz(), 16, 16]).unwrap().to_vec()
        };
        let (old, new) = (pattern(&before), pattern(&after));
        let [old_state, new_state] = [state(&before, &old), state(&after, &new)];
        // Checkpoints have blocks in the order of the grid.
        let sorted = |topology: &Topology| {
            let mut places: Vec<_> = topology.coordinates().collect();
            places.sort_unstable();
            places
        };
        let places = sorted(&old);
        let (mut kept, mut grown) = (0, 0);
        for (at, place) in sorted(&new).into_iter().enumerate() {
            let block = &new_state[at * 256..][..256];
            match places.iter().position(|old| *old == place) {
                Some(was) => {
                    kept += 1;
                    assert_eq!(block, &old_state[was * 256..][..256], "{optimizer}: block {at}");
                }
                None => {
                    grown += 1;
                    assert!(block.iter().all(|&x| x == 0.0), "{optimizer}: block {at} is new");
                }
            }
        }
        assert!(kept > 0 && grown > 0, "{kept} kept, {grown} grown");
    }
}

#[test]
fn a_warmup_rises_linearly_and_the_schedule_follows() {
    let mut settings = settings(OptimizerKind::Sgd, Length::Steps(12));
    (settings.learning_rate, settings.warmup) = (0.5, 4);
    for schedule in [Schedule::Constant, Schedule::Cosine] {
        settings.schedule = schedule;
        let rates: Vec<_> = (0..12).map(|step| settings.learning_rate_at(step, 12)).collect();
        assert_eq!(rates[..4], [0.125, 0.25, 0.375, 0.5]);
        for (step, &rate) in (0..).zip(&rates[4..]) {
            assert_eq!(rate, schedule.at(0.5, step, 8), "{schedule}, step {step} behind the warm-up");
        }
    }
    settings.warmup = 0;
    assert_eq!(settings.learning_rate_at(3, 12), Schedule::Cosine.at(0.5, 3, 12));
}

/// The rate of the warm-up is the one that steps take: a first step without momentum moves weights by a quarter of a whole one.
#[test]
fn steps_take_the_rate_of_the_warmup() {
    let gpu = gpu();
    let bias = |warmup| {
        let mut settings = settings(OptimizerKind::Sgd, Length::Steps(8));
        (settings.momentum, settings.weight_decay) = (0.0, 0.0);
        (settings.learning_rate, settings.schedule, settings.warmup) = (0.5, Schedule::Constant, warmup);
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        run_for(&mut trainer, 1).get(Path::new("memory"), "layers.2.bias", &[10]).unwrap().to_vec()
    };
    let [whole, part] = [0, 4].map(bias);
    assert!(whole.iter().any(|x| *x != 0.0));
    // A quarter of it is exact.
    assert_eq!(part, whole.iter().map(|x| x / 4.0).collect::<Vec<_>>());
}

#[test]
fn a_warmup_fits_its_run() {
    let gpu = gpu();
    let begin = |warmup, schedule| {
        let mut settings = settings(OptimizerKind::AdamW, Length::Steps(5));
        (settings.warmup, settings.schedule) = (warmup, schedule);
        Trainer::new(&gpu, settings, digits()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(begin(5, Schedule::Cosine), Ok(()));
    let long = begin(6, Schedule::Cosine).unwrap_err();
    assert!(long.contains("warmup: 6 steps are more than the 5 of the run"), "{long}");
    let twice = begin(2, Schedule::OneCycle).unwrap_err();
    assert!(twice.contains("warmup: the one-cycle schedule has a warm-up of its own"), "{twice}");
}
