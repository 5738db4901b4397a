//! Hidden widths that the block does not divide: padding is 0 from the first step to the last, and a padded network is the network
//! without padding.

use std::path::Path;

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

/// Blocks of 8 divide these widths, blocks of 16 do not: the second network is the first with padding.
#[test]
fn a_padded_network_trains_as_one_without_padding() {
    let gpu = gpu();
    let plain = MlpConfig { block: 8, ..mlp(&[40, 24], None) };
    let padded = mlp(&[40, 24], None);
    let first = Trainer::new(&gpu, settings(padded.clone()), digits()).unwrap().checkpoint().unwrap();
    let weights = exported(&first, Format::SafetensorsDense);
    let x = features(20, 64, 64);
    let run = |config: &MlpConfig| {
        let mut run = begun(&gpu, settings(config.clone()), digits(), &weights).unwrap();
        let before = run.checkpoint().unwrap();
        let summary = run.run(None, &mut |_| Flow::Continue).unwrap();
        (before, run.checkpoint().unwrap(), summary)
    };
    let (plain, padded) = (run(&plain), run(&padded));
    let close = |a: &[f32], b: &[f32], what: &str| {
        assert_eq!(a.len(), b.len());
        let worst = a.iter().zip(b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(worst < 2e-5, "{what}: {worst}");
    };
    for (plain, padded, what) in [(&plain.0, &padded.0, "first"), (&plain.1, &padded.1, "trained")] {
        close(&logits(&gpu, plain, 20, &x), &logits(&gpu, padded, 20, &x), what);
        padded_blocks(padded);
    }
    assert_ne!(logits(&gpu, &plain.0, 20, &x), logits(&gpu, &plain.1, 20, &x));
    assert!((plain.2.test_loss - padded.2.test_loss).abs() < 1e-5);
    // Counts have no padding.
    let count = 40 * 64 + 40 + 24 * 40 + 24 + 10 * 24 + 10;
    for (_, checkpoint, summary) in [plain, padded] {
        assert_eq!([summary.params_present, summary.params_dense, checkpoint.params_present()], [count; 3]);
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
    let (mut settings, data) = small_lm::settings(&text, None, fretwork::nn::Precision::F32, 12);
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
