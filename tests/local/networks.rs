//! Networks that a program composes, and what a checkpoint, a prediction and an export have of heads.

use fretwork::export::{Format, to_bytes};
use fretwork::methods::SynFlow;
use fretwork::nn::{Linear, Local, LocalParts, ModelConfig, Residual, blocks};
use fretwork::train::{Parts, Predictor, RunFolder, Schedule, StartFrom, Trainer, Weights};

use crate::{digits, gpu, mlp, onward, path, settings, trained};

/// Everything that is drawn for the network is the same with and without heads.
#[test]
fn heads_change_no_first_weight_and_no_pattern() {
    let gpu = gpu();
    let first = |local| {
        let trainer =
            Trainer::new(&gpu, settings(mlp(&[96, 80, 64], Some(0.7), local), 1), digits()).unwrap();
        let store = trainer.model().store().iter();
        store
            .map(|param| (param.name().to_owned(), gpu.read::<f32>(param.values()).unwrap().wait().unwrap()))
            .collect::<Vec<_>>()
    };
    let plain = first(None);
    let local = first(Some(Local::Greedy));
    assert_eq!(local[..plain.len()], plain[..]);
    let heads: Vec<_> = local[plain.len()..].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(heads, ["heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"]);
    let topologies =
        |local| ModelConfig::from(mlp(&[96, 80, 64], Some(0.7), local)).topologies(None).unwrap();
    assert_eq!(topologies(Some(Local::Chunked(3)))[..4], topologies(None)[..]);
}

#[test]
fn exports_have_the_network_alone() {
    let gpu = gpu();
    let checkpoint = trained(&gpu, settings(mlp(&[64, 64, 64], Some(0.5), Some(Local::Overlapping)), 20));
    let plain = ModelConfig::from(mlp(&[64, 64, 64], Some(0.5), None));
    assert_eq!(checkpoint.settings.model.params_dense(), plain.params_dense());
    for format in [Format::SafetensorsDense, Format::SafetensorsBsr, Format::Torch, Format::Onnx] {
        let bytes = to_bytes(&checkpoint, path(), format).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(bytes.len() > 4 * 64 * 64 && !has(b"heads"), "{format:?}");
    }
    // A run with heads begins with weights of a network that has none.
    let bytes = to_bytes(&checkpoint, path(), Format::SafetensorsBsr).unwrap();
    let weights = Weights::from_bytes(path(), &bytes).unwrap();
    let start = StartFrom { weights: Some(weights), pattern: None };
    let mut settings = settings(mlp(&[64, 64, 64], Some(0.5), Some(Local::Greedy)), 3);
    settings.start_from(&start).unwrap();
    let parts = Parts { start, ..settings.parts() };
    let trainer = Trainer::with_parts(&gpu, settings, digits(), parts).unwrap();
    let begun = trainer.checkpoint().unwrap();
    let shape = [10, 64];
    let of =
        |from: &fretwork::train::Checkpoint| from.get(path(), "layers.3.weight", &shape).unwrap().to_vec();
    assert_eq!(of(&begun), of(&checkpoint));
}

#[test]
fn predictions_are_those_of_the_last_test() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run")).unwrap();
    let settings = settings(mlp(&[64, 64], Some(0.5), Some(Local::Greedy)), 120);
    let mut trainer = Trainer::new(&gpu, settings, digits()).unwrap();
    let summary = trainer.run(Some(&run), &mut onward).unwrap();
    let mut predictor = Predictor::open(&gpu, &run).unwrap();
    let test = digits().test;
    let outputs = predictor.outputs(&test).unwrap();
    let fretwork::data::Rows::Table(table) = &test else { panic!("digits are a table") };
    let right = outputs.chunks(10).zip(table.labels()).filter(|(logits, label)| {
        let largest = (0..10).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        largest == **label as usize
    });
    assert_eq!(right.count() as f64 / table.labels().len() as f64, summary.test_accuracy);
    assert!(summary.test_accuracy > 0.8, "{}", summary.test_accuracy);
}

