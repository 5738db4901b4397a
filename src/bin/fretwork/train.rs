//! `fretwork train`.

use std::f64::consts::LN_2;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fretwork::data::{Dataset, Source};
use fretwork::gpu::{self, Gpu};
use fretwork::methods::{MethodConfig, Updates};
use fretwork::nn::{Half, LmConfig, MlpConfig, ModelConfig, MoeConfig, Precision};
use fretwork::ops::gate::Balance;
use fretwork::train::{Event, Flow, Length, OptimizerKind, RunFolder, Settings, Summary, Trainer};
use fretwork::tune::{Tuner, Tuning};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use crate::INTERRUPTED;
use crate::options::{Float, Model, Train};
use crate::output::line;

pub(crate) fn run(options: &Train) -> Result<ExitCode> {
    // Everything the host can refuse comes first, before a device is opened. A folder is made once there is a run for it.
    let (mut trainer, folder, gpu, tuner) = match &options.resume {
        Some(path) => {
            let folder = RunFolder::open(path)?;
            let checkpoint = folder.load()?;
            let settings = &checkpoint.settings;
            let context = settings.model.context();
            let data = Dataset::load(&settings.data.parse()?, settings.model.seed(), context)?;
            let data = data.first(settings.first_rows)?;
            let (gpu, tuner) = open(options)?;
            let trainer = Trainer::resume(&gpu, &checkpoint, &folder.checkpoint_path(), data)?;
            (trainer, Some(folder), gpu, tuner)
        }
        None => {
            let first_rows = [options.rows, options.test_rows];
            let data = Dataset::load(&options.data, options.seed, options.lm.context)?.first(first_rows)?;
            let settings = settings(options, &data);
            settings.validate()?;
            options.out.as_deref().map_or(Ok(()), RunFolder::expect_vacant)?;
            let (gpu, tuner) = open(options)?;
            let trainer = Trainer::new(&gpu, settings, data)?;
            let folder = options.out.as_deref().map(RunFolder::create).transpose()?;
            (trainer, folder, gpu, tuner)
        }
    };

    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;

    let text = matches!(trainer.settings().model, ModelConfig::Lm(_));
    let mut watcher = Watcher {
        json: options.json,
        text,
        stop_after: options.stop_after,
        steps: 0,
        interrupted,
        bar: None,
        tuning: None,
        said: Ok(()),
    };
    if let Some(tuner) = tuner {
        trainer.tune(tuner, &mut |event| watcher.see(event))?;
        watcher.end_tuning();
    }
    let summary = trainer.run(folder.as_ref(), &mut |event| watcher.see(event))?;
    watcher.said?;
    if options.json {
        let mut done = json!({ "event": "done", "adapter": gpu.info().name, "driver": gpu.driver() });
        if let (Some(done), serde_json::Value::Object(fields)) =
            (done.as_object_mut(), serde_json::to_value(&summary)?)
        {
            done.extend(fields);
        }
        line(done)?;
    } else {
        print_table(&summary, text, &gpu)?;
    }
    if summary.finished {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "stopped after {} steps{}",
        summary.steps,
        match (&options.resume, &options.out) {
            (Some(path), _) | (None, Some(path)) =>
                format!("; go on with: fretwork train --resume {}", path.display()),
            (None, None) => "; nothing was kept, because no --out was given".to_owned(),
        }
    );
    Ok(ExitCode::from(INTERRUPTED))
}

/// The device, and what has been measured on it, unless nothing is to be.
fn open(options: &Train) -> Result<(Gpu, Option<Tuner>)> {
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let tuning = Tuning::from_env()?.filter(|_| !options.no_tune && gpu.forced_variant().is_none());
    let tuner = tuning.map(|tuning| Tuner::open(&gpu, tuning));
    Ok((gpu, tuner))
}

