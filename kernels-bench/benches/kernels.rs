//! Criterion benches of products and a training step, by the device's own clock where it has one. They compare a kernel with its
//! previous run; `fretwork bench` compares kernels with each other.
//!
//! `cargo bench -p kernels-bench` times all benches, and `cargo bench -p kernels-bench -- dds` those with `dds` in their names.

use std::time::Duration;

use anyhow::{Error, Result};
use criterion::{BenchmarkId, Criterion, Throughput};
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, Options, Plan, Recorder, Tensor, Timer};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{MlpConfig, Precision};
use fretwork::ops::{self, Activation, Epilogue, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BlockMatrix, Density, Pattern};
use fretwork::train::{Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};

/// Rows, outputs and inputs of the layers whose products are timed, multiples of the block sides.
const SMALL: [usize; 3] = [128, 512, 768];
const LARGE: [usize; 3] = [256, 1024, 1024];
/// Layer that replaces `LARGE` on a GPU.
const VAST: [usize; 3] = [512, 4096, 4096];

const BLOCKS: [usize; 3] = [16, 64, 128];
const DENSITIES: [f64; 2] = [0.1, 0.5];

/// Rows of a training step.
const BATCH: usize = 128;
/// Steps before the timing, which fill the batch.
const STEPS: usize = 3;

fn main() -> Result<()> {
    let device = Device::new()?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    println!("{}, {}, {}", device.gpu.info().name, device.gpu.driver(), device.timer.clock());
    dense(&mut criterion, &device)?;
    for family in [Family::Dds, Family::Dsd, Family::Sdd] {
        products(&mut criterion, &device, family)?;
    }
    step(&mut criterion, &device)?;
    criterion.final_summary();
    Ok(())
}

/// Device, its timer, and the layers that are timed.
struct Device {
    gpu: Gpu,
    timer: Timer,
    layers: [[usize; 3]; 2],
}

impl Device {
    fn new() -> Result<Self> {
        let gpu = Gpu::request(Options::default())?;
        let layers = [SMALL, if gpu.is_software() { LARGE } else { VAST }];
        Ok(Self { timer: Timer::new(&gpu)?, gpu, layers })
    }

    /// Operand of random numbers in [-0.5, 0.5), since zeros can be faster than the values of a network.
    fn numbers(&self, case: u32, shape: &[usize]) -> Result<Tensor> {
        let mut walk = Key::new(1, Stream::Check(case)).walk();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| walk.uniform() - 0.5).collect();
        Ok(self.gpu.upload(Class::Activations, "operand", shape, &values)?)
    }

    /// Function that times the recorded work.
    fn timed(&self, record: impl FnOnce(&mut Recorder<'_>) -> fretwork::Result<()>) -> Result<Timed<'_>> {
        let mut rec = Recorder::new(&self.gpu);
        record(&mut rec)?;
        let plan = rec.finish()?;
        Ok(Box::new(move |times| self.time(&plan, times)))
    }

    fn time(&self, plan: &Plan, times: u64) -> Result<Duration> {
        (0..times).map(|_| self.timer.time(plan).map_err(Error::from)).sum()
    }
}

/// Function that executes work a number of times and returns the time taken.
type Timed<'a> = Box<dyn Fn(u64) -> Result<Duration> + 'a>;

/// Times the work that `make` prepares; `make` runs only if the bench is selected. Criterion takes no errors, so the first error
/// is kept and returned afterwards.
fn bench<'a>(
    criterion: &mut Criterion,
    [group, name]: [&str; 2],
    work: usize,
    make: impl Fn() -> Result<Timed<'a>>,
) -> Result<()> {
    let (mut timed, mut failed) = (None::<Timed<'a>>, None);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(work as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_custom(|times| {
            let took = match &timed {
                Some(timed) => timed(times),
                None => make().and_then(|made| timed.insert(made)(times)),
            };
            // Criterion needs a duration; this one is discarded with the error.
            took.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                Duration::from_secs(1)
            })
        });
    });
    group.finish();
    failed.map_or(Ok(()), Err)
}

fn dense(criterion: &mut Criterion, device: &Device) -> Result<()> {
    for [rows, outputs, inputs] in device.layers {
        let name = format!("{rows}x{outputs}x{inputs}");
        bench(criterion, ["dense", &name], rows * outputs * inputs, || {
            let (x, w) = (device.numbers(0, &[rows, inputs])?, device.numbers(1, &[outputs, inputs])?);
            let y = device.gpu.alloc::<f32>(Class::Activations, "y", &[rows, outputs])?;
            device.timed(|rec| ops::dense(rec, &x, &w, &y, Transpose::NT, Epilogue::None))
        })?;
    }
    Ok(())
}

