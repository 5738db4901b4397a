//! Networks that were trained together: their ranking, and how well an ensemble is calibrated.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::nn::{MlpsConfig, ModelConfig};
use crate::report::{count, escape, number, row, table};
use crate::train::{Bin, Calibration, Checkpoint, EpochRecord, NetworkScore, NetworkScores};

/// Networks of a ranking that are shown.
const MOST_SHOWN: usize = 20;

/// Side of a calibration plot, and its margin, in SVG units.
const SIDE: f64 = 300.0;
const MARGIN: f64 = 44.0;

/// Scores of the networks at the last epoch that has some; nothing for a run of one network.
pub(super) fn section(checkpoint: Option<&Checkpoint>, epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let with_some = |(done, epoch): (&u64, &EpochRecord)| Some((*done, epoch.networks.clone()?));
    let Some((done, scores)) = epochs.iter().rev().find_map(with_some) else { return String::new() };
    let config = match checkpoint.map(|checkpoint| &checkpoint.settings.model) {
        Some(ModelConfig::Mlps(config)) => Some(config),
        _ => None,
    };
    let mut html = format!(
        "<section><h2>Networks <small>{} trained together, after epoch {done}; curves and numbers elsewhere on this page are \
         means over them</small></h2>\n{}",
        count(scores.test.len()),
        ranking(config, &scores)
    );
    if let Some(whole) = &scores.whole {
        let plots = [
            ("Ensemble", "the mean of the networks\u{2019} probabilities", &whole.calibration),
            ("Networks", "the probabilities of each network, together", &whole.of_networks),
        ];
        let cards = plots.map(|(name, note, calibration)| {
            let ece = number(calibration.ece);
            format!(
                "<div class=\"card\"><h3>Calibration: {name} <small>{note}; expected error {ece}</small></h3>{}</div>\n",
                plot(name, calibration)
            )
        });
        let _ = write!(html, "<div class=\"two\">\n{}</div>\n", cards.concat());
    }
    html + "</section>\n"
}

/// Table of the best networks, and of the whole.
fn ranking(config: Option<&MlpsConfig>, scores: &NetworkScores) -> String {
    let (order, validated) = (scores.ranking(), !scores.validation.is_empty());
    let shown = &order[..order.len().min(MOST_SHOWN)];
    let calibrated = scores.whole.is_some();
    let cells = |of: &NetworkScore| {
        let ece = calibrated.then(|| of.ece.map_or("\u{2013}".to_owned(), number));
        [number(of.loss), number(of.accuracy)].into_iter().chain(ece).collect::<Vec<_>>()
    };
    let rows = shown.iter().map(|&at| {
        let named = config.and_then(|config| config.networks.get(at));
        let name = named.map_or(vec![String::new(); 3], |network| {
            let widths: Vec<String> = network.hidden.iter().map(ToString::to_string).collect();
            vec![widths.join("-"), escape(&network.activation.to_string()), network.seed.to_string()]
        });
        let validation = scores.validation.get(at).map(|of| vec![number(of.loss), number(of.accuracy)]);
        let numbers = validation.into_iter().flatten().chain(cells(&scores.test[at]));
        row(&at.to_string(), name.into_iter().chain(numbers).collect())
    });
    let mut rows: String = rows.collect();
    if let Some(whole) = &scores.whole {
        let of =
            NetworkScore { loss: whole.loss, accuracy: whole.accuracy, ece: Some(whole.calibration.ece) };
        let blank = vec!["\u{2013}".to_owned(); if validated { 5 } else { 3 }];
        rows += &row("all", blank.into_iter().chain(cells(&of)).collect());
    }
    let mut columns = vec!["network", "hidden", "activation", "seed"];
    columns.extend(validated.then_some(["validation loss", "validation accuracy"]).into_iter().flatten());
    columns.extend(["test loss, nats", "test accuracy"]);
    columns.extend(calibrated.then_some("test ECE"));
    let by = if validated { "validation" } else { "test" };
    table(&format!("The best {} by {by} loss", shown.len()), &columns, rows)
}

/// Reliability diagram: accuracy over confidence, a bar a bin, beside the diagonal of perfect calibration.
fn plot(name: &str, calibration: &Calibration) -> String {
    let inner = SIDE - 2.0 * MARGIN;
    let (x, y) = (|share: f64| MARGIN + share * inner, |share: f64| SIDE - MARGIN - share * inner);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"Calibration: {name}\">"
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, below, beside) = (y(share), SIDE - MARGIN + 16.0, MARGIN - 6.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{beside}\" y=\"{:.1}\" text-anchor=\"end\">{share}</text>\
             <text x=\"{:.1}\" y=\"{below}\" text-anchor=\"middle\">{share}</text>",
            SIDE - MARGIN,
            at + 4.0,
            x(share)
        );
    }
    let width = 1.0 / calibration.bins.len().max(1) as f64;
    for (number, bin) in calibration.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let &Bin { count: rows, confidence, accuracy } = bin;
        let left = number as f64 * width;
        let _ = write!(
            svg,
            "<rect class=\"s0\" fill=\"currentColor\" fill-opacity=\"0.55\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{} predictions of mean confidence {confidence:.3}: {accuracy:.3} are right</title></rect>",
            x(left) + 0.5,
            y(accuracy),
            (width * inner - 1.0).max(0.5),
            accuracy * inner,
            count(rows as usize)
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" stroke-dasharray=\"4 3\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">confidence</text>\
         <text x=\"{MARGIN}\" y=\"{:.1}\">share that is right</text></svg>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0),
        SIDE / 2.0,
        SIDE - 8.0,
        MARGIN - 14.0
    );
    svg
}
