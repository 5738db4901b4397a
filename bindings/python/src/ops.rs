//! Products of arrays, dense and block-sparse, one at a time.

use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::ops::{self, Epilogue, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BlockMatrix, Density, Pattern, Topology};
use fretwork::{Error, Result};
use numpy::{
    PyArray1, PyArray2, PyArray3, PyArrayMethods as _, PyReadonlyArray2, PyReadonlyArray3,
    PyUntypedArrayMethods as _,
};
use pyo3::prelude::*;

use crate::device::shared;
use crate::errors::{OrRaise as _, exception};
use crate::network::{Index, contiguous, topology};

/// Pattern of a matrix: its sides, the side of a block, and the index.
type Blocks<'py> = ([usize; 2], usize, Index<'py>);

/// Whether the left and the right operand are transposed.
fn transposed([lhs, rhs]: [bool; 2]) -> Transpose {
    Transpose { lhs, rhs }
}

/// Sides of a product, as far as they can be told from operands that the operation validates.
fn sides(lhs: [usize; 2], rhs: [usize; 2], transpose: [bool; 2]) -> [usize; 2] {
    [lhs[usize::from(transpose[0])], rhs[usize::from(!transpose[1])]]
}

fn upload(gpu: &Gpu, name: &str, array: &[f32], shape: &[usize]) -> Result<Tensor> {
    if array.is_empty() {
        let reason = format!("is of shape {shape:?}, which has no element");
        return Err(Error::Config { option: if name == "lhs" { "lhs" } else { "rhs" }, reason });
    }
    gpu.upload(Class::Activations, name, shape, array)
}

/// Runs a product into a tensor of this shape.
fn run(
    gpu: &Gpu,
    out: Tensor,
    record: impl FnOnce(&mut Recorder<'_>, &Tensor) -> Result<()>,
) -> Result<Vec<f32>> {
    let mut rec = Recorder::new(gpu);
    record(&mut rec, &out)?;
    gpu.run(&rec.finish()?)?;
    gpu.read::<f32>(&out)?.wait()
}

/// A sparse operand on the device.
fn matrix(gpu: &Gpu, topology: &Topology, values: &[f32]) -> Result<BlockMatrix> {
    let pattern = Pattern::upload(gpu, topology)?;
    BlockMatrix::upload(gpu, Class::Values, "values", &pattern, values)
}

/// `op(lhs) * op(rhs)` of dense matrices.
#[pyfunction]
pub(crate) fn dense<'py>(
    py: Python<'py>,
    lhs: PyReadonlyArray2<'_, f32>,
    rhs: PyReadonlyArray2<'_, f32>,
    transpose: [bool; 2],
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let [a, b] = [shape(&lhs), shape(&rhs)];
    let (lhs, rhs) = (contiguous("lhs", &lhs)?, contiguous("rhs", &rhs)?);
    let out = sides(a, b, transpose);
    let product = py.detach(|| {
        let gpu = shared()?;
        let (lhs, rhs) = (upload(&gpu, "lhs", lhs, &a).or_raise()?, upload(&gpu, "rhs", rhs, &b).or_raise()?);
        let tensor = gpu.alloc::<f32>(Class::Activations, "out", &out).or_raise()?;
        run(&gpu, tensor, |rec, out| ops::dense(rec, &lhs, &rhs, out, transposed(transpose), Epilogue::None))
            .or_raise()
    })?;
    PyArray1::from_vec(py, product).reshape(out)
}

/// The blocks of `op(lhs) * op(rhs)` that a pattern has, `[nnz, block, block]`.
#[pyfunction]
pub(crate) fn sdd<'py>(
    py: Python<'py>,
    lhs: PyReadonlyArray2<'_, f32>,
    rhs: PyReadonlyArray2<'_, f32>,
    blocks: Blocks<'_>,
    transpose: [bool; 2],
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let (of, block) = (topology(blocks.0, blocks.1, &blocks.2)?, blocks.1);
    let [a, b] = [shape(&lhs), shape(&rhs)];
    let (lhs, rhs) = (contiguous("lhs", &lhs)?, contiguous("rhs", &rhs)?);
    let product = py.detach(|| {
        let gpu = shared()?;
        let (lhs, rhs) = (upload(&gpu, "lhs", lhs, &a).or_raise()?, upload(&gpu, "rhs", rhs, &b).or_raise()?);
        let pattern = Pattern::upload(&gpu, &of).or_raise()?;
        let out = BlockMatrix::alloc(&gpu, Class::Values, "out", &pattern).or_raise()?;
        run(&gpu, out.values().clone(), |rec, _| ops::sdd(rec, &lhs, &rhs, &out, transposed(transpose), None))
            .or_raise()
    })?;
    PyArray1::from_vec(py, product).reshape([of.nnz(), block, block])
}

