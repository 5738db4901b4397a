//! A WGSL kernel of one's own: SwiGLU (Shazeer 2020), `out = up * silu(gate)`, with the library's sigmoid.
//!
//! The source is composed with the modules that it imports, validated by naga, and its bindings are matched with tensors and
//! scalars by name.
//!
//! `cargo run --release --example own_kernel`

use fretwork::Result;
use fretwork::prelude::*;
use fretwork::random::{Key, Stream};

const COUNT: usize = 10_000;

fn main() -> Result<()> {
    println!("largest difference from a loop on the CPU: {:.1e}", run()?);
    Ok(())
}

/// Returns the largest difference from a loop in f64. Results are below 16.
pub(crate) fn run() -> Result<f64> {
    let gpu = Gpu::request(Options::default())?;
    let kernel = gpu.add_shader("mine", "swiglu", include_str!("own_kernel.wgsl"))?;

    let mut walk = Key::new(1, Stream::Check(0)).walk();
    let mut numbers = || (0..COUNT).map(|_| 8.0 * walk.uniform() - 4.0).collect::<Vec<f32>>();
    let (gate, up) = (numbers(), numbers());
    let gates = gpu.upload(Class::Activations, "gate", &[COUNT], &gate)?;
    let ups = gpu.upload(Class::Activations, "up", &[COUNT], &up)?;
    let out = gpu.alloc::<f32>(Class::Activations, "out", &[COUNT])?;

    let mut rec = Recorder::new(&gpu);
    let args = Args::new().tensor("gate", &gates).tensor("up", &ups).tensor("out", &out);
    rec.dispatch(&kernel, &args.u32("n", COUNT as u32), COUNT.div_ceil(64) as u64)?;
    gpu.run(&rec.finish()?)?;

    let found = gpu.read::<f32>(&out)?.wait()?;
    let wanted = gate.iter().zip(&up).map(|(&gate, &up)| {
        let gate = f64::from(gate);
        f64::from(up) * gate / (1.0 + (-gate).exp())
    });
    Ok(found.into_iter().zip(wanted).map(|(a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max))
}
