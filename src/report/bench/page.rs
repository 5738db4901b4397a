//! The page of a bench, from top to bottom.

use super::plot::{End, Guide, Plot, Series, Side, legend};
use crate::bench::{Ceilings, Cell, Findings, Grid, Report, Role, Row, Subject, Timings};
use crate::report::{document, escape, number, percent, row, table};

/// The page of a bench.
pub fn render(report: &Report) -> String {
    let mut body = format!(
        "<header><p class=\"over\">fretwork bench · {}</p>\n<h1>{}</h1>\n<p>Kernels were checked before they were timed, in \
         interleaved rounds; medians count. Products are timed by {}, steps by the host's.</p></header>\n",
        escape(&report.driver),
        escape(&report.adapter),
        report.clock
    );
    body += &tiles(report);
    body += &roofline(report);
    for findings in &report.findings {
        body += &section(findings);
    }
    body += &format!("<details><summary>All times</summary>\n{}</details>\n", times(report));
    document(&format!("{}, bench", report.adapter), include_str!("page.css"), &body)
}

/// Timings of products: all that have ceilings.
fn products(report: &Report) -> impl Iterator<Item = &Timings> {
    report.findings.iter().flat_map(|findings| &findings.tables).filter(|table| table.ceilings().is_some())
}

/// Highest ceilings over all timings.
fn ceilings(report: &Report) -> Option<Ceilings> {
    products(report)
        .filter_map(Timings::ceilings)
        .reduce(|a, b| Ceilings { rate: a.rate.max(b.rate), bandwidth: a.bandwidth.max(b.bandwidth) })
}

/// Tiles of the headline figures; a figure that was not measured has no tile.
fn tiles(report: &Report) -> String {
    let mut tiles = Vec::new();
    if let Some(Ceilings { rate, bandwidth }) = ceilings(report) {
        tiles.push(("Ceiling, GFLOP/s", number(rate / 1e9), "multiply-adds in registers"));
        tiles.push(("Memory, GB/s", number(bandwidth / 1e9), "read and written by a copy"));
    }
    let (mut bars, mut reached) = (0, 0);
    for cell in report
        .findings
        .iter()
        .flat_map(|findings| &findings.grids)
        .flat_map(|grid| grid.rows.iter().flatten())
    {
        if let Some(passes) = cell.passes() {
            bars += 1;
            reached += usize::from(passes);
        }
    }
    if bars > 0 {
        tiles.push(("Bars", format!("{reached} of {bars}"), "reached"));
    }
    let control = |table: &Timings| table.control().filter(|control| control.is_finite());
    let controls = report.findings.iter().flat_map(|findings| &findings.tables).filter_map(control);
    let off = controls
        .fold(None, |most: Option<f64>, control| Some(most.unwrap_or(0.0).max((control - 1.0).abs())));
    if let Some(off) = off {
        tiles.push(("Controls", percent(off), "from 1 at most: so far ratios can be trusted"));
    }
    let tiles = tiles.iter().map(|(name, value, note)| {
        format!("<div><dt>{name}</dt><dd><b>{value}</b> <span>{note}</span></dd></div>\n")
    });
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.collect::<String>())
}

/// Kinds of kernels, each with a colour and a marker of its own.
const KINDS: [&str; 7] =
    ["dense", "naive", "blocks of 8", "blocks of 16", "blocks of 32", "blocks of 64", "blocks of 128"];

/// Index of a row's kind in [`KINDS`], by its name; 0, dense, where the name has none of them.
fn kind(row: &Row) -> usize {
    KINDS.iter().rposition(|kind| row.name().ends_with(kind) || row.name().starts_with(kind)).unwrap_or(0)
}

/// Roofline: the rate of every kernel over its arithmetic intensity, under the device's ceilings.
fn roofline(report: &Report) -> String {
    let Some(Ceilings { rate, bandwidth }) = ceilings(report) else { return String::new() };
    let mut series: Vec<Series> = (0..KINDS.len())
        .map(|kind| Series { kind, name: KINDS[kind].to_owned(), points: Vec::new(), joined: false })
        .collect();
    for table in products(report) {
        for row in table.compared().filter(|row| row.role() != Role::Control) {
            let Some(intensity) = row.intensity() else { continue };
            let share = table.of_ceiling(row).map_or_else(String::new, percent);
            let tip = format!(
                "{}: {} GFLOP/s at {} operations a byte, {share} of the ceiling ({})",
                row.name(),
                number(row.rate() / 1e9),
                number(intensity),
                table.title()
            );
            series[kind(row)].points.push(([intensity, row.rate() / 1e9], tip));
        }
    }
    series.retain(|series| !series.points.is_empty());
    let ridge = rate / bandwidth;
    let xs = || series.iter().flat_map(|series| series.points.iter().map(|point| point.0[0]));
    let (least, most) = (xs().fold(ridge, f64::min) / 2.0, xs().fold(ridge, f64::max) * 2.0);
    let ys = series.iter().flat_map(|series| series.points.iter().map(|point| point.0[1]));
    let x = Side::log("operations a byte that must be read or written", [least, most].into_iter());
    let y = Side::log("GFLOP/s", ys.chain([rate / 1e9]));
    let keys = legend(series.iter().map(|series| (series.kind, series.name.as_str())));
    let lowest =
        series.iter().flat_map(|series| &series.points).fold(rate / 1e9, |low, point| low.min(point.0[1]));
    // The slope is drawn from where it crosses the lower edge.
    let enters = least.max(lowest / (bandwidth / 1e9));
    let plot = Plot {
        summary: format!(
            "Roofline: {} GFLOP/s in registers, {} GB/s of memory, and every kernel's rate over its operations a byte",
            number(rate / 1e9),
            number(bandwidth / 1e9)
        ),
        size: [960.0, 420.0],
        x,
        y,
        guides: vec![
            Guide {
                points: vec![[enters.min(ridge), enters.min(ridge) * bandwidth / 1e9], [ridge, rate / 1e9]],
                note: None,
            },
            Guide {
                points: vec![[ridge, rate / 1e9], [most, rate / 1e9]],
                note: Some((
                    End::Last,
                    format!("multiply-adds in registers, {} GFLOP/s", number(rate / 1e9)),
                )),
            },
        ],
        series,
    };
    format!(
        "<section><h2>Roofline</h2>\n<div class=\"card roofline\">{keys}{}<p><small>The slope is what a copy leaves possible, {} GB/s. \
         Bytes are those that must move if each operand is read once, though caches may hold it; densities of one kernel are several points.</small></p>\
         </div></section>\n",
        plot.svg(),
        number(bandwidth / 1e9)
    )
}

