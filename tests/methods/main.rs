//! Methods keep a run's promises while topologies change. That they choose the right blocks is in `tests/oracles/`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod formulas;
#[path = "../oracles/sets.rs"]
mod sets;

use std::path::Path;

use fretwork::data::{Dataset, HostBatch, HostTargets, Input, Source, epoch_order};
use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor};
use fretwork::methods::{
    Decay, Every, Kind, LayerContext, Method, MethodConfig, Scope, Set, TopKastOptions, Updates,
};
use fretwork::nn::{MlpConfig, ModelConfig};
use fretwork::ops::{self, Activation};
use fretwork::sparse::{Density, Pattern, Topology};
use fretwork::train::{Event, Flow, Length, Parts, RunFolder, Settings, Trainer};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

/// The network of these settings, to be changed.
fn mlp(settings: &mut Settings) -> &mut MlpConfig {
    let ModelConfig::Mlp(config) = &mut settings.model else { panic!("these are of perceptrons") };
    config
}

fn settings(kind: Kind, length: Length) -> Settings {
    let sparsity = 0.8;
    let mut method = MethodConfig::new(kind);
    let shared = method.shared();
    if let Some(scope) = shared.scope {
        *scope = Scope::Layer;
    }
    if let Some(updates) = shared.updates
        && let Every::Steps(_) = updates.every
    {
        updates.every = Every::Steps(4);
    }
    Settings {
        data: "digits".to_owned(),
        method,
        length,
        batch: 400,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![64, 96],
            classes: 10,
            block: 16,
            sparsity: Some(sparsity),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.1,
            seed: 3,
            layers: Default::default(),
            local: None,
        })
    }
}

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

fn bytes_of(trainer: &Trainer) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap()
}

fn stored(trainer: &Trainer) -> Vec<usize> {
    let layers = trainer.model().layers().into_iter();
    layers.filter_map(|layer| Some(layer.weight().sparse()?.pattern().nnz())).collect()
}

/// Of every method: stopped in the middle of an epoch and resumed on another device, the bits are the same. Nothing waits
/// in between, and in the end each layer has the blocks that the sparsity leaves it.
#[test]
fn every_method_resumes_to_the_same_bits() {
    let per_epoch = digits().train.rows().div_ceil(400);
    for &(name, kind) in Kind::ALL {
        let settings = settings(kind, Length::Epochs(5));
        let gpu = gpu();
        let mut whole = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
        let summary = whole.run(None, &mut onward).unwrap();
        assert_eq!(summary.blocking_waits, 0, "{name} waits");
        let bytes = bytes_of(&whole);
        for stop in [per_epoch / 2, per_epoch, 2 * per_epoch + 3, 4 * per_epoch - 2] {
            let folder = tempfile::tempdir().unwrap();
            let run_folder = RunFolder::create(folder.path()).unwrap();
            let mut trainer = Trainer::new(&gpu, settings.clone(), digits()).unwrap();
            let mut steps = 0;
            trainer
                .run(Some(&run_folder), &mut |event| {
                    steps += usize::from(matches!(event, Event::Progress { .. }));
                    if steps == stop { Flow::Stop } else { Flow::Continue }
                })
                .unwrap();
            drop(trainer);
            let checkpoint = run_folder.load().unwrap();
            let mut resumed =
                Trainer::resume(&gpu, &checkpoint, &run_folder.checkpoint_path(), digits()).unwrap();
            resumed.run(None, &mut onward).unwrap();
            assert!(bytes == bytes_of(&resumed), "{name}: stopped at {stop}, it ends elsewhere");
        }
        let wanted = settings.model.counts(Some(0.8)).unwrap();
        let found = stored(&whole);
        match kind {
            // Twice as many are stored as are present.
            Kind::TopKast => {
                let stored = settings.method.build().stored_sparsity(0.8);
                assert_eq!(found, settings.model.counts(Some(stored)).unwrap()[..2]);
            }
            // The budget is one for all layers, and connections may use less of it.
            Kind::SupTickets => assert_eq!(found.iter().sum::<usize>(), wanted.iter().sum::<usize>()),
            Kind::Scl => assert!(found.iter().sum::<usize>() <= wanted.iter().sum::<usize>()),
            // Groups of neurons are lost.
            Kind::Importance => assert!(found.iter().zip(&wanted).all(|(found, wanted)| found <= wanted)),
            _ => assert_eq!(found, wanted[..2], "{name}"),
        }
    }
}

