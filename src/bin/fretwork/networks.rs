//! Tables of networks that were trained together.

use anyhow::Result;
use fretwork::nn::{MlpsConfig, OneOf, Together};
use fretwork::train::{NetworkScore, NetworkScores};

use crate::output::line;

/// Networks of a ranking that are printed.
const MOST_SHOWN: usize = 20;

/// Prints the best networks, or all of an ensemble, and the whole.
pub(crate) fn print(config: &MlpsConfig, scores: &NetworkScores) -> Result<()> {
    let is_sweep = config.together == Together::Sweep;
    let order = if is_sweep { scores.ranking() } else { (0..scores.test.len()).collect() };
    let shown = &order[..if is_sweep { MOST_SHOWN.min(order.len()) } else { order.len() }];
    let validated = !scores.validation.is_empty();
    line("")?;
    if is_sweep {
        let rows = if validated { "validation" } else { "test" };
        line(format!("the best {} of {} networks by {rows} loss", shown.len(), order.len()))?;
    }
    let validation = if validated { "  valid. loss  valid. acc" } else { "" };
    let calibrated = scores.test.iter().any(|score| score.ece.is_some());
    let calibration = if calibrated { "  test ECE" } else { "" };
    line(format!(
        "network  {:<24}{validation}  test loss  test acc{calibration}",
        "hidden, activation, seed"
    ))?;
    for &number in shown {
        let numbers = score(&scores.test[number]);
        let validation = scores
            .validation
            .get(number)
            .map_or(String::new(), |of| format!("  {:>11.4}  {:>10.4}", of.loss, of.accuracy));
        let name = config.networks.get(number).map_or(String::new(), name);
        line(format!("{number:<7}  {name:<24}{validation}{numbers}"))?;
    }
    if let Some(whole) = &scores.whole {
        let score_of_whole =
            NetworkScore { loss: whole.loss, accuracy: whole.accuracy, ece: Some(whole.calibration.ece) };
        let gap = if validated { " ".repeat(25) } else { String::new() };
        line(format!("{:<7}  {:<24}{gap}{}", "all", "mean of probabilities", score(&score_of_whole)))?;
    }
    if is_sweep && !validated {
        line(
            "\nthe test rows chose the best, so its test scores flatter it; --validation chooses by others",
        )?;
    }
    Ok(())
}

fn score(of: &NetworkScore) -> String {
    let ece = of.ece.map_or(String::new(), |ece| format!("  {ece:>8.4}"));
    format!("  {:>9.4}  {:>8.4}{ece}", of.loss, of.accuracy)
}

/// What tells a network from others.
fn name(network: &OneOf) -> String {
    let widths: Vec<String> = network.hidden.iter().map(ToString::to_string).collect();
    format!("{}, {}, {}", widths.join("-"), network.activation, network.seed)
}
