//! Steps as programs: exchanges in the middle of a step, gradients that are accumulated, plans on other buffers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fretwork::Result;
use fretwork::data::{Dataset, Holdout, Source};
use fretwork::gpu::{Class, DType, Gpu, Mark, Options, Recorder, Tensor};
use fretwork::graph::GRADIENT;
use fretwork::methods::{Every, Rigl, SCORES, Updates};
use fretwork::nn::{Linear, Precision, Residual, Sequential, blocks};
use fretwork::ops;
use fretwork::train::{Exchange, Flow, GRADIENTS, RunFolder, Schedule, Trainer, Validated};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn net() -> Sequential {
    Sequential::new()
        .add(Linear::new(64, 128).sparse(blocks(16).density(0.5)).relu())
        .add(Residual::new(Linear::new(128, 128).sparse(blocks(16).density(0.3)).gelu()))
        .add(Linear::new(128, 10))
}

/// Stops at every mark, and does what it is given there.
struct Stop<F>(F, Arc<Mutex<Vec<String>>>);

impl<F> std::fmt::Debug for Stop<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stop")
    }
}

impl<F: FnMut(&Gpu, &Mark) -> Result<()> + Send> Exchange for Stop<F> {
    fn wants(&self, _mark: &Mark) -> bool {
        true
    }

    fn exchange(&mut self, gpu: &Gpu, mark: &Mark) -> Result<()> {
        self.1.lock().unwrap().push(format!("{} {}", mark.kind, mark.name));
        self.0(gpu, mark)
    }
}

/// The bits of all parameters after twelve steps of RigL, and the marks that were passed.
fn run(
    exchange: Option<impl FnMut(&Gpu, &Mark) -> Result<()> + Send + 'static>,
    precision: Precision,
) -> (Vec<Vec<u32>>, Vec<String>) {
    let gpu = gpu();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(400), Some(50)]).unwrap();
    let method = Rigl { updates: Updates { every: Every::Steps(5), ..Updates::RIGL }, ..Rigl::default() };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut builder =
        Trainer::builder(&gpu, net()).data(data).method(method).batch(50).steps(12).precision(precision);
    if let Some(exchange) = exchange {
        builder = builder.exchange(Stop(exchange, seen.clone()));
    }
    let mut trainer = builder.build().unwrap();
    trainer.run(None, &mut |_| Flow::Continue).unwrap();
    let bits = |values: &Tensor| {
        gpu.read::<f32>(values).unwrap().wait().unwrap().iter().map(|x| x.to_bits()).collect()
    };
    let values = trainer.model().store().iter().map(|param| bits(param.values())).collect();
    let seen = seen.lock().unwrap().clone();
    (values, seen)
}

type Nothing = fn(&Gpu, &Mark) -> Result<()>;

#[test]
fn an_exchange_of_nothing_changes_no_bit() {
    for precision in [Precision::F32, Precision::F16(Default::default())] {
        let (wanted, none) = run(None::<Nothing>, precision);
        assert_eq!(none, [""; 0]);
        let (found, seen) = run(Some(|_: &Gpu, _: &Mark| Ok(())), precision);
        assert!(found == wanted, "{precision:?}");
        let count = |kind: &str| seen.iter().filter(|mark| mark.starts_with(kind)).count();
        // Six parameters in twelve steps; once before the optimizer or the exchange of blocks; of two updates (after 5 steps, and
        // not after 10 of 12, when three quarters are over) each sparse layer scores what it drops and what it grows.
        assert_eq!(count(&format!("{GRADIENT} ")), 6 * 12);
        assert_eq!(count(&format!("{GRADIENTS} ")), 12);
        assert_eq!(count(SCORES), 4);
        // In the order in which gradients are complete: from the output on. Those of biases are sums that are recorded later.
        let weights: Vec<_> = seen.iter().filter(|mark| mark.ends_with(".weight")).take(3).collect();
        assert_eq!(weights, ["gradient 2.weight", "gradient 1.weight", "gradient 0.weight"]);
    }
}

