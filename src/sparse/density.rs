//! How many blocks each layer keeps, and which, at the start.

use std::fmt;
use std::str::FromStr;

use super::Topology;
use crate::random::Key;
use crate::{Error, Result};

/// How the blocks that are kept are shared out among layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Density {
    /// Every layer has the same density.
    Uniform,
    /// Erdős–Rényi (Mocanu et al. 2018): density in proportion to `(rows + cols) / (rows * cols)`, cut off at 1. What a
    /// full layer cannot take is lost to it and made up for by a larger factor for all.
    Er,
    /// Erdős–Rényi-kernel (Evci et al. 2020): as `Er`, but a layer that would exceed 1 is made dense first and leaves
    /// the sum, and the others share what is left. On matrices the two differ only in how rounding falls.
    Erk,
}

impl FromStr for Density {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "er" => Ok(Self::Er),
            "erk" => Ok(Self::Erk),
            other => Err(Error::Config {
                option: "init",
                reason: format!("{other:?} is none of uniform, er, erk"),
            }),
        }
    }
}

impl fmt::Display for Density {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Er => "er",
            Self::Erk => "erk",
        })
    }
}

/// The sides of a layer's weight matrix, in blocks.
pub type Grid = [usize; 2];

impl Density {
    /// The number of blocks that each layer keeps. Uniformly a layer of `N` blocks keeps `N - floor(sparsity * N)`;
    /// the other two keep `N - floor(sparsity * N)` of all blocks together, exactly.
    ///
    /// # Errors
    /// [`Error::Config`] if `sparsity` is not in `[0, 1)` or a layer is left with no block.
    pub fn allocate(self, layers: &[Grid], sparsity: f64) -> Result<Vec<usize>> {
        if !(0.0..1.0).contains(&sparsity) {
            let reason = format!("{sparsity} is not in [0, 1)");
            return Err(Error::Config { option: "sparsity", reason });
        }
        let sizes: Vec<usize> = layers.iter().map(|[rows, cols]| rows * cols).collect();
        let keep = |blocks: usize| blocks - (sparsity * blocks as f64).floor() as usize;
        let kept = match self {
            Self::Uniform => sizes.iter().map(|&size| keep(size)).collect(),
            Self::Er => {
                let factor = solve(layers, &sizes, keep(sizes.iter().sum()));
                share(layers, &sizes, keep(sizes.iter().sum()), factor)
            }
            Self::Erk => {
                let factor = freeze(layers, &sizes, keep(sizes.iter().sum()));
                share(layers, &sizes, keep(sizes.iter().sum()), factor)
            }
        };
        match kept.iter().position(|&blocks| blocks == 0) {
            Some(layer) => Err(Error::Config {
                option: "sparsity",
                reason: format!(
                    "{sparsity} leaves layer {layer} ({} x {} blocks) with no block",
                    layers[layer][0], layers[layer][1]
                ),
            }),
            None => Ok(kept),
        }
    }
}

/// Blocks that a layer would keep per unit of the factor: `(rows + cols) / (rows * cols)` times its size.
fn weight([rows, cols]: Grid) -> f64 {
    (rows + cols) as f64
}

/// The factor at which the cut-off densities use up the budget, by bisection: the use grows with the factor.
fn solve(layers: &[Grid], sizes: &[usize], budget: usize) -> f64 {
    let used = |factor: f64| -> f64 {
        layers.iter().zip(sizes).map(|(&layer, &size)| (factor * weight(layer)).min(size as f64)).sum()
    };
    let (mut low, mut high) = (0.0, sizes.iter().sum::<usize>() as f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if used(middle) < budget as f64 { low = middle } else { high = middle }
    }
    high
}

/// The factor that is left when every layer that would be fuller than full has been made dense.
fn freeze(layers: &[Grid], sizes: &[usize], budget: usize) -> f64 {
    let mut dense = vec![false; layers.len()];
    loop {
        let open =
            || layers.iter().zip(sizes).zip(&dense).filter(|(_, dense)| !**dense).map(|(both, _)| both);
        let spent: usize = sizes.iter().zip(&dense).filter(|(_, dense)| **dense).map(|(size, _)| size).sum();
        let total: f64 = open().map(|(&layer, _)| weight(layer)).sum();
        if total == 0.0 {
            return f64::MAX;
        }
        let factor = budget.saturating_sub(spent) as f64 / total;
        let over = (0..layers.len()).find(|&l| !dense[l] && factor * weight(layers[l]) > sizes[l] as f64);
        match over {
            Some(layer) => dense[layer] = true,
            None => return factor,
        }
    }
}

/// Whole blocks that add up to the budget: the largest remainders are rounded up, the first of equals first.
fn share(layers: &[Grid], sizes: &[usize], budget: usize, factor: f64) -> Vec<usize> {
    let ideal: Vec<f64> =
        layers.iter().zip(sizes).map(|(&layer, &size)| (factor * weight(layer)).min(size as f64)).collect();
    let mut kept: Vec<usize> = ideal.iter().map(|ideal| ideal.floor() as usize).collect();
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by(|&a, &b| f64::total_cmp(&ideal[b].fract(), &ideal[a].fract()));
    let mut missing = budget.saturating_sub(kept.iter().sum());
    for &layer in order.iter().cycle().take(2 * layers.len()) {
        if missing > 0 && kept[layer] < sizes[layer] {
            kept[layer] += 1;
            missing -= 1;
        }
    }
    kept
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
