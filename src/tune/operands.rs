//! Synthetic operands of a product, and its expected values.

use half::f16;

use crate::Result;
use crate::gpu::{Class, DType, Family, Gpu, Recorder, Tensor, Workload};
use crate::ops::{self, Epilogue, Transpose};
use crate::random::{Key, Stream, Walk};
use crate::reference::bound::gamma;
use crate::sparse::{self, BlockMatrix, Pattern, Topology};

/// Period of the numbers. It is prime, so that no two rows are the same.
const PERIOD: usize = 65_521;

/// Number of elements of a product compared with f64. The candidates are compared with each other in all elements.
const SAMPLES: usize = 64;

/// The nearest number that f16 has, or 0 where it has no normal one.
fn half_of(x: f32) -> f32 {
    let half = f16::from_f32(x);
    if half.is_normal() { half.to_f32() } else { 0.0 }
}

/// An operand or a product on the device.
#[derive(Debug)]
enum Matrix {
    Dense(Tensor),
    Sparse(BlockMatrix),
}

impl Matrix {
    fn values(&self) -> &Tensor {
        match self {
            Self::Dense(tensor) => tensor,
            Self::Sparse(matrix) => matrix.values(),
        }
    }
}

/// A product of given sizes with synthetic operands, the same on every machine.
#[derive(Debug)]
pub(super) struct Operands {
    work: Workload,
    transpose: Transpose,
    topology: Option<Topology>,
    numbers: Vec<f32>,
    /// Which row a row of a gathered operand is.
    rows: Option<(Vec<u32>, Tensor)>,
    lhs: Matrix,
    rhs: Matrix,
    out: Matrix,
}

impl Operands {
    /// Allocates and fills the operands.
    pub(super) fn new(gpu: &Gpu, work: Workload) -> Result<Self> {
        let [m, n, k] = work.sizes;
        let [lhs, rhs] = work.transpose;
        let mut walk = Key::new(0x7E57, Stream::Check(0)).walk();
        let numbers = (0..PERIOD).map(|_| 2.0 * walk.uniform() - 1.0);
        // Numbers that f16 represents exactly, without subnormal ones, which a driver may flush to 0.
        let numbers: Vec<f32> =
            numbers.map(|x| if work.dtype == DType::F16 { half_of(x) } else { x }).collect();
        let stored = |transposed: bool, [a, b]: [usize; 2]| if transposed { [b, a] } else { [a, b] };
        let mut lhs_sides = stored(lhs, [m, k]);
        let mut rhs_sides = stored(rhs, [k, n]);
        let sparse_sides = match work.family {
            Family::Dense => None,
            Family::Dds => Some(rhs_sides),
            Family::Dsd => Some(lhs_sides),
            Family::Sdd => Some([m, n]),
        };
        let topology = sparse_sides
            .map(|[rows, cols]| {
                sparse::random(rows, cols, work.block, work.nnz, Key::new(0x7E57, Stream::Pattern(0)))
            })
            .transpose()?;
        let pattern = topology.as_ref().map(|topology| Pattern::upload(gpu, topology)).transpose()?;

        let rows = if work.gathered > 0 {
            let side = if work.family == Family::Sdd { &mut lhs_sides } else { &mut rhs_sides };
            let rows: Vec<u32> = (0..side[0]).map(|_| walk.below(work.gathered as u32)).collect();
            side[0] = work.gathered;
            let tensor = gpu.upload(Class::Scratch, "tuning", &[rows.len()], &rows)?;
            Some((rows, tensor))
        } else {
            None
        };
        let matrix = |here: Family, sides: [usize; 2], dtype: DType, first: usize| -> Result<Matrix> {
            let pattern = pattern.as_ref().filter(|_| here == work.family);
            let shape = pattern.map_or(sides.to_vec(), |p| vec![p.nnz(), p.block(), p.block()]);
            let values = numbers.iter().copied().cycle().skip(first).take(shape.iter().product());
            let tensor = if dtype == DType::F16 {
                let halves: Vec<f16> = values.map(f16::from_f32).collect();
                gpu.upload(Class::Scratch, "tuning", &shape, &halves)?
            } else {
                gpu.upload(Class::Scratch, "tuning", &shape, &values.collect::<Vec<f32>>())?
            };
            Ok(match pattern {
                Some(pattern) => Matrix::Sparse(BlockMatrix::adopt(pattern.clone(), tensor)?),
                None => Matrix::Dense(tensor),
            })
        };
        let lhs = matrix(Family::Dsd, lhs_sides, work.dtype, 0)?;
        let rhs = matrix(Family::Dds, rhs_sides, work.dtype, PERIOD / 2)?;
        // Sums are f32, and so each can be held against the truth.
        let out = matrix(Family::Sdd, [m, n], DType::F32, 0)?;
        let transpose = Transpose { lhs: work.transpose[0], rhs: work.transpose[1] };
        Ok(Self { work, transpose, topology, numbers, rows, lhs, rhs, out })
    }

