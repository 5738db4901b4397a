//! Hidden widths that the block does not divide: padding is 0 from the first step to the last, and a padded network is the network
//! without padding.

use std::path::Path;

use fretwork::graph::{Half, Precision};
use fretwork::methods::Every;
use fretwork::nn::LmConfig;

use super::small_lm::experts;
use super::*;

/// Elements of a parameter that are padding, by its extents, row by row.
fn padded_blocks(checkpoint: &Checkpoint) -> usize {
    let path = Path::new(PATH);
    let model = &checkpoint.settings.model;
    let mut seen = 0;
    for param in model.description().unwrap().params.iter().filter(|param| param.has_padding()) {
        let name = &param.name;
        let topology = param.blocks.map(|blocks| {
            checkpoint.topology(path, name, [param.shape[0], param.shape[1]], blocks.block).unwrap()
        });
        let (suffix, shape) = match &topology {
            Some(topology) => (".values", vec![topology.nnz(), topology.block(), topology.block()]),
            None => ("", param.shape.clone()),
        };
        let optimizer = ["first", "second"].map(|part| format!("optimizer.{name}.{part}"));
        for name in [format!("{name}{suffix}")].into_iter().chain(optimizer) {
            let values = checkpoint.get(path, &name, &shape).unwrap();
            // Slots are in row order on the host.
            let (zeroed, rows) = match &topology {
                Some(topology) => {
                    let sorted: Vec<_> = {
                        let mut blocks: Vec<_> =
                            topology.coordinates().map(|(r, c)| (r as u32, c as u32)).collect();
                        blocks.sort_unstable();
                        blocks
                    };
                    let sorted = fretwork::sparse::Topology::from_coordinates(
                        topology.rows(),
                        topology.cols(),
                        topology.block(),
                        &sorted,
                    )
                    .unwrap();
                    (param.without_padding(&sorted, values.to_vec()), true)
                }
                None => (param.pad(&param.trim(values)), false),
            };
            assert!(zeroed == values, "{name} has padding that is not 0");
            seen += usize::from(rows);
        }
    }
    seen
}

/// Patterns of a checkpoint's sparse layers in blocks of 8 in place of 16, without those that are padding.
fn in_blocks_of_8(checkpoint: &Checkpoint) -> Weights {
    use safetensors::tensor::{Dtype, TensorView};
    let path = Path::new(PATH);
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for param in &checkpoint.settings.model.description().unwrap().params {
        if param.blocks.is_none() {
            continue;
        }
        let name = &param.name;
        let topology = checkpoint.topology(path, name, [param.shape[0], param.shape[1]], 16).unwrap();
        let real = param.real_shape();
        let mut halves: Vec<_> = topology
            .coordinates()
            .flat_map(|(row, col)| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(r, c)| (2 * row + r, 2 * col + c)))
            .filter(|&(row, col)| row < real[0] / 8 && col < real[1] / 8)
            .map(|(row, col)| (row as u32, col as u32))
            .collect();
        halves.sort_unstable();
        let halves = fretwork::sparse::Topology::from_coordinates(real[0], real[1], 8, &halves).unwrap();
        let (crow, col) = halves.csr();
        for (part, words) in [("crow_indices", crow), ("col_indices", col)] {
            parts
                .push((format!("{name}.{part}"), words.iter().flat_map(|word| word.to_le_bytes()).collect()));
        }
    }
    let views = parts.iter().map(|(name, bytes)| {
        (name.as_str(), TensorView::new(Dtype::I32, vec![bytes.len() / 4], bytes).unwrap())
    });
    Weights::from_bytes(Path::new("pattern"), &safetensors::serialize(views, None).unwrap()).unwrap()
}

