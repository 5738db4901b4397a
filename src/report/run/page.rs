//! The page of a run, from top to bottom.

use super::chart::{Across, Chart, Series, Unit, WIDE, extent};
use super::history::History;
use super::{confusion, kernels, layers, load, memory, networks, parts, settings, steps, tasks};
use crate::nn::ModelConfig;
use crate::report::{count, document, escape, number, percent, row, table};
use crate::train::{Checkpoint, EpochRecord, Evaluation};

/// The page of the run in the folder named `folder`.
pub(super) fn page(folder: &str, checkpoint: Option<&Checkpoint>, history: &History) -> String {
    let title = match checkpoint {
        Some(Checkpoint { settings, .. }) => format!("{}, {}", settings.data, settings::widths(settings)),
        None => folder.to_owned(),
    };
    let mut body = header(folder, &title, checkpoint, history);
    body += &notices(history);
    body += &tiles(checkpoint, history);
    let notices = checkpoint.map(|checkpoint| checkpoint.settings.model.notices()).unwrap_or_default();
    body +=
        &notices.iter().map(|text| format!("<p class=\"notice\">{}</p>\n", escape(text))).collect::<String>();
    if history.epochs.is_empty() {
        body += "<p class=\"notice\">The log has no epoch yet, so there are no curves to show.</p>\n";
    } else {
        body += &curves(history);
    }
    body += &networks::section(checkpoint, &history.epochs);
    body += &parts::section(&history.epochs);
    body += &tasks::section(&history.epochs);
    body += &steps::section(&history.steps);
    body += &confusion::section(&history.epochs);
    body += &load::section(&history.epochs);
    body += &layers::section(&history.layers);
    body += &kernels::section(history.kernels.as_ref());
    if let Some(checkpoint) = checkpoint {
        body += &memory::section(&checkpoint.settings);
        let tables = settings::tables(&checkpoint.settings);
        body += &format!("<section><h2>Settings</h2>\n<div class=\"card\">{tables}</div></section>\n");
    }
    body += &numbers(history);
    document(&title, "", &body)
}

fn header(folder: &str, title: &str, checkpoint: Option<&Checkpoint>, history: &History) -> String {
    let method = match checkpoint {
        Some(checkpoint) => {
            let mut method = settings::method(&checkpoint.settings);
            if !history.layers.is_empty() {
                let changes = history.layers.iter().flat_map(|layer| layer.states.values());
                let changed = changes.into_iter().any(|state| state.updates > 0 || state.churn > 0)
                    || history.layers.iter().any(|layer| !layer.is_fixed());
                method += if changed { "; the pattern changes in training" } else { "; the pattern is fixed" };
            }
            format!("{method}. The checkpoint is at step {}.", count(checkpoint.position.step as usize))
        }
        None => "The folder has no checkpoint, so data, network and settings are not known: all that follows is from \
                 the log alone."
            .to_owned(),
    };
    format!(
        "<header><p class=\"over\">fretwork report · {}</p>\n<h1>{}</h1>\n<p>{}</p></header>\n",
        escape(folder),
        escape(title),
        escape(&method)
    )
}

/// Warnings of the last epoch that the run is not learning.
fn notices(history: &History) -> String {
    let Some((_, epoch)) = history.epochs.last_key_value() else { return String::new() };
    if epoch.notices.is_empty() {
        return String::new();
    }
    let items: String = epoch.notices.iter().map(|notice| format!("<li>{}</li>\n", escape(notice))).collect();
    format!("<section><h2>This run looks useless</h2>\n<ul class=\"notice\">\n{items}</ul></section>\n")
}

