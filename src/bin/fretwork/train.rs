//! `fretwork train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use fretwork::data::{Dataset, LoadOptions, Task};
use fretwork::gpu::{self, Gpu};
use fretwork::nn::ModelConfig;
use fretwork::train::{
    Best, EmptyLines, Event, Length, Parts, RunFolder, StartFrom, Summary, Trainer, Validated, Weights,
};
use fretwork::tune::{Tuner, Tuning};
use serde_json::json;

use crate::INTERRUPTED;
use crate::effect::{Given, refuse_idle, refuse_settled};
use crate::options::{Run, Train};
use crate::output::{line, loss_unit, significant};
use crate::progress::{Watcher, duration, while_waiting};
use crate::settings::settings;

/// Run that is ready for its first step in this process.
struct Begun {
    trainer: Trainer,
    folder: Option<RunFolder>,
    gpu: Gpu,
    tuner: Option<Tuner>,
    notices: Vec<String>,
}

pub(crate) fn run(options: &Train, given: &Given) -> Result<ExitCode> {
    let Begun { mut trainer, folder, gpu, tuner, notices } = match &options.run.resume {
        Some(path) => resume(options, given, path)?,
        None => begin(options, given)?,
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;

    let run = &options.run;
    let text = matches!(trainer.settings().model, ModelConfig::Lm(_));
    let task = trainer.settings().task();
    let epochs = if let Length::Epochs(epochs) = trainer.settings().length { epochs } else { 0 };
    let mut watcher = Watcher::new(run.json, run.stop_after, epochs, interrupted);
    for notice in notices {
        watcher.see(&Event::Notice(notice));
    }
    if let Some(tuner) = tuner {
        trainer.tune(tuner, &mut |event| watcher.see(event))?;
    }
    let summary = trainer.run(folder.as_ref(), &mut |event| watcher.see(event))?;
    watcher.finish()?;
    if run.json {
        let mut done = json!({
            "event": "done", "adapter": gpu.info().name, "driver": gpu.driver(), "loss_unit": loss_unit(task),
        });
        if let (Some(done), serde_json::Value::Object(fields)) =
            (done.as_object_mut(), serde_json::to_value(&summary)?)
        {
            done.extend(fields);
        }
        line(done)?;
    } else {
        print_table(&summary, task, text, &gpu)?;
    }
    if summary.finished {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "stopped after {} steps{}",
        summary.steps,
        match (&run.resume, &run.out) {
            (Some(path), _) | (None, Some(path)) =>
                format!("; go on with: fretwork train --resume {}", path.display()),
            (None, None) => "; nothing was kept, because no --out was given".to_owned(),
        }
    );
    Ok(ExitCode::from(INTERRUPTED))
}

/// Begins a new run. Options and data are validated before a device is opened, and the folder is created last.
fn begin(options: &Train, given: &Given) -> Result<Begun> {
    let Train { data, network, lm, run, .. } = options;
    refuse_idle(options, given)?;
    let data = Dataset::load_with(
        &data.data,
        &LoadOptions {
            seed: network.seed,
            context: lm.context,
            table: data.table(),
            images: data.images().unwrap_or_default(),
            first_rows: [data.rows, data.test_rows],
            validation: data.validation.clone(),
        },
    )?;
    let read = |path: &Option<PathBuf>| path.as_deref().map(Weights::read).transpose();
    let start =
        StartFrom { weights: read(&options.start.init_from)?, pattern: read(&options.start.pattern)? };
    let (mut settings, mut notices) = settings(options, &data, &start)?;
    settings.validate()?;
    notices.splice(..0, data.notices.iter().cloned());
    notices.extend(settings.start_from(&start)?);
    settings.validate()?;
    run.out.as_deref().map_or(Ok(()), RunFolder::expect_vacant)?;
    let (gpu, tuner) = open(run)?;
    // A method that prunes at the start has kernels compiled for it here.
    let trainer = while_waiting(run.json, "preparing the network", || {
        let parts = Parts { start, ..settings.parts() };
        Trainer::with_parts(&gpu, settings, data, parts)
    })?;
    let folder = run.out.as_deref().map(RunFolder::create).transpose()?;
    Ok(Begun { trainer, folder, gpu, tuner, notices })
}

/// Resumes the run in the folder at `path`.
fn resume(options: &Train, given: &Given, path: &Path) -> Result<Begun> {
    refuse_settled(given)?;
    let folder = RunFolder::open(path)?;
    let mut checkpoint = folder.load()?;
    let settings = &checkpoint.settings;
    let data = settings.load_data()?;
    let mut notices = Vec::new();
    if checkpoint.fingerprint.is_none() {
        notices.push(format!(
            "the checkpoint has no fingerprint of the data, so a change of {} since then goes unnoticed",
            settings.data
        ));
    }
    let (rows, done) = (data.train.rows(), checkpoint.position.step);
    let length = options.steps.epochs.map(Length::Epochs).or(options.steps.steps.map(Length::Steps));
    if let Some(length) = length {
        notices.push(checkpoint.extend(length, rows)?);
    } else if done >= settings.total_steps(rows) {
        notices.push(format!(
            "the run in {} is finished, after {done} steps; give --epochs or --steps of the whole run to extend it",
            path.display()
        ));
    }
    let (gpu, tuner) = open(&options.run)?;
    let trainer = while_waiting(options.run.json, "preparing the network", || {
        Trainer::resume(&gpu, &checkpoint, &folder.checkpoint_path(), data)
    })?;
    Ok(Begun { trainer, folder: Some(folder), gpu, tuner, notices })
}

/// Opens the device, and its tuner unless tuning is off.
fn open(run: &Run) -> Result<(Gpu, Option<Tuner>)> {
    let gpu = Gpu::request(gpu::Options { adapter: run.adapter.clone(), ..gpu::Options::default() })?;
    let tuning = Tuning::from_env()?.filter(|_| !run.no_tune && gpu.forced_variant().is_none());
    let tuner = tuning.map(|tuning| Tuner::open(&gpu, tuning));
    Ok((gpu, tuner))
}

fn print_table(summary: &Summary, task: Task, text: bool, gpu: &Gpu) -> Result<()> {
    let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let loss = |loss: f64| match (task, text) {
        (Task::Regression, _) => format!("{loss:.4} mean squared error, standardised"),
        (Task::Classification, true) => format!("{loss:.4} nats per byte"),
        (Task::Classification, false) => format!("{loss:.4} nats per row"),
    };
    let share = 100.0 * summary.params_present as f64 / summary.params_dense as f64;
    let bytes = &summary.bytes;
    // A run that was already finished trains no step here.
    let trained = summary.step_ms.is_finite();
    let mut rows = Vec::new();
    match task {
        Task::Classification => rows.push(("test accuracy", format!("{:.4}", summary.test_accuracy))),
        Task::Regression => {
            rows.extend(summary.test_rmse.map(|rmse| ("test RMSE", significant(rmse))));
            rows.extend(summary.test_r2.map(|r2| ("test R²", format!("{r2:.4}"))));
        }
    }
    rows.push(("test loss", loss(summary.test_loss)));
    if let Some(Validated { last, best, finished_early }) = summary.validation {
        match (last.rmse, last.r2) {
            (Some(rmse), r2) => {
                rows.push(("validation RMSE", significant(rmse)));
                rows.extend(r2.map(|r2| ("validation R²", format!("{r2:.4}"))));
            }
            (None, _) => rows.push(("validation accuracy", format!("{:.4}", last.accuracy))),
        }
        rows.push(("validation loss", loss(last.loss)));
        rows.extend(best.map(|Best { epoch, validation, test, .. }| {
            let tested = match test.rmse {
                Some(rmse) => format!("RMSE {}", significant(rmse)),
                None => format!("accuracy {:.4}", test.accuracy),
            };
            let text = format!("{}, of validation loss {:.4}; its test {tested}", epoch + 1, validation.loss);
            ("best epoch", text)
        }));
        rows.extend(
            finished_early.then(|| ("finished early", "the validation loss fell no more".to_owned())),
        );
    }
    rows.extend(trained.then(|| ("train loss", loss(summary.train_loss))));
    rows.extend([
        (
            "parameters present",
            format!("{} ({share:.1} % of {})", summary.params_present, summary.params_dense),
        ),
        ("bytes: values", kib(bytes.values)),
        ("       topology", kib(bytes.topology)),
        ("       gradients", kib(bytes.gradients)),
        ("       optimizer", kib(bytes.optimizer)),
        ("       activations", kib(bytes.activations)),
        ("       scratch", kib(bytes.scratch)),
        ("       peak, together", kib(summary.peak_bytes)),
        ("steps", summary.steps.to_string()),
    ]);
    rows.extend(trained.then(|| ("time per step", duration(summary.step_ms))));
    // Calls of a method that does nothing take less than 0.1 ms in all.
    rows.extend(
        (summary.operating_ms >= 0.1)
            .then(|| ("the method, outside steps", format!("{:.1} ms in all", summary.operating_ms))),
    );
    rows.extend([
        ("blocking waits in steps", summary.blocking_waits.to_string()),
        ("adapter", gpu.info().name.clone()),
        ("driver", gpu.driver()),
    ]);
    rows.extend(
        summary.scaling.map(|scaling| {
            ("loss scale", format!("{}, {} steps skipped", scaling.loss_scale, scaling.skipped))
        }),
    );
    rows.extend(summary.empty_lines.iter().map(|lines| {
        let EmptyLines { layer, rows, cols, of: [all_rows, all_cols] } = lines;
        let lines = format!("{layer} {rows} of {all_rows} rows, {cols} of {all_cols} columns");
        ("lines without a block", lines)
    }));
    line("")?;
    rows.iter().try_for_each(|(name, value)| line(format!("{name:<24} {value}")))
}
