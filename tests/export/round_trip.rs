//! Runs that start from exported weights have the trained weights, to the bit.

use std::path::Path;

use fretwork::export::{Format, to_bytes};
use fretwork::sparse::Topology;
use fretwork::train::{
    Checkpoint, Event, Flow, Length, Parts, Position, Settings, StartFrom, Trainer, Weights,
};

use super::*;

/// Dense to dense: the same logits, to the bit; of other weights others.
#[test]
fn dense_weights_give_the_same_logits() {
    let gpu = gpu();
    let dense = trained(&gpu, settings(mlp(&[64, 48], None)), digits());
    let x = features(20, 64, 64);
    let wanted = logits(&gpu, &dense, 20, &x);
    for format in [Format::SafetensorsDense, Format::SafetensorsBsr] {
        let run = begun(&gpu, settings(mlp(&[64, 48], None)), digits(), &exported(&dense, format)).unwrap();
        assert_eq!(logits(&gpu, &run.checkpoint().unwrap(), 20, &x), wanted, "{format}");
    }
    let drawn = Trainer::new(&gpu, settings(mlp(&[64, 48], None)), digits()).unwrap();
    assert_ne!(logits(&gpu, &drawn.checkpoint().unwrap(), 20, &x), wanted);
}

/// Sparse to sparse: the same topology and bits. The run's own densities would be others.
#[test]
fn block_sparse_weights_keep_pattern_and_bits() {
    let gpu = gpu();
    let mut rigl = settings(mlp(&[64, 48], Some(0.6)));
    rigl.method = MethodConfig::new(Kind::Set);
    rigl.method.shared().updates.unwrap().every = fretwork::methods::Every::Steps(3);
    let sparse = trained(&gpu, rigl, digits());
    let path = Path::new(PATH);
    let bsr = exported(&sparse, Format::SafetensorsBsr);
    let run = begun(&gpu, settings(mlp(&[64, 48], Some(0.3))), digits(), &bsr).unwrap().checkpoint().unwrap();
    let (found, wanted) = (run.topologies(path).unwrap(), sparse.topologies(path).unwrap());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found.as_ref().map(Topology::csr), wanted.as_ref().map(Topology::csr));
    }
    let x = features(20, 64, 64);
    assert_eq!(logits(&gpu, &run, 20, &x), logits(&gpu, &sparse, 20, &x));
    // A second export has the bytes of the first.
    let again = to_bytes(&run, path, Format::SafetensorsBsr).unwrap();
    assert_eq!(again, to_bytes(&sparse, path, Format::SafetensorsBsr).unwrap());
    assert_eq!(run.settings.origin.weights, Some(bsr.fingerprint()));
    // Dense, the same network gives other sums, which are close.
    let dense = exported(&sparse, Format::SafetensorsDense);
    let dense = begun(&gpu, settings(mlp(&[64, 48], None)), digits(), &dense).unwrap();
    let pairs = logits(&gpu, &dense.checkpoint().unwrap(), 20, &x);
    for (found, wanted) in pairs.iter().zip(logits(&gpu, &sparse, 20, &x)) {
        assert!((found - wanted).abs() < 1e-4, "{found} is not {wanted}");
    }
}

