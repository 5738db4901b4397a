//! Methods on models: a method that supports a model changes each of its sparse layers, experts included; any other is refused by name
//! before a device is requested.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "these tests use a part of the module")]
mod small_lm;

use std::path::Path;

use fretwork::data::Dataset;
use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor};
use fretwork::graph::ParamId;
use fretwork::methods::{Every, Importance, Kind, LayerContext, Method, MethodConfig, Scope, Updates};
use fretwork::nn::{LmConfig, ModelConfig, MoeConfig, Precision};
use fretwork::ops::{self, ProductScore};
use fretwork::sparse::Topology;
use fretwork::train::{Checkpoint, Event, Flow, Length, Parts, Settings, Trainer};
use small_lm::{experts, settings, text};

/// Methods that language models do not support.
const REFUSED: [Kind; 2] = [Kind::SynFlow, Kind::SbpSr];
/// Methods that language models with sparse experts do not support, besides those.
const REFUSED_WITH_EXPERTS: [Kind; 2] = [Kind::CtreSeq, Kind::CtreSim];

const SPARSITY: f64 = 0.5;
/// Nine epochs, enough for GaP to visit each of seven layers.
const STEPS: u64 = 90;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

fn lm(settings: &mut Settings) -> &mut LmConfig {
    let ModelConfig::Lm(config) = &mut settings.model else { panic!("settings of a language model") };
    config
}

/// Settings and data of a run with one transformer block, each of whose sparse layers has enough blocks for an exchange.
fn run_of(data: &str, experts: Option<MoeConfig>, kind: Kind) -> (Settings, Dataset) {
    let (mut settings, dataset) = settings(data, experts, Precision::F32, STEPS);
    (lm(&mut settings).block, lm(&mut settings).depth) = (8, 1);
    settings.method = MethodConfig::new(kind);
    let shared = settings.method.shared();
    if let Some(scope) = shared.scope {
        *scope = Scope::Layer;
    }
    if let Some(updates) = shared.updates {
        updates.fraction = 0.5;
        if let Every::Steps(_) = updates.every {
            updates.every = Every::Steps(4);
        }
    }
    (settings, dataset)
}

/// Experts of the models: none, and gated ones with a shared expert.
fn models() -> [Option<MoeConfig>; 2] {
    let gated = MoeConfig { gated: true, shared: 32, ..experts("softmax-top:2") };
    [None, Some(gated)]
}

fn refuses(kind: Kind, with_experts: bool) -> bool {
    REFUSED.contains(&kind) || with_experts && REFUSED_WITH_EXPERTS.contains(&kind)
}

#[test]
fn a_method_that_cannot_work_on_a_model_is_refused_without_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    for experts in models() {
        for &(name, kind) in Kind::ALL {
            let (settings, _) = run_of(&data, experts.clone(), kind);
            match settings.validate() {
                Ok(()) => assert!(!refuses(kind, experts.is_some()), "{name} is accepted"),
                Err(error) => {
                    assert!(refuses(kind, experts.is_some()), "{name}: {error}");
                    let said = error.to_string();
                    assert!(said.contains("method") && said.contains(name), "{said}");
                }
            }
        }
        let (mut settings, _) = run_of(&data, experts.clone(), Kind::Importance);
        settings.method = Importance { outgoing: true, ..Importance::default() }.into();
        let said = settings.validate().unwrap_err().to_string();
        assert!(said.contains("prune-outgoing"), "{said}");
        // Models with dense experts have no topology of experts, which these methods cannot evolve.
        let (mut settings, _) = run_of(&data, experts, Kind::CtreSim);
        lm(&mut settings).sparsity = None;
        settings.validate().unwrap();
    }
}

/// Topologies of the sparse layers, by name.
fn patterns(trainer: &Trainer) -> Vec<(String, Topology)> {
    let layers = trainer.model().layers().into_iter();
    let pattern = |layer: &fretwork::nn::Param| {
        let pattern = layer.weight().sparse()?.pattern().clone();
        Some((layer.layer().to_owned(), pattern.topology(trainer.gpu()).unwrap()))
    };
    layers.filter_map(pattern).collect()
}