    /// Records the product.
    pub(super) fn record(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Self { transpose, .. } = *self;
        let rows = self.rows.as_ref().map(|(_, rows)| rows);
        match (&self.lhs, &self.rhs, &self.out) {
            (Matrix::Dense(lhs), Matrix::Sparse(rhs), Matrix::Dense(out)) => {
                ops::dds(rec, lhs, rhs, out, transpose, Epilogue::None)
            }
            (Matrix::Sparse(lhs), Matrix::Dense(rhs), Matrix::Dense(out)) => match rows {
                Some(rows) => ops::dsd_gathered(rec, lhs, rhs, rows, out),
                None => ops::dsd(rec, lhs, rhs, out, transpose),
            },
            (Matrix::Dense(lhs), Matrix::Dense(rhs), Matrix::Sparse(out)) => match rows {
                Some(rows) => ops::sdd_gathered(rec, lhs, rows, rhs, out),
                None => ops::sdd(rec, lhs, rhs, out, transpose, None),
            },
            _ => ops::dense(
                rec,
                self.lhs.values(),
                self.rhs.values(),
                self.out.values(),
                transpose,
                Epilogue::None,
            ),
        }
    }

    /// Fills the product with poison, to detect elements that are not written.
    pub(super) fn poison(&self, gpu: &Gpu) -> Result<()> {
        let out = self.out.values();
        gpu.write(out, &vec![f32::NAN; out.len()])
    }

    /// The product as it stands. Waits for the device.
    pub(super) fn read(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        gpu.read(self.out.values())?.wait()
    }

    /// Whether a product is right where it is looked at: some elements drawn at random, against f64, within what rounding can
    /// explain.
    pub(super) fn is_right(&self, found: &[f32]) -> bool {
        let mut walk: Walk = Key::new(0x7E57, Stream::Check(1)).walk();
        let known = (0..SAMPLES.min(found.len())).all(|_| {
            let at = walk.below(found.len() as u32) as usize;
            let (wanted, magnitude) = self.truth(at);
            // NaN is further than any bound.
            (f64::from(found[at]) - wanted).abs() <= gamma(self.work.sizes[2] + 1) * magnitude
        });
        known && !found.iter().any(|value| value.is_nan())
    }

    /// An element of the product, and the sum of the magnitudes of what was added.
    fn truth(&self, at: usize) -> (f64, f64) {
        let [_, n, k] = self.work.sizes;
        let (row, col) = match &self.topology {
            Some(topology) if self.work.family == Family::Sdd => {
                let b = topology.block();
                let (row, col) = topology.coordinates().nth(at / (b * b)).unwrap_or_default();
                (row * b + at % (b * b) / b, col * b + at % b)
            }
            _ => (at / n, at % n),
        };
        (0..k).fold((0.0, 0.0), |(sum, magnitude), kk| {
            let term = self.element(Family::Dsd, [row, kk]) * self.element(Family::Dds, [kk, col]);
            (sum + term, magnitude + term.abs())
        })
    }

    /// An element of an operand as it is multiplied: of the left one, which is sparse in DSD, or of the right one.
    fn element(&self, operand: Family, place: [usize; 2]) -> f64 {
        let left = operand == Family::Dsd;
        let [m, n, k] = self.work.sizes;
        let (transposed, sides) =
            if left { (self.transpose.lhs, [m, k]) } else { (self.transpose.rhs, [k, n]) };
        let [mut row, col] = if transposed { [place[1], place[0]] } else { place };
        let width = if transposed { sides[0] } else { sides[1] };
        let first = if left { 0 } else { PERIOD / 2 };
        let number = |index: usize| f64::from(self.numbers[(first + index) % PERIOD]);
        if let (Some(topology), true) = (&self.topology, operand == self.work.family) {
            let b = topology.block();
            let slot = topology.row(row / b).find(|&(_, block_col)| block_col == col / b);
            return slot.map_or(0.0, |(slot, _)| number((slot * b + row % b) * b + col % b));
        }
        let gathers = if left { Family::Sdd } else { Family::Dsd };
        if let (Some((rows, _)), true) = (&self.rows, gathers == self.work.family) {
            row = rows[row] as usize;
        }
        number(row * width + col)
    }
}
