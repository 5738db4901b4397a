//! The bytes that are estimated before a run are those that it takes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::Error;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, Options};
use fretwork::graph::Recompute;
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{Half, LmConfig, MlpConfig, ModelConfig, MoeConfig, Overflow, Precision};
use fretwork::ops::Activation;
use fretwork::ops::gate::{Balance, Gate};
use fretwork::optim::{OptimizerKind, RandomBasis};
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Footprint, Length, Schedule, Settings, Trainer};

fn settings(data: &Dataset, model: ModelConfig, kind: Kind) -> Settings {
    Settings {
        data: data.name.clone(),
        method: MethodConfig::new(kind),
        length: Length::Steps(100),
        batch: 16,
        learning_rate: 0.01,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        ..Settings::new(model)
    }
}

fn mlp(data: &Dataset, hidden: &[usize], activation: Activation) -> MlpConfig {
    MlpConfig {
        inputs: data.width(),
        hidden: hidden.to_vec(),
        classes: data.classes,
        block: 16,
        sparsity: Some(0.8),
        density: Density::Erk,
        activation,
        dropout: 0.0,
        seed: 1,
        layers: Default::default(),
        local: None,
    }
}

fn lm(data: &Dataset, experts: Option<MoeConfig>) -> LmConfig {
    LmConfig {
        vocabulary: data.vocabulary.clone(),
        context: 32,
        width: 64,
        heads: 2,
        depth: 2,
        hidden: 256,
        experts,
        activation: Activation::Gelu,
        block: 16,
        sparsity: None,
        density: Density::Uniform,
        seed: 1,
        layers: Default::default(),
    }
}

fn moe(gate: &str) -> MoeConfig {
    MoeConfig {
        experts: vec![64, 128, 64, 96],
        gate: gate.parse::<Gate>().unwrap(),
        balance: Balance::default(),
        bias_rate: 0.0,
        capacity: 0.0,
        overflow: Overflow::Position,
        gated: false,
        shared: 0,
    }
}

/// A text long enough for a window of so many bytes in either part.
fn text(context: usize) -> Dataset {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = "Full fathom five thy father lies; of his bones are coral made. ";
    std::fs::write(file.path(), line.repeat((10 * context + 2000) / line.len() + 1)).unwrap();
    Dataset::load(&Source::Text(file.path().to_owned()), 1, context).unwrap()
}

fn estimate(settings: &Settings) -> Footprint {
    let parts = settings.parts();
    Footprint::of_run(settings, &*parts.method, &*parts.optimizer).unwrap()
}

/// A run's estimate, class by class, against what the allocator counts.
#[track_caller]
fn assert_agrees(gpu: &Gpu, settings: Settings, data: &Dataset) {
    let what = format!("{} by {} in {:?}", settings.model, settings.method.kind(), settings.precision);
    let footprint = estimate(&settings);
    let before = gpu.bytes();
    assert_eq!(before.total(), 0, "{what}");
    let trainer = Trainer::new(gpu, settings, data.clone()).unwrap();
    let bytes = trainer.gpu().bytes();
    for (class, found) in [
        (Class::Values, bytes.values),
        (Class::Topology, bytes.topology),
        (Class::Gradients, bytes.gradients),
        (Class::Optimizer, bytes.optimizer),
        (Class::Activations, bytes.activations),
    ] {
        assert_eq!(footprint.of(class), found.into(), "{what}: {class:?}");
    }
    let (estimate, found) = (footprint.total() as f64, bytes.total() as f64);
    assert!((estimate / found - 1.0).abs() < 0.06, "{what}: {estimate} estimated, {found} found");
}

#[test]
fn perceptrons() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    for (hidden, activation, kind, sparsity) in [
        (&[256, 512, 128][..], Activation::Relu, Kind::Static, Some(0.8)),
        (&[512], Activation::Gelu, Kind::Static, None),
        (&[512, 512], Activation::Gelu, Kind::Rigl, Some(0.8)),
        (&[512, 512], Activation::Relu, Kind::Snfs, Some(0.5)),
        (&[512, 512], Activation::Relu, Kind::Set, Some(0.8)),
        (&[512, 512], Activation::Relu, Kind::TopKast, Some(0.8)),
    ] {
        let config = MlpConfig { sparsity, ..mlp(&data, hidden, activation) };
        assert_agrees(&gpu, settings(&data, config.into(), kind), &data);
    }
    for recompute in [Recompute::Segments, Recompute::All] {
        let deep = settings(&data, mlp(&data, &[256; 6], Activation::Gelu).into(), Kind::Static);
        assert_agrees(&gpu, Settings { recompute: Some(recompute), ..deep }, &data);
    }
    if !gpu.has_f16() {
        return println!("SKIPPED: this adapter has no half precision");
    }
    let half = settings(&data, mlp(&data, &[512, 512], Activation::Gelu).into(), Kind::Static);
    assert_agrees(&gpu, Settings { precision: Precision::F16(Half::default()), ..half }, &data);
}