/// Each sparse layer ends with the number of active blocks that its sparsity allows, at other places than the initial ones. A layer of
/// GaP may end with the initial places, but was dense once.
#[test]
fn supported_methods_change_each_sparse_layer() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let gpu = gpu();
    for experts in models() {
        let kinds = Kind::ALL.iter().filter(|(_, kind)| *kind != Kind::Static);
        for &(name, kind) in kinds.filter(|(_, kind)| !refuses(*kind, experts.is_some())) {
            let (settings, dataset) = run_of(&data, experts.clone(), kind);
            let stored = match kind {
                Kind::TopKast => settings.method.build().stored_sparsity(SPARSITY),
                _ => SPARSITY,
            };
            let drawn: Vec<Topology> =
                settings.model.topologies(Some(stored)).unwrap().into_iter().flatten().collect();
            let present = settings.model.counts(Some(SPARSITY)).unwrap();
            let present: Vec<usize> = present.into_iter().filter(|&count| count > 0).collect();
            let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
            let summary = trainer.run(None, &mut onward).unwrap();
            assert!(summary.finished && summary.train_loss < 2.4, "{name}: {summary:?}");
            let (found, checkpoint) = (patterns(&trainer), trainer.checkpoint().unwrap());
            assert_eq!(found.len(), if experts.is_some() { 7 } else { 4 });
            for (((layer, found), drawn), present) in found.iter().zip(&drawn).zip(present) {
                if kind == Kind::Gap {
                    let visited = format!("method.{layer}.visited");
                    let places = drawn.row_blocks() * drawn.col_blocks();
                    let visited =
                        checkpoint.words(Path::new("memory"), &visited, places.div_ceil(32)).unwrap();
                    let visited: u32 = visited.into_iter().map(u32::count_ones).sum();
                    assert_eq!(visited as usize, places, "{layer} was never dense with gap");
                } else {
                    assert_ne!(found, drawn, "{name} leaves {layer} as it was");
                }
                let active = found.active().into_iter().filter(|active| *active).count();
                match kind {
                    Kind::Scl | Kind::Importance => {
                        assert!((1..=present).contains(&active), "{name}: {layer}");
                    }
                    _ => assert_eq!(active, present, "{name}: {layer}"),
                }
            }
        }
    }
}

/// Trains until the run has done `stop` steps, or to its end.
fn run_until(trainer: &mut Trainer, stop: u64) {
    let mut until = |event: &Event| match event {
        Event::Progress { epoch, step, steps, .. } if epoch * steps + step >= stop => Flow::Stop,
        _ => Flow::Continue,
    };
    trainer.run(None, &mut until).unwrap();
}

/// RigL and SNFS on a mixture of experts, stopped between updates, before an update, and at the end of an epoch, resume to the same
/// checkpoint as a run without interruption. Each part of the run changes topologies of experts.
#[test]
fn methods_resume_on_experts_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let gpu = gpu();
    let [_, experts] = models();
    let path = Path::new("memory");
    for kind in [Kind::Rigl, Kind::Snfs] {
        let (mut settings, dataset) = run_of(&data, experts.clone(), kind);
        settings.length = Length::Steps(24);
        let new = || Trainer::new(&gpu, settings.clone(), dataset.clone()).unwrap();
        let bytes = |trainer: &Trainer| trainer.checkpoint().unwrap().to_bytes(path).unwrap();
        let of_experts = |trainer: &Trainer| -> Vec<_> {
            patterns(trainer).into_iter().filter(|(layer, _)| layer.contains("experts")).collect()
        };
        let mut whole = new();
        let drawn = of_experts(&whole);
        assert_eq!(drawn.len(), 3);
        run_until(&mut whole, u64::MAX);
        for stop in [6, 8, 10] {
            let mut stopped = new();
            run_until(&mut stopped, stop);
            let kept = Checkpoint::from_bytes(path, &bytes(&stopped)).unwrap();
            assert_eq!(kept.position.step, stop);
            let changed = of_experts(&stopped);
            assert_ne!(changed, drawn, "{kind} changes no experts before step {stop}");
            drop(stopped);
            let mut resumed = Trainer::resume(&gpu, &kept, path, dataset.clone()).unwrap();
            assert_eq!(of_experts(&resumed), changed);
            run_until(&mut resumed, u64::MAX);
            assert_ne!(of_experts(&resumed), changed, "{kind} changes no experts after step {stop}");
            assert!(bytes(&resumed) == bytes(&whole), "{kind}: resumed at {stop}");
        }
    }
}