/// Blocks of 8 divide these widths, blocks of 16 do not: the second network is the first with padding. Dense and sparse, in both types.
#[test]
fn a_padded_network_trains_as_one_without_padding() {
    let gpu = gpu();
    let half = Precision::F16(Half::default());
    for (sparsity, precision, tolerance) in
        [(None, Precision::F32, 2e-5), (Some(0.4), Precision::F32, 2e-5), (Some(0.4), half, 4e-3)]
    {
        assert_padding_is_nothing(&gpu, sparsity, precision, tolerance);
    }
}

fn assert_padding_is_nothing(gpu: &Gpu, sparsity: Option<f64>, precision: Precision, tolerance: f32) {
    let padded = mlp(&[40, 24], sparsity);
    let plain = MlpConfig { block: 8, ..padded.clone() };
    let settings = |config: &MlpConfig| Settings { precision, ..settings(config.clone()) };
    let first = Trainer::new(gpu, settings(&padded), digits()).unwrap().checkpoint().unwrap();
    let weights = exported(&first, Format::SafetensorsDense);
    let patterns = sparsity.map(|_| {
        let padded = exported(&first, Format::SafetensorsBsr);
        [in_blocks_of_8(&first), padded]
    });
    let x = features(20, 64, 64);
    let run = |config: &MlpConfig, pattern: Option<Weights>| {
        let start = StartFrom { weights: Some(weights.clone()), pattern };
        let mut settings = settings(config);
        settings.start_from(&start).unwrap();
        let parts = Parts { start, ..settings.parts() };
        let mut run = Trainer::with_parts(gpu, settings, digits(), parts).unwrap();
        let before = run.checkpoint().unwrap();
        let summary = run.run(None, &mut |_| Flow::Continue).unwrap();
        (before, run.checkpoint().unwrap(), summary)
    };
    let [small, large] = patterns.map_or([None, None], |patterns| patterns.map(Some));
    let (plain, padded) = (run(&plain, small), run(&padded, large));
    let logits = |checkpoint| logits(gpu, checkpoint, 20, &x);
    for (plain, padded, what) in [(&plain.0, &padded.0, "first"), (&plain.1, &padded.1, "trained")] {
        let (plain, found) = (logits(plain), logits(padded));
        assert_eq!(plain.len(), found.len());
        let worst = plain.iter().zip(&found).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        println!("{sparsity:?}, {precision:?}, {what}: {worst:.1e}");
        assert!(worst < tolerance, "{sparsity:?}, {precision:?}, {what}: {worst}");
        padded_blocks(padded);
    }
    assert_ne!(logits(&plain.0), logits(&plain.1));
    assert!((plain.2.test_loss - padded.2.test_loss).abs() < tolerance.into());
    // Counts have no padding.
    assert_eq!(plain.2.params_present, padded.2.params_present);
    let count = 40 * 64 + 40 + 24 * 40 + 24 + 10 * 24 + 10;
    for (_, checkpoint, summary) in [plain, padded] {
        assert_eq!(summary.params_dense, count);
        assert_eq!(checkpoint.params_present(), summary.params_present);
        assert_eq!(summary.params_present < count, sparsity.is_some());
    }
}

/// Whatever a method draws, padding stays 0, in weights and in the optimizer's state.
#[test]
fn methods_leave_padding_at_zero() {
    let gpu = gpu();
    let x = features(20, 64, 64);
    for &(_, kind) in Kind::ALL {
        let mut settings = settings(MlpConfig { activation: Activation::Relu, ..mlp(&[60, 44], Some(0.5)) });
        settings.length = Length::Epochs(4);
        settings.method = MethodConfig::new(kind);
        if let Some(updates) = settings.method.shared().updates {
            (updates.every, updates.from, updates.until) = (Every::Steps(2), 0.0, 1.0);
        }
        let checkpoint = trained(&gpu, settings, digits());
        assert!(padded_blocks(&checkpoint) > 0, "{kind}");
        // Without padding, and dense: 60 and 44 are no multiples of 8 either, but padding of other blocks.
        let dense = exported(&checkpoint, Format::SafetensorsDense);
        let plain =
            super::settings(MlpConfig { activation: Activation::Relu, block: 8, ..mlp(&[60, 44], None) });
        let plain = begun(&gpu, plain, digits(), &dense).unwrap().checkpoint().unwrap();
        let pairs = logits(&gpu, &checkpoint, 20, &x).into_iter().zip(logits(&gpu, &plain, 20, &x));
        for (found, wanted) in pairs {
            assert!((found - wanted).abs() < 1e-4, "{kind}: {found} is not {wanted}");
        }
    }
}

