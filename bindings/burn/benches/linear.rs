//! A linear layer forward and backward: block-sparse within Burn, Burn's own dense one, and fretwork alone, interleaved.
//!
//!     cargo bench --manifest-path bindings/burn/Cargo.toml -- [WIDTH [DENSITY [BATCH [ROUNDS]]]]

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn_core::tensor::{Distribution, Tensor};
use fretwork_burn::fretwork::gpu::{Class, Gpu, Options, Plan, Recorder};
use fretwork_burn::fretwork::ops::{self, Epilogue, Transpose};
use fretwork_burn::fretwork::sparse::{BlockMatrix, Pattern, Topology};
use fretwork_burn::{FEATURES, SparseLinear, SparseLinearConfig, lend};

const BLOCK: usize = 16;
/// Runs of a candidate in a round, between two waits.
const RUNS: u32 = 10;

/// Fretwork's own plan for the work of a layer's forward and backward pass.
fn alone(gpu: &Gpu, topology: &Topology, rows: usize) -> Plan {
    let pattern = Pattern::upload(gpu, topology).unwrap();
    let [outputs, inputs] = [topology.rows(), topology.cols()];
    let tensor = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "bench", shape).unwrap();
    let [x, dx] = [0; 2].map(|_| tensor(&[rows, inputs]));
    let [y, dy] = [0; 2].map(|_| tensor(&[rows, outputs]));
    let [bias, db] = [0; 2].map(|_| tensor(&[outputs]));
    let [w, dw] = [0; 2].map(|_| BlockMatrix::alloc(gpu, Class::Scratch, "bench", &pattern).unwrap());
    let mut rec = Recorder::new(gpu);
    ops::dds(&mut rec, &x, &w, &y, Transpose::NT, Epilogue::Bias(&bias)).unwrap();
    ops::dds(&mut rec, &dy, &w, &dx, Transpose::NN, Epilogue::None).unwrap();
    ops::sdd(&mut rec, &dy, &x, &dw, Transpose::TN, None).unwrap();
    ops::column_sums(&mut rec, &dy, &db, false).unwrap();
    rec.finish().unwrap()
}

fn main() {
    // Cargo passes `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |at: usize, default: f64| args.get(at).map_or(default, |arg| arg.parse().unwrap());
    let [width, batch, rounds] = [number(0, 1024.0), number(2, 256.0), number(3, 30.0)].map(|n| n as usize);
    let density = number(1, 0.1);
    let gpu = Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    println!("{} ({}), {width}x{width}, batch {batch}", gpu.info().name, gpu.driver());
    let device = lend(&gpu).unwrap();
    let autodiff = device.clone().autodiff();
    let layer = SparseLinearConfig::new(width, width).block(BLOCK).density(density).init(&autodiff);
    let x = Tensor::<2>::random([batch, width], Distribution::Default, &autodiff).require_grad();
    let weight = Tensor::<2>::random([width, width], Distribution::Default, &autodiff).require_grad();
    let bias = Tensor::<2>::zeros([1, width], &autodiff).require_grad();
    let plan = alone(&gpu, layer.blocks.topology().unwrap(), batch);

    let sparse = || within(&layer, &x);
    let dense = || {
        let y = x.clone().matmul(weight.clone()) + bias.clone();
        let grads = y.backward();
        black_box([x.grad(&grads), weight.grad(&grads)]);
        black_box(bias.grad(&grads));
    };
    let own = || {
        gpu.run(&plan).unwrap();
    };
    let names = ["block-sparse, within Burn", "Burn's dense", "fretwork alone"];
    let candidates: [&dyn Fn(); 3] = [&sparse, &dense, &own];
    let mut times = [(); 3].map(|()| Vec::new());
    for round in 0..=rounds {
        for (candidate, times) in candidates.iter().zip(&mut times) {
            let began = Instant::now();
            (0..RUNS).for_each(|_| candidate());
            let recorded = began.elapsed() / RUNS;
            device.sync().unwrap();
            gpu.finish().unwrap();
            // The first round compiles.
            if round > 0 {
                times.push([began.elapsed() / RUNS, recorded]);
            }
        }
    }
    let medians = times.map(|times| [0, 1].map(|at| median(times.iter().map(|time| time[at]).collect())));
    println!("{:28} {:>10} {:>12} {:>8}", "", "median", "host's part", "ratio");
    for (name, [median, recorded]) in names.iter().zip(medians) {
        let ratio = median.as_secs_f64() / medians[0][0].as_secs_f64();
        println!("{name:28} {:>7.2} ms {:>9.3} ms {ratio:>8.2}", ms(median), ms(recorded));
    }
}

fn within(layer: &SparseLinear, x: &Tensor<2>) {
    let grads = layer.forward(x.clone()).backward();
    black_box([
        x.grad(&grads),
        layer.bias.as_ref().and_then(|bias| bias.val().grad(&grads)).map(Tensor::unsqueeze),
    ]);
    black_box(layer.values.val().grad(&grads));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}
