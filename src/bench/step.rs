//! Training step with AdamW: sparse compared with dense, and its cost on the host.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::{Bench, Cell, Entry, Findings, Grid, Role, Subject, interleave};
use crate::data::{Dataset, Features, Table};
use crate::gpu::{Gpu, Options};
use crate::methods::{Decay, Every, Kind, MethodConfig, Updates};
use crate::nn::MlpConfig;
use crate::ops::Activation;
use crate::random::{Key, Stream};
use crate::sparse::Density;
use crate::train::{Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};
use crate::{Error, Result};

/// Hidden units of a network, and the least speed-up of its step at 90 % sparsity in f32.
const BAR: ([usize; 2], f64) = ([1024, 1024], 6.5);

const SPARSITY: f64 = 0.9;

/// Replays of a step over which the host time is the median.
const REPLAYS: usize = 50;

const INPUTS: usize = 784;
const CLASSES: usize = 10;

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let [dense, control, sparse] = [None, None, Some(SPARSITY)]
        .map(|sparsity| Run::new(bench, &bench.gpu, sparsity, Kind::Static, NEVER));
    let (dense, control, sparse) = (dense?, control?, sparse?);
    let entries = vec![
        dense.entry("dense", Role::Baseline),
        control.entry("control: dense again", Role::Control),
        sparse.entry("90 % sparse, blocks of 16", Role::Candidate),
    ];
    let table = interleave(title(bench), bench.sizes.rounds, entries)?;
    let [first, .., last] = table.rows() else {
        return Err(Error::argument("step", "rows", 3, table.rows().len()));
    };
    let times = first.median() / last.median();

    let bar = (!bench.is_half() && bench.sizes.hidden == BAR.0).then_some(BAR.1);
    let both = [(&dense, None), (&sparse, Some(SPARSITY))];
    let mut rows = vec![
        vec![Cell::text("times as fast"), Cell::Empty, Cell::at_least(times, bar)],
        vec![Cell::text("dispatches a step")],
        vec![Cell::text("barriers a step")],
        vec![Cell::text("host time a dispatch, \u{b5}s")],
        vec![Cell::text("from no device to the end of the first step, ms")],
    ];
    for (run, sparsity) in both {
        let plan = run.trainer.borrow();
        let dispatches = plan.step_plan().len();
        let mut replays = (0..REPLAYS).map(|_| replay(&bench.gpu, &plan)).collect::<Result<Vec<_>>>()?;
        replays.sort_unstable();
        let host = replays[REPLAYS / 2].as_secs_f64();
        rows[1].push(Cell::text(dispatches.to_string()));
        rows[2].push(Cell::text(plan.step_plan().barriers().to_string()));
        rows[3].push(Cell::Number(host * 1e6 / dispatches as f64));
        rows[4].push(Cell::Number(start(bench, sparsity)?.as_secs_f64() * 1e3));
    }
    let grid = Grid {
        title: "A training step".to_owned(),
        head: ["", "dense", "90 % sparse"].map(str::to_owned).to_vec(),
        rows,
    };
    let mut grids = vec![grid];
    for (run, name) in [(&dense, "dense"), (&sparse, "90 % sparse")] {
        let title = format!("Where the time of a step goes: {name}");
        grids.extend(bench.by_kernel(title, run.trainer.borrow().step_plan())?);
    }
    Ok(Findings { subject: Subject::Step, tables: vec![table], grids, curves: Vec::new() })
}

/// Host time to encode and submit a step.
fn replay(gpu: &Gpu, trainer: &Trainer) -> Result<Duration> {
    let started = Instant::now();
    gpu.run(trainer.step_plan())?;
    let took = started.elapsed();
    gpu.finish()?;
    Ok(took)
}

/// Time from the request of a device to the end of the first step: adapter, kernels, network and plans.
fn start(bench: &Bench, sparsity: Option<f64>) -> Result<Duration> {
    let data = data(bench)?;
    let adapter = Some(bench.gpu.info().name.clone());
    let started = Instant::now();
    let gpu = Gpu::request(Options { adapter, ..Options::default() })?;
    let trainer = Trainer::new(&gpu, settings(bench, &data, sparsity, Kind::Static, NEVER), data)?;
    gpu.run(trainer.step_plan())?;
    gpu.finish()?;
    Ok(started.elapsed())
}

