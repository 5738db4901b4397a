//! Dispatches of a training step.

use fretwork::data::{Dataset, Features, Table};
use fretwork::gpu::{Gpu, Options};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{Half, MlpConfig, Precision};
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Length, OptimizerKind, Schedule, Settings, Trainer};

/// The network of the benches, with zeros for data.
fn trainer(
    gpu: &Gpu,
    sparsity: Option<f64>,
    kind: Kind,
    precision: Precision,
    optimizer: OptimizerKind,
) -> Trainer {
    let table = || Table::new(Features::Bytes(vec![0; 128 * 784], 1.0), vec![0; 128], 784).unwrap();
    let data = Dataset::of_tables("zeros", table(), table(), 10);
    let model = MlpConfig {
        inputs: 784,
        hidden: vec![1024, 1024],
        classes: 10,
        block: 16,
        sparsity,
        density: Density::Uniform,
        activation: Activation::Relu,
        dropout: 0.0,
        seed: 1,
        layers: Default::default(),
        local: None,
    };
    let settings = Settings {
        data: data.name.clone(),
        method: MethodConfig::new(kind),
        precision,
        length: Length::Steps(100),
        batch: 128,
        optimizer,
        learning_rate: 0.001,
        schedule: Schedule::Constant,
        ..Settings::new(model)
    };
    Trainer::new(gpu, settings, data).unwrap()
}

/// Three products forward, the loss, three gradients of weights and two of inputs, all column sums in one dispatch, and all
/// parameters in one; in f16 also the copies of all weights, the scaled gradient, the decision on the scale, and sums of
/// a gradient whose memory is used again.
#[test]
fn a_step_takes_few_dispatches() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let half = gpu.has_f16().then_some((Precision::F16(Half::default()), 15));
    if half.is_none() {
        println!("SKIPPED: {} has no half precision", gpu.info().name);
    }
    for (precision, wanted) in [(Precision::F32, 11)].into_iter().chain(half) {
        for (sparsity, kind) in
            [(None, Kind::Static), (Some(0.9), Kind::Static), (Some(0.9), Kind::Rigl), (Some(0.9), Kind::Set)]
        {
            for optimizer in [OptimizerKind::AdamW, OptimizerKind::Sgd] {
                let trainer = trainer(&gpu, sparsity, kind, precision, optimizer);
                let plan = trainer.step_plan();
                let labels: Vec<_> = plan.labels().collect();
                let what = format!("{sparsity:?}, {kind}, {precision:?}, {optimizer}: {labels:?}");
                assert_eq!(plan.len(), wanted, "{what}");
                assert!(plan.barriers() <= plan.len(), "{what}");
            }
        }
    }
}