/// New blocks of SET, which are drawn, lie over the edge of a matrix: the test above would see padding that is not 0.
#[test]
fn draws_reach_padding() {
    let gpu = gpu();
    let mut settings = settings(mlp(&[60, 44], Some(0.5)));
    settings.length = Length::Epochs(4);
    settings.method = MethodConfig::new(Kind::SetPublished);
    settings.method.shared().updates.unwrap().every = Every::Steps(2);
    let checkpoint = trained(&gpu, settings, digits());
    let path = Path::new(PATH);
    let topology = checkpoint.topologies(path).unwrap()[0].clone().unwrap();
    let born = checkpoint.words(path, "layers.0.weight.born", topology.nnz()).unwrap();
    let mut rows: Vec<usize> = topology.coordinates().map(|(row, _)| row).collect();
    rows.sort_unstable();
    assert!(rows.iter().zip(born).any(|(&row, born)| row == 3 && born > 0), "no block came there");
    assert!(padded_blocks(&checkpoint) > 0);
}

fn language_model(change: impl Fn(&mut LmConfig), kind: Kind) -> Checkpoint {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let text = small_lm::text(folder.path());
    let (mut settings, data) = small_lm::settings(&text, None, Precision::F32, 12);
    let ModelConfig::Lm(config) = &mut settings.model else { panic!("no language model") };
    change(config);
    settings.method = MethodConfig::new(kind);
    if let Some(updates) = settings.method.shared().updates {
        updates.every = Every::Steps(3);
    }
    trained(&gpu, settings, data)
}

/// Feed-forward networks, experts of several widths and the shared expert, dense and sparse, as their exports without padding.
#[test]
fn language_models_with_padding() {
    let Some(python) = python::with("onnxruntime") else { return };
    let gpu = gpu();
    for (what, sparsity, mixture, kind) in [
        ("dense", None, false, Kind::Static),
        ("sparse", Some(0.4), false, Kind::SetPublished),
        ("dense experts", None, true, Kind::Static),
        ("sparse experts", Some(0.4), true, Kind::SetPublished),
    ] {
        let checkpoint = language_model(
            |config| {
                (config.hidden, config.sparsity) = (50, sparsity);
                if mixture {
                    let mut moe = experts("softmax-top:2:renormalised");
                    (moe.experts, moe.shared, moe.gated) = (vec![20, 9, 30, 16], 10, true);
                    config.experts = Some(moe);
                }
            },
            kind,
        );
        padded_blocks(&checkpoint);
        onnx::assert_exported(&gpu, &python, what, &checkpoint);
        let ModelConfig::Lm(config) = &checkpoint.settings.model else { panic!("no language model") };
        let feed = if mixture { 3 * 75 * 32 + 4 * 32 + 2 * 10 * 32 + 10 + 32 } else { 2 * 50 * 32 + 50 + 32 };
        let attention = 3 * 32 * 32 + 96 + 32 * 32 + 32;
        let vocabulary = config.vocabulary.len();
        let all = 2 * (attention + feed + 64) + 32 + (vocabulary + 10) * 32 + vocabulary * 33;
        assert_eq!(checkpoint.settings.model.params_dense(), all, "{what}");
        if sparsity.is_none() {
            assert_eq!(checkpoint.params_present(), all, "{what}");
        }
    }
}