fn section(findings: &Findings) -> String {
    let title = match findings.subject {
        Subject::Matmul => "Dense products",
        Subject::Sparse => "Sparse products",
        Subject::Step => "A training step",
        Subject::Update => "Topologies that change",
        Subject::Basis => "Random bases",
        Subject::Moe => "A mixture of experts",
    };
    let grids: String = findings.grids.iter().map(grid).collect();
    format!("<section><h2>{title}</h2>\n{}{grids}</section>\n", speed_up(findings))
}

/// Speed-up of sparse over dense products against density, one chart for each product.
fn speed_up(findings: &Findings) -> String {
    let mut names: Vec<&str> = findings.curves.iter().map(|curve| curve.name.as_str()).collect();
    names.dedup();
    if names.is_empty() {
        return String::new();
    }
    let all = || findings.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point[1]));
    let kind =
        |block: usize| KINDS.iter().position(|kind| *kind == format!("blocks of {block}")).unwrap_or(0);
    let charts = names.iter().map(|name| {
        let curves = || findings.curves.iter().filter(|curve| curve.name == *name);
        let series = curves().map(|curve| Series {
            kind: kind(curve.block),
            name: format!("blocks of {}", curve.block),
            points: curve
                .points
                .iter()
                .map(|&[density, times]| {
                    (
                        [density, times],
                        format!("blocks of {}, density {density}: {} times", curve.block, number(times)),
                    )
                })
                .collect(),
            joined: true,
        });
        let crossings: Vec<_> =
            curves().map(|curve| format!("{} (blocks of {})", curve.crossover(), curve.block)).collect();
        let plot = Plot {
            summary: format!(
                "{name}: times as fast as dense over density; as fast as it at {}",
                crossings.join(", ")
            ),
            size: [340.0, 270.0],
            x: Side::share("density"),
            y: Side::log("times as fast as dense", all().chain([1.0])),
            guides: vec![Guide {
                points: vec![[0.0, 1.0], [1.0, 1.0]],
                note: Some((End::First, "as fast as dense".to_owned())),
            }],
            series: series.collect(),
        };
        format!(
            "<div><h4>{} <small>as fast as dense at {}</small></h4>{}</div>\n",
            escape(name),
            crossings.join(", "),
            plot.svg()
        )
    });
    let mut blocks: Vec<usize> = findings.curves.iter().map(|curve| curve.block).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let names: Vec<_> = blocks.iter().map(|&block| (kind(block), format!("blocks of {block}"))).collect();
    let keys = legend(names.iter().map(|(kind, name)| (*kind, name.as_str())));
    format!(
        "<div class=\"card\"><h3>Speed-up over density</h3>{keys}<div class=\"three\">\n{}</div></div>\n",
        charts.collect::<String>()
    )
}

fn grid(grid: &Grid) -> String {
    let head: Vec<String> = grid.head.iter().map(|name| escape(name)).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let rows = grid.rows.iter().map(|cells| {
        let mut cells = cells.iter().map(cell);
        let name = cells.next().unwrap_or_default();
        row(&name, cells.collect())
    });
    table(&escape(&grid.title), &head, rows.collect())
}

/// Table cell; a verdict is shown in words and in colour.
fn cell(cell: &Cell) -> String {
    let text = escape(&cell.to_string());
    match cell.passes() {
        Some(true) => format!("<span class=\"reached\">{text}</span>"),
        Some(false) => format!("<span class=\"missed\">{text}</span>"),
        None => text,
    }
}

/// Tables of all timings.
fn times(report: &Report) -> String {
    let tables = report.findings.iter().flat_map(|findings| &findings.tables);
    let rows = |of: &Timings| {
        let line = |one: &Row| {
            let of_ceiling = of.of_ceiling(one).map_or_else(|| "–".to_owned(), percent);
            let cells = [number(one.median() * 1e3), percent(one.spread()), number(one.rate() / 1e9)];
            row(&escape(one.name()), [&cells[..], &[number(of.share(one)), of_ceiling]].concat())
        };
        of.rows().iter().map(line).collect::<String>()
    };
    let head = ["what", "median ms", "spread", "GFLOP/s", "share of the best", "of the ceiling"];
    tables.map(|of| table(&escape(of.title()), &head, rows(of))).collect()
}