#[test]
fn composed_networks_learn_in_parts() {
    let gpu = gpu();
    let sparse = |inputs, outputs| Linear::new(inputs, outputs).sparse(blocks(16).density(0.5)).relu();
    for local in [Local::Greedy, Local::Overlapping, Local::Chunked(2)] {
        let net = LocalParts::new(local, 10)
            .add(sparse(64, 96))
            .add(sparse(96, 96))
            .add(sparse(96, 64))
            .add(Linear::new(64, 10));
        let rate = (0.004, Schedule::OneCycle);
        let builder =
            |net| Trainer::builder(&gpu, net).data(digits()).steps(120).learning_rate(rate.0, rate.1);
        let mut trainer = builder(net.clone()).build().unwrap();
        assert_eq!(trainer.model().parts(), local.parts(3).unwrap().len());
        let accuracy = trainer.run(None, &mut onward).unwrap().test_accuracy;
        assert!(accuracy > 0.8, "{local}: {accuracy}");
        let checkpoint = trainer.checkpoint().unwrap();
        let bytes = to_bytes(&checkpoint, path(), Format::SafetensorsDense).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"heads"), "{local}");
        let resumed = builder(net).resume(&checkpoint, path()).unwrap();
        assert_eq!(resumed.checkpoint().unwrap(), checkpoint);
        // Another way to cut the same layers is another network.
        let other = if local == Local::Greedy { Local::Overlapping } else { Local::Greedy };
        let net = LocalParts::new(other, 10).add(sparse(64, 96)).add(sparse(96, 96)).add(sparse(96, 64));
        let other = builder(net.add(Linear::new(64, 10)));
        assert!(other.resume(&checkpoint, path()).unwrap_err().to_string().contains("differs"), "{local}");
    }
}

/// A method that follows the flow through a whole network cannot follow it through parts that a program composed.
#[test]
fn synflow_is_refused_for_composed_parts() {
    let layer = || Linear::new(64, 64).sparse(blocks(16).density(0.5)).relu();
    let net = LocalParts::new(Local::Greedy, 10).add(layer()).add(layer()).add(Linear::new(64, 10));
    let gpu = gpu();
    let builder = Trainer::builder(&gpu, net).data(digits()).steps(2).method(SynFlow::default());
    let refused = builder.build().unwrap_err().to_string();
    assert!(refused.contains("method: synflow follows the flow through a whole network"), "{refused}");
}

/// Neighbouring parts share the last layer of the lower one, which must be one whose two gradients can be had apart.
#[test]
fn what_cannot_be_shared_is_refused() {
    let gpu = gpu();
    let layer = || Linear::new(64, 64).relu();
    let net = LocalParts::new(Local::Overlapping, 10)
        .add(Residual::new(layer()))
        .add(layer())
        .add(Linear::new(64, 10));
    let refused = Trainer::builder(&gpu, net).data(digits()).build().unwrap_err().to_string();
    assert!(refused.contains("the output of a linear layer"), "{refused}");
    let net = LocalParts::new(Local::Greedy, 7).add(layer()).add(layer()).add(Linear::new(64, 10));
    let refused = Trainer::builder(&gpu, net).data(digits()).build().unwrap_err().to_string();
    assert!(refused.contains("columns") && refused.contains("10 of the last module"), "{refused}");
    let net = LocalParts::new(Local::Greedy, 10).add(Residual::new(layer())).add(layer());
    let net = net.add(Linear::new(64, 10));
    let trainer = Trainer::builder(&gpu, net).data(digits()).steps(2).build().unwrap();
    let mut rec = fretwork::gpu::Recorder::new(&gpu);
    let refused = trainer.model().backward(&mut rec, None).unwrap_err().to_string();
    assert!(refused.contains("part by part") && refused.contains("2 parts"), "{refused}");
}
