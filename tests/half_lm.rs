//! Language models in half precision: how far gradients are from those of f32, what is learned, what a run keeps, and what is
//! refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod halves;
mod small_lm;

use std::path::Path;

use fretwork::gpu::{Class, Gpu, Options, Recorder};
use fretwork::methods::{Every, Kind, MethodConfig};
use fretwork::nn::{FanIn, Half, LmConfig, ModelConfig, MoeConfig, Precision};
use fretwork::ops::gate::Balance;
use fretwork::ops::{self, Activation, LossScale, LossScaleState, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::train::{Checkpoint, Event, Flow, RunFolder, Sampler, Settings, Trainer};
use half::f16;
use halves::gpu;
use small_lm::{BATCH, CONTEXT, config, experts, has_learned, settings, spread, text};

/// The gradients of all parameters of a model whose weights f16 has, unscaled, by name.
fn gradients(gpu: &Gpu, config: &LmConfig, precision: Precision) -> Vec<(String, Vec<f32>)> {
    const ROWS: usize = BATCH * CONTEXT;
    let config = ModelConfig::from(config.clone());
    let topologies = config.topologies(config.sparsity()).unwrap();
    let model = config.build(gpu, BATCH, &topologies, FanIn::Present, precision).unwrap();
    let mut walk = Key::new(3, Stream::Check(7)).walk();
    let [ids, labels] = [(); 2].map(|()| (0..ROWS).map(|_| walk.below(12)).collect::<Vec<u32>>());
    gpu.write(model.input(), &ids).unwrap();
    spread(gpu, &model, &mut walk, |x| f16::from_f32(x).to_f32());
    let labels = gpu.upload(Class::Scratch, "labels", &[ROWS], &labels).unwrap();
    let report = gpu.alloc::<f32>(Class::Scratch, "report", &[ROWS, 2]).unwrap();
    let values = StepValues::backward(2, 1.0 / ROWS as f32);
    let step = Step::new(gpu, values).unwrap();
    let (step, scale) = match precision.half() {
        None => (step, 1.0),
        Some(half) => (step.with_scale(LossScale::new(gpu, half.loss_scale).unwrap()), half.loss_scale),
    };
    let mut rec = Recorder::new(gpu);
    model.refresh(&mut rec, Some(&step)).unwrap();
    model.forward(&mut rec, Some(&step)).unwrap();
    let (logits, grad) = (model.logits(), model.logits_grad());
    ops::softmax_cross_entropy(&mut rec, logits, &labels, &report, grad, &step).unwrap();
    model.backward(&mut rec, Some(&step)).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let read = |tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
    let unscaled = |tensor| read(tensor).into_iter().map(|g| g / scale).collect();
    model
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.name().to_owned(), unscaled(parameter.grads())))
        .collect()
}

/// How far gradients are from others, relative to the length of those: the worst parameter's, and its name.
fn distance(found: &[(String, Vec<f32>)], wanted: &[(String, Vec<f32>)]) -> (f64, String) {
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let mut worst = (0.0, String::new());
    for ((name, found), (_, wanted)) in found.iter().zip(wanted) {
        let size = length(&mut wanted.iter().map(|&x| f64::from(x)));
        assert!(size > 1e-6, "{name} has a gradient of {size:e}, which tells nothing");
        let difference = &mut found.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let far = length(difference) / size;
        if far.is_nan() || far > worst.0 {
            worst = (if far.is_nan() { f64::INFINITY } else { far }, name.clone());
        }
    }
    worst
}

/// Nine products forward and nine back, each with two operands that are rounded, by half a unit at most. They have nothing to
/// do with each other, so they add up as squares; three times that.
const BOUND: f64 = 3.0 * 6.0 / 2048.0;