/// `op(lhs) * op(rhs)` of a block-sparse left operand.
#[pyfunction]
pub(crate) fn dsd<'py>(
    py: Python<'py>,
    lhs: PyReadonlyArray3<'_, f32>,
    blocks: Blocks<'_>,
    rhs: PyReadonlyArray2<'_, f32>,
    transpose: [bool; 2],
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let of = topology(blocks.0, blocks.1, &blocks.2)?;
    let b = shape(&rhs);
    let (values, rhs) = (contiguous("values", &lhs)?, contiguous("rhs", &rhs)?);
    let out = sides(blocks.0, b, transpose);
    let product = py.detach(|| {
        let gpu = shared()?;
        let (lhs, rhs) = (matrix(&gpu, &of, values).or_raise()?, upload(&gpu, "rhs", rhs, &b).or_raise()?);
        let tensor = gpu.alloc::<f32>(Class::Activations, "out", &out).or_raise()?;
        run(&gpu, tensor, |rec, out| ops::dsd(rec, &lhs, &rhs, out, transposed(transpose))).or_raise()
    })?;
    PyArray1::from_vec(py, product).reshape(out)
}

/// `op(lhs) * op(rhs)` of a block-sparse right operand.
#[pyfunction]
pub(crate) fn dds<'py>(
    py: Python<'py>,
    lhs: PyReadonlyArray2<'_, f32>,
    rhs: PyReadonlyArray3<'_, f32>,
    blocks: Blocks<'_>,
    transpose: [bool; 2],
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let of = topology(blocks.0, blocks.1, &blocks.2)?;
    let a = shape(&lhs);
    let (lhs, values) = (contiguous("lhs", &lhs)?, contiguous("values", &rhs)?);
    let out = sides(a, blocks.0, transpose);
    let product = py.detach(|| {
        let gpu = shared()?;
        let (lhs, rhs) = (upload(&gpu, "lhs", lhs, &a).or_raise()?, matrix(&gpu, &of, values).or_raise()?);
        let tensor = gpu.alloc::<f32>(Class::Activations, "out", &out).or_raise()?;
        run(&gpu, tensor, |rec, out| ops::dds(rec, &lhs, &rhs, out, transposed(transpose), Epilogue::None))
            .or_raise()
    })?;
    PyArray1::from_vec(py, product).reshape(out)
}

fn shape(array: &PyReadonlyArray2<'_, f32>) -> [usize; 2] {
    [array.shape()[0], array.shape()[1]]
}

/// A random pattern of `nnz` blocks: `crow_indices` and `col_indices`.
#[pyfunction]
pub(crate) fn random_pattern(
    sides: [usize; 2],
    block: usize,
    nnz: usize,
    seed: u64,
) -> PyResult<(Vec<u32>, Vec<u32>)> {
    let [rows, cols] = sides;
    // Refuses sides that the block does not divide before blocks are counted.
    let places = Topology::from_coordinates(rows, cols, block, &[])
        .map(|empty| empty.row_blocks() * empty.col_blocks());
    let places = places.or_raise()?;
    if nnz > places {
        let text =
            format!("nnz: {nnz} blocks, but a matrix of {rows} x {cols} has {places} of {block} x {block}");
        return Err(exception("ArgumentError", text));
    }
    Ok(sparse::random(rows, cols, block, nnz, Key::new(seed, Stream::Pattern(0))).or_raise()?.csr())
}

/// Numbers of blocks of layers with these grids `[rows, cols]`, of whose blocks a share `sparsity` is absent, distributed as `init` says.
#[pyfunction]
pub(crate) fn allocate(init: &str, grids: Vec<[usize; 2]>, sparsity: f64) -> PyResult<Vec<usize>> {
    init.parse::<Density>().and_then(|init| init.allocate(&grids, sparsity)).or_raise()
}
