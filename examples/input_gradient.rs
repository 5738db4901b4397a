//! A program that owns its wgpu device and buffers runs a network in its own command encoder, forward and backward, and gets the
//! gradient of the network's input. An autograd function of another framework is of this kind.
//!
//! `cargo run --release --example input_gradient`

use anyhow::{Context as _, Result};
use fretwork::prelude::*;
use fretwork::random::{Key, Stream};
use fretwork::wgpu::{self, BufferUsages, util::BufferInitDescriptor, util::DeviceExt as _};

const X: [usize; 2] = [16, 64];
const Y: [usize; 2] = [16, 8];

fn main() -> Result<()> {
    println!("relative difference from a finite difference: {:.1e}", run()?);
    Ok(())
}

/// Returns the relative difference between the input's gradient and a central difference, in one direction.
pub(crate) fn run() -> Result<f64> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let gpu = Gpu::adopt(device.clone(), queue.clone(), adapter.get_info(), None);

    let sparse = Linear::new(X[1], 128).sparse(blocks(16).density(0.25)).gelu();
    let mut graph = Graph::new(1, Precision::F32);
    let input = graph.differentiable_input("x", &X)?;
    let output = Sequential::new().add(sparse).add(Linear::new(128, Y[1])).apply(&mut graph, input)?;
    graph.output(output)?;
    let topologies = graph.topologies(None)?;
    let network =
        Network::new(&gpu, graph, Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true })?;

    let tensor = |shape: [usize; 2]| {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let contents = &vec![0; 4 * shape[0] * shape[1]];
        let buffer = device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
        Tensor::view(&gpu, &buffer, 0, &shape, DType::F32)
    };
    let (x, dx, y, dy) = (tensor(X)?, tensor(X)?, tensor(Y)?, tensor(Y)?);
    let copy = |rec: &mut Recorder<'_>, from: &Tensor, to: &Tensor| ops::blend(rec, from, to, [1.0, 0.0]);
    let mut rec = Recorder::new(&gpu);
    copy(&mut rec, &x, network.input())?;
    network.forward(&mut rec, None)?;
    copy(&mut rec, network.outputs()[0], &y)?;
    copy(&mut rec, &dy, network.output_grads()[0])?;
    network.backward(&mut rec, None)?;
    copy(&mut rec, network.input_grad(0).context("the input has no gradient")?, &dx)?;
    let plan = rec.finish()?;

    // The loss is the sum of y * slopes, so that its gradient by y is `slopes`.
    let mut walk = Key::new(2, Stream::Check(0)).walk();
    let mut numbers =
        |[rows, columns]: [usize; 2]| (0..rows * columns).map(|_| walk.uniform() - 0.5).collect::<Vec<f32>>();
    let (at, direction, slopes) = (numbers(X), numbers(X), numbers(Y));
    let step = |offset: f32| -> Result<f64> {
        let moved: Vec<f32> = at.iter().zip(&direction).map(|(at, d)| at + offset * d).collect();
        queue.write_buffer(x.buffer(), 0, bytemuck::cast_slice(&moved));
        queue.write_buffer(dy.buffer(), 0, bytemuck::cast_slice(&slopes));
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        plan.encode(&mut encoder);
        queue.submit([encoder.finish()]);
        Ok(dot(&gpu.read(&y)?.wait()?, &slopes))
    };
    let difference = (step(0.05)? - step(-0.05)?) / 0.1;
    step(0.0)?;
    let slope = dot(&gpu.read(&dx)?.wait()?, &direction);
    Ok((slope - difference).abs() / difference.abs())
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
