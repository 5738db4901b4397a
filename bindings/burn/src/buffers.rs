//! Burn's tensors as fretwork's: the same bytes, at an offset of one of Burn's buffers.

use burn_core::tensor::{DType, Shape};
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use fretwork::gpu::{Gpu, Plan, Recorder, Tensor};
use fretwork::wgpu;

use crate::device::Shared;
use crate::{Error, Result};

/// Tensors of one recording. While the lease is alive, Burn neither frees nor moves their memory, nor computes anything in place.
pub(crate) struct Lease<'g> {
    shared: &'g Shared,
    held: Vec<(CubeTensor, Box<dyn Send>)>,
}

impl<'g> Lease<'g> {
    pub(crate) fn new(shared: &'g Shared) -> Self {
        Self { shared, held: Vec::new() }
    }

    /// An operand, of any strides and at any offset, under another shape. Burn submits the work that computes it.
    pub(crate) fn operand(
        &mut self,
        what: &'static str,
        tensor: CubeTensor,
        shape: &[usize],
    ) -> Result<Tensor> {
        let tensor = into_contiguous(tensor);
        let view = self.view(what, tensor.clone(), shape)?;
        if suits(&self.shared.gpu, &view) {
            return Ok(view);
        }
        // A slice at an offset that the device does not bind.
        self.view(what, tensor.copy(), shape)
    }

    /// A new tensor of Burn's for a result, with unspecified contents, and fretwork's view of it under another shape.
    pub(crate) fn result(
        &mut self,
        like: &CubeTensor,
        shape: Shape,
        dtype: DType,
        viewed: &[usize],
    ) -> Result<(CubeTensor, Tensor)> {
        let out = empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype);
        let view = self.view("the result", out.clone(), viewed)?;
        Ok((out, view))
    }

    fn view(&mut self, what: &'static str, tensor: CubeTensor, shape: &[usize]) -> Result<Tensor> {
        let held = tensor
            .client
            .get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone())
            .map_err(|error| Error::Buffer { what, reason: error.to_string() })?;
        let dtype = match tensor.dtype {
            DType::F32 => fretwork::gpu::DType::F32,
            DType::F16 => fretwork::gpu::DType::F16,
            found => {
                return Err(Error::DType {
                    what,
                    wanted: "F32 or F16".to_owned(),
                    found: format!("{found:?}"),
                });
            }
        };
        let WgpuResource { buffer, offset, .. } = held.resource();
        let view = Tensor::view(&self.shared.gpu, buffer, *offset, shape, dtype)?;
        self.held.push((tensor, Box::new(held)));
        Ok(view)
    }

    /// Fretwork's side of the device.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.shared.gpu
    }

    /// Copies one tensor into another of as many bytes, runs a plan, and copies again, in one submission behind everything that
    /// Burn has submitted.
    pub(crate) fn submit(self, before: [&Tensor; 2], plan: &Plan, behind: [&Tensor; 2]) -> Result<()> {
        let gpu = &self.shared.gpu;
        let copy = |encoder: &mut wgpu::CommandEncoder, [from, to]: [&Tensor; 2]| {
            encoder.copy_buffer_to_buffer(
                from.buffer(),
                from.offset(),
                to.buffer(),
                to.offset(),
                from.bytes(),
            );
        };
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        copy(&mut encoder, before);
        plan.encode(&mut encoder);
        copy(&mut encoder, behind);
        gpu.submit([encoder.finish()])?;
        Ok(())
    }

    /// Records operations and submits them, behind everything that Burn has submitted and before anything that it submits later.
    pub(crate) fn run(self, record: impl FnOnce(&mut Recorder<'_>) -> fretwork::Result<()>) -> Result<()> {
        let gpu = &self.shared.gpu;
        let mut rec = Recorder::new(gpu);
        record(&mut rec)?;
        gpu.run(&rec.finish_with(&self.shared.params)?)?;
        Ok(())
    }
}

/// Whether the device binds the tensor where it lies.
fn suits(gpu: &Gpu, tensor: &Tensor) -> bool {
    tensor.offset().is_multiple_of(gpu.limits().min_storage_buffer_offset_alignment.into())
}
