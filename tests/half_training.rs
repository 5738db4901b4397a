//! Training in half precision: accuracy, memory, loss scale, skipped steps, resumed runs, refusals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod halves;

use std::path::Path;

use fretwork::Error;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::methods::{Every, Kind, MethodConfig, Rigl, Updates};
use fretwork::nn::{Half, MlpConfig, Precision};
use fretwork::ops::{Activation, LossScaleState};
use fretwork::reference::decide_scale;
use fretwork::sparse::{Density, Topology};
use fretwork::train::{Checkpoint, Event, Flow, Length, Schedule, Settings, Trainer};
use halves::gpu;

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

fn settings(hidden: Vec<usize>, half: Half, length: Length) -> Settings {
    Settings {
        data: "digits".to_owned(),
        precision: Precision::F16(half),
        length,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden,
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

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

fn bytes_of(checkpoint: &Checkpoint) -> Vec<u8> {
    checkpoint.to_bytes(Path::new("memory")).unwrap()
}

#[test]
fn accuracy_is_that_of_f32_and_activations_take_half_the_bytes() {
    let Some(gpu) = gpu() else { return };
    let run = |precision| {
        let mut settings = settings(vec![512, 512], Half::default(), Length::Epochs(12));
        settings.precision = precision;
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let summary = trainer.run(None, &mut onward).unwrap();
        assert_eq!(summary.blocking_waits, 0);
        summary
    };
    let float = run(Precision::F32);
    for stochastic in [false, true] {
        let half = run(Precision::F16(Half { stochastic, ..Half::default() }));
        let [wanted, found] = [&float, &half].map(|summary| summary.test_accuracy);
        assert!((wanted - found).abs() < 0.015, "f16 {found}, f32 {wanted}, stochastic {stochastic}");
        assert_eq!(half.scaling.unwrap().skipped, 0);
        // Logits and their gradient stay f32; the scaled gradient in f16 lies where a hidden layer's will.
        let logits = 128 * 10;
        let halved = (float.bytes.activations - 4 * 128 - 8 * logits) / 2 + 4 * 128 + 8 * logits;
        assert_eq!(half.bytes.activations, halved);
    }
    assert!(float.scaling.is_none());
}

/// A step whose gradients overflow changes no parameter and no optimizer state, and halves the loss scale.
#[test]
fn an_overflow_skips_the_step_and_is_counted() {
    let Some(gpu) = gpu() else { return };
    let most = Half { loss_scale: LossScaleState::MOST, ..Half::default() };
    let start = Trainer::new(&gpu, settings(vec![64], most, Length::Steps(1)), digits()).unwrap();
    let before = start.checkpoint().unwrap();
    // A gradient of the logits above 1/256, times 2^24, exceeds the range of f16, 65,504; the first batch has one.
    let mut trainer = Trainer::new(&gpu, settings(vec![64], most, Length::Steps(1)), digits()).unwrap();
    let scaling = trainer.run(None, &mut onward).unwrap().scaling.unwrap();
    assert_eq!((scaling.skipped, scaling.loss_scale), (1, LossScaleState::MOST / 2.0));
    let after = trainer.checkpoint().unwrap();
    for name in ["layers.1.weight", "layers.1.bias", "optimizer.layers.1.weight.first"] {
        let shape = if name.contains("bias") { vec![10] } else { vec![10, 64] };
        let of =
            |checkpoint: &Checkpoint| checkpoint.get(Path::new("memory"), name, &shape).unwrap().to_vec();
        assert_eq!(of(&before), of(&after), "{name}");
    }
    // In a longer run the scale is halved until gradients are finite; later steps change parameters.
    let mut trainer = Trainer::new(&gpu, settings(vec![64], most, Length::Steps(12)), digits()).unwrap();
    let scaling = trainer.run(None, &mut onward).unwrap().scaling.unwrap();
    assert!((1..6).contains(&scaling.skipped), "{scaling:?}");
    let mut state = LossScaleState::new(LossScaleState::MOST);
    (0..scaling.skipped).for_each(|_| decide_scale(&mut state, true, most.patience, true));
    assert_eq!(scaling.loss_scale, state.scale);
}

/// Trains for `steps` more steps.
fn run_for(trainer: &mut Trainer, steps: u64) {
    let mut seen = 0;
    let mut stop = |event: &Event| {
        seen += u64::from(matches!(event, Event::Progress { .. }));
        if seen == steps { Flow::Stop } else { Flow::Continue }
    };
    trainer.run(None, &mut stop).unwrap();
}

/// Topology of the first layer.
fn pattern(trainer: &Trainer) -> Topology {
    let layers = trainer.model().layers();
    layers[0].weight().sparse().unwrap().pattern().topology(trainer.gpu()).unwrap()
}

/// A topology update whose gradients overflow exchanges no block and halves the loss scale, with each method.
#[test]
fn an_overflow_in_an_update_exchanges_nothing_and_is_counted() {
    let Some(gpu) = gpu() else { return };
    let most = Half { loss_scale: LossScaleState::MOST, ..Half::default() };
    for kind in [Kind::Rigl, Kind::SetPublished, Kind::TopKast] {
        let mut settings = settings(vec![256], most, Length::Steps(60));
        settings.method = MethodConfig::new(kind);
        *settings.method.shared().updates.unwrap() = Updates { every: Every::Steps(1), ..Updates::RIGL };
        // Gradients of logits come to a thirty-second, and become 131,072 in the third step still.
        settings.batch = 32;
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let drawn = pattern(&trainer);
        run_for(&mut trainer, 2);
        let state = scale_of(&trainer);
        assert_eq!((state.skipped, state.scale), (2, LossScaleState::MOST / 4.0), "{kind}");
        assert_eq!(pattern(&trainer), drawn, "{kind} exchanges blocks by gradients that are not finite");
        run_for(&mut trainer, 20);
        let later = scale_of(&trainer);
        assert!(later.skipped > 2 && later.skipped < 12 && later.taken == 0, "{kind}: {later:?}");
        assert_ne!(pattern(&trainer), drawn, "{kind} never exchanges");
    }
}

/// Loss scale and its counters, from a checkpoint.
fn scale_of(trainer: &Trainer) -> LossScaleState {
    let words = trainer.checkpoint().unwrap().words(Path::new("memory"), "loss_scale", 6).unwrap();
    LossScaleState {
        scale: f32::from_bits(words[0]),
        factor: f32::from_bits(words[1]),
        taken: words[2],
        calm: words[3],
        skipped: words[4],
    }
}

/// AdamW's bias corrections count the steps that changed weights, in f32 and in f16: steps replaced by an update do not count, and for a
/// grown block the count begins with its growth.
#[test]
fn bias_corrections_count_the_steps_that_change_weights() {
    let Some(gpu) = gpu() else { return };
    for precision in [Precision::F32, Precision::F16(Half::default())] {
        let mut settings = settings(vec![128, 128], Half::default(), Length::Steps(40));
        (settings.precision, settings.schedule) = (precision, Schedule::Constant);
        let updates = Updates { every: Every::Steps(2), ..Updates::RIGL };
        settings.method = Rigl { updates, score_rows: None }.into();
        settings.weight_decay = 0.0;
        let rate = settings.learning_rate;
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let mut ages = std::collections::BTreeSet::new();
        // Steps 2 and 4 are updates, so steps 3 and 5 are the third and the fourth that change weights.
        for (step, moves) in [(3, 3), (5, 4)] {
            let done = trainer.checkpoint().unwrap().position.step;
            run_for(&mut trainer, step - done);
            let before = trainer.checkpoint().unwrap();
            run_for(&mut trainer, 1);
            let after = trainer.checkpoint().unwrap();
            let path = Path::new("memory");
            let nnz = pattern(&trainer).nnz();
            let born = after.words(path, "layers.0.weight.born", nnz).unwrap();
            for (values, state, shape) in [
                ("layers.2.bias", "layers.2.bias", vec![10]),
                ("layers.0.weight.values", "layers.0.weight", vec![nnz, 16, 16]),
            ] {
                let get = |checkpoint: &Checkpoint, name: &str| -> Vec<f64> {
                    let values = checkpoint.get(path, name, &shape).unwrap();
                    values.iter().map(|&x| f64::from(x)).collect()
                };
                let part = |part: &str| get(&after, &format!("optimizer.{state}.{part}"));
                let (old, new, first, second) =
                    (get(&before, values), get(&after, values), part("first"), part("second"));
                for i in 0..old.len() {
                    let birth = if shape.len() == 3 { born[i / 256] } else { 0 };
                    let age = if birth == 0 { moves } else { moves + 1 - birth as i32 };
                    ages.insert(age);
                    let [m, v] = [(first[i], 0.9f64), (second[i], f64::from(0.999f32))]
                        .map(|(x, beta)| x / (1.0 - beta.powi(age)));
                    let wanted = old[i] - rate * m / (v.sqrt() + 1e-8);
                    assert!(
                        (new[i] - wanted).abs() < 2e-6,
                        "step {step}, {values}: {} is not {wanted}",
                        new[i]
                    );
                }
            }
        }
        // Counts of a grown block, and of initial blocks in both steps.
        assert!([1, 3, 4].into_iter().all(|age| ages.contains(&age)), "{precision:?}: {ages:?}");
    }
}

#[test]
fn a_small_loss_scale_grows() {
    let Some(gpu) = gpu() else { return };
    let half = Half { loss_scale: 1.0, patience: 3, ..Half::default() };
    let mut trainer = Trainer::new(&gpu, settings(vec![64], half, Length::Steps(10)), digits()).unwrap();
    let scaling = trainer.run(None, &mut onward).unwrap().scaling.unwrap();
    assert_eq!((scaling.loss_scale, scaling.skipped), (8.0, 0));
}

#[test]
fn a_resumed_run_ends_in_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let half = Half { stochastic: true, loss_scale: LossScaleState::MOST, patience: 5 };
    let settings = settings(vec![64, 96], half, Length::Steps(20));
    let whole = |stop: u64| {
        let mut trainer = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
        let mut steps = 0;
        trainer
            .run(None, &mut |event| {
                steps += u64::from(matches!(event, Event::Progress { .. }));
                if steps >= stop { Flow::Stop } else { Flow::Continue }
            })
            .unwrap();
        trainer.checkpoint().unwrap()
    };
    let wanted = bytes_of(&whole(20));
    assert_eq!(wanted, bytes_of(&whole(20)), "repeated");
    // Stops among the skipped steps, and after them.
    for stop in [1, 9] {
        let path = Path::new("memory");
        let checkpoint = Checkpoint::from_bytes(path, &bytes_of(&whole(stop))).unwrap();
        let mut trainer = Trainer::resume(&gpu, &checkpoint, path, digits()).unwrap();
        trainer.run(None, &mut onward).unwrap();
        assert_eq!(wanted, bytes_of(&trainer.checkpoint().unwrap()), "resumed after {stop} steps");
    }
}

#[test]
fn topologies_evolve_in_half_precision() {
    let Some(gpu) = gpu() else { return };
    let kinds = Kind::ALL.iter().filter(|(_, kind)| !MethodConfig::new(*kind).build().measures_gradients());
    for &(name, kind) in kinds {
        let mut settings = settings(vec![128, 128], Half::default(), Length::Epochs(4));
        settings.method = MethodConfig::new(kind);
        let float = Settings { precision: Precision::F32, ..settings.clone() };
        let [wanted, found] = [float, settings].map(|settings| {
            let summary = Trainer::new(&gpu, settings, digits()).unwrap().run(None, &mut onward).unwrap();
            summary.test_accuracy
        });
        assert!(found > wanted - 0.08, "{name}: {found}, in f32 {wanted}");
    }
}

#[test]
fn unsupported_settings_are_refused_by_name() {
    let Some(device) = gpu() else { return };
    let said = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(vec![64], Half::default(), Length::Epochs(1));
        change(&mut settings);
        Trainer::new(&device, settings, digits()).unwrap_err().to_string()
    };
    let snfs = said(&|settings| settings.method = MethodConfig::new(Kind::Snfs));
    assert!(snfs.contains("dtype") && snfs.contains("snfs"), "{snfs}");
    for bad in [0.0, -2.0, 3.0, f32::NAN, f32::INFINITY, 2f32.powi(25)] {
        let half = Half { loss_scale: bad, ..Half::default() };
        let said = said(&|settings| settings.precision = Precision::F16(half));
        assert!(said.contains("loss-scale"), "{bad}: {said}");
    }
    let without = Gpu::request(Options { without_f16: true, ..Options::default() }).unwrap();
    let settings = settings(vec![64], Half::default(), Length::Epochs(1));
    let error = Trainer::new(&without, settings, digits()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
