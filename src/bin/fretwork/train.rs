//! `fretwork train`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use fretwork::data::Task;
use fretwork::gpu::Gpu;
use fretwork::nn::ModelConfig;
use fretwork::train::{Best, EmptyLines, Event, Length, Summary, Validated};

use crate::INTERRUPTED;
use crate::begin::Begun;
use crate::effect::Given;
use crate::events;
use crate::networks;
use crate::options::Train;
use crate::output::{line, significant};
use crate::progress::{Watcher, duration};

pub(crate) fn run(options: &Train, given: &Given) -> Result<ExitCode> {
    let Begun { mut trainer, folder, gpu, tuner, notices } = Begun::new(options, given, None)?;
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
        line(events::done(&summary, task, &gpu)?)?;
    } else {
        print_table(&summary, task, text, &gpu)?;
        if let (Some(scores), ModelConfig::Mlps(config)) = (&summary.networks, &trainer.settings().model) {
            networks::print(config, scores)?;
        }
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

fn print_table(summary: &Summary, task: Task, text: bool, gpu: &Gpu) -> Result<()> {
    let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let loss = |loss: f64| match (task, text) {
        (Task::Regression, _) => format!("{loss:.4} mean squared error, standardised"),
        (Task::Classification, true) => format!("{loss:.4} nats per byte"),
        (Task::Classification, false) => format!("{loss:.4} nats per row"),
    };
    let mean = if summary.networks.is_some() { ", mean of the networks" } else { "" };
    let share = 100.0 * summary.params_present as f64 / summary.params_dense as f64;
    let bytes = &summary.bytes;
    // A run that was already finished trains no step here.
    let trained = summary.step_ms.is_finite();
    let mut rows = Vec::new();
    match task {
        Task::Classification => rows.push(("test accuracy", format!("{:.4}{mean}", summary.test_accuracy))),
        Task::Regression => {
            rows.extend(summary.test_rmse.map(|rmse| ("test RMSE", significant(rmse))));
            rows.extend(summary.test_r2.map(|r2| ("test R²", format!("{r2:.4}"))));
        }
    }
    rows.extend(summary.tasks.as_ref().map(|tasks| {
        let each: Vec<_> = tasks.accuracy.iter().map(|accuracy| format!("{accuracy:.4}")).collect();
        ("       of each task", each.join(", "))
    }));
    rows.push(("test loss", loss(summary.test_loss) + mean));
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