/// Tiles of the headline figures; an unknown figure has no tile.
fn tiles(checkpoint: Option<&Checkpoint>, history: &History) -> String {
    let regression = is_regression(history);
    let mut tiles = Vec::new();
    let tested = history.epochs.iter().filter(|(_, epoch)| epoch.test.accuracy.is_finite());
    // Among equals the earliest is the best, since it took the least training.
    let best = tested.rev().max_by(|a, b| a.1.test.accuracy.total_cmp(&b.1.test.accuracy));
    let score = |epoch: &EpochRecord| match (epoch.test.rmse, epoch.test.r2) {
        (Some(rmse), _) => ("Test RMSE", number(rmse)),
        _ => ("Test accuracy", number(epoch.test.accuracy)),
    };
    match (best_validated(history), best) {
        // An epoch is chosen by the validation rows, where there are any, and not by what it is tested on.
        (Some((done, loss)), _) => {
            tiles.push(("Smallest validation loss", number(loss), format!("epoch {done}")));
            let (name, value) = score(&history.epochs[&done]);
            tiles.push((name, value, format!("epoch {done}, chosen by validation")));
        }
        (None, Some((done, epoch))) if !regression => {
            tiles.push(("Best test accuracy", number(epoch.test.accuracy), format!("epoch {done}")));
        }
        _ => {}
    }
    let text = matches!(checkpoint.map(|checkpoint| &checkpoint.settings.model), Some(ModelConfig::Lm(_)));
    if let (Some((done, epoch)), true) = (history.epochs.last_key_value(), text) {
        let note = format!("nats per byte of held-out text, epoch {done}");
        tiles.push(("Last test loss", number(epoch.test.loss), note));
    }
    match history.epochs.last_key_value() {
        Some((done, epoch)) if regression => {
            let note = format!("in the units of the target, epoch {done}");
            tiles.push(("Last test RMSE", number(epoch.test.rmse.unwrap_or(f64::NAN)), note));
            tiles.extend(epoch.test.r2.map(|r2| ("Last test R²", number(r2), format!("epoch {done}"))));
        }
        Some((done, epoch)) => {
            tiles.push(("Last test accuracy", number(epoch.test.accuracy), format!("epoch {done}")));
        }
        None => {}
    }
    if let Some([present, dense]) = checkpoint.map(settings::parameters) {
        let share = percent(present as f64 / dense as f64);
        tiles.push(("Parameters present", count(present), format!("{share} of {} dense", count(dense))));
    }
    let last = history.layers.iter().filter_map(|layer| Some((layer, layer.states.values().next_back()?)));
    let [stored, places] = last.fold([0, 0], |[stored, places], (layer, state)| {
        let size = layer.block * layer.block;
        [stored + size * state.nnz, places + size * layer.places()]
    });
    if places > 0 {
        let density = percent(stored as f64 / places as f64);
        tiles.push((
            "Density of sparse layers",
            density,
            format!("{} of {} weights", count(stored), count(places)),
        ));
    }
    let tiles = tiles.iter().map(|(name, value, note)| {
        format!("<div><dt>{name}</dt><dd><b>{value}</b> <span>{note}</span></dd></div>\n")
    });
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.collect::<String>())
}

