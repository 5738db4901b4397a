//! ONNX Runtime computes from an export what the library computes from the checkpoint.

use std::path::Path;

use fretwork::nn::{LayerNorm, Linear, LmConfig, Norm, Residual, Sequential, blocks};

use super::small_lm::{CONTEXT, experts};
use super::*;
use crate::python;

const PROGRAM: &str = "
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
[x] = session.get_inputs()
kind = {'tensor(float)': '<f4', 'tensor(int64)': '<u4'}[x.type]
data = np.fromfile(sys.argv[2], kind).reshape(-1, x.shape[1])
[y] = session.run(None, {'input': data.astype(np.int64 if kind == '<u4' else np.float32)})
y.astype('<f4').tofile(sys.argv[3])
";

/// Outputs of the checkpoint's ONNX model by ONNX Runtime.
fn by_onnx(python: &Path, checkpoint: &Checkpoint, input: &[u8]) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let [model, x, y] = ["model.onnx", "x", "y"].map(|name| folder.path().join(name));
    // A checkpoint that was read has no modules of a composed network.
    let path = Path::new(PATH);
    let read = Checkpoint::from_bytes(path, &checkpoint.to_bytes(path).unwrap()).unwrap();
    std::fs::write(&model, to_bytes(&read, path, Format::Onnx).unwrap()).unwrap();
    std::fs::write(&x, input).unwrap();
    python::run(python, PROGRAM, &[&model, &x, &y]);
    bytemuck::pod_collect_to_vec(&std::fs::read(&y).unwrap())
}

/// The largest difference, as a share of the largest of `wanted`.
fn error(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0f32, |largest, y| largest.max(y.abs()));
    assert!(largest > 0.0);
    found.iter().zip(wanted).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], wanted: &[f32]) {
    let error = error(found, wanted);
    println!("{what}: {error:.1e} of the largest output");
    assert!(error <= 1e-5, "{what}: {error}");
}

#[test]
fn perceptrons() {
    let Some(python) = python::with("onnxruntime") else { return };
    let gpu = gpu();
    let x = features(20, 64, 64);
    for activation in ["relu", "gelu", "silu", "all-relu:0.4"] {
        for sparsity in [None, Some(0.5)] {
            let activation: Activation = activation.parse().unwrap();
            let config = MlpConfig { activation, dropout: 0.1, ..mlp(&[64, 48], sparsity) };
            let checkpoint = trained(&gpu, settings(config), digits());
            let wanted = logits(&gpu, &checkpoint, 20, &x);
            let found = by_onnx(&python, &checkpoint, bytemuck::cast_slice(&x));
            assert_close(&format!("{activation:?}, {sparsity:?}"), &found, &wanted);
            // The oracle objects to another input.
            let other: Vec<f32> = x.iter().map(|x| x + 0.01).collect();
            assert!(error(&by_onnx(&python, &checkpoint, bytemuck::cast_slice(&other)), &wanted) > 1e-4);
        }
    }
}

#[test]
fn composed_networks() {
    let Some(python) = python::with("onnxruntime") else { return };
    let gpu = gpu();
    let net = Sequential::new()
        .add(Linear::new(64, 96).sparse(blocks(16).density(0.4)).gelu())
        .add(LayerNorm)
        .add(Residual::new(Linear::new(96, 96).sparse(blocks(16).density(0.3)).relu()))
        .add(Norm)
        .add(Linear::new(96, 10));
    let mut trainer = Trainer::builder(&gpu, net).data(digits()).batch(50).steps(6).build().unwrap();
    trainer.run(None, &mut |_| Flow::Continue).unwrap();
    let checkpoint = trainer.checkpoint().unwrap();
    let x = features(20, 64, 64);
    let found = by_onnx(&python, &checkpoint, bytemuck::cast_slice(&x));
    assert_close("composed", &found, &logits(&gpu, &checkpoint, 20, &x));
}

/// Ids of so many windows.
fn windows(count: usize, characters: u32) -> Vec<u32> {
    let mut walk = Key::new(7, Stream::Check(1)).walk();
    (0..count * CONTEXT).map(|_| walk.below(characters)).collect()
}

