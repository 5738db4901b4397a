//! Whole runs: one part is plain backpropagation, resumed runs, topology updates, micro-batches, half precision and refusals.

use fretwork::data::{Dataset, Source};
use fretwork::graph::Recompute;
use fretwork::methods::{Every, Kind, MethodConfig};
use fretwork::nn::{Half, Local, MlpConfig, Precision};
use fretwork::ops::Activation;
use fretwork::train::{Checkpoint, Event, Flow, Length, LogRecord, RunFolder, Settings, Trainer};

use crate::{WAYS, digits, gpu, halves, mlp, onward, path, settings, trained};

#[test]
fn one_part_is_plain_backpropagation() {
    let gpu = gpu();
    for activation in [Activation::Relu, Activation::Gelu] {
        let run = |local| {
            let model = MlpConfig { activation, dropout: 0.1, ..mlp(&[96, 80, 64], Some(0.6), local) };
            trained(&gpu, settings(model, 25))
        };
        let (plain, mut one) = (run(None), run(Some(Local::Chunked(1))));
        assert_ne!(one.settings, plain.settings);
        one.settings = plain.settings.clone();
        assert!(one == plain, "{activation}: other bits");
        // Of several parts the hidden layers learn something else.
        let mut two = run(Some(Local::Chunked(2)));
        two.settings = plain.settings.clone();
        assert!(two != plain);
    }
}

/// The checkpoints of a run that never stopped and of one that stopped within an epoch, with the losses of parts in their logs.
fn stopped_and_not(settings: &Settings) -> [(Checkpoint, Vec<Vec<f64>>); 2] {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, stop: u64| {
        let folder = RunFolder::create(&folder.path().join(name)).unwrap();
        let mut trainer = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
        let mut steps = 0;
        let mut until = |event: &Event| {
            steps += u64::from(matches!(event, Event::Progress { .. }));
            if steps == stop { Flow::Stop } else { Flow::Continue }
        };
        trainer.run(Some(&folder), &mut until).unwrap();
        if stop < u64::MAX {
            let checkpoint = folder.load().unwrap();
            assert_eq!(checkpoint.position.step, stop);
            let mut trainer = Trainer::resume(&gpu, &checkpoint, path(), digits()).unwrap();
            trainer.run(Some(&folder), &mut onward).unwrap();
        }
        let log = std::fs::read_to_string(folder.log_path()).unwrap();
        let epochs = log.lines().filter_map(|line| match serde_json::from_str(line).unwrap() {
            LogRecord::Epoch(epoch) => Some(epoch.local),
            _ => None,
        });
        (folder.load().unwrap(), epochs.collect::<Vec<_>>())
    };
    [run("whole", u64::MAX), run("stopped", 17)]
}

#[test]
fn resumed_runs_have_the_bits_of_those_that_never_stopped() {
    for local in WAYS {
        let settings =
            Settings { length: Length::Epochs(3), ..settings(mlp(&[64, 64, 64], Some(0.5), Some(local)), 1) };
        let [(whole, losses), (resumed, again)] = stopped_and_not(&settings);
        assert!(whole == resumed, "{local}: other bits");
        assert_eq!(losses, again, "{local}");
        let parts = local.parts(3).unwrap().len();
        assert_eq!(losses.len(), 3);
        for epoch in &losses {
            assert_eq!(epoch.len(), if parts == 1 { 0 } else { parts }, "{local}");
            assert!(epoch.iter().all(|&loss| loss > 0.0 && loss < 3.0), "{local}: {epoch:?}");
        }
        let [first, last] = [0, 2].map(|at| losses[at].iter().sum::<f64>());
        assert!(parts == 1 || last < first, "{local}: {losses:?}");
    }
}

