//! Sparse layers within Burn, against Burn's own dense products. One program, since linking Burn takes long.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod churn;
mod devices;
mod differences;
mod evolve;
mod files;
mod half;
mod mixture;
mod modules;
mod prune;
mod refusals;
mod shapes;

use std::sync::OnceLock;

use burn_core::tensor::{Device, Tensor, TensorData};
use fretwork_burn::fretwork::gpu::{Gpu, Options};
use fretwork_burn::fretwork::random::{Key, Stream, Walk};
use fretwork_burn::{FEATURES, lend};

/// The device of all tests: opened by Burn, adopted by fretwork.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| fretwork_burn::init(Device::wgpu_options()).unwrap()).clone()
}

/// A device of the other direction: opened by fretwork, lent to Burn.
fn lent() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    DEVICE.get_or_init(|| lend(&open()).unwrap()).clone()
}

/// Random numbers of a case.
fn walk(case: u32) -> Walk {
    Key::new(18, Stream::Check(case)).walk()
}

/// Numbers in [-1, 1).
fn numbers(walk: &mut Walk, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * walk.uniform() - 1.0).collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Asserts that each element is off by no more than its bound: two sums of `terms` products, each rounded anew, of `sizes` the sums
/// of absolute values.
#[track_caller]
fn assert_near(what: &str, found: &[f32], wanted: &[f32], sizes: &[f32], terms: usize) {
    let gamma = 2.0 * (terms + 2) as f64 * f64::from(f32::EPSILON) / 2.0 * 1.01;
    assert_eq!([found.len(), sizes.len()], [wanted.len(); 2], "{what}");
    for (at, ((&found, &wanted), &size)) in found.iter().zip(wanted).zip(sizes).enumerate() {
        let (off, bound) = ((f64::from(found) - f64::from(wanted)).abs(), gamma * f64::from(size) + 1e-30);
        assert!(off <= bound, "{what}: element {at} is {found:e}, should be {wanted:e} within {bound:e}");
    }
}