/// Product of a layer, by its sparse matrix.
#[derive(Clone, Copy)]
enum Family {
    /// `x * W^T`.
    Dds,
    /// `W * x`, with feature-major activations.
    Dsd,
    /// `dy^T * x`.
    Sdd,
}

fn products(criterion: &mut Criterion, device: &Device, family: Family) -> Result<()> {
    let group = match family {
        Family::Dds => "dds",
        Family::Dsd => "dsd",
        Family::Sdd => "sdd",
    };
    for layer in device.layers {
        for block in BLOCKS {
            for density in DENSITIES {
                let [rows, outputs, inputs] = layer;
                let places = (outputs / block) * (inputs / block);
                let nnz = ((density * places as f64).round() as usize).max(1);
                let name = format!("{rows}x{outputs}x{inputs} b{block} at {density}");
                let work = rows * nnz * block * block;
                bench(criterion, [group, &name], work, || product(device, family, layer, block, nnz))?;
            }
        }
    }
    Ok(())
}

fn product<'a>(
    device: &'a Device,
    family: Family,
    [rows, outputs, inputs]: [usize; 3],
    block: usize,
    nnz: usize,
) -> Result<Timed<'a>> {
    let gpu = &device.gpu;
    let topology = sparse::random(outputs, inputs, block, nnz, Key::new(1, Stream::Pattern(0)))?;
    let pattern = Pattern::upload(gpu, &topology)?;
    let w = BlockMatrix::adopt(pattern, device.numbers(0, &[nnz, block, block])?)?;
    let room = |shape: [usize; 2]| gpu.alloc::<f32>(Class::Activations, "out", &shape);
    match family {
        Family::Dds => {
            let (x, y) = (device.numbers(1, &[rows, inputs])?, room([rows, outputs])?);
            device.timed(|rec| ops::dds(rec, &x, &w, &y, Transpose::NT, Epilogue::None))
        }
        Family::Dsd => {
            let (x, y) = (device.numbers(1, &[inputs, rows])?, room([outputs, rows])?);
            device.timed(|rec| ops::dsd(rec, &w, &x, &y, Transpose::NN))
        }
        Family::Sdd => {
            let (x, dy) = (device.numbers(1, &[rows, inputs])?, device.numbers(2, &[rows, outputs])?);
            device.timed(|rec| ops::sdd(rec, &dy, &x, &w, Transpose::TN, None))
        }
    }
}

/// Times a training step on one batch of the digits: forward, backward and the optimizer.
fn step(criterion: &mut Criterion, device: &Device) -> Result<()> {
    for (name, sparsity, block) in
        [("dense", None, 16), ("b16 at 0.1", Some(0.9), 16), ("b128 at 0.1", Some(0.9), 128)]
    {
        bench(criterion, ["step", name], BATCH, || {
            let data = Dataset::load(&Source::Digits, 1, 0)?;
            let mut trainer = Trainer::new(&device.gpu, settings(sparsity, block), data)?;
            let mut taken = 0;
            trainer.run(None, &mut |event: &Event| {
                taken += usize::from(matches!(event, Event::Progress { .. }));
                if taken >= STEPS { Flow::Stop } else { Flow::Continue }
            })?;
            Ok(Box::new(move |times| device.time(trainer.step_plan(), times)))
        })?;
    }
    Ok(())
}

fn settings(sparsity: Option<f64>, block: usize) -> Settings {
    Settings {
        data: "digits".to_owned(),
        first_rows: [None; 2],
        table: Default::default(),
        model: MlpConfig {
            inputs: 64,
            hidden: vec![1024, 1024],
            classes: 10,
            block,
            sparsity,
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        }
        .into(),
        precision: Precision::F32,
        method: MethodConfig::new(Kind::Static),
        length: Length::Epochs(1000),
        batch: BATCH,
        micro_batch: None,
        recompute: None,
        images: None,
        validation: None,
        epoch_steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-4,
        schedule: Schedule::Constant,
        momentum: 0.9,
        weight_decay: 0.01,
        rows_seed: None,
        tasks: None,
        basis: None,
        warmup: 0,
        origin: Default::default(),
    }
}