#[test]
fn methods_evolve_the_patterns_of_parts() {
    let kinds = [Kind::Rigl, Kind::Set, Kind::Snip, Kind::SynFlow, Kind::TopKast, Kind::Snfs];
    for local in [Local::Greedy, Local::Overlapping, Local::Chunked(2)] {
        for kind in kinds {
            let mut settings = settings(mlp(&[96, 96, 96], Some(0.7), Some(local)), 30);
            settings.method = MethodConfig::new(kind);
            if let Some(updates) = settings.method.shared().updates {
                updates.every = Every::Steps(5);
            }
            if kind == Kind::Rigl || kind == Kind::Set {
                let [(whole, _), (resumed, _)] = stopped_and_not(&settings);
                assert!(whole == resumed, "{local}, {kind}: other bits");
                let drawn = settings.model.topologies(None).unwrap();
                let moved = whole.topologies(path()).unwrap() != drawn;
                assert!(moved, "{local}, {kind}: no block was exchanged");
            } else {
                trained(&gpu(), settings);
            }
        }
    }
}

/// Gradients of several passes are added up: the same rows in another order of sums.
#[test]
fn micro_batches_are_accumulated() {
    let gpu = gpu();
    let run = |micro_batch| {
        let model = mlp(&[64, 64, 64], None, Some(Local::Overlapping));
        trained(&gpu, Settings { micro_batch, learning_rate: 0.001, ..settings(model, 6) })
    };
    let (whole, passes) = (run(None), run(Some(32)));
    for name in ["layers.0.weight", "layers.2.weight", "heads.1.weight"] {
        let shape = if name.starts_with("heads") { [10, 64] } else { [64, 64] };
        let values = |of: &Checkpoint| of.get(path(), name, &shape).unwrap().to_vec();
        let far = values(&whole).into_iter().zip(values(&passes)).map(|(a, b)| (a - b).abs());
        let far = far.fold(0.0f32, f32::max);
        assert!(far < 1e-3, "{name}: {far}");
    }
}

#[test]
fn half_precision_learns_in_parts() {
    let Some(gpu) = halves::gpu() else { return };
    for local in [Local::Greedy, Local::Overlapping] {
        let mut settings = settings(mlp(&[64, 64, 64], Some(0.5), Some(local)), 120);
        settings.precision = Precision::F16(Half::default());
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let accuracy = trainer.run(None, &mut onward).unwrap().test_accuracy;
        assert!(accuracy > 0.8, "{local}: {accuracy}");
    }
}

#[test]
fn what_makes_no_parts_is_refused() {
    let gpu = gpu();
    let refusal = |hidden: &[usize], local, recompute| {
        let settings = Settings { recompute, ..settings(mlp(hidden, Some(0.5), Some(local)), 1) };
        Trainer::new(&gpu, settings, digits()).unwrap_err().to_string()
    };
    for (hidden, local, recompute, wanted) in [
        (&[64, 64][..], Local::Chunked(0), None, "chunked:0 has no part to train"),
        (&[64, 64], Local::Chunked(3), None, "more parts than the network has hidden layers, 2"),
        (&[], Local::Greedy, None, "without a hidden layer has no parts"),
        (&[64, 64], Local::Greedy, Some(Recompute::All), "freed before the next"),
    ] {
        let refused = refusal(hidden, local, recompute);
        assert!(refused.contains(wanted), "{local}: {refused}");
    }
}

/// Three seeds of each way on Fashion-MNIST are within two points of backpropagation at equal epochs.
#[test]
#[ignore = "8 minutes on two processors"]
fn fashion_mnist_within_two_points() {
    let source: Source = "fashion-mnist".parse().unwrap();
    let gpu = gpu();
    let accuracy = |local: Option<Local>| {
        let of = |seed: u64| {
            let data = Dataset::load(&source, seed, 0).unwrap();
            let model = MlpConfig { inputs: data.width(), seed, ..mlp(&[256; 6], Some(0.9), local) };
            let run = Settings { data: data.name.clone(), length: Length::Epochs(5), ..settings(model, 1) };
            Trainer::new(&gpu, run, data).unwrap().run(None, &mut onward).unwrap().test_accuracy
        };
        let all = [1, 2, 3].map(of);
        println!("{local:?}: {all:?}");
        all.iter().sum::<f64>() / 3.0
    };
    let whole = accuracy(None);
    for local in [Local::Greedy, Local::Overlapping, Local::Chunked(2)] {
        let found = accuracy(Some(local));
        assert!(found > whole - 0.02, "{local}: {found} against {whole}");
    }
}
