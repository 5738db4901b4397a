//! Widest hidden layer that fits in memory: 784-N-10, blocks of 64, 99 % sparse, batches of 128, AdamW, two steps for each N.
//!
//! `cargo run --release -p kernels-bench --bin ladder` prints a table; `--json FILE` also writes it. A width whose predicted size
//! exceeds `--limit-gib`, by default 8, is not tried.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use fretwork::Error;
use fretwork::data::{Dataset, Features, Table};
use fretwork::gpu::{Bytes, Gpu, Options};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{MlpConfig, Precision};
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream};
use fretwork::sparse::Density;
use fretwork::train::{Event, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};
use serde_json::json;

const INPUTS: usize = 784;
const CLASSES: usize = 10;
const BLOCK: usize = 64;
const BATCH: usize = 128;
const SPARSITY: f64 = 0.99;
const GIB: f64 = (1u64 << 30) as f64;

/// First widths, multiples of the block; each further width is twice the previous one.
const RUNGS: [usize; 4] = [64_000, 250_048, 1_000_000, 2_000_000];

fn main() -> Result<()> {
    let (json, limit) = arguments()?;
    let gpu = Gpu::request(Options::default())?;
    println!("{}, {}", gpu.info().name, gpu.driver());
    let limits = gpu.limits();
    let (binding, buffer) = (limits.max_storage_buffer_binding_size, limits.max_buffer_size);
    println!("a binding has at most {binding} bytes, a buffer {buffer}\n");
    println!(
        "    neurons     stored          dense   values  topology  gradients  optimizer  activations  scratch  peak MiB  RSS MiB  step s"
    );

    let mut rungs = Vec::new();
    let mut doubled = *RUNGS.last().unwrap_or(&BLOCK);
    let further = std::iter::repeat_with(|| {
        doubled *= 2;
        doubled
    });
    let ended = climb(RUNGS.into_iter().chain(further), limit, &mut rungs)?;
    println!("\n{ended}");
    if let Some(file) = json {
        let all = json!({
            "adapter": gpu.info().name,
            "driver": gpu.driver(),
            "largest_binding": binding,
            "largest_buffer": buffer,
            "limit_gib": limit,
            "rungs": rungs,
            "ended": ended,
        });
        std::fs::write(&file, format!("{all:#}\n")).with_context(|| file.clone())?;
    }
    Ok(())
}

fn arguments() -> Result<(Option<String>, f64)> {
    let (mut json, mut limit) = (None, 8.0);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--json", Some(file)) => json = Some(file),
            ("--limit-gib", Some(gib)) => limit = gib.parse().context("--limit-gib")?,
            _ => bail!("usage: ladder [--json FILE] [--limit-gib N]"),
        }
    }
    Ok((json, limit))
}

/// Trains networks of growing width until one does not fit, and returns the reason.
fn climb(
    widths: impl Iterator<Item = usize>,
    limit: f64,
    rungs: &mut Vec<serde_json::Value>,
) -> Result<String> {
    for neurons in widths {
        let predicted = predict(neurons) as f64 / GIB;
        if predicted > limit {
            return Ok(format!("{neurons} neurons are not tried: {predicted:.1} GiB, more than {limit}"));
        }
        match rung(neurons) {
            Ok(found) => rungs.push(found),
            Err(error) => match error.downcast_ref::<Error>() {
                Some(Error::OutOfMemory { .. } | Error::Limit { .. } | Error::Rejected { .. }) => {
                    return Ok(format!("{neurons} neurons ({predicted:.1} GiB): {error}"));
                }
                _ => return Err(error),
            },
        }
    }
    Ok(String::new())
}

/// Predicted bytes on the device: values, gradients and both moments, and the activations with their gradients. Pooled buffers
/// are rounded up by at most a quarter.
fn predict(neurons: usize) -> u64 {
    let inputs = INPUTS.next_multiple_of(BLOCK);
    let blocks = inputs / BLOCK * (neurons / BLOCK);
    let kept = blocks - (SPARSITY * blocks as f64) as usize;
    let parameters = kept * BLOCK * BLOCK + neurons + CLASSES * (neurons + 1);
    let rows = (BATCH * neurons * 4) as u64;
    let step = (rows.next_power_of_two() / 8).max(1);
    16 * parameters as u64 + 2 * rows.next_multiple_of(step)
}

/// Trains one width on a device of its own, so that no buffer of the previous width is left.
fn rung(neurons: usize) -> Result<serde_json::Value> {
    let gpu = &Gpu::request(Options::default())?;
    // Resets the peak resident size of this process, where the system allows it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let mut trainer = Trainer::new(gpu, settings(neurons), noise()?)?;
    let (mut seconds, mut began) = (Vec::new(), Instant::now());
    let summary = trainer.run(None, &mut |event| {
        // The first step compiles the kernels, so the second one counts.
        if matches!(event, Event::Progress { .. }) && gpu.finish().is_ok() {
            seconds.push(began.elapsed().as_secs_f64());
            began = Instant::now();
        }
        Flow::Continue
    })?;
    let Bytes { values, topology, gradients, optimizer, activations, scratch } = summary.bytes;
    let (present, dense) = (summary.params_present, summary.params_dense);
    let resident = peak_resident()?;
    let step = seconds.last().copied().unwrap_or(f64::NAN);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{neurons:>11} {present:>10} {dense:>14} {:>8.1} {:>9.2} {:>10.1} {:>10.1} {:>12.1} {:>8.2} {:>9.1} {:>8.1} {step:>7.2}",
        mib(values),
        mib(topology),
        mib(gradients),
        mib(optimizer),
        mib(activations),
        mib(scratch),
        mib(summary.peak_bytes),
        mib(resident),
    );
    Ok(json!({
        "neurons": neurons,
        "params_present": present,
        "params_dense": dense,
        "bytes": summary.bytes,
        "bytes_total": summary.bytes.total(),
        "peak_bytes": summary.peak_bytes,
        "peak_resident_bytes": resident,
        "step_seconds": step,
        "first_step_seconds": seconds.first(),
        "loss": summary.train_loss,
    }))
}

fn settings(neurons: usize) -> Settings {
    Settings {
        data: "noise".to_owned(),
        first_rows: [None; 2],
        table: Default::default(),
        model: MlpConfig {
            inputs: INPUTS,
            hidden: vec![neurons],
            classes: CLASSES,
            block: BLOCK,
            sparsity: Some(SPARSITY),
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        }
        .into(),
        method: MethodConfig::new(Kind::Static),
        precision: Precision::F32,
        length: Length::Steps(2),
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

/// Random data set: training rows for two steps, and one test row.
fn noise() -> Result<Dataset> {
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    let mut rows = |count: usize| {
        let pixels = (0..count * INPUTS).map(|_| walk.bits() as u8).collect();
        let labels = (0..count).map(|row| (row % CLASSES) as u32).collect();
        Table::new(Features::Bytes(pixels, 1.0 / 255.0), labels, INPUTS)
    };
    Ok(Dataset::of_tables("noise", rows(2 * BATCH)?, rows(1)?, CLASSES))
}

/// Peak resident bytes of this process, buffers of a software driver included.
fn peak_resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