/// An exchange that changes a gradient changes the run: the marks are where tensors are still to be read.
#[test]
fn an_exchange_reaches_the_optimizer() {
    let (wanted, _) = run(None::<Nothing>, Precision::F32);
    for (kind, name) in [(GRADIENT, "0.weight"), (GRADIENT, "1.bias")] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let double = move |gpu: &Gpu, mark: &Mark| {
            if let (true, true, Some(grads)) = (mark.kind == kind, mark.name == name, &mark.tensor) {
                counter.fetch_add(1, Ordering::Relaxed);
                // -g instead of g.
                let copy = gpu.alloc::<f32>(Class::Scratch, "copy", grads.shape())?;
                let mut rec = Recorder::new(gpu);
                ops::blend(&mut rec, grads, &copy, [-1.0, 0.0])?;
                ops::blend(&mut rec, &copy, grads, [1.0, 0.0])?;
                gpu.run(&rec.finish()?)?;
            }
            Ok(())
        };
        let (found, _) = run(Some(double), Precision::F32);
        assert_eq!(calls.load(Ordering::Relaxed), 12, "{name}");
        assert!(found != wanted, "{kind} {name}");
    }
}

#[test]
fn an_exchange_that_fails_ends_the_run() {
    let gpu = gpu();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(100), Some(50)]).unwrap();
    let fails =
        |_: &Gpu, _: &Mark| Err(fretwork::Error::DeviceLost { reason: "the other one is gone".to_owned() });
    let mut trainer = Trainer::builder(&gpu, net())
        .data(data)
        .batch(50)
        .steps(2)
        .exchange(Stop(fails, Arc::default()))
        .build()
        .unwrap();
    let error = trainer.run(None, &mut |_| Flow::Continue).unwrap_err().to_string();
    assert!(error.contains("the other one is gone"), "{error}");
}

/// A builder sets rows aside, ends the run early, and keeps the best epoch's checkpoint; a resumed run goes on likewise.
#[test]
fn a_builder_validates() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let digits = || Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(300), Some(50)]).unwrap();
    let builder = || {
        let builder = Trainer::builder(&gpu, net()).data(digits()).batch(60).epochs(40);
        builder.learning_rate(0.02, Schedule::Constant).validation(Holdout::Share(0.2))
    };
    let run = RunFolder::create(&folder.path().join("run")).unwrap();
    let summary = builder().patience(3).build().unwrap().run(Some(&run), &mut |_| Flow::Continue).unwrap();
    let Validated { best, finished_early, .. } = summary.validation.unwrap();
    // 240 rows make four steps an epoch.
    assert_eq!((finished_early, summary.steps), (true, 4 * (best.unwrap().epoch + 4)));
    drop(run);
    let kept = RunFolder::of_best_epoch(&folder.path().join("run")).unwrap();
    assert_eq!(kept.load().unwrap().position.step, best.unwrap().step);

    // The run goes on from its best epoch, with its rows, and ends where it ended.
    let (checkpoint, path) = (kept.load().unwrap(), kept.checkpoint_path());
    let mut again = builder().resume(&checkpoint, &path).unwrap();
    assert_eq!(again.run(None, &mut |_| Flow::Continue).unwrap().steps, summary.steps);
    let error =
        Trainer::builder(&gpu, net()).data(digits()).resume(&checkpoint, &path).unwrap_err().to_string();
    assert!(error.contains("validation: is 0.2, but digits has no validation rows"), "{error}");
    let error = Trainer::builder(&gpu, net()).data(digits()).patience(3).build().unwrap_err().to_string();
    assert!(error.contains("patience: needs rows to see an improvement on"), "{error}");
    let error = builder().patience(0).build().unwrap_err().to_string();
    assert!(error.contains("patience: 0 epochs"), "{error}");
}

