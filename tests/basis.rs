//! Random bases: the generator, bits beside the twins, memory, and runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, Options, Recorder};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{Half, MlpConfig, Precision};
use fretwork::ops::{self, Activation, BasisLayer, BasisRange, Directions, Step, StepValues};
use fretwork::optim::{Optimizer, RandomBasis};
use fretwork::random::{Key, Stream};
use fretwork::reference;
use fretwork::sparse::Density;
use fretwork::train::{
    Checkpoint, Event, Flow, Footprint, Length, OptimizerKind, Schedule, Settings, Trainer,
};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

const BASIS: RandomBasis = RandomBasis { directions: 20, redraw: true, per_layer: false, seed: 1 };

fn settings(basis: RandomBasis, sparsity: Option<f64>, length: Length) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length,
        optimizer: OptimizerKind::Sgd,
        basis: Some(basis),
        learning_rate: 4.0,
        schedule: Schedule::Constant,
        momentum: 0.0,
        weight_decay: 0.0,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![96],
            classes: 10,
            block: 16,
            sparsity,
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        })
    }
}

/// Entries of a direction: half of them negative, and directions, parameters and steps nearly orthogonal to each other.
#[test]
fn signs_are_even_and_independent() {
    const LEN: usize = 1 << 14;
    let keys = [0, 1].map(|param| Key::new(5, Stream::Basis(param)));
    let direction = |key: Key, direction: usize, step: u32| -> Vec<f64> {
        (0..LEN).map(|i| if reference::basis_sign(key, i, direction, step) { -1.0 } else { 1.0 }).collect()
    };
    let mut all: Vec<_> = (0..20).map(|at| direction(keys[0], at, 0)).collect();
    all.extend([direction(keys[1], 0, 0), direction(keys[0], 0, 1), vec![1.0; LEN]]);
    // Five standard deviations.
    let most = 5.0 / (LEN as f64).sqrt();
    for (at, one) in all.iter().enumerate() {
        for (other_at, other) in all.iter().enumerate() {
            let dot = one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>() / LEN as f64;
            match at == other_at {
                true => assert_eq!(dot, 1.0),
                false => assert!(dot.abs() < most, "{at} and {other_at}: {dot}"),
            }
        }
    }
}

/// Norms of directions: entries of one size, whose square times their number is 1.
#[test]
fn directions_have_norm_one() {
    for elements in [1, 10, 6144, 101_770, 3_372_000_010] {
        let [entry, reach] = BasisLayer { rows: [0, 1], elements, share: 1.0 }.sizes();
        let norm = f64::from(entry).powi(2) * elements as f64;
        assert!((norm - 1.0).abs() < 2.0 * f64::from(f32::EPSILON), "{elements}: {norm}");
        assert_eq!(entry, reach);
    }
}

/// One step of the whole optimizer, bit for bit that of the twins, with a base for all parameters or for each.
#[test]
fn a_step_has_the_bits_of_the_twins() {
    let gpu = gpu();
    for (per_layer, redraw) in [(false, true), (true, true), (false, false), (true, false)] {
        let basis = RandomBasis { per_layer, redraw, directions: 37, seed: 9 };
        let settings = settings(basis, Some(0.5), Length::Steps(3));
        let mut trainer = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
        let read = |trainer: &Trainer, grads: bool| -> Vec<Vec<f32>> {
            let tensor = |param: &fretwork::graph::Param| {
                let tensor = if grads { param.grads() } else { param.values() };
                trainer.gpu().read::<f32>(tensor).unwrap().wait().unwrap()
            };
            trainer.model().store().iter().map(tensor).collect()
        };
        run_for(&mut trainer, 1);
        let before = read(&trainer, false);
        run_for(&mut trainer, 1);
        let (mut wanted, found, grads) = (before, read(&trainer, false), read(&trainer, true));

        // Parameters one behind the other as the arena has them: with weight decay first.
        let mut order: Vec<_> = trainer.model().store().iter().collect();
        order.sort_by_key(|param| !param.decays());
        let all: usize = grads.iter().map(Vec::len).sum();
        let (columns, chunk) = (40, ops::basis_chunk(all));
        let step = if redraw { 1 } else { 0 };
        let range = |param: &fretwork::graph::Param| {
            let index = param.id().index();
            let key = Key::new(9, Stream::Basis(index as u32));
            BasisRange { first: 0, len: grads[index].len(), key, layer: 0 }
        };
        let partials: Vec<Vec<f32>> = order
            .iter()
            .map(|param| {
                let range = range(param);
                let mut rows = vec![0.0; ops::basis_rows(&[range], chunk) * columns];
                let grads = &grads[param.id().index()];
                reference::basis_dot(grads, &mut rows, &[range], columns, chunk, step);
                rows
            })
            .collect();
        let together = partials.concat();
        for (param, own) in order.iter().zip(&partials) {
            let index = param.id().index();
            let len = grads[index].len();
            let (rows, layer) = match per_layer {
                true => (own, BasisLayer { rows: [0, 0], elements: len, share: len as f64 / all as f64 }),
                false => (&together, BasisLayer { rows: [0, 0], elements: all, share: 1.0 }),
            };
            let mut coordinates = vec![0.0; 2 * columns];
            reference::basis_sum(rows, &mut coordinates, layer.sizes(), 37, settings.learning_rate as f32);
            reference::basis_add(&mut wanted[index], &coordinates[columns..], &[range(param)], columns, step);
        }
        let bits =
            |values: &[Vec<f32>]| -> Vec<u32> { values.iter().flatten().map(|x| x.to_bits()).collect() };
        assert!(bits(&found) == bits(&wanted), "per layer {per_layer}, redrawn {redraw}");
        // The comparison objects: to another step's signs there would be no equal bits.
        let mut other = wanted.clone();
        let param = order[0];
        reference::basis_add(&mut other[param.id().index()], &[1e-3; 40], &[range(param)], columns, step);
        assert!(bits(&found) != bits(&other));
    }
}

