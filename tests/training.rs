//! Whole runs: the same bits twice, resumed or not, whichever variant; bytes that add up; no waiting; and accuracy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use fretwork::Error;
use fretwork::data::{Dataset, Fingerprint, Source};
use fretwork::gpu::{Gpu, Options, Variant};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{MlpConfig, ModelConfig};
use fretwork::ops::Activation;
use fretwork::sparse::{Density, Topology};
use fretwork::train::{
    Checkpoint, Event, Flow, Length, OptimizerKind, Position, RunFolder, Schedule, Settings, Trainer,
};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap()
}

fn settings(seed: u64, length: Length) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![512, 512],
            classes: 10,
            block: 16,
            sparsity: Some(0.9),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.0,
            seed,
            layers: Default::default(),
            local: None,
        })
    }
}

/// The network of these settings, to be changed.
fn mlp(settings: &mut Settings) -> &mut MlpConfig {
    let ModelConfig::Mlp(config) = &mut settings.model else { panic!("these are of perceptrons") };
    config
}

/// A run in which everything random takes part.
fn lively(optimizer: OptimizerKind) -> Settings {
    let mut settings = settings(5, Length::Epochs(2));
    mlp(&mut settings).hidden = vec![64, 96];
    mlp(&mut settings).dropout = 0.2;
    mlp(&mut settings).activation = Activation::Gelu;
    settings.batch = 200;
    settings.optimizer = optimizer;
    settings.learning_rate = match optimizer {
        OptimizerKind::AdamW => 0.004,
        OptimizerKind::Sgd => 0.1,
        OptimizerKind::Lars => 4.0,
        OptimizerKind::Lamb => 0.02,
    };
    settings
}

fn bytes_of(trainer: &Trainer) -> Vec<u8> {
    trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap()
}

fn onward(_: &Event) -> Flow {
    Flow::Continue
}

#[test]
fn one_seed_gives_the_same_bits_whether_stopped_or_not_and_in_every_variant() {
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Sgd, OptimizerKind::Lars, OptimizerKind::Lamb] {
        let whole = |variant| {
            let gpu = gpu().with_variant(Some(variant));
            let mut trainer = Trainer::new(&gpu, lively(optimizer), digits()).unwrap();
            trainer.run(None, &mut onward).unwrap();
            bytes_of(&trainer)
        };
        let bytes = whole(Variant::Lane);
        assert!(bytes == whole(Variant::Lane), "{optimizer}: two runs of one seed differ");
        // The order of every sum is a matter of the shape alone, so the variant makes no difference.
        for variant in Variant::ALIKE {
            assert!(bytes == whole(variant), "{optimizer}: {variant:?} differs");
        }

        // Stopped in the middle of the second epoch, and resumed from the folder on another device.
        let folder = tempfile::tempdir().unwrap();
        let run_folder = RunFolder::create(folder.path()).unwrap();
        let mut steps = 0;
        let mut trainer = Trainer::new(&gpu(), lively(optimizer), digits()).unwrap();
        let stopped = trainer
            .run(Some(&run_folder), &mut |event| {
                steps += u64::from(matches!(event, Event::Progress { .. }));
                if steps == 27 { Flow::Stop } else { Flow::Continue }
            })
            .unwrap();
        assert!(!stopped.finished && stopped.steps == 27);
        drop((trainer, run_folder));
        let run_folder = RunFolder::open(folder.path()).unwrap();
        let checkpoint = run_folder.load().unwrap();
        let path = run_folder.checkpoint_path();
        let mut resumed = Trainer::resume(&gpu(), &checkpoint, &path, digits()).unwrap();
        let summary = resumed.run(Some(&run_folder), &mut onward).unwrap();
        assert!(summary.finished);
        assert!(bytes == bytes_of(&resumed), "{optimizer}: resuming changed the result");
        assert!(bytes == std::fs::read(path).unwrap(), "{optimizer}: the file is not the run");
    }
}

