//! Chart of the memory of one step.

use super::chart::{Across, Chart, Series, Unit, WIDE, extent};
use crate::graph::{Recompute, StepMemory};
use crate::report::number;
use crate::train::Settings;

/// Bytes of a megabyte.
const MEGA: f64 = 1e6;

/// Chart of the activations in use over the operations of a step, with those of a step that keeps everything where the run
/// recomputes; nothing for a network that its settings alone don't make.
pub(super) fn section(settings: &Settings) -> String {
    let plan = |recompute: Option<Recompute>| -> Option<StepMemory> {
        let mut graph = settings.model.graph(settings.pass_rows(), settings.precision).ok()?;
        graph.recompute(recompute);
        graph.step_memory().ok()
    };
    let Some(own) = plan(settings.recompute) else { return String::new() };
    let passes = match own.parts[..] {
        [[forward, _]] => format!("the forward pass ends at operation {forward}"),
        ref parts => {
            format!("the forward and the backward passes of {} parts follow each other", parts.len())
        }
    };
    let mut note = format!("{} MB are allocated; {passes}", number(own.allocated as f64 / MEGA));
    let kept = settings.recompute.and_then(|_| plan(None));
    let points = |plan: &StepMemory| {
        let mega = |(at, &bytes): (usize, &u64)| [(at + 1) as f64, bytes as f64 / MEGA];
        plan.in_use.iter().enumerate().map(mega).collect()
    };
    let mut series =
        vec![Series { name: if kept.is_some() { "recomputed" } else { "MB" }, points: points(&own) }];
    if let Some(kept) = &kept {
        note += &format!(", and without --recompute {} MB would be", number(kept.allocated as f64 / MEGA));
        series.push(Series { name: "kept", points: points(kept) });
    }
    let [_, most] = extent(&series);
    let chart = Chart {
        title: "Activations in use",
        across: Across::Operations,
        unit: Unit::Number,
        frame: &WIDE,
        range: [0.0, most],
        series,
    };
    format!(
        "<section><h2>Memory of a step <small>activations and their gradients in use, in MB; {note}</small></h2>\n\
         <div class=\"card\">{}</div></section>\n",
        chart.svg()
    )
}
