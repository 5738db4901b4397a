//! Initial patterns: blocks drawn at random, through which signals pass.

use std::collections::{BTreeMap, HashSet};

use super::topology::{Topology, grid};
use crate::random::{Key, Walk};
use crate::{Error, Result};

/// The initial pattern of one layer, yet to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Sides of the matrix, `[rows, cols]`.
    pub sides: [usize; 2],
    /// The side of a block.
    pub block: usize,
    /// Number of blocks to draw.
    pub nnz: usize,
    /// The units that rows and columns stand for, by number; layers that write and read the same units share it. `None` for units that
    /// are written and read in any case, as those of a residual stream: that side is left as it is drawn.
    pub units: [Option<usize>; 2],
    /// Key of the layer's draws.
    pub key: Key,
}

/// A topology of exactly `nnz` blocks, drawn without replacement.
///
/// # Errors
/// [`Error::Topology`] if there are not that many blocks, or the block does not divide a side.
pub fn random(rows: usize, cols: usize, block: usize, nnz: usize, key: Key) -> Result<Topology> {
    // An empty topology checks the sides, and no more than the drawn blocks is ever stored.
    let [row_blocks, col_blocks] = {
        let empty = Topology::from_coordinates(rows, cols, block, &[])?;
        [empty.row_blocks(), empty.col_blocks()]
    };
    let total = u32::try_from(row_blocks * col_blocks).map_err(|_| Error::Topology {
        reason: format!("{row_blocks} x {col_blocks} blocks to draw from"),
    })?;
    if nnz > total as usize {
        let reason = format!("{nnz} blocks, but a matrix of {rows} x {cols} has {total}");
        return Err(Error::Topology { reason });
    }
    // Selection sampling: each block is taken with the probability that makes the count come out, in row order.
    let mut walk = key.walk();
    let mut coordinates = Vec::with_capacity(nnz);
    for seen in 0..total {
        if (walk.below(total - seen) as usize) < nnz - coordinates.len() {
            coordinates.push((seen / col_blocks as u32, seen % col_blocks as u32));
        }
    }
    Topology::from_coordinates(rows, cols, block, &coordinates)
}

/// Random topologies of a network's layers through which signals pass: each is drawn [uniformly](random), and blocks are then moved
/// until no unit is written and not read, or read and not written.
///
/// A side of a layer has at most as many rows (columns) with a block as there are blocks. Where that is fewer than a side has, or than
/// the same units have in another layer, all layers use the same random units, as many as the scarcest layer can serve, and leave
/// the others alone. With a block in every layer there is a path from the first to the last. A pattern that has no gap is the
/// uniform draw itself.
///
/// # Errors
/// [`Error::Topology`] as [`random`].
pub fn connected(draws: &[Draw]) -> Result<Vec<Topology>> {
    // Number of blocks on the side of each set of units, and how many of them the scarcest layer can serve.
    let mut sizes = BTreeMap::new();
    for draw in draws {
        let widths = grid(draw.sides[0], draw.sides[1], draw.block)?;
        for (width, units) in widths.into_iter().zip(draw.units) {
            let Some(units) = units else { continue };
            let (known, size) = sizes.entry(units).or_insert((width, width));
            if *known != width {
                let reason = format!("units {units} are {known} blocks in one layer and {width} in another");
                return Err(Error::Topology { reason });
            }
            *size = draw.nnz.min(*size);
        }
    }
    let mut used = BTreeMap::new();
    draws
        .iter()
        .map(|draw| {
            let drawn = random(draw.sides[0], draw.sides[1], draw.block, draw.nnz, draw.key)?;
            let mut blocks: Vec<[u32; 2]> =
                drawn.coordinates().map(|(row, col)| [row as u32, col as u32]).collect();
            let mut walk = draw.key.walk_from(MENDING);
            for axis in 0..2 {
                let Some(units) = draw.units[axis] else { continue };
                let (width, size) = sizes[&units];
                let lines = used.entry(units).or_insert_with(|| choose(width, size, &mut walk));
                cover(&mut blocks, axis, lines, &mut walk);
            }
            blocks.sort_unstable();
            let blocks: Vec<_> = blocks.into_iter().map(|[row, col]| (row, col)).collect();
            Topology::from_coordinates(draw.sides[0], draw.sides[1], draw.block, &blocks)
        })
        .collect()
}