/// Parameters after steps whose gradients are accumulated over passes of so many rows.
fn accumulated(rows: usize, batch: usize) -> Vec<Vec<f32>> {
    let gpu = gpu();
    // The last batch of an epoch has 30 rows.
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(130), Some(50)]).unwrap();
    let mut trainer = Trainer::builder(&gpu, net())
        .data(data)
        .optimizer(fretwork::optim::Sgd::default())
        .batch(batch)
        .micro_batch(rows)
        .epochs(2)
        .build()
        .unwrap();
    let summary = trainer.run(None, &mut |_| Flow::Continue).unwrap();
    assert!(summary.train_loss.is_finite());
    let read = |values: &Tensor| gpu.read::<f32>(values).unwrap().wait().unwrap();
    trainer.model().store().iter().map(|param| read(param.values())).collect()
}

/// Sums of the gradients of parts are those of the whole but for rounding, also where the last batch has fewer passes.
#[test]
fn accumulated_gradients_are_those_of_the_whole_batch() {
    let wanted = accumulated(100, 100);
    for rows in [50, 20, 100, 300] {
        let found = accumulated(rows, 100);
        for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
            // Four steps at a rate of 0.001: weights near 0.1 move by less than 0.01, and gradients are sums of 100 rows, whose
            // rounding is below 100 units in the last place.
            let bound = 0.01 * 4.0 * 100.0 * f32::EPSILON + 2.0 * f32::EPSILON * wanted.abs();
            assert!((found - wanted).abs() <= bound, "{rows} rows a pass: {found} is not {wanted}");
        }
    }
    // The bound objects to a pass that is left out.
    let other = accumulated(50, 50);
    assert!(other.iter().flatten().zip(wanted.iter().flatten()).any(|(a, b)| (a - b).abs() > 1e-4));
}

#[test]
fn methods_that_measure_gradients_refuse_parts_of_them() {
    let gpu = gpu();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(100), Some(50)]).unwrap();
    let builder = Trainer::builder(&gpu, net()).data(data).batch(100).micro_batch(50).steps(4);
    let error = builder.method(fretwork::methods::Scl::default()).build().unwrap_err().to_string();
    assert!(error.contains("micro-batch") && error.contains("scl"), "{error}");
}

#[test]
fn a_plan_runs_on_other_buffers() {
    let gpu = gpu();
    let tensor = |values: &[f32]| gpu.upload(Class::Scratch, "x", &[values.len()], values).unwrap();
    let (x, y) = (tensor(&[1.0, 2.0, 3.0, 4.0]), tensor(&[10.0; 4]));
    let mut rec = Recorder::new(&gpu);
    ops::blend(&mut rec, &x, &y, [2.0, 1.0]).unwrap();
    let plan = rec.finish().unwrap();
    let (other, out) = (tensor(&[5.0; 4]), tensor(&[0.0; 4]));
    let rebound = plan.rebind(&gpu, &[(&x, &other), (&y, &out)]).unwrap();
    let half = plan.rebind(&gpu, &[(&y, &out)]).unwrap();
    let read = |tensor: &Tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
    gpu.run(&rebound).unwrap();
    assert_eq!((read(&y), read(&out)), (vec![10.0; 4], vec![10.0; 4]));
    gpu.run(&half).unwrap();
    gpu.run(&plan).unwrap();
    assert_eq!((read(&y), read(&out)), (vec![12.0, 14.0, 16.0, 18.0], vec![12.0, 14.0, 16.0, 18.0]));

    let refused = |pairs: &[(&Tensor, &Tensor)]| plan.rebind(&gpu, pairs).unwrap_err().to_string();
    assert!(refused(&[(&x, &tensor(&[0.0; 5]))]).contains("shape"));
    assert!(refused(&[(&x, &x.reinterpret(DType::U32).unwrap())]).contains("F32"));
    assert!(refused(&[(&other, &out)]).contains("bound by the plan"));
    assert!(refused(&[(&x, &y)]).contains("in bytes of its own"));
}
