//! Where the parameters of one network lie among those of all: what is drawn for it is joined there, and what it has learned is
//! taken out again.

use std::ops::Range;

use super::MlpsConfig;
use crate::graph::{FanIn, Precision, Start};
use crate::sparse::Topology;
use crate::{Error, Result};

/// Where a parameter of one network lies among the stored elements, in row order, of a parameter of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the parameter in the network alone.
    pub(crate) alone: String,
    /// Name of the group's parameter.
    pub(crate) group: String,
    /// Stored elements of the group's parameter that are the network's.
    pub(crate) stored: Range<usize>,
    /// How they are stored.
    pub(crate) piece: Piece,
}

/// Storage of a network's parameter within its group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many elements as they are; behind them padding.
    Plain(usize),
    /// Blocks of a sparse weight of these sides, at this row and column of blocks of the group's grid.
    Blocks { sides: [usize; 2], at: [usize; 2] },
    /// A dense weight `[rows, cols]` in all blocks of its part of the grid, at this row and column of blocks.
    Blocked { sides: [usize; 2], at: [usize; 2] },
}

impl MlpsConfig {
    /// Whether a layer of each network is block-sparse in the network alone.
    fn is_sparse_alone(&self, depth: usize, layer: usize) -> bool {
        let kept = self.layers.keep_dense.contains(&format!("layers.{layer}"));
        self.sparsity.is_some() && layer < depth && !kept
    }

    /// Widths of a network from the padded input on, padded.
    fn widths(&self, number: usize) -> Vec<usize> {
        let widths = self.networks[number].hidden.iter().chain([&self.classes]);
        let padded = widths.map(|width| width.next_multiple_of(self.block));
        [self.padded_inputs()].into_iter().chain(padded).collect()
    }

    /// Blocks of each layer of a network that is [sparse alone](MlpsConfig::is_sparse_alone); 0 for others.
    fn blocks_alone(&self, number: usize) -> Result<Vec<usize>> {
        match self.sparsity {
            Some(_) => self.network(number)?.graph(1, Precision::F32)?.counts(None),
            None => Ok(vec![0; self.networks[number].hidden.len() + 1]),
        }
    }

    /// Blocks that a network has in a layer of its group; `None` where the group's layer is dense: that of all rows, where it is no
    /// network's own.
    fn blocks_of(&self, number: usize, layer: usize, alone: &[usize]) -> Option<usize> {
        let (widths, depth) = (self.widths(number), self.networks[number].hidden.len());
        match (self.is_sparse_alone(depth, layer), layer) {
            (true, _) => Some(alone[layer]),
            (false, 0) => None,
            (false, _) => Some(widths[layer] / self.block * (widths[layer + 1] / self.block)),
        }
    }

    /// Blocks of a layer of a group; `None` where it is dense.
    pub(super) fn stored_blocks(&self, group: &Range<usize>, layer: usize) -> Result<Option<usize>> {
        let (mut sum, mut known) = (Some(0usize), None::<(&[usize], Vec<usize>)>);
        for number in group.clone() {
            let hidden = self.networks[number].hidden.as_slice();
            // Networks of one shape have as many blocks.
            let alone = match known.take() {
                Some((shape, alone)) if shape == hidden => alone,
                _ => self.blocks_alone(number)?,
            };
            let blocks = self.blocks_of(number, layer, &alone);
            sum = sum.zip(blocks).map(|(sum, blocks)| sum.saturating_add(blocks));
            known = Some((hidden, alone));
        }
        Ok(sum)
    }

    /// Places of a network's parameters, in the order in which it has them alone.
    ///
    /// # Errors
    /// [`Error::Config`] for a number that no network has.
    pub(crate) fn places(&self, number: usize) -> Result<Vec<Place>> {
        self.network(number)?;
        let groups = self.groups();
        let is_its = |(_, group): &(usize, &Range<usize>)| group.contains(&number);
        let found = groups.iter().enumerate().find(is_its);
        let (at, group) = found.ok_or_else(|| Error::argument("networks", "number", "of a group", number))?;
        let scope = if groups.len() == 1 { String::new() } else { format!("groups.{at}.") };
        let depth = self.networks[number].hidden.len();
        let mut places = Vec::new();
        for layer in 0..=depth {
            let before = group.start..number;
            let (mut rows, mut cols) = (0, 0);
            for other in before.clone() {
                let widths = self.widths(other);
                rows += widths[layer + 1];
                cols += if layer == 0 { 0 } else { widths[layer] };
            }
            let widths = self.widths(number);
            let [height, width] = [widths[layer + 1], widths[layer]];
            let real = if layer < depth { height } else { self.classes };
            let corner = [rows / self.block, cols / self.block];
            let side = self.block * self.block;
            let alone = self.blocks_alone(number)?;
            let (stored, piece) = match self.blocks_of(number, layer, &alone) {
                None => (rows * width..(rows + height) * width, Piece::Plain(real * width)),
                Some(count) => {
                    let first = self.stored_blocks(&before, layer)?.unwrap_or(0);
                    let piece = match self.is_sparse_alone(depth, layer) {
                        true => Piece::Blocks { sides: [height, width], at: corner },
                        false => Piece::Blocked { sides: [real, width], at: corner },
                    };
                    (first * side..(first + count) * side, piece)
                }
            };
            let name = |part: &str| format!("layers.{layer}.{part}");
            let place = |part: &str, stored, piece| Place {
                alone: name(part),
                group: format!("{scope}{}", name(part)),
                stored,
                piece,
            };
            places.push(place("weight", stored, piece));
            places.push(place("bias", rows..rows + height, Piece::Plain(real)));
        }
        Ok(places)
    }

