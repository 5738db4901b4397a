//! Sparsity of a graph: how many blocks each matrix has, and random topologies that signals pass through.

use super::build::Graph;
use super::spec::{Blocks, ParamSpec, Side};
use super::value::{Origin, Units};
use crate::random::{Key, Stream};
use crate::sparse::{self, Draw, Topology};
use crate::{Error, Result};

/// Most elements of a matrix if every block were present.
const MOST_ELEMENTS: usize = 1 << 44;

impl Graph {
    /// Matrices of products, in order.
    pub(super) fn matrices(&self) -> impl Iterator<Item = &ParamSpec> {
        self.params.iter().filter(|param| param.matrix.is_some())
    }

    /// Share of the blocks of all sparse matrices that are absent; `None` where no matrix is sparse.
    ///
    /// # Errors
    /// [`Error::Config`] if a matrix is left with no block.
    pub fn sparsity(&self) -> Result<Option<f64>> {
        let explicit = |param: &ParamSpec| {
            param.matrix.as_ref().is_some_and(|m| m.sparse.is_some_and(|s| s.density.is_some()))
        };
        if !self.is_sparse() {
            return Ok(None);
        }
        match self.allotment {
            Some((_, sparsity)) if !self.params.iter().any(explicit) => Ok(Some(sparsity)),
            _ => {
                let present: usize = self.counts(None)?.into_iter().sum();
                let places: usize =
                    self.params.iter().filter_map(ParamSpec::grid).map(|[rows, cols]| rows * cols).sum();
                Ok(Some(1.0 - present as f64 / places as f64))
            }
        }
    }

    /// Blocks of each matrix; 0 for dense ones. `sparsity` overrides that of the graph: at 0 every block is present, and in between
    /// the densities that matrices have of their own are moved in proportion.
    ///
    /// # Errors
    /// [`Error::Config`] if a matrix is too large, or is left with no block.
    pub fn counts(&self, sparsity: Option<f64>) -> Result<Vec<usize>> {
        for ParamSpec { name, shape, .. } in self.matrices() {
            if shape[0].checked_mul(shape[1]).is_none_or(|elements| elements > MOST_ELEMENTS) {
                let [rows, cols] = [shape[0], shape[1]];
                let reason =
                    format!("{name} would be {rows} x {cols}; at most {MOST_ELEMENTS} elements can be run");
                return Err(Error::Config { option: "hidden", reason });
            }
        }
        let own = match sparsity {
            Some(_) => self.sparsity()?.unwrap_or(0.0),
            None => 0.0,
        };
        // The network's own sparsity is that of its layers as they are, some of which may have been given their blocks.
        let sparsity = sparsity.filter(|&sparsity| sparsity != own);
        let mut grids = Vec::new();
        for param in self.matrices() {
            if let (Some(grid), Some(Blocks { density: None, .. })) = (param.grid(), param.blocks()) {
                grids.push(grid);
            }
        }
        let mut allotted = Vec::new().into_iter();
        if !grids.is_empty() {
            let Some((density, own)) = self.allotment else {
                let reason =
                    "is not given for a sparse matrix, and the network has none to share out".to_owned();
                return Err(Error::Config { option: "density", reason });
            };
            allotted = density.allocate(&grids, sparsity.unwrap_or(own))?.into_iter();
        }
        let count = |param: &ParamSpec| {
            let (Some([rows, cols]), Some(matrix)) = (param.grid(), &param.matrix) else { return 0 };
            match (matrix.sparse.and_then(|blocks| blocks.density), sparsity) {
                (None, _) => allotted.next().unwrap_or(0),
                (Some(density), sparsity) => {
                    let moved = sparsity.map_or(1.0, |sparsity| if own > 0.0 { sparsity / own } else { 1.0 });
                    let absent = ((1.0 - density) * moved).clamp(0.0, 1.0);
                    (((1.0 - absent) * (rows * cols) as f64).round() as usize).max(1)
                }
            }
        };
        Ok(self.matrices().map(count).collect())
    }

    /// A random topology for each matrix, [connected](sparse::connected) to those of the others; `None` for dense ones.
    ///
    /// # Errors
    /// As [`Graph::counts`].
    pub fn topologies(&self, sparsity: Option<f64>) -> Result<Vec<Option<Topology>>> {
        let units = self.units();
        let sparse = self.matrices().zip(self.counts(sparsity)?).zip(&units).enumerate();
        let mut draws = Vec::new();
        for (number, ((param, nnz), &units)) in sparse {
            if let Some(Blocks { block, .. }) = param.blocks() {
                let key = Key::new(self.seed, Stream::Pattern(number as u32));
                draws.push(Draw { sides: [param.shape[0], param.shape[1]], block, nnz, units, key });
            }
        }
        let mut drawn = sparse::connected(&draws)?.into_iter();
        Ok(self.matrices().map(|param| if param.grid().is_some() { drawn.next() } else { None }).collect())
    }

    /// Numbers of the units that rows and columns of each matrix stand for; `None` where they are written and read in any case.
    pub(super) fn units(&self) -> Vec<[Option<usize>; 2]> {
        let mut nodes = vec![None; self.params.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            node.wiring.params.iter().for_each(|param| nodes[param.index()] = Some(at));
        }
        let matrices = self.params.iter().zip(nodes);
        let units = |(param, node): (&ParamSpec, Option<usize>)| {
            let matrix = param.matrix.as_ref()?;
            Some(matrix.units.map(|side| match (side, node) {
                (Side::Of(value), _) => self.value_units(value.index),
                (Side::Output, Some(node)) => self.value_units(*self.nodes[node].outputs.first()?),
                // Behind the numbers of values, those of nodes.
                (Side::Hidden(number), Some(node)) => Some(self.values.len() + node * HIDDEN + number),
                _ => None,
            }))
        };
        matrices.filter_map(units).collect()
    }

    fn value_units(&self, mut index: usize) -> Option<usize> {
        loop {
            match (self.values[index].units, &self.values[index].origin) {
                (Units::Always, _) => return None,
                (Units::Of(value), _) => index = value.index,
                (Units::Own, Origin::Detached(of) | Origin::Shallow(of)) => index = *of,
                (Units::Own, _) => return Some(index),
            }
        }
    }

    /// Says that the units of a value are written and read in any case, as those of a residual stream.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn always(&mut self, value: super::Value) -> Result<()> {
        let index = self.expect("always", value)?;
        if let Some(root) = self.value_units(index) {
            self.values[root].units = Units::Always;
        }
        Ok(())
    }
}

/// Most units within a node that have a number of their own.
const HIDDEN: usize = 16;
