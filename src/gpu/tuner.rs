//! Shape classes and their chosen variants. [`crate::tune`] measures them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::dtype::DType;
use super::key::Choice;

/// Matmul family, named by its sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// No matrix is sparse.
    Dense,
    /// The right operand.
    Dds,
    /// The left operand.
    Dsd,
    /// The product.
    Sdd,
}

impl Family {
    /// The folder in `shaders/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Dds => "dds",
            Self::Dsd => "dsd",
            Self::Sdd => "sdd",
        }
    }
}

/// A matmul to be tuned: its family, operand types and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Which matrix is sparse.
    pub family: Family,
    /// Element type of the operands.
    pub dtype: DType,
    /// Whether `lhs` and `rhs` are stored transposed.
    pub transpose: [bool; 2],
    /// The sizes of `op(lhs)[m, k] * op(rhs)[k, n]`.
    pub sizes: [usize; 3],
    /// Block size; 0 for dense products.
    pub block: usize,
    /// Number of blocks stored, or of slots; 0 for dense products.
    pub nnz: usize,
    /// Rows of the matrix from which the dense left operand of SDD, or the right one of DSD, is gathered; 0 without a gather.
    pub gathered: usize,
}

impl Workload {
    /// Sides of the sparse matrix as it is multiplied; `None` for dense products.
    fn sparse_sides(&self) -> Option<[usize; 2]> {
        let [m, n, k] = self.sizes;
        match self.family {
            Family::Dense => None,
            Family::Dds => Some([k, n]),
            Family::Dsd => Some([m, k]),
            Family::Sdd => Some([m, n]),
        }
    }

    /// Number of blocks of the grid; 1 for dense products.
    pub fn places(&self) -> usize {
        let block = self.block.max(1);
        self.sparse_sides().map_or(1, |[rows, cols]| (rows / block).saturating_mul(cols / block).max(1))
    }

    /// Share of the blocks that are stored.
    pub fn density(&self) -> f64 {
        if self.family == Family::Dense { 1.0 } else { self.nnz as f64 / self.places() as f64 }
    }

    /// The class, whose shapes share one choice.
    pub fn class(&self) -> ShapeClass {
        let log2 = |value: usize| value.max(1).ilog2();
        ShapeClass {
            family: self.family,
            dtype: self.dtype,
            transpose: self.transpose,
            sizes: self.sizes.map(log2),
            block: self.block,
            absence: log2(self.places() / self.nnz.max(1)),
            ragged: self.sizes.iter().any(|size| !size.is_multiple_of(4)),
            gathered: self.gathered > 0,
        }
    }

    fn letters(&self) -> String {
        self.transpose.map(|transposed| if transposed { 't' } else { 'n' }).iter().collect()
    }
}

/// For instance `dds.nt.b16 128x512x784 at 10 %`, or `dds.nt.f16.b16 …` for f16.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m, n, k] = self.sizes;
        write!(f, "{}.{}", self.family.name(), self.letters())?;
        if self.dtype != DType::F32 {
            write!(f, ".{}", self.dtype.name())?;
        }
        if self.family != Family::Dense {
            write!(f, ".b{}", self.block)?;
        }
        if self.gathered > 0 {
            write!(f, ".gathered")?;
        }
        write!(f, " {m}x{n}x{k}")?;
        if self.family != Family::Dense {
            // Two digits are enough to tell shapes apart.
            let percent = 100.0 * self.density();
            write!(f, " at {percent:.*} %", usize::from(percent < 10.0))?;
        }
        Ok(())
    }
}

/// A [`Workload`] up to a factor of two in each of its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShapeClass {
    family: Family,
    dtype: DType,
    transpose: [bool; 2],
    /// Logarithms of m, n and k.
    sizes: [u32; 3],
    block: usize,
    /// Logarithm of the places of the grid per stored block.
    absence: u32,
    /// Whether a size is no multiple of four: rows are then read element by element.
    ragged: bool,
    gathered: bool,
}

/// Result of tuning a shape class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The fastest choice.
    pub choice: Choice,
    /// Comparison with the dense product of the same sizes, if measured.
    pub versus_dense: Option<VersusDense>,
}

/// A sparse product against the dense one of the same sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VersusDense {
    /// Density of the measurement.
    pub density: f64,
    /// Time of the sparse product, divided by that of the dense one.
    pub time: f64,
}

impl VersusDense {
    /// Estimate of the relative time at another density, proportional to the number of blocks.
    pub fn at(&self, density: f64) -> f64 {
        self.time * density / self.density
    }
}

/// Shapes recorded on a device, and the choices for their classes. It outlives networks.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The first shape of each class that was asked for.
    asked: BTreeMap<ShapeClass, Workload>,
    chosen: BTreeMap<ShapeClass, Verdict>,
}

impl Table {
    /// The choice for a shape's class, if there is one. Notes the shape.
    pub(super) fn look_up(&self, work: &Workload) -> Option<Choice> {
        let mut inner = self.0.lock().expect("no holder of this lock panics");
        let class = work.class();
        inner.asked.entry(class).or_insert(*work);
        inner.chosen.get(&class).map(|verdict| verdict.choice)
    }

    pub(super) fn asked(&self) -> Vec<(Workload, Option<Verdict>)> {
        let inner = self.0.lock().expect("no holder of this lock panics");
        inner.asked.iter().map(|(class, work)| (*work, inner.chosen.get(class).copied())).collect()
    }

    pub(super) fn insert(&self, class: ShapeClass, verdict: Verdict) {
        self.0.lock().expect("no holder of this lock panics").chosen.insert(class, verdict);
    }

    pub(super) fn chosen(&self) -> Vec<(ShapeClass, Verdict)> {
        let inner = self.0.lock().expect("no holder of this lock panics");
        inner.chosen.iter().map(|(class, verdict)| (*class, *verdict)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(family: Family, sizes: [usize; 3], block: usize, nnz: usize) -> Workload {
        Workload { family, dtype: DType::F32, transpose: [false, true], sizes, block, nnz, gathered: 0 }
    }

    #[test]
    fn near_shapes_are_of_one_class_and_others_are_not() {
        let near = work(Family::Dds, [128, 512, 784], 16, 157);
        assert_eq!(near.class(), work(Family::Dds, [192, 640, 784], 16, 200).class());
        let others = [
            work(Family::Dds, [64, 512, 784], 16, 157),
            work(Family::Dds, [128, 512, 784], 16, 500),
            work(Family::Dds, [127, 512, 784], 16, 157),
            work(Family::Sdd, [128, 512, 784], 16, 157),
            Workload { transpose: [false, false], ..near },
            Workload { gathered: 100, ..near },
            Workload { dtype: DType::F16, ..near },
        ];
        assert!(others.iter().all(|other| other.class() != near.class()));
        assert_eq!(near.to_string(), "dds.nt.b16 128x512x784 at 10 %");
    }
}
