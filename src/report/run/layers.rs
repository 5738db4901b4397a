//! Sparse layers: density, churn and visited places over time, dead lines, and pictures of the pattern.

use super::chart::{Across, Chart, SMALL, Series, Unit, extent};
use super::history::{Layer, State};
use super::pattern;
use crate::report::{count, escape, percent};

/// Quantity drawn of each sparse layer: name, explanation, and value at a time.
type Quantity = (&'static str, &'static str, fn(&Layer, u64, &State) -> f64);

const QUANTITIES: [Quantity; 3] = [
    ("Density", "stored blocks", |layer, _, state| state.nnz as f64 / layer.places() as f64),
    ("Churn", "new blocks, of those stored", |_, done, state| churn(done, state)),
    ("Visited", "places ever stored: R<sub>s</sub>", |_, _, state| state.visited),
];

/// New blocks since the previous record, as a share of those stored; NaN at the start, which has no previous record.
pub(super) fn churn(done: u64, state: &State) -> f64 {
    if done == 0 { f64::NAN } else { state.churn as f64 / state.nnz as f64 }
}

/// A card for each layer; nothing for a network without sparse layers. A layer whose pattern is fixed has no charts, which would
/// be flat.
pub(super) fn section(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return String::new();
    }
    let curve = |layer: &Layer, quantity: &Quantity| -> Vec<[f64; 2]> {
        layer.states.iter().map(|(&done, state)| [done as f64, (quantity.2)(layer, done, state)]).collect()
    };
    // All layers share one scale, so that they can be compared.
    let most = QUANTITIES.map(|quantity| {
        let points = layers.iter().flat_map(|layer| curve(layer, &quantity)).collect();
        let [_, most] = extent(&[Series { name: "", points }]);
        if most > 0.0 { most } else { 0.1 }
    });
    let cards = layers.iter().map(|layer| {
        let charts = QUANTITIES.iter().zip(most).map(|(quantity, most)| {
            let (name, note, _) = *quantity;
            let chart = Chart {
                title: name,
                across: Across::Epochs,
                unit: Unit::Share,
                frame: &SMALL,
                range: [0.0, most],
                series: vec![Series { name, points: curve(layer, quantity) }],
            };
            format!("<div><h4>{name} <small>{note}</small></h4>{}</div>\n", chart.svg())
        });
        let charts = match layer.is_fixed() {
            true => String::new(),
            false => format!("<div class=\"three\">\n{}</div>\n", charts.collect::<String>()),
        };
        let ([rows, cols], block) = (layer.grid, layer.block);
        format!(
            "<div class=\"card\"><h3>{} <small>{} × {} weights in {rows} × {cols} blocks of {block}</small></h3>\n{charts}{}\
             <h4>Pattern <small>{}rows are outputs, columns are inputs</small></h4>\n{}</div>\n",
            escape(&layer.name),
            count(rows * block),
            count(cols * block),
            dead(layer),
            if layer.is_fixed() { "fixed; " } else { "" },
            pattern::pictures(layer)
        )
    });
    format!("<section><h2>Sparse layers</h2>\n{}</section>\n", cards.collect::<String>())
}

/// Rows and columns of the last pattern without an active block, in words.
fn dead(layer: &Layer) -> String {
    let Some(state) = layer.states.values().next_back() else { return String::new() };
    let [rows, cols] = state.empty_lines(layer.grid);
    if rows + cols == 0 {
        return String::new();
    }
    let lines = |dead: usize, all: usize, name: &str, of: &str| {
        let share = percent(dead as f64 / all as f64);
        format!("{} of {} {name} of blocks ({share} of the {of})", count(dead), count(all))
    };
    let mut parts = Vec::new();
    if rows > 0 {
        parts.push(lines(rows, layer.grid[0], "rows", "outputs, which are their bias alone"));
    }
    if cols > 0 {
        parts.push(lines(cols, layer.grid[1], "columns", "inputs, which are not read"));
    }
    format!("<p class=\"dead\">Without an active block at the end: {}.</p>\n", parts.join(", and "))
}
