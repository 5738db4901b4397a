//! Block-sparse products as operations of Burn's backends.

use std::sync::Arc;

use burn_core as burn;
#[cfg(feature = "fusion")]
use burn_core::backend::fusion::custom::TensorSpec;
use burn_core::backend::tensor::FloatTensor;
use burn_core::backend::{Backend, TensorMetadata, backend_extension};
use burn_core::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::cast;
use burn_cubecl::tensor::CubeTensor;
use fretwork::ops::{self, Epilogue, Transpose};
use fretwork::sparse::BlockMatrix;

use crate::Result;
use crate::buffers::Lease;
use crate::evolve::Job;
use crate::layout::Layout;

/// Products with a block-sparse weight `W[outputs, inputs]`, given by its blocks `values[nnz, block, block]`.
///
/// Operands are checked by the layers before they come here: shapes, element types and devices fit the layout.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait BlockOps: Backend {
    /// `x·Wᵀ`, of `x[rows, inputs]`.
    #[fusion(dtype = x, shape = outputs_of(x, layout))]
    fn block_product(
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self>;

    /// `x·Wᵀ + bias`, of `x[rows, inputs]` and `bias[outputs]`.
    #[fusion(dtype = x, shape = outputs_of(x, layout))]
    fn block_linear(
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self>;

    /// Gradients in one submission: `dx = dy·W`, the stored blocks of `dW = dyᵀ·x`, and the column sums of `dy[rows, outputs]`. Those
    /// that are not wanted are one element of unspecified contents, and their operands are not read. Not differentiable.
    #[fusion(meta = grads_of)]
    fn block_grads(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        wanted: Wanted,
        layout: Arc<Layout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The values after an update of the topology, which the job reports. Not differentiable.
    #[fusion(dtype = values, shape = values)]
    fn block_evolve(values: FloatTensor<Self>, layout: Arc<Layout>, job: Arc<Job>) -> FloatTensor<Self>;
}

/// Gradients of a linear layer that are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) input: bool,
    pub(crate) values: bool,
    pub(crate) bias: bool,
}

fn outputs_of(x: &Shape, layout: &Arc<Layout>) -> Shape {
    Shape::from([x[0], layout.topology.rows()])
}

/// Shapes of the gradients of input, values and bias.
fn grad_shapes(rows: usize, wanted: Wanted, layout: &Layout) -> [Shape; 3] {
    let (topology, block) = (&layout.topology, layout.topology.block());
    let shapes = [
        (wanted.input, vec![rows, topology.cols()]),
        (wanted.values, vec![topology.nnz(), block, block]),
        (wanted.bias, vec![topology.rows()]),
    ];
    shapes.map(|(wanted, shape)| Shape::from(if wanted { shape } else { vec![1] }))
}

#[cfg(feature = "fusion")]
fn grads_of(
    dy: &TensorSpec,
    _x: &TensorSpec,
    _values: &TensorSpec,
    wanted: &Wanted,
    layout: &Arc<Layout>,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    grad_shapes(dy.shape[0], *wanted, layout).map(|shape| TensorSpec::new(shape, dy.dtype)).into()
}

impl BlockOps for CubeBackend {
    fn block_product(x: CubeTensor, values: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(forward(x, values, None, &layout))
    }

    fn block_linear(x: CubeTensor, values: CubeTensor, bias: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(forward(x, values, Some(bias), &layout))
    }

    fn block_grads(
        dy: CubeTensor,
        x: CubeTensor,
        values: CubeTensor,
        wanted: Wanted,
        layout: Arc<Layout>,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        expect(grads(dy, [x, values], wanted, &layout)).into()
    }

    fn block_evolve(values: CubeTensor, layout: Arc<Layout>, job: Arc<Job>) -> CubeTensor {
        job.run(values, &layout)
    }
}

/// Burn's operations have no other way to fail. Bad operands were refused before.
pub(crate) fn expect<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn forward(
    x: CubeTensor,
    values: CubeTensor,
    bias: Option<CubeTensor>,
    layout: &Arc<Layout>,
) -> Result<CubeTensor> {
    let shape = outputs_of(&x.shape(), layout);
    let [rows, outputs] = [shape[0], shape[1]];
    let mut lease = Lease::new(&layout.shared);
    let (out, y) = lease.result(&x, shape, x.dtype, &[rows, outputs])?;
    let w = weight(&mut lease, values, layout)?;
    let x = lease.operand("the input", x, &[rows, layout.topology.cols()])?;
    // Sums are in f32, and so is what is added to them.
    let bias = bias.map(|bias| if bias.dtype == DType::F32 { bias } else { cast(bias, DType::F32) });
    let bias = bias.map(|bias| lease.operand("the bias", bias, &[outputs])).transpose()?;
    let epilogue = bias.as_ref().map_or(Epilogue::None, Epilogue::Bias);
    lease.run(|rec| ops::dds(rec, &x, &w, &y, Transpose::NT, epilogue))?;
    Ok(out)
}

fn grads(
    dy: CubeTensor,
    [x, values]: [CubeTensor; 2],
    wanted: Wanted,
    layout: &Arc<Layout>,
) -> Result<[CubeTensor; 3]> {
    if wanted.values {
        layout.watch.show(&x, &dy);
    }
    let (topology, dtype) = (&layout.topology, dy.dtype);
    let [rows, inputs, outputs] = [dy.shape()[0], topology.cols(), topology.rows()];
    let mut lease = Lease::new(&layout.shared);
    let [of_x, of_values, of_bias] = grad_shapes(rows, wanted, layout);
    let mut result = |shape: Shape, dtype| lease.result(&dy, shape.clone(), dtype, &shape);
    let (out_x, dx) = result(of_x, dtype)?;
    let (out_values, dw) = result(of_values, dtype)?;
    // Sums are in f32.
    let (out_bias, db) = result(of_bias, DType::F32)?;
    let w = wanted.input.then(|| weight(&mut lease, values, layout)).transpose()?;
    let x = wanted.values.then(|| lease.operand("the input", x, &[rows, inputs])).transpose()?;
    let dw = wanted.values.then(|| BlockMatrix::adopt(layout.pattern.clone(), dw)).transpose()?;
    let dy = lease.operand("the output's gradient", dy, &[rows, outputs])?;
    lease.run(|rec| {
        if let Some(w) = &w {
            ops::dds(rec, &dy, w, &dx, Transpose::NN, Epilogue::None)?;
        }
        if let (Some(x), Some(dw)) = (&x, &dw) {
            ops::sdd(rec, &dy, x, dw, Transpose::TN, None)?;
        }
        if wanted.bias {
            ops::column_sums(rec, &dy, &db, false)?;
        }
        Ok(())
    })?;
    let out_bias = if dtype == DType::F32 { out_bias } else { cast(out_bias, dtype) };
    Ok([out_x, out_values, out_bias])
}

/// The weight with Burn's values.
fn weight(lease: &mut Lease<'_>, values: CubeTensor, layout: &Arc<Layout>) -> Result<BlockMatrix> {
    let (nnz, block) = (layout.topology.nnz(), layout.topology.block());
    let values = lease.operand("the weight's values", values, &[nnz, block, block])?;
    Ok(BlockMatrix::adopt(layout.pattern.clone(), values)?)
}