/// Five hundred updates: the count of blocks is exact, reading the index validates it, nothing leaks and nothing waits.
#[test]
fn five_hundred_updates_leave_everything_in_order() {
    for kind in [Kind::Rigl, Kind::Set, Kind::TopKast] {
        let gpu = gpu();
        let mut settings = settings(kind, Length::Steps(510));
        settings.batch = 64;
        *settings.method.shared().updates.unwrap() =
            Updates { every: Every::Steps(1), from: 0.0, until: 1.0, fraction: 0.5, decay: Decay::Constant };
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        let (begun, blocks) = (gpu.bytes(), stored(&trainer));
        let first: Vec<_> = topologies(&trainer);
        let summary = trainer.run(None, &mut onward).unwrap();
        assert_eq!(summary.blocking_waits, 0);
        assert_eq!(gpu.bytes(), begun, "{kind}: updates have left bytes behind");
        assert_eq!(stored(&trainer), blocks);
        let last = topologies(&trainer);
        assert!(first.iter().zip(&last).all(|(first, last)| first != last), "{kind}: nothing has changed");
    }
}

fn topologies(trainer: &Trainer) -> Vec<Topology> {
    let layers = trainer.model().layers().into_iter();
    layers.filter_map(|layer| layer.weight().sparse()?.pattern().topology(trainer.gpu()).ok()).collect()
}

/// No dense shadow: with RigL the peak is what a static run needs, and per layer one score per place, four sets of blocks,
/// a word per slot, and small change.
#[test]
fn rigl_needs_one_score_per_block() {
    let peak = |kind| {
        let gpu = gpu();
        let mut settings = settings(kind, Length::Steps(30));
        mlp(&mut settings).hidden = vec![512, 512];
        let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
        trainer.run(None, &mut onward).unwrap();
        let patterns: Vec<_> = trainer
            .model()
            .layers()
            .iter()
            .filter_map(|layer| Some(layer.weight().sparse()?.pattern().clone()))
            .collect();
        (gpu.peak_bytes(), patterns)
    };
    let (sparse, _) = peak(Kind::Static);
    let (rigl, patterns) = peak(Kind::Rigl);
    // Updates have parameters and two sets of their own; a static run has the same workspace.
    let places: usize = patterns.iter().map(Pattern::places).sum();
    let slack = 2 * places.div_ceil(8) as u64 + 64 * 1024;
    assert!(rigl <= sparse + slack, "{rigl} bytes, {sparse} without updates");
    let dense: u64 = patterns.iter().map(|pattern| 4 * (pattern.rows() * pattern.cols()) as u64).sum();
    assert!(4 * slack < dense, "the test would not see a dense shadow");
}

/// On the step of an update no weight is trained: blocks that stay are as they were.
#[test]
fn an_update_takes_the_place_of_the_optimizer() {
    let run = |steps| {
        let mut trainer = Trainer::new(&gpu(), settings(Kind::Rigl, Length::Steps(20)), digits()).unwrap();
        let mut seen = 0;
        trainer
            .run(None, &mut |event| {
                seen += u64::from(matches!(event, Event::Progress { .. }));
                if seen == steps { Flow::Stop } else { Flow::Continue }
            })
            .unwrap();
        trainer
    };
    // Step 4, the fifth, is the first update.
    let (before, after) = (run(4), run(5));
    let values = |trainer: &Trainer, at: usize| {
        trainer.gpu().read::<f32>(trainer.model().parameters()[at].values()).unwrap().wait().unwrap()
    };
    for at in [1, 3, 4, 5] {
        assert_eq!(values(&before, at), values(&after, at), "parameter {at} was trained");
    }
    let (old, new) = (topologies(&before), topologies(&after));
    for layer in 0..2 {
        let (a, b) = (values(&before, 2 * layer), values(&after, 2 * layer));
        let places: Vec<usize> = old[layer].places().collect();
        let mut fresh = 0;
        for (slot, place) in new[layer].places().enumerate() {
            let block = &b[slot * 256..(slot + 1) * 256];
            match places.iter().position(|&old| old == place) {
                Some(at) => assert_eq!(block, &a[at * 256..(at + 1) * 256]),
                None => {
                    fresh += 1;
                    assert!(block.iter().all(|&w| w == 0.0));
                }
            }
        }
        assert!(fresh > 0, "layer {layer} has not changed");
    }
}

