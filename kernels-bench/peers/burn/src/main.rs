//! Baseline in Burn of the work that `fretwork bench` times, on the adapter that wgpu picks: a layer's dense products and a dense
//! training step.
//!
//! Burn has no sparse products, so all networks are dense. Prints a JSON line for each timing.
//!
//!     cargo run --release -- [ROUNDS]

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Int, Tensor, activation};
use serde_json::json;

type Done = Result<(), Box<dyn Error>>;

const ROWS: usize = 256;
const SIDE: usize = 1024;

const BATCH: usize = 128;
const STEPS: usize = 10;

/// Network 784-1024-1024-10.
#[derive(Module, Debug)]
struct Network {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self { first: layer(784, SIDE), second: layer(SIDE, SIDE), last: layer(SIDE, 10) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = activation::relu(self.first.forward(x));
        let x = activation::relu(self.second.forward(x));
        self.last.forward(x)
    }
}

fn main() -> Done {
    let rounds = std::env::args().nth(1).map_or(Ok(9), |rounds| rounds.parse())?;
    // Without the feature `vulkan`, Burn compiles WGSL.
    let device = Device::wgpu(Default::default());
    products(&device, rounds)?;
    steps(&device.autodiff(), rounds)
}

fn numbers(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-0.5, 0.5), device)
}

/// Times `rounds` calls after two that do not count, the first of which also tunes. Each result is kept until the clock has
/// stopped, since Burn may skip a result that is dropped.
fn time<T>(what: &str, operations: f64, rounds: usize, device: &Device, mut run: impl FnMut() -> T) -> Done {
    let mut seconds = Vec::new();
    for round in 0..rounds + 2 {
        device.sync()?;
        let started = Instant::now();
        let _kept = run();
        device.sync()?;
        if round >= 2 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    println!("{}", json!({ "what": what, "operations": operations, "seconds": seconds }));
    Ok(())
}

fn products(device: &Device, rounds: usize) -> Done {
    let (x, dy) = (numbers([ROWS, SIDE], device), numbers([ROWS, SIDE], device));
    let w = numbers([SIDE, SIDE], device);
    let operations = 2.0 * (ROWS * SIDE * SIDE) as f64;
    time("dense x * W^T", operations, rounds, device, || x.clone().matmul(w.clone().transpose()))?;
    time("dense dy * W", operations, rounds, device, || dy.clone().matmul(w.clone()))?;
    time("dense dy^T * x", operations, rounds, device, || dy.clone().transpose().matmul(x.clone()))
}

fn steps(device: &Device, rounds: usize) -> Done {
    let x: Tensor<2> = Tensor::random([BATCH, 784], Distribution::Default, device);
    let classes: Vec<i32> = (0..BATCH).map(|row| row as i32 % 10).collect();
    let labels = Tensor::<1, Int>::from_ints(classes.as_slice(), device);
    let loss = CrossEntropyLossConfig::new().init(device);
    let mut optimizer: ModuleOptimizer = AdamWConfig::new().with_weight_decay(0.01).init();
    let mut network = Some(Network::new(device));
    let parameters = 784 * SIDE + SIDE * SIDE + SIDE * 10 + 2 * SIDE + 10;
    let operations = 6.0 * (BATCH * STEPS * parameters) as f64;
    time("10 steps, dense", operations, rounds, device, || {
        for _ in 0..STEPS {
            let Some(model) = network.take() else { return };
            let gradients = loss.forward(model.forward(x.clone()), labels.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            network = Some(optimizer.step(1e-4, model, gradients));
        }
    })
}