#[test]
fn gradients_are_those_of_f32() {
    let Some(gpu) = gpu() else { return };
    let balance = Balance { aux: 0.3, importance: 0.2, load: 0.1, z: 0.05 };
    let gated = MoeConfig { gated: true, shared: 32, ..experts("softmax-top:2:renormalised") };
    let configs = [
        config(None, None),
        config(None, Some(0.3)),
        LmConfig { activation: Activation::Relu, ..config(None, None) },
        config(Some(gated.clone()), None),
        config(Some(MoeConfig { balance, ..experts("noisy-top:2") }), None),
        config(Some(gated), Some(0.2)),
        config(Some(experts("hash:2")), None),
    ];
    for config in configs {
        let wanted = gradients(&gpu, &config, Precision::F32);
        let half = |loss_scale| Precision::F16(Half { loss_scale, ..Half::default() });
        let found = gradients(&gpu, &config, half(1024.0));
        let (far, which) = distance(&found, &wanted);
        println!("{config}: {far:.5} of {BOUND:.5}, at {which}");
        assert!(far < BOUND, "{config}: {which}: {far}, may be {BOUND}");
        // So would be the want of what losses of balance add, scaled as it is.
        if let Some(mixture) = config.experts.as_ref().filter(|mixture| mixture.balance != Balance::default())
        {
            let experts = Some(MoeConfig { balance: Balance::default(), ..mixture.clone() });
            let unbalanced = gradients(&gpu, &LmConfig { experts, ..config.clone() }, Precision::F32);
            assert!(distance(&found, &unbalanced).0 > BOUND);
        }
        // Gradients that f16 loses are noticed, and those of one parameter that nobody scaled, or that are another's.
        let lost = gradients(&gpu, &config, half(2f32.powi(-18)));
        assert!(distance(&lost, &wanted).0 > BOUND);
        for parameter in 0..wanted.len() {
            let mut wrong = found.clone();
            wrong[parameter].1.iter_mut().for_each(|g| *g /= 1024.0);
            assert_eq!(distance(&wrong, &wanted).1, wanted[parameter].0);
            let mut wrong = found.clone();
            wrong[parameter].1.rotate_left(1);
            assert_eq!(distance(&wrong, &wanted).1, wanted[parameter].0);
        }
    }
}

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

/// It learns what f32 does, with experts or without, with either rounding, and says it again from its run folder.
#[test]
fn it_learns_what_f32_does_and_says_it() {
    let Some(gpu) = gpu() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let folder = RunFolder::create(&directory.path().join("run")).unwrap();
    let run = |experts: &Option<MoeConfig>, precision, folder: Option<&RunFolder>| {
        let (mut settings, dataset) = settings(&data, experts.clone(), precision, 120);
        if let (Some(_), ModelConfig::Lm(config)) = (experts, &mut settings.model) {
            config.sparsity = None;
        }
        let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
        let summary = trainer.run(folder, &mut onward).unwrap();
        assert_eq!(summary.blocking_waits, 0);
        summary
    };
    for (experts, stochastic) in
        [(Some(experts("softmax-top:2:renormalised")), false), (None, true), (None, false)]
    {
        let float = run(&experts, Precision::F32, None);
        // Seven words of four to six letters: a little over half a bit a character is the best there is.
        assert!(float.test_loss < 0.8, "{}", float.test_loss);
        let half = run(&experts, Precision::F16(Half { stochastic, ..Half::default() }), Some(&folder));
        let [wanted, found] = [&float, &half].map(|summary| summary.test_loss);
        println!("f16 {found:.4}, f32 {wanted:.4}, by chance {stochastic}, {experts:?}");
        assert!((wanted - found).abs() < 0.02, "f16 {found}, f32 {wanted}, by chance {stochastic}");
        assert_eq!(half.scaling.unwrap().skipped, 0);
        if experts.is_none() {
            assert!(half.bytes.activations < float.bytes.activations);
        }
    }
    let say = || {
        let mut sampler = Sampler::new(&gpu, &folder, b"face ", 0.25, 1).unwrap();
        (0..40).map(|_| sampler.next_character().unwrap()).collect::<Vec<u8>>()
    };
    let said = String::from_utf8(say()).unwrap();
    assert_eq!(said.as_bytes(), say());
    assert!(has_learned(&said), "{said:?}");
}