fn settings(options: &Train, data: &Dataset) -> Settings {
    let (rate, decay) = match options.optimizer {
        OptimizerKind::AdamW => (0.004, 0.01),
        _ => (0.1, 0.0005),
    };
    let text = matches!(options.data, Source::Text(_));
    let epochs = match options.data {
        Source::Digits => 20,
        Source::Text(_) => 10,
        _ => 5,
    };
    let batch = options.batch.unwrap_or(if text { 16 } else { 128 });
    Settings {
        data: options.data.to_string(),
        first_rows: [options.rows, options.test_rows],
        model: model(options, data),
        precision: precision(options),
        method: method(options),
        length: match options.steps {
            Some(steps) => Length::Steps(steps),
            None => Length::Epochs(options.epochs.unwrap_or(epochs)),
        },
        batch,
        epoch_steps: options.epoch_steps.or(text.then_some(100)),
        optimizer: options.optimizer,
        learning_rate: options.lr.unwrap_or(rate),
        schedule: options.schedule,
        momentum: options.momentum,
        weight_decay: options.weight_decay.unwrap_or(decay),
    }
}

fn precision(options: &Train) -> Precision {
    match options.dtype {
        Float::F32 => Precision::F32,
        Float::F16 => Precision::F16(Half {
            stochastic: options.stochastic_rounding,
            loss_scale: options.loss_scale,
            ..Half::default()
        }),
    }
}

fn model(options: &Train, data: &Dataset) -> ModelConfig {
    let text = matches!(options.data, Source::Text(_));
    let sparsity = (!options.dense).then_some(options.sparsity);
    let (block, density, seed) = (options.block, options.init, options.seed);
    match options.model.unwrap_or(if text { Model::Lm } else { Model::Mlp }) {
        Model::Mlp => ModelConfig::Mlp(MlpConfig {
            inputs: data.width(),
            hidden: options.hidden.clone().unwrap_or_else(|| vec![512, 512]),
            classes: data.classes,
            block,
            sparsity,
            density,
            activation: options.activation,
            dropout: options.dropout,
            seed,
        }),
        kind => ModelConfig::Lm(LmConfig {
            vocabulary: data.vocabulary.clone(),
            context: options.lm.context,
            width: options.lm.width,
            heads: options.lm.heads,
            depth: options.lm.depth,
            hidden: options.hidden.as_ref().map_or(4 * options.lm.width, |hidden| hidden[0]),
            experts: (kind == Model::MoeLm).then(|| experts(options)),
            activation: options.activation,
            block,
            sparsity,
            density,
            seed,
        }),
    }
}

fn experts(options: &Train) -> MoeConfig {
    let lm = &options.lm;
    let hidden = options.hidden.as_ref().map_or(2 * lm.width, |hidden| hidden[0]);
    MoeConfig {
        experts: match lm.experts[..] {
            [count] => vec![hidden; count],
            _ => lm.experts.clone(),
        },
        gate: lm.gate,
        balance: Balance { aux: lm.aux, importance: lm.importance, load: lm.load, z: lm.z_loss },
        bias_rate: lm.bias_rate,
        capacity: lm.capacity,
        overflow: lm.overflow,
        gated: lm.gated,
        shared: lm.shared,
    }
}

fn method(options: &Train) -> MethodConfig {
    let published = MethodConfig::new(options.method, options.sparsity);
    let updates = published.updates;
    MethodConfig {
        updates: Updates {
            every: options.update_every.unwrap_or(updates.every),
            from: options.update_from.unwrap_or(updates.from),
            until: options.update_until.unwrap_or(updates.until),
            fraction: options.update_fraction.unwrap_or(updates.fraction),
            decay: options.update_decay.unwrap_or(updates.decay),
        },
        backward_sparsity: options.backward_sparsity.unwrap_or(published.backward_sparsity),
        penalty: options.penalty.unwrap_or(published.penalty),
        score_rows: options.score_rows,
        prune_outgoing: options.prune_outgoing,
        scope: options.scope,
        ..published
    }
}

/// Shows a run's progress, and stops it where asked to.
struct Watcher {
    json: bool,
    /// Whether the model is one of text, whose loss is told in bits.
    text: bool,
    stop_after: Option<u64>,
    steps: u64,
    interrupted: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    /// While kernels are measured.
    tuning: Option<ProgressBar>,
    /// Whether what was said could be heard.
    said: Result<()>,
}

