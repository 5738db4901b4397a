//! Twins of `shaders/route/`.

use crate::Result;
use crate::sparse::{RoutingShape, Topology};
use crate::terms::ABSENT;

/// Routing tables of a batch; the fields are those of [`Routing`](crate::sparse::Routing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Tokens placed per expert.
    pub counts: Vec<u32>,
    /// Dropped assignments per expert.
    pub dropped: Vec<u32>,
    /// First row tile of each expert, and the total number of tiles.
    pub first_tile: Vec<u32>,
    /// Assignment of each row.
    pub rows: Vec<u32>,
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// Row of each assignment.
    pub places: Vec<u32>,
    /// Pattern of the experts' hidden units.
    pub topology: Topology,
}

/// Routing tables of `experts[tokens, assignments]`. With `kept`, one bit per token for each group of tokens and each
/// expert in whole words, assignments whose bit is 0 are dropped.
///
/// # Errors
/// Those of [`RoutingShape::bounds`].
pub fn route(experts: &[u32], kept: Option<(&[u32], usize)>, shape: &RoutingShape) -> Result<Routes> {
    let bounds = shape.bounds()?;
    let b = shape.block;
    let mut wanted = vec![Vec::new(); shape.experts()];
    let mut load = vec![0; shape.experts()];
    for nth in 0..shape.choices {
        for token in 0..shape.tokens {
            let assignment = token * shape.choices + nth;
            let expert = experts[assignment] as usize;
            if expert >= shape.experts() {
                continue;
            }
            load[expert] += 1;
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
        // Once an expert exceeds the capacity, later experts receive nothing.
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
        dropped: load.iter().zip(&counts).map(|(load, count)| load - count).collect(),
        first_tile: first_tile.into_iter().map(|tile| tile as u32).collect(),
        tokens: rows.iter().map(token).collect(),
        topology: Topology::from_coordinates(bounds.tiles * b, shape.hidden(), b, &blocks)?,
        counts,
        rows,
        places,
    })
}

/// Gather with holes: `out[i] = x[index[i]]`, 0 where the index is absent.
pub fn route_values(x: &[f32], index: &[u32], out: &mut [f32]) {
    for (out, &index) in out.iter_mut().zip(index) {
        *out = if index == ABSENT { 0.0 } else { x[index as usize] };
    }
}