/// Whether a path of active blocks leads from a column of the first topology to a row of the last, where the rows of each are the
/// columns of the next.
pub fn connects<'a>(layers: impl IntoIterator<Item = &'a Topology>) -> bool {
    let mut reached: Option<Vec<bool>> = None;
    for layer in layers {
        let live = |col: usize| reached.as_ref().is_none_or(|reached| reached.get(col) == Some(&true));
        let rows = (0..layer.row_blocks()).map(|row| layer.row(row).any(|(_, col)| live(col))).collect();
        reached = Some(rows);
    }
    reached.is_none_or(|reached| reached.contains(&true))
}

/// The counter from which draws for moved blocks are taken: beyond that of any uniform draw.
const MENDING: u64 = 1 << 40;

/// Marks `size` of `width` lines at random.
fn choose(width: usize, size: usize, walk: &mut Walk) -> Vec<bool> {
    if size >= width {
        return vec![true; width];
    }
    let mut lines: Vec<bool> = (0..width).map(|line| line < size).collect();
    walk.shuffle(&mut lines);
    lines
}

/// Moves blocks along one axis until each of the `used` lines has one, and the others none where there is a place. No other
/// coordinate changes, so lines of the other axis stay covered.
fn cover(blocks: &mut [[u32; 2]], axis: usize, used: &[bool], walk: &mut Walk) {
    let mut counts = vec![0u32; used.len()];
    blocks.iter().for_each(|block| counts[block[axis] as usize] += 1);
    let wrong = |counts: &[u32]| counts.iter().zip(used).any(|(&count, &used)| (count > 0) != used);
    if !wrong(&counts) {
        return;
    }
    let mut donors: Vec<usize> = (0..blocks.len()).collect();
    walk.shuffle(&mut donors);
    // Blocks of unused lines go first.
    donors.sort_by_key(|&block| used[blocks[block][axis] as usize]);
    let mut donors = donors.into_iter();
    for line in (0..used.len()).filter(|&line| used[line]) {
        if counts[line] > 0 {
            continue;
        }
        // A line with one block keeps it. Lines are no more than blocks, so some line has two, or is unused.
        let spare = |&block: &usize| {
            let from = blocks[block][axis] as usize;
            !used[from] || counts[from] > 1
        };
        let Some(block) = donors.find(spare) else { return };
        counts[blocks[block][axis] as usize] -= 1;
        counts[line] += 1;
        blocks[block][axis] = line as u32;
    }
    leave(blocks, axis, used, walk);
}

