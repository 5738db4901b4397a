//! Fits of arrays in memory, for estimators.

use std::path::PathBuf;

use fretwork::data::{Dataset, Features, LoadOptions, Table, Task};
use fretwork::gpu::Gpu;
use fretwork::train::{Checkpoint, Event, Length, StartFrom, Trainer};
use fretwork::tune::{Tuner, Tuning};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments;
use crate::device::{HALT, shared};
use crate::effect::{Given, refuse_idle};
use crate::errors::{OrRaise as _, exception};
use crate::interrupt::interruptible;
use crate::options::Train;
use crate::progress::Watcher;
use crate::settings::settings;

/// Name of the data in settings and errors.
const NAME: &str = "arrays";
/// Most rows of the training data that the loss is measured on at the end of an epoch, in the place of test rows.
const TEST_ROWS: usize = 1024;

/// Targets of rows.
#[derive(FromPyObject)]
pub(crate) enum Targets<'py> {
    /// Numbers of classes.
    #[pyo3(transparent)]
    Classes(PyReadonlyArray1<'py, u32>),
    /// Values of a regression.
    #[pyo3(transparent)]
    Values(PyReadonlyArray1<'py, f32>),
}

/// Trains on the rows `x` with the arguments of `fretwork train`, and returns the checkpoint's bytes and the summary as JSON. The run
/// begins anew, or goes on from the bytes `previous` for another `epochs`.
#[pyfunction]
#[pyo3(signature = (x, y, classes, arguments, previous, watch))]
pub(crate) fn fit<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'_, f32>,
    y: Targets<'_>,
    classes: usize,
    arguments: Vec<String>,
    previous: Option<Vec<u8>>,
    watch: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyBytes>, String)> {
    let (options, given) = arguments::parse_train(&arguments)?;
    let width = x.as_array().ncols();
    let features = x
        .as_slice()
        .map_err(|_| exception("ArgumentError", "X: should be contiguous, but is not".to_owned()))?;
    let table = |rows: usize| -> PyResult<Table> {
        let not_contiguous = |_| exception("ArgumentError", "y: should be contiguous, but is not".to_owned());
        let features = Features::Floats(features[..rows * width].to_vec());
        match &y {
            Targets::Classes(y) => {
                Table::new(features, y.as_slice().map_err(not_contiguous)?[..rows].to_vec(), width)
            }
            Targets::Values(y) => {
                Table::with_values(features, y.as_slice().map_err(not_contiguous)?[..rows].to_vec(), width)
            }
        }
        .or_raise()
    };
    let rows = x.as_array().nrows();
    let data = Dataset::of_tables(NAME, table(rows)?, table(rows.min(TEST_ROWS))?, classes);
    let (bytes, summary) = py.detach(|| {
        let gpu = shared()?;
        let mut watcher = Watcher::new(watch, options.run.stop_after, None);
        let work = || match previous {
            None => begin(&gpu, &options, &given, data),
            Some(bytes) => Ok((go_on(&gpu, &options, &bytes, data)?, Vec::new())),
        };
        let (begun, interrupt) = interruptible(&HALT, || Ok(()), work);
        interrupt.map_or(Ok(()), Err)?;
        let (mut trainer, notices) = begun.or_raise()?;
        for notice in notices {
            watcher.see(&Event::Notice(notice));
        }
        if let Some(tuning) = Tuning::from_env().or_raise()?.filter(|_| !options.run.no_tune) {
            trainer.tune(Tuner::open(&gpu, tuning), &mut |event| watcher.see(event)).or_raise()?;
        }
        let summary = trainer.run(None, &mut |event| watcher.see(event)).or_raise()?;
        watcher.finish()?;
        let bytes = trainer
            .checkpoint()
            .and_then(|checkpoint| checkpoint.to_bytes(&PathBuf::from(NAME)))
            .or_raise()?;
        let summary =
            serde_json::to_string(&summary).map_err(|error| exception("Error", error.to_string()))?;
        Ok::<_, PyErr>((bytes, summary))
    })?;
    Ok((PyBytes::new(py, &bytes), summary))
}

/// Begins a run with the options' settings on data in memory. Also returns notices of settings that the data decided.
fn begin(gpu: &Gpu, options: &Train, given: &Given, data: Dataset) -> anyhow::Result<(Trainer, Vec<String>)> {
    refuse_idle(options, given)?;
    let data = match &options.data.validation {
        Some(of) => {
            data.hold_out(of, &LoadOptions { seed: options.network.seed, ..LoadOptions::default() })?
        }
        None => data,
    };
    let (mut settings, notices) = settings(options, &data, &StartFrom::default())?;
    NAME.clone_into(&mut settings.data);
    // A later part of the data may have more rows than this one.
    settings.batch = options.steps.batch.unwrap_or(settings.batch);
    if settings.task() == Task::Regression {
        settings.table.task = Some(Task::Regression);
    }
    settings.validate()?;
    Ok((Trainer::new(gpu, settings, data)?, notices))
}

/// Goes on from a checkpoint with other rows. The order of an epoch's rows is drawn by the number of the epoch, so the run goes on at the
/// beginning of one.
fn go_on(gpu: &Gpu, options: &Train, bytes: &[u8], data: Dataset) -> fretwork::Result<Trainer> {
    let path = PathBuf::from("of the estimator");
    let mut checkpoint = Checkpoint::from_bytes(&path, bytes)?;
    let rows = data.train.rows();
    let per_epoch = checkpoint.settings.steps_per_epoch(rows);
    let position = &mut checkpoint.position;
    position.step = position.step.next_multiple_of(per_epoch);
    (position.loss_sum, position.hits) = (0.0, 0.0);
    let until = position.step + per_epoch * options.steps.epochs.unwrap_or(1);
    checkpoint.fingerprint = None;
    checkpoint.extend(Length::Steps(until), rows)?;
    Trainer::resume(gpu, &checkpoint, &path, data)
}
