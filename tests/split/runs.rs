//! Whole runs on a device that splits.

use std::path::Path;

use fretwork::Error;
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Sources};
use fretwork::methods::{Every, Rigl, Set, Updates};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Checkpoint, Event, Flow, Length, Settings, Trainer};

use super::{SMALL, device, devices};

fn settings(hidden: Vec<usize>, block: usize) -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Steps(6),
        batch: 90,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden,
            classes: 10,
            block,
            sparsity: Some(0.9),
            density: Density::Erk,
            activation: Activation::Gelu,
            dropout: if block == 16 { 0.2 } else { 0.0 },
            seed: 3,
            layers: Default::default(),
            local: None,
        })
    }
}

/// A whole run on a device, with the dispatches of a step.
fn trained(gpu: &Gpu, settings: Settings) -> (usize, Vec<u8>, f64) {
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let mut trainer = Trainer::new(gpu, settings, data).unwrap();
    let summary = trainer.run(None, &mut |_: &Event| Flow::Continue).unwrap();
    let bytes = trainer.checkpoint().unwrap().to_bytes(Path::new("memory")).unwrap();
    (trainer.step_kernels().count(), bytes, summary.train_loss)
}

#[test]
fn a_run_with_large_activations_has_the_same_bits() {
    for block in [8, 16] {
        let settings = settings(vec![256, 320], block);
        let [whole, split] = devices().map(|gpu| trained(&gpu, settings.clone()));
        assert!(split.0 > whole.0, "{} dispatches, {} where nothing fits", whole.0, split.0);
        assert!(whole.1 == split.1, "block {block}: the checkpoints differ");
    }
}

/// With values that do not fit either, sums are in another order; the run is the same whenever it is repeated.
#[test]
fn a_run_with_large_values_is_close_and_repeatable() {
    let settings = settings(vec![512, 512], 32);
    let [whole, split] = devices().map(|gpu| trained(&gpu, settings.clone()));
    assert!(split.0 > whole.0);
    assert!((whole.2 - split.2).abs() < 1e-3 * whole.2, "loss {} whole, {} split", whole.2, split.2);
    assert!(split.1 == trained(&devices()[1], settings).1, "two runs differ");
}

/// Sums over several windows follow the order of the slots, which exchanges of blocks mix up; a checkpoint keeps it.
#[test]
fn a_run_with_large_values_resumes_to_the_same_bits() {
    let gpu = device(Some(SMALL), Sources::default());
    let data = || Dataset::load(&Source::Digits, 1, 0).unwrap();
    let path = Path::new("memory");
    let mut settings = settings(vec![512, 512], 32);
    settings.method = Set { updates: Updates { every: Every::Steps(2), ..Updates::RIGL } }.into();
    settings.length = Length::Steps(12);
    let mut steps = 0;
    let mut stopped = Trainer::new(&gpu, settings.clone(), data()).unwrap();
    stopped
        .run(None, &mut |event| {
            steps += usize::from(matches!(event, Event::Progress { .. }));
            if steps == 7 { Flow::Stop } else { Flow::Continue }
        })
        .unwrap();
    let bytes = stopped.checkpoint().unwrap().to_bytes(path).unwrap();
    let checkpoint = Checkpoint::from_bytes(path, &bytes).unwrap();
    let mixed = checkpoint.topologies(path).unwrap();
    assert!(mixed.iter().flatten().any(|topology| !topology.row_order().is_sorted()));
    let mut resumed = Trainer::resume(&gpu, &checkpoint, path, data()).unwrap();
    resumed.run(None, &mut |_: &Event| Flow::Continue).unwrap();
    let resumed = resumed.checkpoint().unwrap().to_bytes(path).unwrap();
    assert!(resumed == trained(&gpu, settings).1, "it ends elsewhere");
}

/// Growth is scored by no more rows than fit a binding, unless somebody wants more.
#[test]
fn growth_is_scored_by_what_fits() {
    let rigl = |score_rows| {
        let mut settings = settings(vec![256, 320], 16);
        let updates = Updates { every: Every::Steps(2), ..Updates::RIGL };
        settings.method = Rigl { updates, score_rows }.into();
        settings.batch = 360;
        settings
    };
    let [whole, split] = devices();
    // A row of 320 has 1280 bytes; the sixteenth of a batch would be 24 rows.
    let fitting = SMALL as usize / 1280 / 4 * 4;
    assert_eq!(fitting, 12);
    let loss = trained(&split, rigl(None)).2;
    assert!(loss.to_bits() == trained(&whole, rigl(Some(fitting))).2.to_bits());
    let default = trained(&whole, rigl(None)).2;
    assert!(loss.to_bits() != default.to_bits(), "the rows make no difference");
    assert!(default.to_bits() == trained(&whole, rigl(Some(24))).2.to_bits());

    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let refused = Trainer::new(&split, rigl(Some(24)), data);
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
}
