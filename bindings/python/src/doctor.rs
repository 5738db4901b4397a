//! Adapters, and checks of the kernels on one of them.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::{CommandFactory as _, FromArgMatches as _};
use fretwork::check::{Check, Verdict};
use fretwork::gpu;
use pyo3::prelude::*;
use serde_json::json;

use crate::device::claim;
use crate::errors::{OrRaise as _, exception};
use crate::examine;
use crate::options::{Command, Options};
use crate::progress::INTERVAL;

/// The adapters, as JSON.
#[pyfunction]
pub(crate) fn adapters(py: Python<'_>) -> PyResult<Vec<String>> {
    claim()?;
    let adapters = py.detach(gpu::list_adapters);
    Ok(adapters
        .iter()
        .enumerate()
        .map(|(index, adapter)| examine::adapter_as_json(index, adapter).to_string())
        .collect())
}

/// Checks kernels with the arguments of `fretwork doctor`, and returns the result as JSON: the adapter, the numbers of checks, and the
/// wrong kernels with what is wrong.
#[pyfunction]
pub(crate) fn doctor(py: Python<'_>, arguments: Vec<String>) -> PyResult<String> {
    claim()?;
    let words = ["fretwork", "doctor"].into_iter().chain(arguments.iter().map(String::as_str));
    let parsed = Options::command().try_get_matches_from(words).and_then(|m| Options::from_arg_matches(&m));
    let Command::Doctor(options) =
        parsed.map_err(|error| exception("ConfigError", error.to_string()))?.command
    else {
        return Err(exception("ConfigError", "the arguments are of another command than doctor".to_owned()));
    };
    py.detach(|| {
        let gpu = examine::open(&options).or_raise()?;
        let chosen = examine::choose(&gpu, &options).or_raise()?;
        let (wrong, stopped) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let see = |check: &Check, verdict: Option<&Verdict>| {
            anyhow::ensure!(!stopped.load(Ordering::Relaxed), "interrupted");
            if let (Some(Verdict::Wrong(why)), Ok(mut wrong)) = (verdict, wrong.lock()) {
                wrong.push(json!({ "kernel": check.name, "why": why }));
            }
            Ok(())
        };
        // Python handles signals on this thread alone.
        let mut interrupt = None;
        let run = thread::scope(|scope| {
            let checks = scope.spawn(|| examine::run(&gpu, &options, &chosen.table, see));
            while !checks.is_finished() {
                thread::sleep(INTERVAL);
                if let Err(error) = Python::attach(|py| py.check_signals()) {
                    stopped.store(true, Ordering::Relaxed);
                    interrupt = Some(error);
                }
            }
            checks.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        interrupt.map_or(Ok(()), Err)?;
        run.or_raise()?;
        let wrong = wrong.into_inner().unwrap_or_default();
        Ok(json!({
            "adapter": gpu.info().name, "driver": gpu.driver(), "checks": chosen.table.len(), "wrong": wrong,
            "left_out": chosen.left_out, "not_quick": chosen.rest.len(), "quick": chosen.quick,
        })
        .to_string())
    })
}
