//! Pictures of a sparse layer's pattern over time.

use super::chart::moment;
use super::history::{Layer, State};
use crate::report::{count, escape, percent};

/// Most pictures of a layer.
const PICTURES: usize = 8;

/// Most cells on a side of a picture.
const CELLS: usize = 128;

/// Shades of non-empty cells, where a cell is several blocks.
const SHADES: usize = 8;

/// Pictures of a layer, with a legend.
pub(super) fn pictures(layer: &Layer) -> String {
    let spans = spans(layer);
    let shown: Vec<_> = chosen(spans.len()).into_iter().map(|index| spans[index]).collect();
    let side = layer.grid[0].max(layer.grid[1]).div_ceil(CELLS);
    let (legend, drawings) = if side > 1 { shaded(layer, side, &shown) } else { exact(layer, &shown) };
    let figures = shown.iter().zip(drawings).map(|(&Span { first, last, state }, drawing)| {
        let (mut when, nnz) = (moment(first as f64), count(state.nnz));
        if last > first {
            // The start is no epoch with a number.
            when += &if first == 0 { format!(" to {}", moment(last as f64)) } else { format!(" to {last}") };
        }
        let density = percent(state.nnz as f64 / layer.places() as f64);
        format!(
            "<figure><svg viewBox=\"0 0 {cols} {rows}\" preserveAspectRatio=\"xMinYMin\" role=\"img\" \
             aria-label=\"{}, {when}: {nnz} of {} blocks are stored\"><path class=\"absent\" \
             d=\"M0 0h{cols}v{rows}h-{cols}z\"/>{drawing}</svg><figcaption><b>{when}</b> {nnz} blocks, {density}\
             </figcaption></figure>\n",
            escape(&layer.name),
            count(layer.places()),
            rows = layer.grid[0].div_ceil(side),
            cols = layer.grid[1].div_ceil(side),
        )
    });
    format!(
        "<ul class=\"legend\">{legend}</ul>\n<div class=\"pictures\">\n{}</div>\n",
        figures.collect::<String>()
    )
}

/// Times in which a pattern stays as it is, in completed epochs.
#[derive(Clone, Copy)]
struct Span<'a> {
    first: u64,
    last: u64,
    state: &'a State,
}

/// The patterns of a layer, one after the other, each once for all the time that it stays.
fn spans(layer: &Layer) -> Vec<Span<'_>> {
    let mut spans: Vec<Span<'_>> = Vec::new();
    for (&done, state) in &layer.states {
        match spans.last_mut() {
            Some(span) if span.state.has_pattern_of(state) => span.last = done,
            _ => spans.push(Span { first: done, last: done, state }),
        }
    }
    spans
}

/// Indices of the times shown, of `count`: all, or [`PICTURES`] at even distances, from the first to the last.
fn chosen(count: usize) -> Vec<usize> {
    match count {
        0..=PICTURES => (0..count).collect(),
        _ => (0..PICTURES).map(|index| (index * (count - 1) + PICTURES / 2) / (PICTURES - 1)).collect(),
    }
}

