//! The textbook's kernel, through wgpu as the textbook would.

use anyhow::Result;
use fretwork::gpu::{Gpu, Tensor};
use fretwork::wgpu::{self, util::DeviceExt as _};

pub(crate) struct Textbook {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 2],
}

impl Textbook {
    /// `out = lhs * rhs`; all sides are multiples of 16.
    pub(crate) fn new(gpu: &Gpu, lhs: &Tensor, rhs: &Tensor, out: &Tensor) -> Self {
        let device = gpu.device();
        let [m, k, n] = [lhs.shape()[0], lhs.shape()[1], rhs.shape()[1]].map(|side| side as u32);
        let module = device.create_shader_module(wgpu::include_wgsl!("../shaders/textbook.wgsl"));
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("textbook"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let sides: Vec<u8> = [m, n, k, 0].iter().flat_map(|side| side.to_ne_bytes()).collect();
        let sides = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("sides"),
            contents: &sides,
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let buffers = [lhs.buffer(), rhs.buffer(), out.buffer(), &sides];
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("textbook"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, group, workgroups: [n / 16, m / 16] }
    }

    pub(crate) fn run(&self, gpu: &Gpu) -> Result<()> {
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], 1);
        }
        gpu.submit([encoder.finish()])?;
        Ok(gpu.finish()?)
    }
}