/// Keeps the similarity of inputs and outputs, scored by all rows at every step, and changes nothing.
#[derive(Debug)]
struct Similarity {
    updates: Updates,
    seen: Tensor,
}

impl Method for Similarity {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn score_rows(&self) -> Option<usize> {
        Some(400)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<(), fretwork::Error> {
        layer.score_similarity(rec)?;
        ops::blend(rec, layer.scores(), &self.seen, [1.0, 0.0])
    }
}

/// An update that falls on the short last batch of an epoch is scored by the rows that are there: cosines are those of the
/// formula, over three rows, where 397 more only pad.
#[test]
fn rows_that_pad_score_nothing() {
    const SIDE: usize = 64;
    let gpu = gpu();
    let mut settings = settings(Kind::Set, Length::Steps(2));
    (mlp(&mut settings).hidden, mlp(&mut settings).dropout) = (vec![SIDE], 0.0);
    let data = digits().first([Some(403), None]).unwrap();
    let members = epoch_order(403, 3, 0)[400..].to_vec();
    let (input, targets) = (Input::Floats(vec![0.0; 3 * SIDE]), HostTargets::Classes(vec![0; 3]));
    let mut batch = HostBatch { places: 3, input, targets };
    data.train.fill(&members, &mut batch).unwrap();
    let Input::Floats(x) = batch.input else { unreachable!() };

    let seen = gpu.zeros::<f32>(Class::Scratch, "seen", &[16]).unwrap();
    let updates = Updates { every: Every::Steps(1), ..Updates::RIGL };
    let method = Similarity { updates, seen: seen.clone() };
    let mut trainer = Trainer::with_parts(
        &gpu,
        settings.clone(),
        data,
        Parts { method: Box::new(method), ..settings.parts() },
    )
    .unwrap();
    // Rows of zeros come out as what the bias leaves.
    gpu.write(trainer.model().store().by_name("layers.0.bias").unwrap().values(), &[1.0f32; SIDE]).unwrap();
    trainer.run(None, &mut onward).unwrap();

    let param = |name| trainer.model().store().by_name(name).unwrap();
    let weight = param("layers.0.weight").weight().sparse().unwrap().to_dense(&gpu).unwrap();
    let bias = gpu.read::<f32>(param("layers.0.bias").values()).unwrap().wait().unwrap();
    let out = |row: usize, i: usize| {
        let products = (0..SIDE).map(|j| f64::from(weight[i * SIDE + j]) * f64::from(x[row * SIDE + j]));
        (products.sum::<f64>() + f64::from(bias[i])).max(0.0)
    };
    let y: Vec<f64> = (0..3 * SIDE).map(|at| out(at / SIDE, at % SIDE)).collect();
    let x: Vec<f64> = x.into_iter().map(f64::from).collect();
    let dot = |a: &[f64], i: usize, b: &[f64], j: usize| -> f64 {
        (0..3).map(|row| a[row * SIDE + i] * b[row * SIDE + j]).sum()
    };
    let cosine = |i, j| {
        let norms = (dot(&y, i, &y, i) * dot(&x, j, &x, j)).sqrt();
        if norms == 0.0 { 0.0 } else { (dot(&y, i, &x, j) / norms).abs() }
    };
    for (place, found) in gpu.read::<f32>(&seen).unwrap().wait().unwrap().into_iter().enumerate() {
        let (rows, cols) = (place / 4 * 16..place / 4 * 16 + 16, place % 4 * 16..place % 4 * 16 + 16);
        let wanted: f64 =
            rows.flat_map(|i| cols.clone().map(move |j| (i, j))).map(|(i, j)| cosine(i, j)).sum();
        assert!((f64::from(found) - wanted).abs() < 1e-4 * wanted, "block {place}: {found}, not {wanted}");
    }
}

/// Without inactive blocks, Top-KAST is static training, bit for bit.
#[test]
fn top_kast_without_exploration_is_static() {
    let without_updates = |method: MethodConfig| {
        let settings = Settings { method, ..settings(Kind::Static, Length::Epochs(2)) };
        let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
        trainer.run(None, &mut onward).unwrap();
        bytes_of_parameters(&trainer)
    };
    // SET with no update is static training from the same first weights.
    let updates = Updates { every: Every::Steps(4), ..Updates::RIGL };
    let top_kast = TopKastOptions { updates, backward_sparsity: Some(0.8), penalty: 0.0 };
    let set = Set { updates: Updates { until: 0.0, ..updates } };
    assert!(without_updates(top_kast.into()) == without_updates(set.into()));
}

fn bytes_of_parameters(trainer: &Trainer) -> Vec<Vec<f32>> {
    let parameters = trainer.model().parameters();
    let read = |tensor: &Tensor| trainer.gpu().read::<f32>(tensor).unwrap().wait().unwrap();
    parameters.iter().map(|parameter| read(parameter.values())).collect()
}

/// Top-KAST's sets are nested, and exactly as large as they should be.
#[test]
fn top_kasts_sets_are_nested_and_exact() {
    let settings = settings(Kind::TopKast, Length::Steps(40));
    let present = settings.model.counts(Some(0.8)).unwrap();
    let backward = settings.model.counts(Some(settings.method.build().stored_sparsity(0.8))).unwrap();
    let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    let check = |trainer: &Trainer| {
        for (layer, topology) in topologies(trainer).iter().enumerate() {
            assert_eq!(topology.nnz(), backward[layer]);
            let active = topology.active().into_iter().filter(|active| *active).count();
            assert_eq!(active, present[layer]);
        }
    };
    check(&trainer);
    trainer.run(None, &mut onward).unwrap();
    check(&trainer);
}

/// S-GaP: one layer at a time has all its blocks, each in turn, and none in the last epoch.
#[test]
fn gap_grows_one_layer_at_a_time() {
    let settings = settings(Kind::Gap, Length::Epochs(5));
    let targets = settings.model.counts(Some(0.8)).unwrap();
    let full = [4 * 4, 6 * 4];
    let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    assert_eq!(stored(&trainer), [full[0], targets[1]]);
    let folder = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(folder.path()).unwrap();
    let mut seen = Vec::new();
    trainer
        .run(Some(&folder), &mut |event| {
            if let Event::Epoch { .. } = event {
                let checkpoint = folder.load().unwrap();
                let path = folder.checkpoint_path();
                let count = |layer: usize, sides| {
                    checkpoint.topology(&path, &format!("layers.{layer}.weight"), sides, 16).unwrap().nnz()
                };
                seen.push([count(0, [64, 64]), count(1, [96, 64])]);
            }
            Flow::Continue
        })
        .unwrap();
    let sparse = [targets[0], targets[1]];
    let turns = [[sparse[0], full[1]], [full[0], sparse[1]]];
    assert_eq!(seen, [turns[0], turns[1], turns[0], sparse, sparse]);
    // Blocks grown between steps count as churn; the run's first blocks do not.
    let log = std::fs::read_to_string(folder.log_path()).unwrap();
    let churn = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let layers = record["layers"].as_array()?;
        Some([0, 1].map(|layer: usize| layers[layer]["churn"].as_u64().unwrap() as usize))
    };
    let new = [0, 1].map(|layer| full[layer] - targets[layer]);
    let wanted = [[0, 0], [0, new[1]], [new[0], 0], [0, new[1]], [0, 0], [0, 0]];
    assert_eq!(log.lines().filter_map(churn).collect::<Vec<_>>(), wanted);
}