/// State of each optimizer, and what a random base takes.
#[test]
fn optimizers() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let settings = settings(&data, mlp(&data, &[512, 512], Activation::Relu).into(), Kind::Static);
    for optimizer in [OptimizerKind::Sgd, OptimizerKind::AdamW, OptimizerKind::Lars, OptimizerKind::Lamb] {
        assert_agrees(&gpu, Settings { optimizer, momentum: 0.9, ..settings.clone() }, &data);
    }
    for per_layer in [false, true] {
        let basis = Some(RandomBasis { directions: 100, redraw: true, per_layer, seed: 1 });
        let sgd = Settings { optimizer: OptimizerKind::Sgd, momentum: 0.0, ..settings.clone() };
        assert_agrees(&gpu, Settings { basis, ..sgd }, &data);
    }
}

/// GaP has one layer after the other dense: here the only sparse one.
#[test]
fn whole_layers() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let settings = settings(&data, mlp(&data, &[512], Activation::Relu).into(), Kind::Gap);
    assert_agrees(&gpu, Settings { length: Length::Epochs(3), ..settings }, &data);
}

/// Sup-tickets keep an average beside the network from the end of a cycle on.
#[test]
fn averages_of_tickets() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let config = mlp(&data, &[512, 512], Activation::Relu);
    let settings = settings(&data, config.into(), Kind::SupTickets);
    let settings = Settings { length: Length::Epochs(3), first_rows: [Some(64), Some(16)], ..settings };
    let footprint = estimate(&settings);
    let data = data.first(settings.first_rows).unwrap();
    let mut trainer = Trainer::new(&gpu, settings, data).unwrap();
    trainer.run(None, &mut |_| Flow::Continue).unwrap();
    let bytes = gpu.bytes();
    for (class, found) in [(Class::Values, bytes.values), (Class::Topology, bytes.topology)] {
        assert_eq!(footprint.of(class), found.into(), "{class:?}");
    }
}

#[test]
fn language_models() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = text(32);
    let models = [
        lm(&data, None),
        LmConfig { sparsity: Some(0.5), ..lm(&data, None) },
        lm(&data, Some(moe("softmax-top:2"))),
        lm(&data, Some(MoeConfig { gated: true, shared: 64, bias_rate: 0.01, ..moe("softmax-top:2") })),
        LmConfig { sparsity: Some(0.5), ..lm(&data, Some(moe("noisy-top:2"))) },
        lm(&data, Some(MoeConfig { capacity: 1.0, overflow: Overflow::Probability, ..moe("softmax-top:1") })),
        lm(&data, Some(moe("hash:1"))),
        lm(&data, Some(moe("expert-choice:1"))),
    ];
    let half = gpu.has_f16().then_some(Precision::F16(Half::default()));
    if half.is_none() {
        println!("SKIPPED: this adapter has no half precision");
    }
    for model in models {
        for precision in [Some(Precision::F32), half].into_iter().flatten() {
            let settings = settings(&data, model.clone().into(), Kind::Static);
            assert_agrees(&gpu, Settings { precision, ..settings }, &data);
        }
    }
}

/// A model of one narrow block.
fn narrow(data: &Dataset, context: usize) -> LmConfig {
    LmConfig { context, width: 16, depth: 1, hidden: 16, ..lm(data, None) }
}

/// Attention stores no scores: memory is linear in the context, and the step of a long one fits what was planned.
#[test]
fn long_contexts() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = text(4096);
    let of = |context| {
        let model = narrow(&data, context).into();
        Footprint::of_network(&model, None, 1, Precision::F32, None).unwrap().total() as f64
    };
    let [short, middle, long] = [1024, 2048, 4096].map(of);
    let growth = (long - middle) / (middle - short);
    assert!((growth / 2.0 - 1.0).abs() < 0.02, "{short}, {middle}, {long}");

    let settings = settings(&data, narrow(&data, 4096).into(), Kind::Static);
    let settings = Settings { batch: 1, length: Length::Steps(1), first_rows: [Some(1); 2], ..settings };
    let data = data.first(settings.first_rows).unwrap();
    assert_agrees(&gpu, settings.clone(), &data);
    let footprint = estimate(&settings);
    let mut losses = Vec::new();
    let mut trainer = Trainer::new(&gpu, settings, data).unwrap();
    let mut watch = |event: &Event| {
        if let Event::Epoch { train, .. } = event {
            losses.push(train.loss);
        }
        Flow::Continue
    };
    trainer.run(None, &mut watch).unwrap();
    assert!(losses.len() == 1 && losses[0].is_finite(), "{losses:?}");
    let (peak, planned) = (gpu.peak_bytes() as f64, footprint.total() as f64);
    assert!(peak < 1.06 * planned, "{peak} bytes used, {planned} planned");
}

/// Contexts without room are refused before anything is allocated, with the buffer that is too large.
#[test]
fn contexts_without_room() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = text(64);
    let model = LmConfig { width: 1024, heads: 16, ..narrow(&data, (1 << 24) - 1) };
    let footprint = Footprint::of_network(&model.into(), None, 64, Precision::F32, None).unwrap();
    let refused = footprint.expect_room(&gpu).unwrap_err();
    assert!(
        matches!(refused, Error::Limit { .. }) && refused.to_string().contains("16777215 bytes"),
        "{refused}"
    );
    assert_eq!(gpu.bytes().total(), 0);
}
