//! Block-sparse products as operations of Burn's backends.

use std::sync::Arc;

use burn_core as burn;
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

    /// `dx = dy·W`, of `dy[rows, outputs]`. Not differentiable.
    #[fusion(dtype = dy, shape = inputs_of(dy, layout))]
    fn block_input_grad(
        dy: FloatTensor<Self>,
        values: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self>;

    /// The stored blocks of `dW = dyᵀ·x`. Not differentiable.
    #[fusion(dtype = dy, shape = values_of(layout))]
    fn block_values_grad(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self>;

    /// The values after an update of the topology, which the job reports. Not differentiable.
    #[fusion(dtype = values, shape = values)]
    fn block_evolve(values: FloatTensor<Self>, layout: Arc<Layout>, job: Arc<Job>) -> FloatTensor<Self>;
}

fn outputs_of(x: &Shape, layout: &Arc<Layout>) -> Shape {
    Shape::from([x[0], layout.topology.rows()])
}

fn inputs_of(dy: &Shape, layout: &Arc<Layout>) -> Shape {
    Shape::from([dy[0], layout.topology.cols()])
}

fn values_of(layout: &Arc<Layout>) -> Shape {
    let block = layout.topology.block();
    Shape::from([layout.topology.nnz(), block, block])
}

impl BlockOps for CubeBackend {
    fn block_product(x: CubeTensor, values: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(forward(x, values, None, &layout))
    }

    fn block_linear(x: CubeTensor, values: CubeTensor, bias: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(forward(x, values, Some(bias), &layout))
    }

    fn block_input_grad(dy: CubeTensor, values: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(input_grad(dy, values, &layout))
    }

    fn block_values_grad(dy: CubeTensor, x: CubeTensor, layout: Arc<Layout>) -> CubeTensor {
        expect(values_grad(dy, x, &layout))
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

fn input_grad(dy: CubeTensor, values: CubeTensor, layout: &Arc<Layout>) -> Result<CubeTensor> {
    let shape = inputs_of(&dy.shape(), layout);
    let [rows, inputs] = [shape[0], shape[1]];
    let mut lease = Lease::new(&layout.shared);
    let (out, dx) = lease.result(&dy, shape, dy.dtype, &[rows, inputs])?;
    let w = weight(&mut lease, values, layout)?;
    let dy = lease.operand("the output's gradient", dy, &[rows, layout.topology.rows()])?;
    lease.run(|rec| ops::dds(rec, &dy, &w, &dx, Transpose::NN, Epilogue::None))?;
    Ok(out)
}

fn values_grad(dy: CubeTensor, x: CubeTensor, layout: &Arc<Layout>) -> Result<CubeTensor> {
    layout.watch.show(&x, &dy);
    let rows = x.shape()[0];
    let shape = values_of(layout);
    let sides: [usize; 3] = [shape[0], shape[1], shape[2]];
    let mut lease = Lease::new(&layout.shared);
    let (out, dw) = lease.result(&dy, shape, dy.dtype, &sides)?;
    let dw = BlockMatrix::adopt(layout.pattern.clone(), dw)?;
    let dy = lease.operand("the output's gradient", dy, &[rows, layout.topology.rows()])?;
    let x = lease.operand("the input", x, &[rows, layout.topology.cols()])?;
    lease.run(|rec| ops::sdd(rec, &dy, &x, &dw, Transpose::TN, None))?;
    Ok(out)
}

/// The weight with Burn's values.
fn weight(lease: &mut Lease<'_>, values: CubeTensor, layout: &Arc<Layout>) -> Result<BlockMatrix> {
    let shape = values_of(layout);
    let values = lease.operand("the weight's values", values, &[shape[0], shape[1], shape[2]])?;
    Ok(BlockMatrix::adopt(layout.pattern.clone(), values)?)
}
