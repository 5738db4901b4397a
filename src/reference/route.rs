//! Twins of `shaders/route/`.

use crate::Result;
use crate::sparse::{RoutingShape, Topology};

/// No expert, no row, no assignment.
const ABSENT: u32 = u32::MAX;

/// The tables of a batch; see [`Routing`](crate::sparse::Routing), whose fields these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Tokens that each expert has.
    pub counts: Vec<u32>,
    /// Choices of each expert that it does not have.
    pub dropped: Vec<u32>,
    /// The first row tile of each expert, and the number of all tiles.
    pub first_tile: Vec<u32>,
    /// The assignment of each row.
    pub rows: Vec<u32>,
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// The row of each assignment.
    pub places: Vec<u32>,
    /// The pattern of what the experts' hidden units are.
    pub topology: Topology,
}

/// The tables of `experts[tokens, choices]`; with `kept`, a bit per token, for each of these groups of tokens and each expert in
/// whole words, choices whose bit is 0 are dropped.
///
/// # Errors
/// As [`RoutingShape::bounds`].
pub fn route(experts: &[u32], kept: Option<(&[u32], usize)>, shape: &RoutingShape) -> Result<Routes> {
    let bounds = shape.bounds()?;
    let b = shape.block;
    let mut wanted = vec![Vec::new(); shape.experts()];
    let mut chosen = vec![0; shape.experts()];
    for choice in 0..shape.choices {
        for token in 0..shape.tokens {
            let assignment = token * shape.choices + choice;
            let expert = experts[assignment] as usize;
            if expert >= shape.experts() {
                continue;
            }
            chosen[expert] += 1;
            let stays = kept.is_none_or(|(kept, groups)| {
                let group = shape.tokens / groups;
                let (set, place) = (token / group * shape.experts() + expert, token % group);
                kept[set * group.div_ceil(32) + place / 32] >> (place % 32) & 1 == 1
            });
            if stays {
                wanted[expert].push(assignment);
            }
        }
    }

    let columns = shape.first_columns();
    let (mut tiles_left, mut slots_left) = (bounds.tiles, bounds.slots);
    let mut first_tile = vec![0];
    let mut rows = vec![ABSENT; bounds.tiles * b];
    let mut places = vec![ABSENT; shape.assignments()];
    let mut counts = Vec::new();
    let mut blocks = Vec::new();
    for (expert, assignments) in wanted.iter().enumerate() {
        let width = columns[expert + 1] - columns[expert];
        let needs = assignments.len().div_ceil(b);
        let tiles = needs.min(tiles_left).min(slots_left / width as usize);
        // Experts after one that finds too little room get none.
        (tiles_left, slots_left) =
            if tiles < needs { (0, 0) } else { (tiles_left - tiles, slots_left - tiles * width as usize) };
        let first = bounds.tiles.min(first_tile[expert]);
        for (rank, &assignment) in assignments.iter().take(tiles * b).enumerate() {
            rows[first * b + rank] = assignment as u32;
            places[assignment] = (first * b + rank) as u32;
        }
        counts.push(assignments.len().min(tiles * b) as u32);
        for tile in first..first + tiles {
            blocks.extend((0..width).map(|column| (tile as u32, columns[expert] + column)));
        }
        first_tile.push(first + tiles);
    }
    let token = |&row: &u32| if row == ABSENT { ABSENT } else { row / shape.choices as u32 };
    Ok(Routes {
        dropped: chosen.iter().zip(&counts).map(|(chosen, count)| chosen - count).collect(),
        first_tile: first_tile.into_iter().map(|tile| tile as u32).collect(),
        tokens: rows.iter().map(token).collect(),
        topology: Topology::from_coordinates(bounds.tiles * b, shape.hidden(), b, &blocks)?,
        counts,
        rows,
        places,
    })
}

/// `out[i] = x[index[i]]`, 0 where the index is absent.
pub fn route_values(x: &[f32], index: &[u32], out: &mut [f32]) {
    for (out, &index) in out.iter_mut().zip(index) {
        *out = if index == ABSENT { 0.0 } else { x[index as usize] };
    }
}