/// SCL's connections change in each sparse layer, experts included.
#[test]
fn connections_of_experts_learn() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let [_, experts] = models();
    let (settings, dataset) = run_of(&data, experts, Kind::Scl);
    let mut trainer = Trainer::new(&gpu(), settings, dataset).unwrap();
    let mut steps = 0;
    let mut stop = |event: &Event| {
        steps += u64::from(matches!(event, Event::Progress { .. }));
        if steps == 30 { Flow::Stop } else { Flow::Continue }
    };
    trainer.run(None, &mut stop).unwrap();
    let checkpoint = trainer.checkpoint().unwrap();
    for (index, layer) in trainer.model().layers().into_iter().enumerate() {
        let Some(weight) = layer.weight().sparse() else { continue };
        let name = format!("method.connections.{index}");
        let shape = [weight.pattern().places()];
        let connections = checkpoint.get(Path::new("memory"), &name, &shape).unwrap();
        let moved = connections.iter().filter(|&&connection| connection != connections[0]).count();
        assert!(moved * 2 > connections.len(), "{}: {moved} of {} differ", layer.name(), connections.len());
    }
}

/// Keeps the gradient scores of each layer by all rows at every step, and changes nothing.
#[derive(Debug)]
struct Gradient {
    updates: Updates,
    seen: Vec<(ParamId, Tensor)>,
}

impl Method for Gradient {
    fn updates(&self) -> Option<&Updates> {
        Some(&self.updates)
    }

    fn score_rows(&self) -> Option<usize> {
        Some(usize::MAX)
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> Result<(), fretwork::Error> {
        layer.score_gradient(rec, ProductScore::Abs)?;
        let seen = self.seen.iter().find(|(param, _)| *param == layer.param);
        seen.map_or(Ok(()), |(_, seen)| ops::blend(rec, layer.scores(), seen, [1.0, 0.0]))
    }
}

/// Growth scores of experts are the sums of magnitudes of their blocks' gradients. With all blocks stored, the scores of all places can
/// be compared.
#[test]
fn growth_scores_of_experts_are_sums_of_their_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let gpu = gpu();
    let [_, experts] = models();
    let (mut settings, dataset) = run_of(&data, experts, Kind::Rigl);
    lm(&mut settings).sparsity = Some(0.0);
    settings.length = Length::Steps(2);
    let graph = settings.model.graph(1, Precision::F32).unwrap();
    let layers = settings.model.layers().unwrap();
    let sparse = layers.iter().filter(|layer| layer.block.is_some()).map(|layer| layer.sides);
    let alloc = |((param, _), [rows, cols]): ((ParamId, _), [usize; 2])| {
        (param, gpu.zeros::<f32>(Class::Scratch, "seen", &[rows / 8 * (cols / 8)]).unwrap())
    };
    let seen: Vec<_> = graph.sparse_params().zip(sparse).map(alloc).collect();
    let updates = Updates { every: Every::Steps(1), ..Updates::RIGL };
    let method = Gradient { updates, seen: seen.clone() };
    let mut trainer = Trainer::with_parts(
        &gpu,
        settings.clone(),
        dataset,
        Parts { method: Box::new(method), ..settings.parts() },
    )
    .unwrap();
    trainer.run(None, &mut onward).unwrap();
    for (param, seen) in seen {
        let layer = trainer.model().store().get(param);
        let topology = layer.weight().sparse().unwrap().pattern().topology(&gpu).unwrap();
        let grad = gpu.read::<f32>(layer.weight_grad().values()).unwrap().wait().unwrap();
        let seen = gpu.read::<f32>(&seen).unwrap().wait().unwrap();
        assert_eq!(topology.nnz(), seen.len());
        for (slot, place) in topology.places().enumerate() {
            let wanted: f64 = grad[slot * 64..(slot + 1) * 64].iter().map(|g| f64::from(g.abs())).sum();
            let found = f64::from(seen[place]);
            assert!(
                (found - wanted).abs() <= 1e-5 * wanted,
                "{} block {place}: {found}, not {wanted}",
                layer.name()
            );
        }
        assert!(seen.iter().any(|&score| score > 0.0), "{}: no gradient", layer.name());
    }
}
