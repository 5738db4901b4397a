//! Recomputation: the same bits in less memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::data::{Dataset, LoadOptions, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::graph::Recompute;
use fretwork::methods::{Every, Rigl, Updates};
use fretwork::nn::{
    self, Half, Linear, LmConfig, MlpConfig, ModelConfig, MoeConfig, Norm, Overflow, Precision, Residual,
    Sequential, blocks,
};
use fretwork::ops::Activation;
use fretwork::ops::gate::Balance;
use fretwork::report::run as report;
use fretwork::sparse::Density;
use fretwork::train::{Flow, Length, RunFolder, Settings, Trainer};

const WAYS: [Option<Recompute>; 3] = [None, Some(Recompute::All), Some(Recompute::Segments)];

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(400), Some(50)]).unwrap()
}

/// Bits of all parameters after some steps, and bytes of activations.
struct Trained {
    bits: Vec<Vec<u32>>,
    activations: u64,
    test_loss: f64,
}

fn end(mut trainer: Trainer) -> Trained {
    let gpu = trainer.gpu().clone();
    let activations = gpu.bytes().activations;
    let summary = trainer.run(None, &mut |_| Flow::Continue).unwrap();
    let store = trainer.model().store();
    let bits = |param: &fretwork::graph::Param| {
        let values = gpu.read::<f32>(param.values()).unwrap().wait().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    Trained { bits: store.iter().map(bits).collect(), activations, test_loss: summary.test_loss }
}

/// A module trained by RigL, whose scores read inputs and gradients of layers in the middle of the backward pass.
fn train(module: impl nn::Module + 'static, precision: Precision, recompute: Option<Recompute>) -> Trained {
    let gpu = Gpu::request(Options::default()).unwrap();
    let method = Rigl { updates: Updates { every: Every::Steps(3), ..Updates::RIGL }, ..Rigl::default() };
    let builder = Trainer::builder(&gpu, module).data(digits()).method(method).precision(precision);
    let builder = builder.batch(50).steps(8);
    end(match recompute {
        Some(recompute) => builder.recompute(recompute),
        None => builder,
    }
    .build()
    .unwrap())
}

/// Six sparse layers with an activation that shows in no output, and dropout.
fn deep(activation: Activation) -> Sequential {
    let sparse = || Some(blocks(16).density(0.5));
    let layer = |inputs| Linear::new(inputs, 64).sparse(sparse()).activation(activation).dropout(0.1);
    (0..6).fold(Sequential::new(), |net, _| net.add(layer(64))).add(Linear::new(64, 10))
}

/// Residual blocks with norms, whose sums take the place of their branches.
fn residual() -> Sequential {
    let branch = || {
        Sequential::new()
            .add(Norm)
            .add(Linear::new(64, 128).sparse(Some(blocks(16).density(0.5))).gelu())
            .add(Linear::new(128, 64))
    };
    let net = Sequential::new().add(Linear::new(64, 64).relu());
    (0..9).fold(net, |net, _| net.add(Residual::new(branch()))).add(Linear::new(64, 10))
}

#[track_caller]
fn expect_same(what: &str, of: &dyn Fn(Option<Recompute>) -> Trained) -> [u64; 3] {
    let runs = WAYS.map(of);
    for (run, way) in runs.iter().zip(WAYS).skip(1) {
        assert!(run.bits == runs[0].bits, "{what}: {way:?} has other bits");
        assert_eq!(run.test_loss, runs[0].test_loss, "{what}: {way:?}");
    }
    let bytes = runs.map(|run| run.activations);
    println!("{what}: {bytes:?} bytes of activations");
    assert!(bytes[2] <= bytes[1] && bytes[1] <= bytes[0], "{what}: {bytes:?}");
    bytes
}

#[test]
fn perceptrons_have_the_same_bits() {
    for activation in [Activation::Gelu, Activation::Relu] {
        let bytes =
            expect_same(&format!("{activation:?}"), &|way| train(deep(activation), Precision::F32, way));
        assert!(bytes[2] < bytes[0]);
    }
}

#[test]
fn residual_networks_have_the_same_bits_in_half_the_memory() {
    let bytes = expect_same("residual", &|way| train(residual(), Precision::F32, way));
    assert!(2 * bytes[2] <= bytes[0], "{bytes:?}");
}

#[test]
fn half_precision_has_the_same_bits_in_half_the_memory() {
    let half = || Precision::F16(Half::default());
    let bytes = expect_same("half precision", &|way| train(residual(), half(), way));
    assert!(2 * bytes[2] <= bytes[0], "{bytes:?}");
}

fn language(experts: Option<MoeConfig>, recompute: Option<Recompute>) -> Trained {
    let gpu = Gpu::request(Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    let letter = |at: u32| b"the quick brown fox "[(at * at / 7 % 20) as usize];
    std::fs::write(&path, (0..4000).map(letter).collect::<Vec<u8>>()).unwrap();
    let options = LoadOptions { context: 32, ..LoadOptions::default() };
    let data = Dataset::load_with(&Source::Text(path), &options).unwrap();
    let config = LmConfig {
        vocabulary: data.vocabulary.clone(),
        context: 32,
        width: 64,
        heads: 2,
        depth: 4,
        hidden: 256,
        experts,
        activation: Activation::Gelu,
        block: 16,
        sparsity: Some(0.5),
        density: Density::Uniform,
        seed: 1,
        layers: Default::default(),
    };
    let settings = Settings {
        data: data.name.clone(),
        length: Length::Steps(4),
        batch: 4,
        recompute,
        ..Settings::new(ModelConfig::Lm(config))
    };
    end(Trainer::new(&gpu, settings, data).unwrap())
}

#[test]
fn language_models_have_the_same_bits_in_half_the_memory() {
    let bytes = expect_same("language model", &|way| language(None, way));
    assert!(2 * bytes[2] <= bytes[0], "{bytes:?}");
}

/// Experts are kept, and the rest of each block is not.
#[test]
fn mixtures_of_experts_count_their_load_once() {
    let moe = || MoeConfig {
        experts: vec![64, 128],
        gate: "softmax-top:1".parse().unwrap(),
        balance: Balance { aux: 0.01, ..Balance::default() },
        bias_rate: 0.01,
        capacity: 1.5,
        overflow: Overflow::Position,
        gated: false,
        shared: 0,
    };
    let bytes = expect_same("experts", &|way| language(Some(moe()), way));
    assert!(bytes[2] < bytes[0], "{bytes:?}");
}

/// The plan of a step's memory: what is in use is allocated, a forward pass begins with little, and the page draws it.
#[test]
fn the_plan_is_on_the_page() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let data = digits();
    let model = MlpConfig {
        inputs: data.width(),
        hidden: vec![256; 8],
        classes: data.classes,
        block: 16,
        sparsity: Some(0.8),
        density: Density::Uniform,
        activation: Activation::Gelu,
        dropout: 0.0,
        seed: 1,
        layers: Default::default(),
        local: None,
    };
    let settings = Settings {
        data: data.name.clone(),
        length: Length::Steps(2),
        recompute: Some(Recompute::Segments),
        ..Settings::new(ModelConfig::Mlp(model))
    };
    let plan = |recompute| {
        let mut graph = settings.model.graph(settings.batch, Precision::F32).unwrap();
        graph.recompute(recompute);
        graph.step_memory().unwrap()
    };
    let [kept, all, segments] = WAYS.map(plan);
    for plan in [&kept, &all, &segments] {
        assert!(plan.in_use.iter().all(|&bytes| bytes <= plan.allocated), "{plan:?}");
        let [[forward, backward]] = plan.parts[..] else { panic!("one part") };
        assert_eq!(forward + backward, plan.in_use.len());
        assert!(backward > 0 && plan.in_use[0] < plan.in_use[forward - 1]);
    }
    assert!(4 * segments.allocated <= 3 * kept.allocated, "{} and {}", segments.allocated, kept.allocated);
    assert!(segments.in_use.len() > kept.in_use.len());

    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run")).unwrap();
    let mut trainer = Trainer::new(&gpu, settings, data).unwrap();
    trainer.run(Some(&run), &mut |_| Flow::Continue).unwrap();
    let page = report::render(&run).unwrap();
    assert!(page.contains("<h2>Memory of a step") && page.contains("without --recompute"), "{page}");
    let last = format!("operation {}", segments.in_use.len());
    assert!(page.contains("Activations in use") && page.contains(&last), "{page}");
}