pub(super) fn title(bench: &Bench) -> String {
    let hidden: Vec<_> = bench.sizes.hidden.iter().map(usize::to_string).collect();
    let (steps, batch) = (bench.sizes.steps, bench.sizes.batch);
    format!(
        "{steps} training steps of {INPUTS}-{}-{CLASSES}, {batch} rows, AdamW, {}",
        hidden.join("-"),
        bench.dtype().name()
    )
}

/// Schedule without topology updates.
pub(super) const NEVER: Updates =
    Updates { every: Every::Steps(1), from: 0.0, until: 0.0, fraction: 0.3, decay: Decay::Constant };

const BATCHES: usize = 200;

/// Rows of random data, as many as 200 batches of 128 have.
const RANDOM_ROWS: usize = BATCHES * 128;

const EPOCHS: u32 = 1000;

/// Steps of a whole run, far more than are timed.
pub(super) const RUN: f64 = BATCHES as f64 * EPOCHS as f64;

/// Training run that is timed a few steps at a time.
pub(super) struct Run {
    pub(super) trainer: RefCell<Trainer>,
    operations: f64,
    steps: u64,
}

impl Run {
    pub(super) fn new(
        bench: &Bench,
        gpu: &Gpu,
        sparsity: Option<f64>,
        kind: Kind,
        updates: Updates,
    ) -> Result<Self> {
        let data = data(bench)?;
        let trainer = Trainer::new(gpu, settings(bench, &data, sparsity, kind, updates), data)?;
        let (batch, steps) = (bench.sizes.batch, bench.sizes.steps);
        // 2 operations for each stored weight and row: once forward, twice backward.
        let operations = 6.0 * (batch as u64 * steps) as f64 * trainer.model().params_present() as f64;
        Ok(Self { trainer: RefCell::new(trainer), operations, steps })
    }

    pub(super) fn entry(&self, name: &str, role: Role) -> Entry<'_> {
        Entry {
            name: name.to_owned(),
            role,
            operations: self.operations,
            bytes: None,
            times: 1,
            run: Box::new(|| self.go_on()),
        }
    }

    /// Trains `sizes.steps` more steps and returns the time taken.
    ///
    /// # Errors
    /// [`Error::Wrong`] if the host waited for the device, and those of [`Trainer::run`].
    pub(super) fn go_on(&self) -> Result<Duration> {
        let started = Instant::now();
        let mut done = 0;
        let summary = self.trainer.borrow_mut().run(None, &mut |event| {
            done += u64::from(matches!(event, Event::Progress { .. }));
            if done >= self.steps { Flow::Stop } else { Flow::Continue }
        })?;
        if summary.blocking_waits > 0 {
            let reason = format!("it waited for the device {} times", summary.blocking_waits);
            return Err(Error::Wrong { label: "step".to_owned(), reason });
        }
        Ok(started.elapsed())
    }
}

/// Random data set: training rows for 200 batches, so that few epochs end while the clock runs, and one test row. Large batches repeat
/// the first rows, since hundreds of megabytes of random numbers take longer than the steps of a GPU.
fn data(bench: &Bench) -> Result<Dataset> {
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    let mut rows = |count: usize| {
        let random = (0..count.min(RANDOM_ROWS) * INPUTS).map(|_| walk.bits() as u8).collect::<Vec<_>>();
        let mut pixels = random.repeat(count.div_ceil(RANDOM_ROWS));
        pixels.truncate(count * INPUTS);
        let labels = (0..count).map(|i| (i % CLASSES) as u32).collect();
        Table::new(Features::Bytes(pixels, 1.0 / 255.0), labels, INPUTS)
    };
    Ok(Dataset::of_tables("noise", rows(BATCHES * bench.sizes.batch)?, rows(1)?, CLASSES))
}

/// A method with its published options, but for the schedule.
pub(super) fn method(kind: Kind, updates: Updates) -> MethodConfig {
    let mut method = MethodConfig::new(kind);
    if let Some(own) = method.shared().updates {
        *own = updates;
    }
    method
}

fn settings(bench: &Bench, data: &Dataset, sparsity: Option<f64>, kind: Kind, updates: Updates) -> Settings {
    Settings {
        data: data.name.clone(),
        first_rows: [None; 2],
        table: Default::default(),
        model: MlpConfig {
            inputs: INPUTS,
            hidden: bench.sizes.hidden.clone(),
            classes: CLASSES,
            block: 16,
            sparsity,
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        }
        .into(),
        method: method(kind, updates),
        precision: bench.sizes.precision,
        length: Length::Epochs(EPOCHS.into()),
        batch: bench.sizes.batch,
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