/// A sparse run from dense weights has the blocks of largest magnitude, as many as its sparsity says.
#[test]
fn sparse_layers_keep_the_largest_blocks_of_dense_weights() {
    let gpu = gpu();
    let dense = trained(&gpu, settings(mlp(&[64, 48], None)), digits());
    let path = Path::new(PATH);
    let wanted = settings(mlp(&[64, 48], Some(0.5)));
    let run = begun(&gpu, wanted.clone(), digits(), &exported(&dense, Format::SafetensorsDense)).unwrap();
    let sparse = run.checkpoint().unwrap();
    let topologies = sparse.topologies(path).unwrap();
    assert_eq!(wanted.model.counts(None).unwrap(), [8, 6, 0]);
    for (name, topology, [rows, cols]) in
        [("layers.0", &topologies[0], [64, 64]), ("layers.1", &topologies[1], [48, 64])]
    {
        let name = format!("{name}.weight");
        let topology = topology.as_ref().unwrap();
        let weight = dense.get(path, &name, &[rows, cols]).unwrap();
        let sum = |row: usize, col: usize| {
            let at = |r: usize, c: usize| weight[(row * 16 + r) * cols + col * 16 + c].abs();
            (0..16).flat_map(|r| (0..16).map(move |c| at(r, c))).sum::<f32>()
        };
        let kept: Vec<_> = topology.coordinates().collect();
        let least = kept.iter().map(|&(row, col)| sum(row, col)).fold(f32::MAX, f32::min);
        for (row, col) in (0..rows / 16).flat_map(|row| (0..cols / 16).map(move |col| (row, col))) {
            assert!(kept.contains(&(row, col)) || sum(row, col) <= least, "{name} ({row}, {col})");
        }
        let shape = [topology.nnz(), 16, 16];
        assert_eq!(sparse.get(path, &format!("{name}.values"), &shape).unwrap(), topology.gather(weight));
    }
}

/// A run from a file is resumed without it, to the same bytes.
#[test]
fn a_run_from_a_file_resumes() {
    let gpu = gpu();
    let weights = exported(&trained(&gpu, settings(mlp(&[64], None)), digits()), Format::SafetensorsDense);
    let run = |until: u64| {
        let mut run = begun(&gpu, settings(mlp(&[64], Some(0.5))), digits(), &weights).unwrap();
        let mut watch = |event: &Event| match event {
            Event::Progress { step, .. } if *step >= until => Flow::Stop,
            _ => Flow::Continue,
        };
        run.run(None, &mut watch).unwrap();
        run.checkpoint().unwrap()
    };
    let path = Path::new(PATH);
    let (whole, stopped) = (run(u64::MAX), run(3));
    assert!(stopped.position.step < 8);
    let stopped = Checkpoint::from_bytes(path, &stopped.to_bytes(path).unwrap()).unwrap();
    let mut resumed = Trainer::resume(&gpu, &stopped, path, digits()).unwrap();
    resumed.run(None, &mut |_| Flow::Continue).unwrap();
    assert_eq!(resumed.checkpoint().unwrap().to_bytes(path).unwrap(), whole.to_bytes(path).unwrap());
}

/// Floats of 16 bits are widened, and PyTorch's indices of 64 bits are read.
#[test]
fn other_types_are_read() {
    use safetensors::tensor::{Dtype, TensorView};
    let gpu = gpu();
    let config = mlp(&[16], Some(0.5));
    let halves = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|at| half::bf16::from_f32(at as f32 / 64.0).to_bits().to_le_bytes()).collect()
    };
    let wide = |words: &[i64]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let data = [
        ("layers.0.weight.crow_indices", Dtype::I64, vec![2], wide(&[0, 2])),
        ("layers.0.weight.col_indices", Dtype::I64, vec![2], wide(&[1, 3])),
        ("layers.0.weight.values", Dtype::BF16, vec![2, 16, 16], halves(512)),
        ("layers.0.bias", Dtype::BF16, vec![16], halves(16)),
        ("layers.1.weight", Dtype::BF16, vec![10, 16], halves(160)),
        ("layers.1.bias", Dtype::BF16, vec![10], halves(10)),
    ];
    let views = data
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    let weights = Weights::from_bytes(Path::new("bf16"), &bytes).unwrap();
    let run = begun(&gpu, settings(config), digits(), &weights).unwrap().checkpoint().unwrap();
    let path = Path::new(PATH);
    let topology = run.topologies(path).unwrap()[0].clone().unwrap();
    assert_eq!(topology.coordinates().collect::<Vec<_>>(), [(0, 1), (0, 3)]);
    let bias: Vec<f32> = (0..16).map(|at| at as f32 / 64.0).collect();
    assert_eq!(run.get(path, "layers.0.bias", &[16]).unwrap(), bias);
}