/// Completed epochs and loss of the epoch with the smallest validation loss, the first in a tie.
fn best_validated(history: &History) -> Option<(u64, f64)> {
    let losses = history.epochs.iter().filter_map(|(&done, epoch)| Some((done, epoch.validation?.loss)));
    losses.filter(|(_, loss)| loss.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Whether the run predicts numbers, so that it has an error in their units and no accuracy.
fn is_regression(history: &History) -> bool {
    history.epochs.values().any(|epoch| epoch.test.rmse.is_some())
}

fn curves(history: &History) -> String {
    let series = |name, value: &dyn Fn(&EpochRecord) -> f64| Series {
        name,
        points: history.epochs.iter().map(|(&done, epoch)| [done as f64, value(epoch)]).collect(),
    };
    let regression = is_regression(history);
    let score_of = |evaluation: &Evaluation| match regression {
        false => evaluation.accuracy,
        true => evaluation.r2.unwrap_or(f64::NAN),
    };
    let mut loss = vec![series("test", &|epoch| epoch.test.loss), series("train", &|epoch| epoch.train.loss)];
    let mut accuracy = vec![
        series("test", &|epoch| score_of(&epoch.test)),
        series("train", &|epoch| score_of(&epoch.train)),
    ];
    if best_validated(history).is_some() {
        loss.push(series("valid.", &|epoch| epoch.validation.map_or(f64::NAN, |of| of.loss)));
        accuracy.push(series("valid.", &|epoch| epoch.validation.map_or(f64::NAN, |of| score_of(&of))));
    }
    let (score, score_note, loss_note) = match regression {
        false => ("Accuracy", "share of rows that are classified right", "mean cross-entropy in nats"),
        true => (
            "R²",
            "share of the target's variance that is explained",
            "mean squared error of standardised targets",
        ),
    };
    let [least, most] = extent(&loss);
    let [low, high] = extent(&accuracy);
    let charts = [
        (
            "Loss",
            loss_note,
            Chart {
                title: "Loss",
                across: Across::Epochs,
                unit: Unit::Number,
                frame: &WIDE,
                range: [least.min(0.0), if most > 0.0 { most } else { 1.0 }],
                series: loss,
            },
        ),
        (
            score,
            score_note,
            Chart {
                title: score,
                across: Across::Epochs,
                unit: Unit::Number,
                frame: &WIDE,
                // A constant curve gives no range, so a margin is added.
                range: if low < high { [low, high] } else { [(low - 0.05).max(0.0), (low + 0.05).min(1.0)] },
                series: accuracy,
            },
        ),
    ];
    let cards = charts.iter().map(|(name, note, chart)| {
        format!(
            "<div class=\"card\"><h3>{name} <small>{note}</small></h3>{}{}</div>\n",
            chart.legend(),
            chart.svg()
        )
    });
    format!("<section><h2>Curves</h2>\n<div class=\"two\">\n{}</div></section>\n", cards.collect::<String>())
}

/// Tables of every number drawn, for screen readers and for copying.
fn numbers(history: &History) -> String {
    if history.epochs.is_empty() && history.layers.is_empty() {
        return String::new();
    }
    let (validated, regression) = (best_validated(history).is_some(), is_regression(history));
    let score = |of: &Evaluation| if regression { of.r2.unwrap_or(f64::NAN) } else { of.accuracy };
    let epochs = history.epochs.iter().map(|(done, epoch)| {
        let EpochRecord { step, train, test, .. } = epoch;
        let validation = epoch.validation.filter(|_| validated).map(|of| [of.loss, score(&of)]);
        let values = [train.loss, score(train), test.loss, score(test)];
        let values = values.into_iter().chain(validation.into_iter().flatten()).map(number);
        row(&done.to_string(), std::iter::once(step.to_string()).chain(values).collect())
    });
    let (error, score) = if regression { ("squared error", "R²") } else { ("loss, nats", "accuracy") };
    let measured = ["train", "test", "validation"].into_iter().take(if validated { 3 } else { 2 });
    let of_parts = measured.flat_map(|part| [format!("{part} {error}"), format!("{part} {score}")]);
    let columns: Vec<String> = ["epoch", "step"].map(str::to_owned).into_iter().chain(of_parts).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut tables = table("Epochs", &columns, epochs.collect());
    tables += &parts::numbers(&history.epochs);
    tables += &steps::numbers(&history.steps);
    for layer in &history.layers {
        let states = layer.states.iter().map(|(&done, state)| {
            let resting: u32 = state.resting.iter().map(|word| word.count_ones()).sum();
            row(
                &if done == 0 { "start".to_owned() } else { done.to_string() },
                vec![
                    count(state.nnz),
                    percent(state.nnz as f64 / layer.places() as f64),
                    count(resting as usize),
                    state.updates.to_string(),
                    state.churn.to_string(),
                    if done == 0 { "–".to_owned() } else { percent(layers::churn(done, state)) },
                    percent(state.visited),
                    state.empty_lines(layer.grid)[0].to_string(),
                    state.empty_lines(layer.grid)[1].to_string(),
                ],
            )
        });
        tables += &table(
            &escape(&layer.name),
            &[
                "epoch",
                "blocks",
                "density",
                "resting",
                "updates",
                "new blocks",
                "churn",
                "visited",
                "empty rows",
                "empty columns",
            ],
            states.collect(),
        );
    }
    format!("<details><summary>All numbers</summary>\n{tables}</details>\n")
}