impl Watcher {
    fn see(&mut self, event: &Event) -> Flow {
        if !matches!(event, Event::Tuning { .. }) {
            self.end_tuning();
        }
        match event {
            Event::Tuning { done, of, shape } => {
                if !self.json {
                    let bar = self.tuning.get_or_insert_with(|| tuning_bar(*of));
                    bar.set_position(*done as u64 + 1);
                    bar.set_message(shape.clone());
                }
            }
            Event::Notice(notice) if self.json => {
                self.said = line(json!({ "event": "notice", "text": notice }));
            }
            Event::Notice(notice) => {
                let say = || eprintln!("note: {notice}");
                self.bar.as_ref().map_or_else(say, |bar| bar.suspend(say));
            }
            &Event::Progress { epoch, step, steps, loss, accuracy } => {
                self.steps += 1;
                if !self.json {
                    let bar = self.bar.get_or_insert_with(|| progress_bar(epoch, steps));
                    bar.set_position(step);
                    if let (Some(loss), Some(accuracy)) = (loss, accuracy) {
                        bar.set_message(format!("loss {loss:.4} acc {accuracy:.4}"));
                    }
                }
            }
            Event::Epoch { epoch, step, train, test, steps_per_second, loads, scaling } => {
                if self.json {
                    let event = json!({
                        "event": "epoch", "epoch": epoch, "step": step, "train": train, "test": test,
                        "steps_per_second": steps_per_second, "loads": loads, "scaling": scaling,
                    });
                    self.said = line(event);
                } else if let Some(bar) = self.bar.take() {
                    let test = match self.text {
                        true => format!("{:.3} bits/char", test.loss / LN_2),
                        false => format!("{:.4}", test.accuracy),
                    };
                    bar.finish_with_message(format!(
                        "loss {:.4} acc {:.4} test {test}",
                        train.loss, train.accuracy
                    ));
                }
            }
        }
        let enough = self.stop_after.is_some_and(|most| self.steps >= most);
        let stop = enough || self.interrupted.load(Ordering::Relaxed) || self.said.is_err();
        if stop { Flow::Stop } else { Flow::Continue }
    }

    fn end_tuning(&mut self) {
        if let Some(bar) = self.tuning.take() {
            bar.finish_and_clear();
        }
    }
}

/// A line that says which kernel is being measured.
fn tuning_bar(of: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("tuning {pos} of {len} kernels  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(of as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line of at most 80 columns, so that an ordinary terminal shows all of it.
fn progress_bar(epoch: u64, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("epoch {prefix:>3} {bar:16} {pos:>4}/{len} {rate:>8}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // Nothing is lost where a rate cannot be shown.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        });
    let bar = ProgressBar::new(steps).with_style(style).with_prefix((epoch + 1).to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print_table(summary: &Summary, text: bool, gpu: &Gpu) -> Result<()> {
    let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let share = 100.0 * summary.params_present as f64 / summary.params_dense as f64;
    let bytes = &summary.bytes;
    let bits = ("test bits per character", format!("{:.4}", summary.test_loss / LN_2));
    let scaled = summary
        .scaling
        .map(|scaling| ("loss scale", format!("{}, {} steps skipped", scaling.loss_scale, scaling.skipped)));
    // To ask a method that does nothing takes less.
    let operated = (summary.operating_ms >= 0.1)
        .then(|| ("the method, outside steps", format!("{:.1} ms in all", summary.operating_ms)));
    let rows = [
        ("test accuracy", format!("{:.4}", summary.test_accuracy)),
        ("train loss", format!("{:.4}", summary.train_loss)),
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
        ("time per step", format!("{:.2} ms", summary.step_ms)),
        ("blocking waits in steps", summary.blocking_waits.to_string()),
        ("adapter", gpu.info().name.clone()),
        ("driver", gpu.driver()),
    ];
    line("")?;
    rows.iter()
        .chain(text.then_some(&bits))
        .chain(&operated)
        .chain(&scaled)
        .try_for_each(|(name, value)| line(format!("{name:<24} {value}")))
}