#[test]
fn another_seed_gives_other_bits() {
    let run = |seed| {
        let mut settings = lively(OptimizerKind::AdamW);
        settings.length = Length::Steps(2);
        mlp(&mut settings).seed = seed;
        let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
        trainer.run(None, &mut onward).unwrap();
        bytes_of(&trainer)
    };
    assert!(run(1) != run(2));
}

/// No dense shadow: what is stored is what the formula says, to the byte.
#[test]
fn bytes_are_those_of_the_present_blocks() {
    use OptimizerKind::{AdamW, Lamb, Lars, Sgd};
    for (optimizer, states) in [(AdamW, 2), (Sgd, 1), (Lars, 1), (Lamb, 2)] {
        let mut settings = settings(1, Length::Steps(3));
        mlp(&mut settings).hidden = vec![1024, 1024];
        settings.optimizer = optimizer;
        let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
        let summary = trainer.run(None, &mut onward).unwrap();

        let blocks: usize = trainer
            .model()
            .layers()
            .iter()
            .filter_map(|layer| layer.weight().sparse())
            .map(|matrix| matrix.pattern().nnz())
            .sum();
        let total = (64 / 16) * (1024 / 16) + (1024 / 16) * (1024 / 16);
        assert_eq!(blocks, total - (0.9 * total as f64) as usize);
        let present = blocks * 16 * 16 + 1024 * 10 + 1024 + 1024 + 10;
        assert_eq!(summary.params_present, present);
        // Buffers come in whole vectors of 16 bytes; only the ten biases are not a whole number of them.
        let wanted = 4 * (present as u64 + 2);
        assert_eq!(summary.bytes.values, wanted);
        assert_eq!(summary.bytes.gradients, wanted);
        assert_eq!(summary.bytes.optimizer, states * wanted);
        // Nothing of the size of a dense weight was ever there: the peak is what is there now.
        assert_eq!(summary.peak_bytes, summary.bytes.total());
        assert!(summary.peak_bytes < 4 * 1024 * 1024 * 4);
    }
}

#[test]
fn nothing_waits_between_tests_and_nothing_leaks() {
    let gpu = gpu();
    let before = gpu.bytes();
    let mut trainer = Trainer::new(&gpu, lively(OptimizerKind::AdamW), digits()).unwrap();
    let begun = gpu.bytes();
    let summary = trainer.run(None, &mut onward).unwrap();
    assert_eq!(summary.blocking_waits, 0);
    // The counter counts: tests and read-backs have waited.
    assert!(gpu.blocking_waits() > 0);
    assert_eq!(summary.bytes, begun, "training has left bytes behind");
    drop(trainer);
    assert_eq!(gpu.bytes(), before, "a dropped run still holds bytes");
    assert!(gpu.idle_bytes() > 0, "activations should wait for their next user");
}

/// A tenth of the blocks, three seeds, UCI's own test writers.
#[test]
fn digits_reach_their_accuracy() {
    let accuracy = |seed| {
        let mut trainer = Trainer::new(&gpu(), settings(seed, Length::Epochs(20)), digits()).unwrap();
        trainer.run(None, &mut onward).unwrap().test_accuracy
    };
    let runs = [1, 2, 3].map(accuracy);
    let mean = runs.iter().sum::<f64>() / 3.0;
    assert!(mean >= 0.96, "{runs:?}");
}

#[test]
fn what_is_not_finite_stops_the_run_and_names_the_layer() {
    // In batches of 16, status is looked at every fourth step.
    for (batch, activation) in [(200, Activation::Gelu), (16, Activation::Relu)] {
        stops_and_names_the_layer(batch, activation);
    }
}

