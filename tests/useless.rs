//! Runs that cannot work say so, patterns let signals through from the start, and growth revives what is dead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, Options, Recorder};
use fretwork::methods::{
    Every, Kind, LayerContext, Method, MethodConfig, MutableTopology, Phase, Rigl, Set, Updates,
};
use fretwork::nn::{MlpConfig, ModelConfig};
use fretwork::ops::Activation;
use fretwork::sparse::{Density, Topology, connects};
use fretwork::train::{Event, Flow, Length, OptimizerKind, Parts, Settings, Summary, Trainer};

const BLOCK: usize = 16;

fn settings(hidden: &[usize], sparsity: f64, seed: u64, steps: u64) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Steps(steps),
        learning_rate: 0.004,
        ..Settings::new(model(64, hidden, sparsity, seed))
    }
}

fn model(inputs: usize, hidden: &[usize], sparsity: f64, seed: u64) -> MlpConfig {
    MlpConfig {
        inputs,
        hidden: hidden.to_vec(),
        classes: 10,
        block: BLOCK,
        sparsity: Some(sparsity),
        density: Density::Erk,
        activation: Activation::Relu,
        dropout: 0.0,
        seed,
        layers: Default::default(),
        local: None,
    }
}

/// The run's summary, and what it told.
fn run(settings: Settings, method: Option<Box<dyn Method>>) -> (Summary, Vec<String>) {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let mut trainer = match method {
        Some(method) => {
            Trainer::with_parts(&gpu, settings.clone(), data, Parts { method, ..settings.parts() }).unwrap()
        }
        None => Trainer::new(&gpu, settings, data).unwrap(),
    };
    let mut told = Vec::new();
    let summary = trainer
        .run(None, &mut |event| {
            if let Event::Notice(notice) = event {
                told.push(notice.clone());
            }
            Flow::Continue
        })
        .unwrap();
    (summary, told)
}

/// Rows of one layer that have a block are the columns of the next that have one.
fn assert_connected(topologies: &[Topology], what: &str) {
    assert!(connects(topologies), "{what}: no path");
    for pair in topologies.windows(2) {
        for unit in 0..pair[0].row_blocks() {
            let (written, read) = (pair[0].row(unit).len() > 0, pair[1].col(unit).len() > 0);
            assert_eq!(written, read, "{what}: unit {unit} is written {written}, read {read}");
        }
    }
}

#[test]
fn initial_patterns_are_connected() {
    for (inputs, hidden, sparsity) in [
        (64, vec![512, 512], 0.99),
        (64, vec![512, 512], 0.9),
        (4, vec![64, 64], 0.9),
        (784, vec![1024, 1024], 0.99),
    ] {
        for density in [Density::Uniform, Density::Er, Density::Erk] {
            for seed in 1..=12 {
                let model = ModelConfig::Mlp(MlpConfig { density, ..model(inputs, &hidden, sparsity, seed) });
                let topologies: Vec<_> =
                    model.topologies(Some(sparsity)).unwrap().into_iter().flatten().collect();
                assert_connected(&topologies, &format!("{model}, {sparsity}, {density}, seed {seed}"));
            }
        }
    }
}

/// The oracle objects: uniform draws of these counts are often not connected.
#[test]
fn uniform_patterns_are_not_connected() {
    use fretwork::random::{Key, Stream};
    let dead = (1..=12).filter(|&seed| {
        let draw = |layer, cols, nnz| {
            fretwork::sparse::random(512, cols, BLOCK, nnz, Key::new(seed, Stream::Pattern(layer))).unwrap()
        };
        !connects(&[draw(0, 64, 4), draw(1, 512, 8)])
    });
    assert!(dead.count() >= 3);
}

#[test]
fn a_very_sparse_network_learns() {
    let (summary, told) = run(settings(&[512, 512], 0.99, 1, 300), None);
    assert!(summary.test_accuracy > 0.8, "{}", summary.test_accuracy);
    assert_eq!(told, Vec::<String>::new());
    // 4 and 8 of 32 units are written; all rows but these are empty, and so are columns.
    let empty: Vec<_> = summary.empty_lines.iter().map(|lines| [lines.rows, lines.cols]).collect();
    assert_eq!(empty, [[28, 0], [24, 28]]);
}