/// Inactive blocks of Top-KAST are no part of the network, and go out nowhere.
#[test]
fn inactive_blocks_stay_behind() {
    let gpu = gpu();
    let mut kast = settings(mlp(&[64], Some(0.6)));
    kast.method = MethodConfig::new(Kind::TopKast);
    let checkpoint = trained(&gpu, kast, digits());
    let path = Path::new(PATH);
    let topology = checkpoint.topologies(path).unwrap()[0].clone().unwrap();
    let active = topology.active().into_iter().filter(|&active| active).count();
    assert!(active < topology.nnz(), "Top-KAST should store more blocks than are active");
    let run = begun(
        &gpu,
        settings(mlp(&[64], Some(0.6))),
        digits(),
        &exported(&checkpoint, Format::SafetensorsBsr),
    );
    let run = run.unwrap().checkpoint().unwrap();
    assert_eq!(run.topologies(path).unwrap()[0].as_ref().unwrap().nnz(), active);
    let x = features(20, 64, 64);
    assert_eq!(logits(&gpu, &run, 20, &x), logits(&gpu, &checkpoint, 20, &x));
}

/// A pattern of one's own is the run's, drawn weights on it, and its density counts.
#[test]
fn a_pattern_of_ones_own() {
    let gpu = gpu();
    let path = Path::new(PATH);
    let other = Trainer::new(&gpu, settings(mlp(&[64, 48], Some(0.8))), digits()).unwrap();
    let other = other.checkpoint().unwrap();
    let pattern = exported(&other, Format::SafetensorsBsr);
    let mut wanted: Settings = settings(mlp(&[64, 48], Some(0.2)));
    let start = StartFrom { weights: None, pattern: Some(pattern.clone()) };
    wanted.start_from(&start).unwrap();
    assert_eq!(wanted.model.counts(None).unwrap(), other.settings.model.counts(None).unwrap());
    let share = 1.0 - 7.0 / 28.0;
    assert!((wanted.model.sparsity().unwrap() - share).abs() < 0.04, "{:?}", wanted.model.sparsity());
    for kind in [Kind::Static, Kind::Rigl] {
        let mut settings = wanted.clone();
        settings.method = MethodConfig::new(kind);
        let parts = Parts { start: start.clone(), ..settings.parts() };
        let run = Trainer::with_parts(&gpu, settings, digits(), parts).unwrap().checkpoint().unwrap();
        assert_eq!(run.topologies(path).unwrap(), other.topologies(path).unwrap());
        // The settings hold all that a resumed run needs.
        let read = Checkpoint::from_bytes(path, &run.to_bytes(path).unwrap()).unwrap();
        assert_eq!(read.settings.origin.pattern, Some(pattern.fingerprint()));
        assert!(Trainer::resume(&gpu, &read, path, digits()).is_ok());
    }
}

/// A layer that is kept dense is stored densely, and the others share out the blocks that are left.
#[test]
fn layers_are_kept_dense() {
    let gpu = gpu();
    let path = Path::new(PATH);
    let mut config = mlp(&[64, 48], Some(0.5));
    config.layers.keep_dense = vec!["layers.1".to_owned()];
    let mut wanted = settings(config);
    wanted.method = MethodConfig::new(Kind::Rigl);
    wanted.length = Length::Steps(3);
    let run = trained(&gpu, wanted.clone(), digits());
    assert_eq!(wanted.model.counts(None).unwrap(), [8, 0, 0]);
    assert_eq!(wanted.model.sparsity(), Some(0.5));
    assert!(run.get(path, "layers.1.weight", &[48, 64]).is_ok());
    let kept = 8 * 256 + 64 + 48 * 64 + 48 + 10 * 48 + 10;
    assert_eq!(run.params_present(), kept);
    let read = Checkpoint::from_bytes(path, &run.to_bytes(path).unwrap()).unwrap();
    assert_eq!(read.settings, wanted);
    assert!(Trainer::resume(&gpu, &read, path, digits()).is_ok());
    // Settings without any have no word of it.
    let plain = Checkpoint::new(
        settings(mlp(&[64], None)),
        Position { step: 0, replaced: 0, loss_sum: 0.0, hits: 0.0, best: None },
        serde_json::Value::Null,
    );
    let text = String::from_utf8_lossy(&plain.to_bytes(path).unwrap()).into_owned();
    assert!(!text.contains("origin") && !text.contains("layers"), "{text}");
}