fn stops_and_names_the_layer(batch: usize, activation: Activation) {
    let mut settings = lively(OptimizerKind::Sgd);
    (settings.learning_rate, settings.batch) = (1e30, batch);
    let ModelConfig::Mlp(model) = &mut settings.model else { panic!("not a multilayer perceptron") };
    model.activation = activation;
    let folder = tempfile::tempdir().unwrap();
    let run_folder = RunFolder::create(folder.path()).unwrap();
    let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    let good = trainer.checkpoint().unwrap();
    run_folder.save(&good).unwrap();
    match trainer.run(Some(&run_folder), &mut onward) {
        Err(Error::NotFinite { layer, .. }) => assert!(layer.starts_with("layers."), "{layer}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(run_folder.load().unwrap(), good, "the last good checkpoint should be whole");
}

/// Weights that the very last step made infinite are seen by the test that precedes the checkpoint.
#[test]
fn a_checkpoint_of_weights_that_are_not_finite_is_not_written() {
    let mut settings = lively(OptimizerKind::Sgd);
    (settings.length, settings.schedule, settings.learning_rate) =
        (Length::Steps(1), Schedule::Constant, 1e38);
    let folder = tempfile::tempdir().unwrap();
    let run_folder = RunFolder::create(folder.path()).unwrap();
    let mut trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    let result = trainer.run(Some(&run_folder), &mut onward);
    assert!(matches!(result, Err(Error::NotFinite { .. })), "{result:?}");
    assert!(!run_folder.checkpoint_path().exists());
}

/// An epoch is in the log before the checkpoint says that it is done, so that it cannot vanish from the report.
#[test]
fn an_epoch_is_logged_before_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run_folder = RunFolder::create(folder.path()).unwrap();
    // No file can be renamed to it, so no checkpoint is ever written.
    std::fs::create_dir(run_folder.checkpoint_path()).unwrap();
    let mut trainer = Trainer::new(&gpu(), lively(OptimizerKind::Sgd), digits()).unwrap();
    let result = trainer.run(Some(&run_folder), &mut onward);
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
    let log = std::fs::read_to_string(run_folder.log_path()).unwrap();
    assert!(log.ends_with('\n') && log.contains("{\"event\":\"epoch\",\"epoch\":0,"), "{log}");
}

/// Data of another fingerprint is refused, with both; classes and widths are the same.
#[test]
fn changed_data_is_refused() {
    let trainer = Trainer::new(&gpu(), lively(OptimizerKind::Sgd), digits()).unwrap();
    let mut checkpoint = trainer.checkpoint().unwrap();
    let wanted = checkpoint.fingerprint.unwrap();
    let fewer = || digits().first([Some(3822), None]).unwrap();
    let found = Fingerprint::of(&fewer());
    let resume =
        |checkpoint: &Checkpoint| Trainer::resume(&gpu(), checkpoint, Path::new("here"), fewer()).map(|_| ());
    let said = resume(&checkpoint).unwrap_err().to_string();
    let wanted =
        format!("checkpoint here: the run is of data with the fingerprint {wanted}, but digits has {found}");
    assert!(said.starts_with(&wanted), "{said}");
    checkpoint.fingerprint = None;
    resume(&checkpoint).unwrap();
}

/// Whatever byte of a checkpoint is flipped, it is refused, or was of no consequence.
#[test]
fn flipped_bytes_are_noticed() {
    let mut settings = lively(OptimizerKind::Sgd);
    mlp(&mut settings).hidden = vec![16];
    mlp(&mut settings).sparsity = Some(0.5);
    let trainer = Trainer::new(&gpu(), settings, digits()).unwrap();
    let (good, bytes) = (trainer.checkpoint().unwrap(), bytes_of(&trainer));
    let path = Path::new("checkpoint");
    assert_eq!(Checkpoint::from_bytes(path, &bytes).unwrap(), good);
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        match Checkpoint::from_bytes(path, &bad) {
            Err(Error::Checkpoint { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
            Ok(read) => assert_eq!(read, good, "byte {at} was flipped and not noticed"),
        }
    }
    assert!(refused > bytes.len() * 9 / 10, "{refused} of {}", bytes.len());
    for end in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(Checkpoint::from_bytes(path, &bytes[..end]).is_err(), "cut off at {end}");
    }
}

/// Settings are numbers of every length, and none may change on its way through a file.
#[test]
fn settings_survive_to_the_last_bit() {
    let mut settings = lively(OptimizerKind::Sgd);
    mlp(&mut settings).hidden = vec![16];
    let path = Path::new("checkpoint");
    let position = Position { step: 1, replaced: 0, loss_sum: 0.1, hits: 2.0, best: None };
    for share in 1..100 {
        let sparsity = f64::from(share) / 100.0;
        settings.method = MethodConfig::new(Kind::TopKast);
        settings.learning_rate = sparsity / 3.0;
        let checkpoint =
            Checkpoint::new(settings.clone(), position, serde_json::json!({ "best": 0.1 / sparsity }));
        let bytes = checkpoint.to_bytes(path).unwrap();
        assert_eq!(Checkpoint::from_bytes(path, &bytes).unwrap(), checkpoint, "sparsity {sparsity}");
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let trainer = Trainer::new(&gpu(), lively(OptimizerKind::Sgd), digits()).unwrap();
    let mut checkpoint = trainer.checkpoint().unwrap();
    let path = Path::new("checkpoint");
    let refusal = |checkpoint: &Checkpoint| {
        Trainer::resume(&gpu(), checkpoint, path, digits()).map(|_| ()).unwrap_err().to_string()
    };
    mlp(&mut checkpoint.settings).hidden = vec![64, 64];
    assert!(refusal(&checkpoint).contains("layers.1"), "{}", refusal(&checkpoint));
    checkpoint.settings = lively(OptimizerKind::AdamW);
    assert!(refusal(&checkpoint).contains("has no tensor optimizer.layers.0.weight.first"));
    checkpoint.settings = lively(OptimizerKind::Sgd);
    mlp(&mut checkpoint.settings).classes = 11;
    assert!(refusal(&checkpoint).contains("11 classes"), "{}", refusal(&checkpoint));
    checkpoint.settings = lively(OptimizerKind::Sgd);
    // One that is not there at all.
    let mut forged = Checkpoint::new(checkpoint.settings.clone(), checkpoint.position, checkpoint.memory);
    forged.put("layers.0.bias", &[64], vec![0.0; 64]);
    assert!(refusal(&forged).contains("has no tensor layers.0.weight.crow_indices"));
}

/// Blocks come back to the slots they had, inactive or not; slots that cannot be are refused by name.
#[test]
fn slots_survive_and_are_validated() {
    let path = Path::new("checkpoint");
    let (name, sides, block) = ("layers.0.weight", [64, 64], 16);
    let coordinates = [(3, 1), (0, 2), (3, 0), (1, 1)];
    let position = Position { step: 0, replaced: 0, loss_sum: 0.0, hits: 0.0, best: None };
    let settings = lively(OptimizerKind::Sgd);
    for inactive in [None, Some(2)] {
        let topology =
            Topology::with_inactive(64, 64, block, &coordinates, |slot| Some(slot) == inactive).unwrap();
        let values: Vec<f32> = (0..topology.elements()).map(|i| i as f32).collect();
        let mut checkpoint = Checkpoint::new(settings.clone(), position, serde_json::Value::Null);
        checkpoint.put_sparse(name, &topology, &values);
        let read = checkpoint.topology(path, name, sides, block).unwrap();
        assert_eq!(read, topology);
        let kept = checkpoint.get(path, "layers.0.weight.values", &[4, block, block]).unwrap();
        assert!(kept != values && read.in_slot_order(kept) == values);

        for slots in [&[1, 3, 2, 2][..], &[1, 3, 2, 4], &[1, 3, 2, u32::MAX], &[1, 3, 2]] {
            checkpoint.put_words("layers.0.weight.slots", slots);
            let refusal = checkpoint.topology(path, name, sides, block).unwrap_err().to_string();
            assert!(refusal.contains("layers.0.weight.slots"), "{slots:?}: {refusal}");
        }
    }
}