#[test]
fn a_diverged_run_says_so() {
    let mut settings = settings(&[64], 0.5, 1, 60);
    (settings.optimizer, settings.learning_rate) = (OptimizerKind::Sgd, 50.0);
    let (summary, told) = run(settings, None);
    assert!(summary.notices.iter().any(|notice| notice.contains("is above that of guessing")), "{told:?}");
    assert_eq!(summary.notices, told);
}

/// Cuts every path before the first step, and evolves as another method from there.
#[derive(Debug)]
struct Cut<M>(M);

impl<M: Method> Method for Cut<M> {
    fn stored_sparsity(&self, _sparsity: f64) -> f64 {
        0.0
    }

    fn updates(&self) -> Option<&Updates> {
        self.0.updates()
    }

    fn update(&self, rec: &mut Recorder<'_>, layer: &LayerContext<'_>) -> fretwork::Result<()> {
        self.0.update(rec, layer)
    }

    fn mutate(&mut self, phase: Phase, network: &mut dyn MutableTopology) -> fretwork::Result<()> {
        let Phase::Start { .. } = phase else { return Ok(()) };
        // Of 4 x 4 blocks: the first layer writes units 0 and 1, the second reads units 2 and 3.
        let members = [(0..8u32).collect::<Vec<_>>(), (0..16).filter(|place| place % 4 >= 2).collect()];
        for ((param, _), members) in network.sparse_layers().into_iter().zip(members) {
            let word = members.iter().fold(0, |word, place| word | 1 << place);
            let set = network.gpu().upload(Class::Scratch, "set", &[1], &[word])?;
            network.reshape(param, &set, members.len())?;
        }
        Ok(())
    }
}

fn cut() -> Settings {
    settings(&[64, 64], 0.5, 1, 300)
}

fn every(steps: u64) -> Updates {
    Updates { every: Every::Steps(steps), ..Updates::RIGL }
}

#[test]
fn a_network_without_a_path_says_so() {
    let (summary, told) = run(cut(), Some(Box::new(Cut(Rigl { updates: every(1000), score_rows: None }))));
    assert!(summary.test_accuracy < 0.2, "{}", summary.test_accuracy);
    for sign in [
        "no path of blocks",
        "every test row has the same logits",
        "every activation of layers.1 is 0",
        "is no better, but for chance in ",
    ] {
        assert_eq!(told.iter().filter(|notice| notice.contains(sign)).count(), 1, "{sign}: {told:?}");
    }
}

/// Units behind a ReLU without any input have no gradient; new blocks that began at 0 there would stay at 0.
#[test]
fn growth_revives_a_dead_network() {
    let (rigl, _) = run(cut(), Some(Box::new(Cut(Rigl { updates: every(10), score_rows: None }))));
    assert!(rigl.test_accuracy > 0.6, "RigL: {}", rigl.test_accuracy);
    let (set, _) = run(cut(), Some(Box::new(Cut(Set { updates: every(10) }))));
    assert!(set.test_accuracy > 0.6, "SET: {}", set.test_accuracy);
}

/// Three blocks at a share of 0.3 are 0.9: one is exchanged, at every update but those that find nothing better.
#[test]
fn a_small_layer_is_updated() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let mut settings = settings(&[64, 64], 0.8, 1, 61);
    settings.method = Set { updates: every(10) }.into();
    let folder = tempfile::tempdir().unwrap();
    let folder = fretwork::train::RunFolder::create(&folder.path().join("run")).unwrap();
    let mut trainer = Trainer::new(&gpu, settings, data).unwrap();
    trainer.run(Some(&folder), &mut |_| Flow::Continue).unwrap();
    let log = std::fs::read_to_string(folder.log_path()).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    for layer in last["layers"].as_array().unwrap() {
        assert!(layer["nnz"].as_u64().unwrap() <= 4, "{layer}");
        let (updates, visited) = (layer["updates"].as_u64().unwrap(), layer["visited"].as_f64().unwrap());
        // Updates at steps 10, 20, 30 and 40; a random block is seldom the one that was dropped.
        assert!((1..=4).contains(&updates), "{layer}");
        assert!(visited * 16.0 > layer["nnz"].as_f64().unwrap(), "{layer}");
    }
}

#[test]
fn a_layer_that_cannot_change_says_so() {
    let mut settings = settings(&[16, 64], 0.8, 1, 10);
    settings.method = MethodConfig::new(Kind::Rigl);
    let (_, told) = run(settings, None);
    assert!(told.iter().any(|notice| notice.contains("topology cannot change")), "{told:?}");
}
