//! Burn's learner on images of ten classes: three linear layers, two of them block-sparse, and the same network dense.
//!
//! Takes Fashion-MNIST where it is installed (`apt-get install dataset-fashion-mnist`, or four IDX files under
//! `$FRETWORK_DATA/fashion-mnist`), and the digits that fretwork embeds otherwise.
//!
//!     cargo run --release -p fretwork-burn-examples --bin fashion_mnist -- [EPOCHS]

use std::sync::Arc;

use burn_core as burn;
use burn_core::data::dataloader::batcher::Batcher;
use burn_core::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn_core::data::dataset::InMemDataset;
use burn_core::module::Module;
use burn_core::tensor::{Device, Int, Tensor, TensorData, activation};
use burn_nn::loss::CrossEntropyLossConfig;
use burn_nn::{Linear, LinearConfig};
use burn_optim::AdamConfig;
use burn_train::metric::{AccuracyMetric, LossMetric};
use burn_train::{ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep};
use fretwork::data::{Dataset, Rows, Source};
use fretwork_burn::{SparseLinear, SparseLinearConfig};

const HIDDEN: usize = 1024;

/// A linear layer of either kind.
#[derive(Module, Debug)]
enum Layer {
    Dense(Linear),
    Sparse(SparseLinear),
}

impl Layer {
    fn new(inputs: usize, outputs: usize, sparse: bool, device: &Device) -> Self {
        match sparse {
            true => Self::Sparse(SparseLinearConfig::new(inputs, outputs).density(0.1).init(device)),
            false => Self::Dense(LinearConfig::new(inputs, outputs).init(device)),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(layer) => layer.forward(x),
            Self::Sparse(layer) => layer.forward(x),
        }
    }
}

#[derive(Module, Debug)]
struct Network {
    first: Layer,
    second: Layer,
    last: Linear,
}

impl Network {
    fn new(inputs: usize, sparse: bool, device: &Device) -> Self {
        Self {
            first: Layer::new(inputs, HIDDEN, sparse, device),
            second: Layer::new(HIDDEN, HIDDEN, sparse, device),
            last: LinearConfig::new(HIDDEN, 10).init(device),
        }
    }

    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let x = activation::relu(self.first.forward(batch.images));
        let x = activation::relu(self.second.forward(x));
        let output = self.last.forward(x);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        ClassificationOutput::new(loss.forward(output.clone(), batch.labels.clone()), output, batch.labels)
    }
}

impl TrainStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let found = self.classify(batch);
        TrainOutput::new(self, found.loss.backward(), found)
    }
}

impl InferenceStep for Network {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

#[derive(Debug, Clone)]
struct Batch {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
}

/// Reads rows of a table by number.
struct Reader {
    rows: Arc<Rows>,
    width: usize,
}

impl Batcher<u32, Batch> for Reader {
    fn batch(&self, rows: Vec<u32>, device: &Device) -> Batch {
        let (mut features, mut labels) = (vec![0.0; rows.len() * self.width], vec![0; rows.len()]);
        if let Rows::Table(table) = &*self.rows {
            table.fill(&rows, self.width, &mut features, &mut labels);
        }
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        Batch {
            images: Tensor::from_data(TensorData::new(features, [rows.len(), self.width]), device),
            labels: Tensor::from_data(TensorData::new(labels, [rows.len()]), device),
        }
    }
}

/// Loader of the rows, whose features are padded with zeros to a multiple of the block.
fn loader(rows: Rows, width: usize, shuffle: bool, device: &Device) -> Arc<dyn DataLoader<Batch>> {
    let numbers = InMemDataset::new((0..rows.rows() as u32).collect());
    let builder = DataLoaderBuilder::new(Reader { rows: Arc::new(rows), width }).batch_size(128);
    let builder = if shuffle { builder.shuffle(1) } else { builder };
    builder.set_device(device.clone()).build(numbers)
}

fn main() -> anyhow::Result<()> {
    let epochs = std::env::args().nth(1).map_or(Ok(5), |epochs| epochs.parse())?;
    let device = fretwork_burn::init(Device::wgpu_options())?;
    let data = Dataset::load(&Source::FashionMnist, 0, 0).or_else(|why| {
        println!("the embedded digits, since {why}");
        Dataset::load(&Source::Digits, 0, 0)
    })?;
    let width = data.width().next_multiple_of(16);
    let folder = std::env::temp_dir().join(format!("fretwork-burn-{}", std::process::id()));
    for (name, sparse) in [("two layers of three with a tenth of their blocks", true), ("dense", false)] {
        println!("{name}");
        let train = loader(data.train.clone(), width, true, &device.clone().autodiff());
        let test = loader(data.test.clone(), width, false, &device);
        let network = Network::new(width, sparse, &device.clone().autodiff());
        println!("{} parameters", network.num_params());
        SupervisedTraining::new(&folder, train, test)
            .metrics((AccuracyMetric::new(), LossMetric::new()))
            .num_epochs(epochs)
            .summary()
            .launch(Learner::new(network, AdamConfig::new().init(), 1e-3));
        std::fs::remove_dir_all(&folder).ok();
    }
    Ok(())
}