/// Runs that no method was made for: dense layers only, no hidden layer, every block present, shorter than an epoch or than
/// the time between two updates, and batches of a few rows.
#[test]
fn every_method_bears_odd_runs() {
    let gpu = gpu();
    for &(name, kind) in Kind::ALL {
        let mut odd = Vec::new();
        let mut add = |change: &dyn Fn(&mut Settings)| {
            let mut settings = settings(kind, Length::Steps(3));
            change(&mut settings);
            odd.push(settings);
        };
        add(&|settings| mlp(settings).sparsity = None);
        add(&|settings| mlp(settings).hidden = Vec::new());
        add(&|settings| mlp(settings).sparsity = Some(0.0));
        add(&|settings| settings.length = Length::Epochs(1));
        let every = |settings: &mut Settings, steps| {
            if let Some(updates) = settings.method.shared().updates {
                updates.every = Every::Steps(steps);
            }
        };
        add(&|settings| every(settings, 1000));
        add(&|settings| {
            settings.batch = 5;
            every(settings, 1);
        });
        for (at, settings) in odd.into_iter().enumerate() {
            let run = Trainer::new(&gpu, settings, digits()).and_then(|mut run| run.run(None, &mut onward));
            assert!(run.as_ref().is_ok_and(|summary| summary.finished), "{name}, run {at}: {run:?}");
        }
    }
}