    /// Topologies of a network as they are drawn for it alone.
    fn topologies_alone(&self, number: usize) -> Result<Vec<Option<Topology>>> {
        match self.sparsity {
            Some(_) => self.network(number)?.graph(1, Precision::F32)?.topologies(None),
            None => Ok(vec![None; self.networks[number].hidden.len() + 1]),
        }
    }

    /// Topology of each matrix; `None` for dense ones: those of the networks, one behind the other along the diagonal, or along the
    /// rows of the first layer.
    ///
    /// # Errors
    /// As [`MlpConfig::graph`](crate::nn::MlpConfig::graph).
    pub fn topologies(&self) -> Result<Vec<Option<Topology>>> {
        let mut joined = Vec::new();
        for group in self.groups() {
            let depth = self.networks[group.start].hidden.len();
            let mut blocks: Vec<Vec<(u32, u32)>> = vec![Vec::new(); depth + 1];
            let mut sides = vec![[0, 0]; depth + 1];
            for number in group.clone() {
                let (widths, alone) = (self.widths(number), self.topologies_alone(number)?);
                for (layer, alone) in alone.iter().enumerate() {
                    let [rows, cols] = sides[layer];
                    let [down, right] = [rows / self.block, if layer == 0 { 0 } else { cols / self.block }];
                    let shift = |(row, col): (usize, usize)| ((down + row) as u32, (right + col) as u32);
                    let [height, width] = [widths[layer + 1], widths[layer]];
                    match alone {
                        Some(alone) => blocks[layer].extend(alone.coordinates().map(shift)),
                        None if layer == 0 => {}
                        None => {
                            let grid = [height / self.block, width / self.block];
                            let all = (0..grid[0]).flat_map(|row| (0..grid[1]).map(move |col| (row, col)));
                            blocks[layer].extend(all.map(shift));
                        }
                    }
                    sides[layer] = [rows + height, if layer == 0 { width } else { cols + width }];
                }
            }
            for (layer, (blocks, [rows, cols])) in blocks.iter().zip(sides).enumerate() {
                let is_dense = layer == 0 && !self.is_sparse_alone(depth, 0);
                let topology = || Topology::from_coordinates(rows, cols, self.block, blocks);
                joined.push((!is_dense).then(topology).transpose()?);
            }
        }
        Ok(joined)
    }

    /// First values of each parameter, in slot order: those that are drawn for each network alone.
    ///
    /// # Errors
    /// As [`MlpsConfig::topologies`].
    pub(crate) fn first_values(&self, fan_in: FanIn) -> Result<Vec<Vec<f32>>> {
        let mut joined = Vec::new();
        for group in self.groups() {
            let depth = self.networks[group.start].hidden.len();
            let mut values: Vec<Vec<f32>> = vec![Vec::new(); 2 * (depth + 1)];
            for number in group {
                let topologies = self.topologies_alone(number)?;
                let graph = self.network(number)?.graph(1, Precision::F32)?;
                let drawn = graph.first_values(Start { fan_in, topologies: &topologies, fixed: true });
                let widths = self.widths(number);
                for (at, (drawn, values)) in drawn.into_iter().zip(&mut values).enumerate() {
                    let (layer, is_weight) = (at / 2, at % 2 == 0);
                    let [height, width] = [widths[layer + 1], widths[layer]];
                    match is_weight {
                        true if layer > 0 && !self.is_sparse_alone(depth, layer) => {
                            values.extend(blocked(&drawn, [height, width], self.block)?);
                        }
                        true => values.extend(drawn),
                        false => {
                            let end = values.len() + height;
                            values.extend(drawn);
                            values.resize(end, 0.0);
                        }
                    }
                }
            }
            joined.extend(values);
        }
        Ok(joined)
    }
}

/// Blocks, row by row, of a dense weight of this many columns, below whose rows follow rows of zeros.
fn blocked(dense: &[f32], [height, width]: [usize; 2], block: usize) -> Result<Vec<f32>> {
    let mut dense = dense.to_vec();
    dense.resize(height * width, 0.0);
    Ok(Topology::full(height, width, block)?.gather(&dense))
}
