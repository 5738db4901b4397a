//! `fretwork doctor`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{self, AdapterSummary, Gpu, Matrices};
use fretwork::tune::{Tuner, Tuning};
use fretwork::{Error, wgpu};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::options::Doctor;
use crate::output::line;

pub(crate) fn run(options: &Doctor) -> Result<ExitCode> {
    let adapters = gpu::list_adapters();
    if adapters.is_empty() {
        return Err(Error::NoAdapter { wanted: None, found: Vec::new() }.into());
    }
    for (index, adapter) in adapters.iter().enumerate() {
        describe(index, adapter, options.json)?;
    }
    if options.adapters {
        return Ok(ExitCode::SUCCESS);
    }

    let open = || {
        let wanted = gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() };
        anyhow::Ok(Gpu::request(wanted)?)
    };
    let gpu = open()?;
    let tuner = Tuner::open(&gpu, Tuning::default());
    let kept = tuner.path().map_or("nowhere".to_owned(), |path| path.display().to_string());
    let choices = gpu.choices().len();
    if options.json {
        line(json!({ "event": "tuning", "file": tuner.path(), "choices": choices }))?;
    } else {
        line(format!("{choices} tuned kernel choices are kept in {kept}"))?;
    }
    let mut all = check::table();
    let quick = options.quick || (!options.all && gpu.is_software());
    let of_run: Option<BTreeSet<String>> =
        quick.then(|| check::quick(&gpu, &all).iter().map(|check| check.name.clone()).collect());
    if let Some(text) = &options.only {
        all.retain(|check| check.name.contains(text.as_str()));
        ensure!(!all.is_empty(), "no kernel's name contains {text:?}");
    }
    let listed = all.len();
    all.retain(|check| check.applies_to(&gpu));
    let left_out = listed - all.len();
    let is_chosen = |check: &&Check| of_run.as_ref().is_none_or(|names| names.contains(&check.name));
    let (table, rest): (Vec<&Check>, Vec<&Check>) = all.iter().partition(is_chosen);
    if let (Some(text), true, false) = (&options.only, table.is_empty(), rest.is_empty()) {
        bail!(
            "a run with default options uses no kernel whose name contains {text:?}; check them with --all"
        );
    }
    if !options.json {
        let what = if quick { "the kernels of a default run" } else { "every kernel" };
        let time = check::compile_time(&gpu, table.iter().copied()).map_or(String::new(), first_time);
        line(format!(
            "checking {what} on {} ({}): {} checks{time}",
            gpu.info().name,
            gpu.driver(),
            table.len()
        ))?;
    }
    let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(table.len() as u64) };
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos:>3}/{len}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));

    let wrong = AtomicUsize::new(0);
    check::parallel_for_each(
        &check::by_kernel(table.iter().copied()),
        gpu.compilers(),
        open,
        |gpu, checks| {
            for check in checks {
                bar.set_message(check.name.clone());
                // A kernel that cannot run is as wrong as one that computes nonsense; a lost device ends everything.
                let verdict = match check.run(gpu) {
                    Ok(verdict) => verdict,
                    Err(lost @ Error::DeviceLost { .. }) => return Err(lost.into()),
                    Err(error) => Verdict::Wrong(error.to_string()),
                };
                bar.inc(1);
                let name = &check.name;
                match verdict {
                    Verdict::Right(share) if options.json => {
                        line(
                            json!({ "event": "check", "kernel": name, "right": true, "error_share": share }),
                        )?;
                    }
                    Verdict::Right(_) => {}
                    Verdict::Wrong(why) => {
                        wrong.fetch_add(1, Ordering::Relaxed);
                        if options.json {
                            line(json!({ "event": "check", "kernel": name, "right": false, "why": why }))?;
                        } else {
                            bar.suspend(|| line(format!("WRONG {name}: {why}")))?;
                        }
                    }
                }
            }
            Ok(())
        },
    )?;
    let wrong = wrong.into_inner();
    bar.finish_and_clear();
    if options.json {
        line(json!({
            "event": "done", "adapter": gpu.info().name, "driver": gpu.driver(), "checks": table.len(), "wrong": wrong,
            "left_out": left_out, "not_quick": rest.len(),
        }))?;
    } else {
        if left_out > 0 {
            line(format!("{left_out} checks are left out: this adapter cannot run their kernels"))?;
        }
        let rest = match rest.len() {
            0 => String::new(),
            count => {
                let time = check::compile_time(&gpu, rest.iter().copied()).map_or(String::new(), first_time);
                format!(
                    "; {count} checks of other types, block sides and variants are left out; run them with --all{time}"
                )
            }
        };
        let checks = table.len();
        line(match wrong {
            0 => format!("all {checks} checks are right{rest}"),
            _ => format!("{wrong} of {checks} checks are WRONG: do not trust results on this adapter{rest}"),
        })?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Estimated compilation time in words; the driver may have the kernels cached.
fn first_time(estimate: Duration) -> String {
    match estimate.as_secs() {
        seconds @ ..90 => format!(" (about {} s, if none has been compiled before)", seconds.max(1)),
        seconds => format!(" (about {} minutes, if none has been compiled before)", seconds.div_ceil(60)),
    }
}

fn describe(index: usize, adapter: &AdapterSummary, as_json: bool) -> Result<()> {
    let AdapterSummary { info, features, limits, matrices } = adapter;
    let driver = format!("{} {}", info.driver, info.driver_info);
    let has = |feature: wgpu::Features| if features.contains(feature) { "yes" } else { "no" };
    if as_json {
        return line(json!({
            "event": "adapter", "index": index, "name": info.name, "kind": format!("{:?}", info.device_type),
            "backend": info.backend.to_string(), "driver": driver.trim(),
            "f16": features.contains(wgpu::Features::SHADER_F16),
            "cooperative_matrices": matrices.map(|matrices| matrices.side),
            "subgroup_sizes": [info.subgroup_min_size, info.subgroup_max_size],
            "timestamps": features.contains(wgpu::Features::TIMESTAMP_QUERY),
            "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
            "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
            "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
        }));
    }
    line(format!("{index}: {} ({:?}, {})", info.name, info.device_type, info.backend))?;
    let rows = [
        ("driver", driver.trim().to_owned()),
        ("f16", has(wgpu::Features::SHADER_F16).to_owned()),
        (
            "matrices",
            matrices.map_or("none".to_owned(), |Matrices { side, lanes, .. }| {
                format!("{side} x {side}, f16 into f32, by up to {lanes} invocations")
            }),
        ),
        ("timestamps", has(wgpu::Features::TIMESTAMP_QUERY).to_owned()),
        ("subgroup sizes", format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size)),
        ("binding", format!("{} MiB", limits.max_storage_buffer_binding_size >> 20)),
        ("workgroup memory", format!("{} KiB", limits.max_compute_workgroup_storage_size >> 10)),
        ("workgroup", format!("{} invocations", limits.max_compute_invocations_per_workgroup)),
    ];
    rows.iter().try_for_each(|(name, value)| line(format!("  {name:<20} {value}")))
}
