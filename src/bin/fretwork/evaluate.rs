//! `fretwork evaluate`.

use std::process::ExitCode;

use anyhow::Result;
use fretwork::gpu::{self, Gpu};
use fretwork::nn::ModelConfig;
use fretwork::train::{ClassMetrics, Metrics, Predictor, ValueMetrics};
use serde_json::json;

use crate::networks;
use crate::options::Evaluate;
use crate::output::{line, significant};

/// More classes than this have no confusion matrix in the table; JSON has it always.
const MOST_SHOWN: usize = 12;

pub(crate) fn run(options: &Evaluate) -> Result<ExitCode> {
    let (folder, checkpoint) = options.input.load()?;
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let mut predictor = Predictor::of_checkpoint(&gpu, checkpoint, &folder.checkpoint_path())?;
    let rows = match &options.data {
        Some(data) => predictor.labelled_rows(data)?,
        None => predictor.own_test_rows()?,
    };
    let metrics = predictor.evaluate(&rows)?;
    let networks = predictor.evaluate_networks(&rows)?;
    let names = predictor.classes();
    if options.json {
        let mut object = serde_json::to_value(&metrics)?;
        if let Metrics::Classes(_) = metrics {
            object["names"] = json!(names);
            object["loss_unit"] = json!("nats");
        }
        if let Some(networks) = networks {
            object["networks"] = json!(networks);
        }
        line(object)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &metrics {
        Metrics::Classes(metrics) => print_classes(metrics, &names)?,
        Metrics::Values(metrics) => print_values(metrics)?,
    }
    if let (Some(networks), ModelConfig::Mlps(config)) = (networks, &predictor.checkpoint().settings.model) {
        networks::print(config, &networks)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_values(metrics: &ValueMetrics) -> Result<()> {
    let ValueMetrics { rows, rmse, mae, r2 } = metrics;
    let r2 = r2.map_or("none, since all targets are equal".to_owned(), |r2| format!("{r2:.4}"));
    let rows =
        [("rows", rows.to_string()), ("RMSE", significant(*rmse)), ("MAE", significant(*mae)), ("R²", r2)];
    rows.iter().try_for_each(|(name, value)| line(format!("{name:<12} {value}")))
}

fn print_classes(metrics: &ClassMetrics, names: &[String]) -> Result<()> {
    line(format!("{:<12} {}", "rows", metrics.rows))?;
    line(format!("{:<12} {:.4}", "accuracy", metrics.accuracy))?;
    line(format!("{:<12} {:.4} nats", "loss", metrics.loss))?;
    line(format!("{:<12} {:.4}", "macro F1", metrics.macro_f1))?;
    if let Some(auc) = metrics.auc {
        line(format!("{:<12} {auc:.4}, of class {}", "AUC", names[1]))?;
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    line(format!("\n{:<width$}  precision  recall  F1      rows", "class"))?;
    for (class, name) in metrics.classes.iter().zip(names) {
        line(format!(
            "{name:<width$}  {:<9.4}  {:<6.4}  {:<6.4}  {}",
            class.precision, class.recall, class.f1, class.rows
        ))?;
    }
    if names.len() > MOST_SHOWN {
        return Ok(());
    }
    let cell = width.max(6);
    line("\nrows by class (down) and prediction (across)")?;
    let heads: String = names.iter().map(|name| format!("  {name:>cell$}")).collect();
    line(format!("{:<width$}{heads}", ""))?;
    for (row, name) in metrics.confusion.iter().zip(names) {
        let counts: String = row.iter().map(|count| format!("  {count:>cell$}")).collect();
        line(format!("{name:<width$}{counts}"))?;
    }
    Ok(())
}
