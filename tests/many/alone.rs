//! A network among others is what it would be alone.

use fretwork::gpu::{Gpu, Options};
use fretwork::graph::LayerSparsity;
use fretwork::nn::{MlpsConfig, ModelConfig, Together};
use fretwork::ops::Activation;
use fretwork::train::{Checkpoint, Flow, RunFolder, Settings, Trainer};

use crate::{digits, gpu, many, one, onward, parameters, path, settings, trained};

/// Widths that the block does not divide, three activations, two depths, and seeds of their own.
fn mixed() -> MlpsConfig {
    let all_relu = Activation::AllRelu { slope: 0.5 };
    many(vec![
        one(&[20], Activation::Relu, 3),
        one(&[33], Activation::Relu, 4),
        one(&[8], Activation::Gelu, 5),
        one(&[20], Activation::Gelu, 3),
        one(&[19, 12], Activation::Silu, 6),
        one(&[16, 30], Activation::Silu, 3),
        one(&[24], all_relu, 7),
    ])
}

/// An ensemble of sparse networks, with a sparse first layer or a dense one.
fn sparse(keep_dense: &[&str]) -> MlpsConfig {
    let keep_dense = keep_dense.iter().map(|&name| name.to_owned()).collect();
    MlpsConfig {
        sparsity: Some(0.6),
        together: Together::Ensemble,
        layers: LayerSparsity { keep_dense, ..LayerSparsity::default() },
        ..many((0..3).map(|number| one(&[40, 60], Activation::Relu, 3 + number)).collect())
    }
}

/// The settings of one of the networks alone, on the same rows in the same order.
fn alone(settings: &Settings, number: usize) -> Settings {
    let ModelConfig::Mlps(config) = &settings.model else { panic!("not many networks") };
    let seed = config.seed;
    let model = ModelConfig::Mlp(config.network(number).unwrap());
    Settings { model, rows_seed: Some(seed), ..settings.clone() }
}

/// Largest distance of two networks' parameters, and largest size of those that are wanted.
#[track_caller]
fn distance(found: &Checkpoint, wanted: &Checkpoint) -> [f64; 2] {
    let (found, wanted) = (parameters(found), parameters(wanted));
    assert_eq!(found.len(), wanted.len());
    let mut worst = [0.0f64; 2];
    for ((name, found), (of, wanted)) in found.iter().zip(&wanted) {
        assert_eq!((name, found.len()), (of, wanted.len()));
        for (&found, &wanted) in found.iter().zip(wanted) {
            worst[0] = worst[0].max(f64::from(found - wanted).abs());
            worst[1] = worst[1].max(f64::from(wanted).abs());
        }
    }
    worst
}

/// A network's parameters after a step of rate 1, subtracted from those before: its gradient.
fn gradient(before: &Checkpoint, after: &Checkpoint) -> Vec<f64> {
    let pairs = parameters(before).into_iter().zip(parameters(after));
    let difference = |((_, before), (_, after)): ((_, Vec<f32>), (_, Vec<f32>))| {
        before.into_iter().zip(after).map(|(b, a)| f64::from(b) - f64::from(a)).collect::<Vec<_>>()
    };
    pairs.flat_map(difference).collect()
}

#[test]
fn weights_gradients_and_a_hundred_steps_are_those_of_each_network_alone() {
    let gpu = gpu();
    for config in [mixed(), sparse(&[]), sparse(&["layers.0"])] {
        let first = settings(config.clone(), 1, 1.0);
        let before = Trainer::new(&gpu, first.clone(), digits()).unwrap().checkpoint().unwrap();
        let after = trained(&gpu, first.clone());
        let long = settings(config.clone(), 100, 0.1);
        let end = trained(&gpu, long.clone());
        for number in 0..config.networks.len() {
            let of = |checkpoint: &Checkpoint| checkpoint.extract(path(), number).unwrap();
            let what = format!("network {number} of {config}");
            let lone = Trainer::new(&gpu, alone(&first, number), digits()).unwrap().checkpoint().unwrap();
            assert_eq!(distance(&of(&before), &lone)[0], 0.0, "{what}: first weights");

            let wanted = gradient(&lone, &trained(&gpu, alone(&first, number)));
            let found = gradient(&of(&before), &of(&after));
            let size = wanted.iter().fold(0.0f64, |most, slope| most.max(slope.abs()));
            let off = found.iter().zip(&wanted).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(size > 1e-3 && off <= 1e-5 * size.max(0.1), "{what}: gradient off by {off} of {size}");

            let [off, size] = distance(&of(&end), &trained(&gpu, alone(&long, number)));
            assert!(size > 0.1 && off <= 1e-4, "{what}: weights off by {off} of {size} after 100 steps");
        }
    }
}

