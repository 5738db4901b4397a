//! Adapters, and checks of the kernels on one of them.

use std::sync::Mutex;

use fretwork::check::{Check, Verdict};
use fretwork::gpu::{self, Halt};
use pyo3::prelude::*;
use serde_json::json;

use crate::device::claim;
use crate::errors::{OrRaise as _, exception};
use crate::interrupt::interruptible;
use crate::options::Command;
use crate::{arguments, examine};

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
    let (Command::Doctor(options), _) = arguments::parse("doctor", &arguments)? else {
        return Err(exception("ConfigError", "the arguments are of another command than doctor".to_owned()));
    };
    py.detach(|| {
        let gpu = examine::open(&options).or_raise()?;
        let chosen = examine::choose(&gpu, &options).or_raise()?;
        let (wrong, halt) = (Mutex::new(Vec::new()), Halt::default());
        let see = |check: &Check, verdict: Option<&Verdict>| {
            anyhow::ensure!(!halt.is_requested(), "interrupted");
            if let (Some(Verdict::Wrong(why)), Ok(mut wrong)) = (verdict, wrong.lock()) {
                wrong.push(json!({ "kernel": check.name, "why": why }));
            }
            Ok(())
        };
        let work = || examine::run(&gpu, &options, &chosen.table, see);
        let (run, interrupt) = interruptible(&halt, || Ok(()), work);
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
