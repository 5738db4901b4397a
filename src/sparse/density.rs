//! Initial number of blocks of each layer.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Distribution of the kept blocks among layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Density {
    /// Every layer has the same density.
    Uniform,
    /// Erdős–Rényi (Mocanu et al. 2018): density in proportion to `(rows + cols) / (rows * cols)`, cut off at 1. A larger
    /// factor for all layers makes up for the cut.
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
    /// The number of blocks that each layer keeps, at least one. Uniformly a layer of `N` blocks keeps
    /// `N - floor(sparsity * N)`; the other two keep `N - floor(sparsity * N)` of all blocks together, exactly.
    ///
    /// # Errors
    /// [`Error::Config`] if `sparsity` is not in `[0, 1)`, or keeps fewer blocks than there are layers.
    pub fn allocate(self, layers: &[Grid], sparsity: f64) -> Result<Vec<usize>> {
        if !(0.0..1.0).contains(&sparsity) {
            let reason = format!("{sparsity} is not in [0, 1)");
            return Err(Error::Config { option: "sparsity", reason });
        }
        let sizes = sizes_of(layers)?;
        let keep = |blocks: usize| blocks - (sparsity * blocks as f64).floor() as usize;
        let total: usize = sizes.iter().sum();
        let budget = keep(total);
        let factor = match self {
            Self::Uniform => return Ok(sizes.iter().map(|&size| keep(size).max(1)).collect()),
            Self::Er => solve(layers, &sizes, budget),
            Self::Erk => freeze(layers, &sizes, budget),
        };
        if budget < layers.len() {
            // Rounded down, so that the sparsity that is named keeps enough.
            let most = ((total - layers.len()) as f64 / total as f64 * 1e4).floor() / 1e4;
            let reason = format!(
                "{sparsity} keeps {budget} of {total} blocks, but each of {} sparse layers needs one; at most {most} does",
                layers.len()
            );
            return Err(Error::Config { option: "sparsity", reason });
        }
        Ok(reserve(share(layers, &sizes, budget, factor)))
    }
}

/// Places for blocks in every layer, refused where there is none or they cannot be counted without rounding.
fn sizes_of(layers: &[Grid]) -> Result<Vec<usize>> {
    let mut total = 0usize;
    let mut size = |&[rows, cols]: &Grid| {
        let size = rows.checked_mul(cols).filter(|&size| size > 0)?;
        total = total.checked_add(size).filter(|&total| total <= 1 << f64::MANTISSA_DIGITS)?;
        Some(size)
    };
    let sizes = layers.iter().map(&mut size).collect::<Option<_>>();
    let reason = || format!("{layers:?} blocks are none in some layer, or more than 2^53 in all");
    sizes.ok_or_else(|| Error::Topology { reason: reason() })
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

/// Gives each layer that rounding left without a block one of the largest layer's.
fn reserve(mut kept: Vec<usize>) -> Vec<usize> {
    while let Some(empty) = kept.iter().position(|&blocks| blocks == 0) {
        if let Some(largest) = kept.iter_mut().max().filter(|largest| **largest > 1) {
            *largest -= 1;
            kept[empty] = 1;
        } else {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_keeps_a_block() {
        // 16 inputs, 16 and 4,096 units in blocks of 16: the first layer is a single block.
        let kept = Density::Erk.allocate(&[[1, 1], [256, 1]], 0.9).unwrap();
        assert_eq!(kept, [1, 25]);
        assert_eq!(Density::Er.allocate(&[[1, 1], [256, 1]], 0.9).unwrap(), [1, 25]);
        assert_eq!(Density::Uniform.allocate(&[[1, 1], [256, 1]], 0.99).unwrap(), [1, 3]);
        assert_eq!(Density::Erk.allocate(&[[1, 1], [1, 1], [20, 20]], 0.99).unwrap(), [1, 1, 3]);
    }

    #[test]
    fn fewer_blocks_than_layers_are_refused_with_a_sparsity_that_keeps_enough() {
        let grids = [[2, 2]; 3];
        let refused = Density::Erk.allocate(&grids, 0.9).unwrap_err().to_string();
        assert!(refused.contains("keeps 2 of 12 blocks"), "{refused}");
        assert!(refused.contains("at most 0.75 does"), "{refused}");
        assert_eq!(Density::Erk.allocate(&grids, 0.75).unwrap(), [1, 1, 1]);
    }
}