/// Steps whose gradients are too large change nothing, and halve the scale; the others count.
#[test]
fn an_overflow_skips_the_step() {
    let Some(gpu) = gpu() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let most = Half { loss_scale: LossScaleState::MOST, ..Half::default() };
    let after = |steps: u64| {
        let (settings, dataset) = settings(&data, None, Precision::F16(most), steps);
        let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
        let before = trainer.checkpoint().unwrap();
        let scaling = trainer.run(None, &mut onward).unwrap().scaling.unwrap();
        (before, scaling, trainer.checkpoint().unwrap())
    };
    // A logit's gradient of 1/2 over 160 rows, times 2^24, is no number of f16.
    let (before, scaling, one) = after(1);
    assert_eq!((scaling.skipped, scaling.loss_scale), (1, LossScaleState::MOST / 2.0));
    let tables = [("embedding.weight", [10, 32]), ("optimizer.embedding.weight.first", [10, 32])];
    for (name, shape) in tables.into_iter().chain([("head.weight", [10, 32])]) {
        let of =
            |checkpoint: &Checkpoint| checkpoint.get(Path::new("memory"), name, &shape).unwrap().to_vec();
        assert_eq!(of(&before), of(&one), "{name}");
    }
    let (before, scaling, twenty) = after(20);
    assert!((1..15).contains(&scaling.skipped), "{scaling:?}");
    let of = |checkpoint: &Checkpoint| {
        checkpoint.get(Path::new("memory"), "embedding.weight", &[10, 32]).unwrap().to_vec()
    };
    assert_ne!(of(&before), of(&twenty));
}

/// Runs are the same to the bit, also when they stop in the middle of an epoch and go on; topologies evolve in them.
#[test]
fn runs_are_repeated_and_resumed_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let bytes = |checkpoint: &Checkpoint| checkpoint.to_bytes(Path::new("memory")).unwrap();
    let mixture = MoeConfig { bias_rate: 0.01, capacity: 1.5, ..experts("softmax-top:2:renormalised") };
    let noisy = MoeConfig {
        balance: Balance { importance: 0.1, load: 0.1, ..Balance::default() },
        ..experts("noisy-top:2")
    };
    let runs = [
        (None, Kind::Static, true),
        (None, Kind::Rigl, false),
        (None, Kind::CtreSim, true),
        (Some(mixture), Kind::Static, false),
        (Some(noisy), Kind::Static, true),
    ];
    for (experts, kind, stochastic) in runs {
        let half = Half { stochastic, loss_scale: LossScaleState::MOST, patience: 5 };
        let (mut settings, dataset) = settings(&data, experts, Precision::F16(half), 24);
        settings.method = MethodConfig::new(kind, 0.5);
        settings.method.updates.every = Every::Steps(3);
        let whole = |stop: u64| {
            let mut trainer = Trainer::new(&gpu, settings.clone(), dataset.clone()).unwrap();
            let mut steps = 0;
            let mut until = |event: &Event| {
                steps += u64::from(matches!(event, Event::Progress { .. }));
                if steps >= stop { Flow::Stop } else { Flow::Continue }
            };
            trainer.run(None, &mut until).unwrap();
            trainer
        };
        let wanted = bytes(&whole(24).checkpoint().unwrap());
        assert!(wanted == bytes(&whole(24).checkpoint().unwrap()), "{kind}: two runs differ");
        // While steps are skipped, at the end of an epoch, and in the middle of one.
        for stop in [2, 10, 17] {
            let mut stopped = whole(stop);
            let path = Path::new("memory");
            let kept = Checkpoint::from_bytes(path, &bytes(&stopped.checkpoint().unwrap())).unwrap();
            let mut resumed = Trainer::resume(&gpu, &kept, path, dataset.clone()).unwrap();
            // A test sees the weights as they are now, whatever products read in the last step.
            assert_eq!(stopped.evaluate().unwrap(), resumed.evaluate().unwrap(), "{kind}: tested at {stop}");
            resumed.run(None, &mut onward).unwrap();
            assert!(wanted == bytes(&resumed.checkpoint().unwrap()), "{kind}: resumed at {stop}");
        }
    }
}

#[test]
fn what_half_precision_cannot_do_is_refused_by_name() {
    let Some(device) = gpu() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let said = |change: &dyn Fn(&mut Settings)| {
        let (mut settings, dataset) = settings(&data, None, Precision::F16(Half::default()), 1);
        change(&mut settings);
        Trainer::new(&device, settings, dataset).unwrap_err().to_string()
    };
    let snfs = said(&|settings| settings.method = MethodConfig::new(Kind::Snfs, 0.5));
    assert!(snfs.contains("dtype") && snfs.contains("snfs"), "{snfs}");
    let without = Gpu::request(Options { without_f16: true, ..Options::default() }).unwrap();
    let (settings, dataset) = settings(&data, None, Precision::F16(Half::default()), 1);
    let error = Trainer::new(&without, settings, dataset).unwrap_err();
    assert!(matches!(error, fretwork::Error::Unsupported { .. }), "{error}");
}