/// The checkpoint of a language model after some steps on the text of seven words.
fn language_model(gpu: &Gpu, change: impl Fn(&mut LmConfig)) -> Checkpoint {
    let folder = tempfile::tempdir().unwrap();
    let text = small_lm::text(folder.path());
    let (mut settings, data) = small_lm::settings(&text, None, fretwork::nn::Precision::F32, 12);
    let ModelConfig::Lm(config) = &mut settings.model else { panic!("no language model") };
    change(config);
    trained(gpu, settings, data)
}

fn assert_language_model(gpu: &Gpu, python: &Path, what: &str, change: impl Fn(&mut LmConfig)) {
    assert_exported(gpu, python, what, &language_model(gpu, change));
}

/// Fails unless ONNX Runtime computes from the export of a language model what the library computes.
pub(crate) fn assert_exported(gpu: &Gpu, python: &Path, what: &str, checkpoint: &Checkpoint) {
    let ModelConfig::Lm(config) = &checkpoint.settings.model else { panic!("no language model") };
    let ids = windows(6, config.vocabulary.len() as u32);
    let path = Path::new(PATH);
    let network = checkpoint.network(gpu, path, &checkpoint.topologies(path).unwrap(), 6).unwrap();
    gpu.write(network.input(), &ids).unwrap();
    let wanted = outputs(gpu, &network);
    assert_close(what, &by_onnx(python, checkpoint, bytemuck::cast_slice(&ids)), &wanted);
}

#[test]
fn language_models() {
    let Some(python) = python::with("onnxruntime") else { return };
    let gpu = gpu();
    assert_language_model(&gpu, &python, "dense", |config| config.sparsity = None);
    assert_language_model(&gpu, &python, "sparse", |config| config.activation = Activation::Silu);
}

/// All gates. Routers of a run are far enough apart that no token of these windows is a near tie.
#[test]
fn mixtures_of_experts() {
    let Some(python) = python::with("onnxruntime") else { return };
    let gpu = gpu();
    for gate in [
        "softmax-top:2:renormalised",
        "softmax-top:1",
        "softmax-top:2:chosen:tile=4",
        "sigmoid-top:2:renormalised",
        "noisy-top:2",
        "gshard",
        "hash:2",
        "expert-choice:1.5",
    ] {
        let dense = gate.starts_with("softmax") || gate.starts_with("expert");
        assert_language_model(&gpu, &python, gate, |config| {
            let mut experts = experts(gate);
            experts.gated = gate.starts_with("gshard");
            experts.shared = if gate.starts_with("hash") { 16 } else { 0 };
            experts.bias_rate = if gate.starts_with("sigmoid") { 0.05 } else { 0.0 };
            (config.experts, config.sparsity) = (Some(experts), (!dense).then_some(0.4));
        });
    }
}

/// A node of a program's own is refused by name; its weights can be had all the same.
#[test]
fn nodes_without_words_are_refused() {
    let gpu = gpu();
    let net = Sequential::new().add(Linear::new(64, 32).relu()).add(Linear::new(32, 10));
    let trainer = Trainer::builder(&gpu, net).data(digits()).batch(50).steps(1).build().unwrap();
    let path = Path::new(PATH);
    let bytes = trainer.checkpoint().unwrap().to_bytes(path).unwrap();
    let mut checkpoint = Checkpoint::from_bytes(path, &bytes).unwrap();
    let mut settings = serde_json::to_value(&checkpoint.settings).unwrap();
    settings["model"]["graph"]["nodes"][1]["kind"] = "scale".into();
    settings["model"]["graph"]["nodes"][1]["name"] = "1 (scale)".into();
    checkpoint.settings = serde_json::from_value(settings).unwrap();
    let said = to_bytes(&checkpoint, path, Format::Onnx).unwrap_err().to_string();
    assert_eq!(said, "to: onnx has no words for 1 (scale)");
    assert!(to_bytes(&checkpoint, path, Format::SafetensorsDense).is_ok());
}
