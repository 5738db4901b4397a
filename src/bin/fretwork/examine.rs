//! Adapters as JSON, and the checks of kernels that `doctor` chooses and runs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail, ensure};
use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{self, AdapterSummary, Gpu};
use fretwork::{Error, wgpu};
use serde_json::{Value, json};

use crate::options::Doctor;

/// Checks of one adapter.
pub(crate) struct Chosen {
    /// Checks to run.
    pub(crate) table: Vec<Check>,
    /// Checks that a quick examination leaves out.
    pub(crate) rest: Vec<Check>,
    /// Number of checks of kernels that the adapter cannot run.
    pub(crate) left_out: usize,
    /// Whether only the kernels of default runs are checked.
    pub(crate) quick: bool,
}

/// Opens the adapter to check.
///
/// # Errors
/// As [`Gpu::request`].
pub(crate) fn open(options: &Doctor) -> Result<Gpu> {
    Ok(Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?)
}

/// Chooses the checks that the options ask for.
///
/// # Errors
/// Where no kernel has the text of `--only` in its name.
pub(crate) fn choose(gpu: &Gpu, options: &Doctor) -> Result<Chosen> {
    let mut all = check::table();
    let quick = options.quick || (!options.all && gpu.is_software());
    let of_run: Option<BTreeSet<String>> =
        quick.then(|| check::quick(gpu, &all).iter().map(|check| check.name.clone()).collect());
    if let Some(text) = &options.only {
        all.retain(|check| check.name.contains(text.as_str()));
        ensure!(!all.is_empty(), "no kernel's name contains {text:?}");
    }
    let listed = all.len();
    all.retain(|check| check.applies_to(gpu));
    let left_out = listed - all.len();
    let is_chosen = |check: &Check| of_run.as_ref().is_none_or(|names| names.contains(&check.name));
    let (table, rest): (Vec<Check>, Vec<Check>) = all.into_iter().partition(is_chosen);
    if let (Some(text), true, false) = (&options.only, table.is_empty(), rest.is_empty()) {
        bail!(
            "a run with default options uses no kernel whose name contains {text:?}; check them with --all"
        );
    }
    Ok(Chosen { table, rest, left_out, quick })
}

/// Runs the checks on as many threads as compile at once, calls `see` before each and after it, with its verdict, and returns the number
/// of wrong kernels.
///
/// # Errors
/// A lost device, and the errors of `see`.
pub(crate) fn run(
    gpu: &Gpu,
    options: &Doctor,
    table: &[Check],
    see: impl Fn(&Check, Option<&Verdict>) -> Result<()> + Sync,
) -> Result<usize> {
    let wrong = AtomicUsize::new(0);
    check::parallel_for_each(
        &check::by_kernel(table),
        gpu.compilers(),
        || open(options),
        |gpu, checks| {
            for check in checks {
                see(check, None)?;
                // A kernel that cannot run is as wrong as one that computes nonsense; a lost device ends everything.
                let verdict = match check.run(gpu) {
                    Ok(verdict) => verdict,
                    Err(lost @ Error::DeviceLost { .. }) => return Err(lost.into()),
                    Err(error) => Verdict::Wrong(error.to_string()),
                };
                wrong.fetch_add(usize::from(matches!(verdict, Verdict::Wrong(_))), Ordering::Relaxed);
                see(check, Some(&verdict))?;
            }
            Ok(())
        },
    )?;
    Ok(wrong.into_inner())
}

/// An adapter as an object.
pub(crate) fn adapter_as_json(index: usize, adapter: &AdapterSummary) -> Value {
    let AdapterSummary { info, features, limits, matrices } = adapter;
    json!({
        "event": "adapter", "index": index, "name": info.name, "kind": format!("{:?}", info.device_type),
        "backend": info.backend.to_string(), "driver": driver(adapter),
        "f16": features.contains(wgpu::Features::SHADER_F16),
        "cooperative_matrices": matrices.map(|matrices| matrices.side),
        "subgroup_sizes": [info.subgroup_min_size, info.subgroup_max_size],
        "timestamps": features.contains(wgpu::Features::TIMESTAMP_QUERY),
        "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
        "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
        "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
    })
}

/// Name and version of an adapter's driver.
pub(crate) fn driver(adapter: &AdapterSummary) -> String {
    format!("{} {}", adapter.info.driver, adapter.info.driver_info).trim().to_owned()
}