/// Moves what blocks of unused lines are left to a random place on a used one, where one is free.
fn leave(blocks: &mut [[u32; 2]], axis: usize, used: &[bool], walk: &mut Walk) {
    let stray: Vec<usize> = (0..blocks.len()).filter(|&block| !used[blocks[block][axis] as usize]).collect();
    let lines: Vec<u32> = (0..used.len() as u32).filter(|&line| used[line as usize]).collect();
    if stray.is_empty() || lines.is_empty() {
        return;
    }
    let mut taken: HashSet<[u32; 2]> = blocks.iter().copied().collect();
    for block in stray {
        let first = walk.below(lines.len() as u32) as usize;
        let place = |line: u32| {
            let mut place = blocks[block];
            place[axis] = line;
            place
        };
        let free = lines[first..].iter().chain(&lines[..first]).map(|&line| place(line));
        if let Some(place) = free.into_iter().find(|place| !taken.contains(place)) {
            taken.remove(&blocks[block]);
            taken.insert(place);
            blocks[block] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// The layers of a multi-layer perceptron with these widths, in blocks of 8.
    fn chain(widths: &[usize], counts: &[usize], seed: u64) -> Vec<Draw> {
        let draw = |(layer, nnz): (usize, &usize)| Draw {
            sides: [widths[layer + 1] * 8, widths[layer] * 8],
            block: 8,
            nnz: *nnz,
            units: [Some(layer + 1), Some(layer)],
            key: Key::new(seed, Stream::Pattern(layer as u32)),
        };
        counts.iter().enumerate().map(draw).collect()
    }

    fn rows(topology: &Topology) -> Vec<bool> {
        (0..topology.row_blocks()).map(|row| topology.row(row).len() > 0).collect()
    }

    fn cols(topology: &Topology) -> Vec<bool> {
        (0..topology.col_blocks()).map(|col| topology.col(col).len() > 0).collect()
    }

    #[test]
    fn units_are_written_where_they_are_read() {
        let mut walk = Key::new(1, Stream::Check(0)).walk();
        for seed in 0..300 {
            let widths: Vec<usize> = (0..4).map(|_| 1 + walk.below(12) as usize).collect();
            let counts: Vec<usize> =
                widths.windows(2).map(|pair| 1 + walk.below((pair[0] * pair[1]) as u32) as usize).collect();
            let drawn = connected(&chain(&widths, &counts, seed)).unwrap();
            for (layer, topology) in drawn.iter().enumerate() {
                assert_eq!(topology.nnz(), counts[layer]);
                let covered = |lines: Vec<bool>| lines.into_iter().filter(|&line| line).count();
                // Nothing is left uncovered that the counts allow.
                assert!(
                    covered(rows(topology))
                        >= widths[layer + 1]
                            .min(counts[layer])
                            .min(counts.get(layer + 1).copied().unwrap_or(usize::MAX))
                );
                assert!(layer > 0 || covered(cols(topology)) >= widths[0].min(counts[0]));
            }
            for (layer, pair) in drawn.windows(2).enumerate() {
                let (written, read) = (rows(&pair[0]), cols(&pair[1]));
                // More blocks than the common units have places for lie beside them.
                let common = widths[layer + 1].min(counts[layer]).min(counts[layer + 1]);
                let places = |other: usize| common * other;
                let reach = [widths[layer].min(counts[layer]), widths[layer + 2].min(counts[layer + 1])];
                if counts[layer] <= places(1.max(reach[0] / 12)) && counts[layer + 1] <= common {
                    assert_eq!(written, read, "seed {seed}, layer {layer}");
                }
                assert!(written.iter().zip(&read).any(|(&written, &read)| written && read));
            }
        }
    }

    #[test]
    fn sizes_that_do_not_meet_are_refused() {
        let draws = chain(&[4, 6, 5], &[20, 25], 3);
        let refused = |draws: &[Draw]| connected(draws).unwrap_err().to_string();
        let narrow = Draw { sides: [40, 32], ..draws[1] };
        assert!(refused(&[draws[0], narrow]).contains("units 1 are 6 blocks in one layer and 4 in another"));
        assert!(refused(&[Draw { block: 0, ..draws[0] }]).contains("blocks of 0"));
        assert!(refused(&[Draw { nnz: 25, ..draws[0] }]).contains("25 blocks, but"));
        assert_eq!(connected(&[Draw { nnz: 0, ..draws[0] }]).unwrap()[0].nnz(), 0);
        let nothing = connected(&[draws[0], Draw { nnz: 0, ..draws[1] }]).unwrap();
        assert_eq!([nothing[0].nnz(), nothing[1].nnz()], [20, 0]);
        assert!(connected(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_draw_without_a_gap_is_the_uniform_one() {
        let draws = chain(&[4, 6, 5], &[20, 25], 3);
        let drawn = connected(&draws).unwrap();
        for (draw, topology) in draws.iter().zip(drawn) {
            assert_eq!(topology, random(draw.sides[0], draw.sides[1], 8, draw.nnz, draw.key).unwrap());
        }
    }
}