/// One cell for each block: stored, inactive, or new since the previous picture; behind them the rows and columns without an active
/// block.
fn exact(layer: &Layer, shown: &[Span<'_>]) -> (String, Vec<String>) {
    let mut before: Option<&State> = None;
    let mut drawings = Vec::new();
    let mut any_dead = false;
    for &Span { state, .. } in shown {
        let [mut stored, mut resting, mut new] = [const { String::new() }; 3];
        let dead = dead_lines(layer, state);
        any_dead |= !dead.is_empty();
        for place in (0..layer.places()).filter(|&place| has(&state.present, place)) {
            let path = if before.is_some_and(|before| !has(&before.present, place)) {
                &mut new
            } else if has(&state.resting, place) {
                &mut resting
            } else {
                &mut stored
            };
            square(path, place / layer.grid[1], place % layer.grid[1]);
        }
        drawings.push(
            [("dead", dead), ("stored", stored), ("resting", resting), ("new", new)]
                .iter()
                .filter(|(_, path)| !path.is_empty())
                .map(|(class, path)| format!("<path class=\"{class}\" d=\"{path}\"/>"))
                .collect(),
        );
        before = Some(state);
    }
    let mut keys = vec![("stored", "stored")];
    if shown.iter().any(|Span { state, .. }| state.resting.iter().any(|&word| word != 0)) {
        keys.push(("resting", "stored, resting"));
    }
    if shown.len() > 1 {
        keys.push(("new", "new since the picture before"));
    }
    keys.push(("absent", "absent"));
    if any_dead {
        keys.push(("dead", "row or column without an active block"));
    }
    (keys.into_iter().map(|(class, text)| key(class, "1", text)).collect(), drawings)
}

/// One cell for `side` x `side` blocks, shaded by the share of stored blocks.
fn shaded(layer: &Layer, side: usize, shown: &[Span<'_>]) -> (String, Vec<String>) {
    let pictures: Vec<_> =
        shown.iter().map(|Span { state, .. }| shares(layer, side, &state.present)).collect();
    let darkest = pictures.iter().flatten().copied().fold(0.0, f64::max);
    let cols = layer.grid[1].div_ceil(side);
    let drawings = pictures.iter().map(|cells| {
        let mut paths = vec![String::new(); SHADES + 1];
        for (cell, &share) in cells.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            // A cell with a stored block is never drawn empty.
            let shade = (share / darkest * SHADES as f64).round().max(1.0) as usize;
            square(&mut paths[shade], cell / cols, cell % cols);
        }
        let paths = paths.iter().enumerate().filter(|(_, path)| !path.is_empty());
        paths
            .map(|(shade, path)| {
                let opacity = shade as f64 / SHADES as f64;
                format!("<path class=\"stored\" fill-opacity=\"{opacity}\" d=\"{path}\"/>")
            })
            .collect()
    });
    let legend = [
        key("absent", "1", "nothing stored"),
        key("stored", "0.5", &format!("{} stored", percent(darkest / 2.0))),
        key("stored", "1", &format!("{} stored, of the {side} × {side} blocks of a cell", percent(darkest))),
    ];
    (legend.concat(), drawings.collect())
}

/// Share of stored blocks in each cell; cells at the edges have fewer blocks.
fn shares(layer: &Layer, side: usize, set: &[u32]) -> Vec<f64> {
    let [rows, cols] = layer.grid;
    let cells = cols.div_ceil(side);
    let mut stored = vec![0usize; rows.div_ceil(side) * cells];
    for place in (0..layer.places()).filter(|&place| has(set, place)) {
        stored[place / cols / side * cells + place % cols / side] += 1;
    }
    let within = |cell: usize, sides: usize| side.min(sides - cell * side);
    stored
        .iter()
        .enumerate()
        .map(|(cell, &stored)| {
            stored as f64 / (within(cell / cells, rows) * within(cell % cells, cols)) as f64
        })
        .collect()
}

/// Outline of the rows and columns without an active block.
fn dead_lines(layer: &Layer, state: &State) -> String {
    let [rows, cols] = layer.grid;
    let [dead_rows, dead_cols] = state.dead_lines(layer.grid);
    let places =
        |dead: Vec<bool>| dead.into_iter().enumerate().filter(|(_, dead)| *dead).map(|(place, _)| place);
    places(dead_rows).map(|row| format!("M0 {row}h{cols}v1h-{cols}z")).collect::<String>()
        + &places(dead_cols).map(|col| format!("M{col} 0h1v{rows}h-1z")).collect::<String>()
}

fn has(set: &[u32], place: usize) -> bool {
    set[place / 32] >> (place % 32) & 1 != 0
}

fn square(path: &mut String, row: usize, col: usize) {
    *path += &format!("M{col} {row}h1v1h-1z");
}

fn key(class: &str, opacity: &str, text: &str) -> String {
    format!(
        "<li><svg class=\"cell\" viewBox=\"0 0 1 1\" aria-hidden=\"true\"><path class=\"absent\" d=\"M0 0h1v1H0z\"/>\
         <path class=\"{class}\" fill-opacity=\"{opacity}\" d=\"M0 0h1v1H0z\"/></svg>{text}</li>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_evenly_chosen() {
        assert_eq!(chosen(0), [0usize; 0]);
        assert_eq!(chosen(8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(chosen(15), [0, 2, 4, 6, 8, 10, 12, 14]);
        for count in 9..100 {
            let chosen = chosen(count);
            assert_eq!((chosen[0], chosen[7], chosen.len()), (0, count - 1, 8));
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]), "{chosen:?}");
        }
    }
}