#[test]
fn one_network_is_the_plain_run() {
    let gpu = gpu();
    let settings = settings(many(vec![one(&[30], Activation::Relu, 3)]), 30, 0.1);
    let found = trained(&gpu, settings.clone()).extract(path(), 0).unwrap();
    assert!(distance(&found, &trained(&gpu, alone(&settings, 0)))[0] <= 1e-5);
}

#[test]
fn padding_stays_exactly_zero() {
    let gpu = gpu();
    let mut trainer = Trainer::new(&gpu, settings(mixed(), 40, 0.1), digits()).unwrap();
    trainer.run(None, &mut onward).unwrap();
    let description = trainer.settings().model.description().unwrap();
    let mut padded = 0;
    for param in &description.params {
        let stored = trainer.model().store().by_name(&param.name).unwrap();
        let mut values = gpu.read::<f32>(stored.values()).unwrap().wait().unwrap();
        if let Some(matrix) = stored.weight().sparse() {
            values = matrix.pattern().topology(&gpu).unwrap().scatter(&values);
        }
        // Columns that pad the input have weights, and features of 0.
        let rows_only = fretwork::graph::ParamDescription {
            extent: [param.extent[0].clone(), param.extent[1].clone().filter(|_| !param.draws_padding)],
            ..param.clone()
        };
        let count = |values: &[f32]| values.iter().filter(|&&value| value != 0.0).count();
        let kept = rows_only.trim(&values);
        padded += values.len() - kept.len();
        assert_eq!(count(&values), count(&kept), "{}", param.name);
    }
    assert!(padded > 1000, "{padded}");
}

#[test]
fn a_run_is_resumed_to_the_same_bits_and_an_extracted_network_goes_on_alone() {
    let settings =
        Settings { optimizer: fretwork::train::OptimizerKind::AdamW, ..settings(mixed(), 34, 0.004) };
    let bytes = |checkpoint: &Checkpoint| checkpoint.to_bytes(path()).unwrap();
    let whole = trained(&gpu(), settings.clone());
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    let mut trainer = Trainer::new(&gpu(), settings.clone(), digits()).unwrap();
    let mut steps = 0;
    let stop = &mut |event: &fretwork::train::Event| {
        steps += u64::from(matches!(event, fretwork::train::Event::Progress { .. }));
        if steps == 17 { Flow::Stop } else { Flow::Continue }
    };
    assert_eq!(trainer.run(Some(&run), stop).unwrap().steps, 17);
    drop(trainer);
    let checkpoint = run.load().unwrap();
    let mut resumed = Trainer::resume(&gpu(), &checkpoint, path(), digits()).unwrap();
    resumed.run(None, &mut onward).unwrap();
    assert!(bytes(&whole) == bytes(&resumed.checkpoint().unwrap()), "resuming changed the result");

    let extracted = checkpoint.extract(path(), 4).unwrap();
    let mut trainer = Trainer::resume(&gpu(), &extracted, path(), digits()).unwrap();
    trainer.run(None, &mut onward).unwrap();
    let [off, _] = distance(&trainer.checkpoint().unwrap(), &whole.extract(path(), 4).unwrap());
    assert!(off <= 1e-4, "{off}");
}

/// Logits larger than a binding are taken window by window, to the same bits.
#[test]
fn logits_larger_than_a_binding_make_no_difference() {
    let run = settings(many(vec![one(&[8], Activation::Relu, 3); 40]), 6, 0.1);
    let options = Options { largest_binding: Some(1 << 17), ..Options::default() };
    let small = Gpu::request(options).unwrap();
    assert!(128 * 40 * 16 * 4 > small.limits().max_storage_buffer_binding_size);
    assert!(parameters(&trained(&small, run.clone())) == parameters(&trained(&gpu(), run)));
}

/// A weight between two networks is found when one of them is taken out.
#[test]
fn a_block_that_joins_networks_is_refused() {
    let checkpoint = trained(&gpu(), settings(many(vec![one(&[16], Activation::Relu, 3); 2]), 1, 0.1));
    let shape = [32, 32];
    let topology = checkpoint.topology(path(), "layers.1.weight", shape, 8).unwrap();
    let mut blocks: Vec<_> = topology.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
    assert_eq!(blocks[0], (0, 0));
    blocks[0] = (0, 3);
    let joined = fretwork::sparse::Topology::from_coordinates(32, 32, 8, &blocks).unwrap();
    let mut forged = checkpoint.clone();
    let values = checkpoint.get(path(), "layers.1.weight.values", &[8, 8, 8]).unwrap().to_vec();
    forged.put_sparse("layers.1.weight", &joined, &joined.in_slot_order(&values));
    assert!(checkpoint.extract(path(), 0).is_ok());
    let refused = forged.extract(path(), 0).unwrap_err().to_string();
    assert!(refused.contains("joins networks"), "{refused}");
}
