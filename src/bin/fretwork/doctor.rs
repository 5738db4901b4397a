//! `fretwork doctor`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use fretwork::check::{self, Verdict};
use fretwork::gpu::{self, AdapterSummary, Matrices};
use fretwork::tune::{Tuner, Tuning};
use fretwork::{Error, wgpu};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::examine::{self, Chosen};
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

    let gpu = examine::open(options)?;
    let tuner = Tuner::open(&gpu, Tuning::default());
    let kept = tuner.path().map_or("nowhere".to_owned(), |path| path.display().to_string());
    let choices = gpu.choices().len();
    if options.json {
        line(json!({ "event": "tuning", "file": tuner.path(), "choices": choices }))?;
    } else {
        line(format!("{choices} tuned kernel choices are kept in {kept}"))?;
    }
    let Chosen { table, rest, left_out, quick } = examine::choose(&gpu, options)?;
    if !options.json {
        let what = if quick { "the kernels of a default run" } else { "every kernel" };
        let time = check::compile_time(&gpu, &table).map_or(String::new(), first_time);
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

    let wrong = examine::run(&gpu, options, &table, |check, verdict| {
        let name = &check.name;
        match verdict {
            None => bar.set_message(name.clone()),
            Some(_) => bar.inc(1),
        }
        match verdict {
            Some(Verdict::Right(share)) if options.json => {
                line(json!({ "event": "check", "kernel": name, "right": true, "error_share": share }))
            }
            Some(Verdict::Wrong(why)) if options.json => {
                line(json!({ "event": "check", "kernel": name, "right": false, "why": why }))
            }
            Some(Verdict::Wrong(why)) => bar.suspend(|| line(format!("WRONG {name}: {why}"))),
            _ => Ok(()),
        }
    })?;
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
                let time = check::compile_time(&gpu, &rest).map_or(String::new(), first_time);
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
    if as_json {
        return line(examine::adapter_as_json(index, adapter));
    }
    let AdapterSummary { info, features, limits, matrices } = adapter;
    let has = |feature: wgpu::Features| if features.contains(feature) { "yes" } else { "no" };
    line(format!("{index}: {} ({:?}, {})", info.name, info.device_type, info.backend))?;
    let rows = [
        ("driver", examine::driver(adapter)),
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
