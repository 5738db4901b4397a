//! A program that owns its device, queue and buffers, and lets fretwork do the sparse part of a training step:
//!
//! ```text
//! y = x * W^T        DDS
//! dW = dy^T * x      SDD: the gradient, on the blocks that W has
//! W -= rate * dW     SGD
//! ```
//!
//! Nothing is allocated for it but the parameters of the dispatches, and nothing is submitted or waited for: the dispatches
//! go into this program's own encoder. In the end the results are held against fretwork's CPU reference.
//!
//! `cargo run --release --example embed`

use anyhow::{Context as _, Result, ensure};
use fretwork::gpu::{DType, Gpu, LossFlag, Recorder, Tensor};
use fretwork::ops::{self, Epilogue, Sgd, Step, StepValues, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::reference;
use fretwork::sparse::{self, BlockMatrix, Pattern};
use fretwork::wgpu;
use fretwork::wgpu::util::DeviceExt as _;

const ROWS: usize = 48;
const INPUTS: usize = 128;
const OUTPUTS: usize = 64;
const BLOCK: usize = 16;
const RATE: f32 = 0.1;

fn main() -> Result<()> {
    let worst = run()?;
    println!("forward, gradient and update agree with the reference; the largest difference is {worst:.1e}");
    Ok(())
}

/// Returns the largest difference from the reference.
pub(crate) fn run() -> Result<f32> {
    // The program's own device, with WebGPU's default limits and no optional feature.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let buffer = |label: &str, bytes: &[u8]| {
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(label),
            contents: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    };

    // A quarter of the blocks of W, and some numbers.
    let blocks = (OUTPUTS / BLOCK) * (INPUTS / BLOCK) / 4;
    let topology = sparse::random(OUTPUTS, INPUTS, BLOCK, blocks, Key::new(1, Stream::Pattern(0)))?;
    let mut walk = Key::new(2, Stream::Check(0)).walk();
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| walk.uniform() - 0.5).collect() };
    let (x, dy) = (numbers(ROWS * INPUTS), numbers(ROWS * OUTPUTS));
    let (w, velocity) = (numbers(topology.elements()), numbers(topology.elements()));

    let packed = topology.packed();
    let values_shape = [topology.nnz(), BLOCK, BLOCK];
    // Fretwork works on what it is given. It is told when the device is lost, since wgpu tells nobody but the owner.
    let lost = LossFlag::default();
    device.set_device_lost_callback(lost.callback());
    let gpu = Gpu::adopt(device.clone(), queue.clone(), adapter.get_info(), Some(lost));
    let floats = |label: &str, values: &[f32], shape: &[usize]| {
        Tensor::view(&gpu, &buffer(label, bytemuck::cast_slice(values)), 0, shape, DType::F32)
    };
    let x_tensor = floats("x", &x, &[ROWS, INPUTS])?;
    let dy_tensor = floats("dy", &dy, &[ROWS, OUTPUTS])?;
    let y_tensor = floats("y", &[0.0; ROWS * OUTPUTS], &[ROWS, OUTPUTS])?;
    let w_tensor = floats("W", &w, &values_shape)?;
    let dw_tensor = floats("dW", &vec![0.0; topology.elements()], &values_shape)?;
    let velocity_tensor = floats("velocity", &velocity, &values_shape)?;
    let packed_buffer = buffer("topology", bytemuck::cast_slice(&packed));
    let packed_tensor = Tensor::view(&gpu, &packed_buffer, 0, &[packed.len()], DType::U32)?;

    #[expect(unsafe_code, reason = "the words of a topology lie in a buffer that fretwork cannot read")]
    // SAFETY: the buffer holds the words of this topology, and nothing writes to it.
    let pattern = unsafe { Pattern::adopt(&topology, packed_tensor)? };
    let w_matrix = BlockMatrix::adopt(pattern.clone(), w_tensor.clone())?;
    let dw_matrix = BlockMatrix::adopt(pattern, dw_tensor.clone())?;
    let step = Step::new(&gpu, StepValues { learning_rate: RATE, ..StepValues::forward(0) })?;
    let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };

    let mut recorder = Recorder::new(&gpu);
    ops::dds(&mut recorder, &x_tensor, &w_matrix, &y_tensor, Transpose::NT, Epilogue::None)?;
    ops::sdd(&mut recorder, &dy_tensor, &x_tensor, &dw_matrix, Transpose::TN, None)?;
    ops::sgd(&mut recorder, &w_tensor, &dw_tensor, &velocity_tensor, sgd, None, &step)?;
    let plan = recorder.finish()?;

    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    plan.encode(&mut encoder);
    queue.submit([encoder.finish()]);
    ensure!(gpu.blocking_waits() == 0, "fretwork waited for a device that is not its own");

    // Forward pass, gradient and update on the CPU.
    let (mut y_wanted, mut dw_wanted) = (vec![0.0; ROWS * OUTPUTS], vec![0.0; topology.elements()]);
    let (mut w_wanted, mut velocity_wanted) = (w.clone(), velocity);
    reference::dds(&x, &topology, &w, &mut y_wanted, ROWS, Transpose::NT, reference::Epilogue::None);
    reference::sdd(&dy, &x, &topology, &mut dw_wanted, ROWS, Transpose::TN, None);
    reference::sgd(&mut w_wanted, &dw_wanted, &mut velocity_wanted, [0.9, 0.0], w.len(), false, None, RATE);

    let mut worst = 0.0f32;
    for (name, tensor, wanted) in
        [("y", &y_tensor, &y_wanted), ("dW", &dw_tensor, &dw_wanted), ("W", &w_tensor, &w_wanted)]
    {
        let found = gpu.read::<f32>(tensor)?.wait().with_context(|| format!("reading {name}"))?;
        let difference = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Sums of at most 128 products below 1/4: 128 roundings of numbers below 32.
        ensure!(difference < 128.0 * 32.0 * f32::EPSILON, "{name} differs by {difference:e}");
        worst = worst.max(difference);
    }
    Ok(worst)
}
