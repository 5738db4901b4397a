//! Runs that are ready for their first step: begun from options, or resumed from a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fretwork::data::{Dataset, LoadOptions};
use fretwork::gpu::{self, Gpu, Halt};
use fretwork::train::{Length, Parts, RunFolder, StartFrom, Trainer, Weights};
use fretwork::tune::{Tuner, Tuning};

use crate::effect::{Given, refuse_idle, refuse_settled};
use crate::options::{Run, Train};
use crate::progress::while_waiting;
use crate::settings::settings;

/// Run that is ready for its first step in this process.
pub(crate) struct Begun {
    pub(crate) trainer: Trainer,
    pub(crate) folder: Option<RunFolder>,
    pub(crate) gpu: Gpu,
    pub(crate) tuner: Option<Tuner>,
    pub(crate) notices: Vec<String>,
}

impl Begun {
    /// Resumes the run in the folder that `--resume` names, or begins a new one. A `halt` stops it while it is prepared.
    pub(crate) fn new(options: &Train, given: &Given, halt: Option<Halt>) -> Result<Self> {
        match &options.run.resume {
            Some(path) => resume(options, given, halt, path),
            None => begin(options, given, halt),
        }
    }
}

/// Begins a new run. Options and data are validated before a device is opened, and the folder is created last.
fn begin(options: &Train, given: &Given, halt: Option<Halt>) -> Result<Begun> {
    let Train { data, network, lm, run, .. } = options;
    refuse_idle(options, given)?;
    let data = Dataset::load_with(
        &data.data,
        &LoadOptions {
            seed: network.rows_seed.unwrap_or(network.seed),
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
    let (gpu, tuner) = open(run, halt)?;
    // A method that prunes at the start has kernels compiled for it here.
    let trainer = while_waiting(run.json, "preparing the network", || {
        let parts = Parts { start, ..settings.parts() };
        Trainer::with_parts(&gpu, settings, data, parts)
    })?;
    let folder = run.out.as_deref().map(RunFolder::create).transpose()?;
    Ok(Begun { trainer, folder, gpu, tuner, notices })
}

/// Resumes the run in the folder at `path`.
fn resume(options: &Train, given: &Given, halt: Option<Halt>, path: &Path) -> Result<Begun> {
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
    let (gpu, tuner) = open(&options.run, halt)?;
    let trainer = while_waiting(options.run.json, "preparing the network", || {
        Trainer::resume(&gpu, &checkpoint, &folder.checkpoint_path(), data)
    })?;
    Ok(Begun { trainer, folder: Some(folder), gpu, tuner, notices })
}

/// Opens the device, and its tuner unless tuning is off.
fn open(run: &Run, halt: Option<Halt>) -> Result<(Gpu, Option<Tuner>)> {
    let gpu = Gpu::request(gpu::Options { adapter: run.adapter.clone(), halt, ..gpu::Options::default() })?;
    let tuning = Tuning::from_env()?.filter(|_| !run.no_tune && gpu.forced_variant().is_none());
    let tuner = tuning.map(|tuning| Tuner::open(&gpu, tuning));
    Ok((gpu, tuner))
}
