//! The page of a run, from top to bottom.

use super::chart::{Chart, SMALL, Series, Unit, WIDE, drawable};
use super::history::{History, Layer, State};
use super::{kernels, load, pattern, settings};
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
    body += &load::section(&history.epochs);
    body += &layers(history);
    body += &kernels::section(history.kernels.as_ref());
    if let Some(checkpoint) = checkpoint {
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
                    || history.layers.iter().any(|layer| {
                        let mut states = layer.states.values();
                        let first = states.next();
                        states.any(|state| Some(&state.present) != first.map(|first| &first.present))
                    });
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
    if let Some((done, epoch)) = best.filter(|_| !regression) {
        tiles.push(("Best test accuracy", number(epoch.test.accuracy), format!("epoch {done}")));
    }
    let text = matches!(checkpoint.map(|checkpoint| &checkpoint.settings.model), Some(ModelConfig::Lm(_)));
    if let (Some((done, epoch)), true) = (history.epochs.last_key_value(), text) {
        let note = format!("nats per character of held-out text, epoch {done}");
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

/// Whether the run predicts numbers, so that it has an error in their units and no accuracy.
fn is_regression(history: &History) -> bool {
    history.epochs.values().any(|epoch| epoch.test.rmse.is_some())
}

fn curves(history: &History) -> String {
    let series = |name, value: fn(&EpochRecord) -> f64| Series {
        name,
        points: history.epochs.iter().map(|(&done, epoch)| [done as f64, value(epoch)]).collect(),
    };
    let loss = [series("test", |epoch| epoch.test.loss), series("train", |epoch| epoch.train.loss)];
    let regression = is_regression(history);
    let accuracy = match regression {
        false => [series("test", |epoch| epoch.test.accuracy), series("train", |epoch| epoch.train.accuracy)],
        true => [
            series("test", |epoch| epoch.test.r2.unwrap_or(f64::NAN)),
            series("train", |epoch| epoch.train.r2.unwrap_or(f64::NAN)),
        ],
    };
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
                unit: Unit::Number,
                frame: &WIDE,
                range: [least.min(0.0), if most > 0.0 { most } else { 1.0 }],
                series: loss.into(),
            },
        ),
        (
            score,
            score_note,
            Chart {
                title: score,
                unit: Unit::Number,
                frame: &WIDE,
                // A constant curve gives no range, so a margin is added.
                range: if low < high { [low, high] } else { [(low - 0.05).max(0.0), (low + 0.05).min(1.0)] },
                series: accuracy.into(),
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

/// Least and greatest drawable value; 0 and 1 where there is none.
fn extent(series: &[Series<'_>]) -> [f64; 2] {
    let values = series.iter().flat_map(|series| &series.points).map(|point| point[1]);
    let [low, high] = values
        .filter(|&value| drawable(value))
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low <= high { [low, high] } else { [0.0, 1.0] }
}

/// Quantity drawn of each sparse layer: name, explanation, and value at a time.
type Quantity = (&'static str, &'static str, fn(&Layer, u64, &State) -> f64);

const QUANTITIES: [Quantity; 3] = [
    ("Density", "stored blocks", |layer, _, state| state.nnz as f64 / layer.places() as f64),
    ("Churn", "new blocks, of those stored", |_, done, state| churn(done, state)),
    ("Visited", "places ever stored: R<sub>s</sub>", |_, _, state| state.visited),
];

/// New blocks since the previous record, as a share of those stored; NaN at the start, which has no previous record.
fn churn(done: u64, state: &State) -> f64 {
    if done == 0 { f64::NAN } else { state.churn as f64 / state.nnz as f64 }
}

fn layers(history: &History) -> String {
    if history.layers.is_empty() {
        return String::new();
    }
    let curve = |layer: &Layer, quantity: &Quantity| -> Vec<[f64; 2]> {
        layer.states.iter().map(|(&done, state)| [done as f64, (quantity.2)(layer, done, state)]).collect()
    };
    // All layers share one scale, so that they can be compared.
    let most = QUANTITIES.map(|quantity| {
        let points = history.layers.iter().flat_map(|layer| curve(layer, &quantity)).collect();
        let [_, most] = extent(&[Series { name: "", points }]);
        if most > 0.0 { most } else { 0.1 }
    });
    let cards = history.layers.iter().map(|layer| {
        let charts = QUANTITIES.iter().zip(most).map(|(quantity, most)| {
            let (name, note, _) = *quantity;
            let chart = Chart {
                title: name,
                unit: Unit::Share,
                frame: &SMALL,
                range: [0.0, most],
                series: vec![Series { name, points: curve(layer, quantity) }],
            };
            format!("<div><h4>{name} <small>{note}</small></h4>{}</div>\n", chart.svg())
        });
        let ([rows, cols], block) = (layer.grid, layer.block);
        format!(
            "<div class=\"card\"><h3>{} <small>{} × {} weights in {rows} × {cols} blocks of {block}</small></h3>\n\
             <div class=\"three\">\n{}</div>\n<h4>Pattern <small>rows are outputs, columns are inputs</small></h4>\n{}\
             </div>\n",
            escape(&layer.name),
            count(rows * block),
            count(cols * block),
            charts.collect::<String>(),
            pattern::pictures(layer)
        )
    });
    format!("<section><h2>Sparse layers</h2>\n{}</section>\n", cards.collect::<String>())
}

/// Tables of every number drawn, for screen readers and for copying.
fn numbers(history: &History) -> String {
    if history.epochs.is_empty() && history.layers.is_empty() {
        return String::new();
    }
    let regression = is_regression(history);
    let epochs = history.epochs.iter().map(|(done, epoch)| {
        let EpochRecord { step, train, test, .. } = epoch;
        let score = |evaluation: &Evaluation| match regression {
            true => evaluation.r2.unwrap_or(f64::NAN),
            false => evaluation.accuracy,
        };
        let values = [train.loss, score(train), test.loss, score(test)].map(number);
        row(&done.to_string(), [&[step.to_string()], values.as_slice()].concat())
    });
    let mut tables = table(
        "Epochs",
        match regression {
            false => {
                &["epoch", "step", "train loss, nats", "train accuracy", "test loss, nats", "test accuracy"]
            }
            true => &["epoch", "step", "train squared error", "train R²", "test squared error", "test R²"],
        },
        epochs.collect(),
    );
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
                    if done == 0 { "–".to_owned() } else { percent(churn(done, state)) },
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