/// No base is stored: a step allocates partial sums and coordinates, and what says where parameters lie.
#[test]
fn no_base_takes_memory() {
    let gpu = gpu();
    for (directions, per_layer) in [(20, false), (1000, false), (20, true)] {
        let basis = RandomBasis { directions, per_layer, ..BASIS };
        let settings = settings(basis, Some(0.5), Length::Steps(2));
        let footprint = Footprint::of_run(&settings, &fretwork::methods::Static, &basis).unwrap();
        let trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let lengths: Vec<_> = trainer.model().store().iter().map(|param| param.values().len()).collect();
        let all: usize = lengths.iter().sum();
        // Half of the blocks of a layer of 64 by 96 are present, in blocks of 16.
        assert_eq!(all, 64 * 96 / 2 + 96 + 960 + 10);
        let rows: usize = lengths.iter().map(|len| len.div_ceil(1024)).sum();
        let layers = if per_layer { 4 } else { 1 };
        let columns = directions.next_multiple_of(8);
        let floats = columns * (rows + 2 * layers);
        // Steps with and without a report are two recordings.
        let bytes = gpu.bytes();
        assert_eq!(bytes.optimizer, 2 * 4 * floats as u64, "{directions} directions, per layer {per_layer}");
        assert_eq!(footprint.of(Class::Optimizer), bytes.optimizer.into());
        assert_eq!(basis.state_names().len(), 0);
        if directions == 1000 {
            assert!(
                bytes.optimizer < (directions * all) as u64 / 20,
                "{bytes:?} beside a base of {}",
                directions * all
            );
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

/// With one direction, every step moves along it: a fixed one is the same in every step, a redrawn one another.
#[test]
fn a_fixed_base_stays_and_a_redrawn_one_does_not() {
    let gpu = gpu();
    for redraw in [false, true] {
        let basis = RandomBasis { directions: 1, redraw, ..BASIS };
        let mut trainer = Trainer::new(&gpu, settings(basis, None, Length::Steps(4)), digits()).unwrap();
        let weights = |checkpoint: &Checkpoint| -> Vec<f64> {
            let values = checkpoint.get(Path::new("memory"), "layers.0.weight", &[96, 64]).unwrap();
            values.iter().map(|&x| f64::from(x)).collect()
        };
        let points: Vec<_> = (0..3).map(|_| weights(&run_for(&mut trainer, 1))).collect();
        let moved = |from: usize| -> Vec<f64> {
            points[from + 1].iter().zip(&points[from]).map(|(new, old)| new - old).collect()
        };
        let (one, other) = (moved(0), moved(1));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let cosine = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();
        println!("redrawn {redraw}: cosine {cosine:.4}");
        assert_eq!(cosine.abs() > 0.99, !redraw, "{cosine}");
        assert!(redraw || cosine.abs() > 0.99);
        assert!(!redraw || cosine.abs() < 0.1);
    }
}

fn bytes_of(trainer: &Trainer) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap()
}

#[test]
fn a_resumed_run_has_the_same_bits() {
    let gpu = gpu();
    for (redraw, per_layer) in [(true, false), (false, true)] {
        let settings = settings(RandomBasis { redraw, per_layer, ..BASIS }, Some(0.5), Length::Steps(20));
        let mut trainer = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
        trainer.run(None, &mut |_: &Event| Flow::Continue).unwrap();
        let whole = bytes_of(&trainer);
        let mut stopped = Trainer::new(&gpu, settings, digits()).unwrap();
        let checkpoint = run_for(&mut stopped, 7);
        let bytes = checkpoint.to_bytes(Path::new("memory")).unwrap();
        let checkpoint = Checkpoint::from_bytes(Path::new("memory"), &bytes).unwrap();
        let mut resumed = Trainer::resume(&gpu, &checkpoint, Path::new("memory"), digits()).unwrap();
        resumed.run(None, &mut |_: &Event| Flow::Continue).unwrap();
        assert!(bytes_of(&resumed) == whole, "redrawn {redraw}, per layer {per_layer}");
    }
}

/// Parameters in several buffers, and one in several windows, have the directions and the bits that they have in one.
#[test]
fn several_buffers_have_one_base() {
    let run = |largest_binding| {
        let gpu = Gpu::request(Options { largest_binding, ..Options::default() }).unwrap();
        let mut settings = settings(BASIS, None, Length::Steps(5));
        settings.batch = 8;
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let spans = trainer.model().store().spans().count();
        trainer.run(None, &mut |_: &Event| Flow::Continue).unwrap();
        (spans, bytes_of(&trainer))
    };
    let (one, whole) = run(None);
    // 4,096 elements, fewer than the 6,144 of the first layer.
    let (several, split) = run(Some(16 << 10));
    assert!(one == 1 && several > 1, "{one} and {several}");
    assert!(whole == split);
}

#[test]
fn runs_learn_in_f32_and_f16() {
    let gpu = gpu();
    let halves = if gpu.has_f16() { &[false, true][..] } else { &[false] };
    for &half in halves {
        for (redraw, per_layer) in [(true, false), (false, false), (true, true)] {
            let basis = RandomBasis { directions: 100, redraw, per_layer, seed: 1 };
            let mut settings = settings(basis, Some(0.5), Length::Epochs(20));
            settings.precision = if half { Precision::F16(Half::default()) } else { Precision::F32 };
            let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
            let summary = trainer.run(None, &mut |_: &Event| Flow::Continue).unwrap();
            println!("f16 {half}, redrawn {redraw}, per layer {per_layer}: {:.4}", summary.test_accuracy);
            assert!(summary.test_accuracy > 0.6, "{}", summary.test_accuracy);
            assert_eq!(summary.blocking_waits, 0);
        }
    }
}

#[test]
fn what_a_base_has_no_use_for_is_refused() {
    let gpu = gpu();
    let refusal = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(BASIS, Some(0.5), Length::Steps(2));
        change(&mut settings);
        Trainer::new(&gpu, settings, digits()).map(|_| ()).unwrap_err().to_string()
    };
    type Change = fn(&mut Settings);
    let changes: [(Change, &str); 7] = [
        (|s| s.method = MethodConfig::new(Kind::Rigl), "method: rigl changes the elements"),
        (|s| s.method = MethodConfig::new(Kind::Snip), "method: snip changes the elements"),
        (|s| s.optimizer = OptimizerKind::Lars, "optimizer: a base is trained by plain sgd, not lars"),
        (|s| s.optimizer = OptimizerKind::AdamW, "optimizer: a base is trained by plain sgd, not adamw"),
        (|s| s.momentum = 0.5, "momentum: 0.5 has no effect"),
        (|s| s.weight_decay = 0.5, "weight-decay: 0.5 has no effect"),
        (|s| s.basis = Some(RandomBasis { directions: 0, ..BASIS }), "basis: 0 directions"),
    ];
    for (change, wanted) in changes {
        let found = refusal(&change);
        assert!(found.contains(wanted), "{found}, should be {wanted}");
    }
}

/// Ranges that overlap or leave their tensor are refused.
#[test]
fn ranges_that_do_not_fit_are_refused() {
    let gpu = gpu();
    let base = Directions { count: 8, redraw: false };
    let step = Step::new(&gpu, StepValues::forward(0)).unwrap();
    let grads = gpu.zeros::<f32>(Class::Scratch, "grads", &[64]).unwrap();
    let partials = gpu.zeros::<f32>(Class::Scratch, "partials", &[2, 8]).unwrap();
    let range = |first, len| BasisRange { first, len, key: Key([1, 2]), layer: 0 };
    let dot = |ranges: &[BasisRange], chunk| {
        let mut rec = Recorder::new(&gpu);
        ops::basis_dot(&mut rec, &grads, &partials, ranges, base, [chunk, 0], &step)
    };
    assert!(dot(&[range(0, 32), range(32, 32)], 32).is_ok());
    for (ranges, chunk) in [
        (vec![range(0, 33), range(32, 32)], 64),
        (vec![range(32, 33)], 64),
        (vec![range(usize::MAX, 2)], 64),
        (vec![range(0, 64)], 16),
        (vec![range(0, 64)], 12),
        (vec![range(0, 64)], 0),
    ] {
        assert!(dot(&ranges, chunk).is_err(), "{ranges:?}, {chunk}");
    }
}
