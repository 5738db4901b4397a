//! Bad input: an error that says what to do.

use burn_core::tensor::{DType, Device, Tensor};
use fretwork_burn::fretwork::gpu::{Gpu, Options};
use fretwork_burn::fretwork::sparse::Topology;
use fretwork_burn::{FEATURES, Result, SparseLinear, SparseLinearConfig, lend};

use crate::{device, floats, numbers, tensor, walk};

#[track_caller]
fn assert_says<T>(result: Result<T>, words: &[&str]) {
    let message = result.err().expect("it is refused").to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn settings_that_fit_no_layer_are_refused() {
    let device = device();
    let refused = |config: SparseLinearConfig, words: &[&str]| assert_says(config.try_init(&device), words);
    refused(SparseLinearConfig::new(100, 64), &["inputs should be a multiple of the block, 16", "100"]);
    refused(SparseLinearConfig::new(64, 0), &["outputs", "0"]);
    refused(SparseLinearConfig::new(64, 64).block(0), &["inputs", "64"]);
    refused(SparseLinearConfig::new(96, 96).block(12), &["12"]);
    refused(SparseLinearConfig::new(64, 64).density(0.0), &["density", "above 0"]);
    refused(SparseLinearConfig::new(64, 64).density(f64::NAN), &["density"]);
    let topology = Topology::full(32, 32, 16).unwrap();
    let parts = |values: usize, biases: usize| {
        SparseLinear::from_parts(topology.clone(), vec![0.0; values], Some(vec![0.0; biases]), &device)
    };
    assert_says(parts(1023, 32), &["number of values", "1024", "1023"]);
    assert_says(parts(1024, 31), &["number of biases", "32", "31"]);
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let device = device();
    let layer = SparseLinearConfig::new(32, 48).init(&device);
    assert_says(layer.try_forward(Tensor::<2>::zeros([4, 48], &device)), &["width 32", "48"]);
    let half = Tensor::<2>::zeros([4, 32], &device).cast(DType::F16);
    assert_says(layer.try_forward(half), &["the input", "F16", "cast"]);
    let gpu = Gpu::request(Options { features: FEATURES, ..Options::default() }).unwrap();
    let elsewhere = Tensor::<2>::zeros([4, 32], &lend(&gpu).unwrap());
    assert_says(layer.try_forward(elsewhere), &["the input is on", "to_device"]);
    // Nothing is computed of nothing.
    assert_eq!(layer.forward(Tensor::<2>::zeros([0, 32], &device)).dims(), [0, 48]);
}

#[test]
#[should_panic(expected = "multiple of the block")]
fn init_panics_with_the_message() {
    SparseLinearConfig::new(100, 64).init(&Device::default());
}

/// Strides and offsets of any kind: the input is made contiguous, and copied where the device does not bind its offset.
#[test]
fn slices_and_transposes_are_right() {
    let device = device();
    let layer = SparseLinearConfig::new(32, 48).density(0.6).init(&device);
    let mut walk = walk(3000);
    let whole = numbers(&mut walk, 40 * 37);
    let rows = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..5).flat_map(|row| (0..32).map(move |col| (row, col))).map(|(row, col)| of(row, col)).collect()
    };
    let plain = |values: Vec<f32>| floats(layer.forward(tensor(values, [5, 32], &device)));
    let wide = tensor(whole.clone(), [40, 37], &device);
    let sliced = layer.forward(wide.clone().slice([3..8, 2..34]));
    assert_eq!(floats(sliced), plain(rows(&|row, col| whole[(row + 3) * 37 + col + 2])));
    let turned = layer.forward(wide.clone().slice([1..33, 4..9]).transpose());
    assert_eq!(floats(turned), plain(rows(&|row, col| whole[(col + 1) * 37 + row + 4])));
    // A slice of whole rows is contiguous, at an offset of 32 floats: 128 bytes.
    let tall = tensor(whole[..40 * 32].to_vec(), [40, 32], &device);
    let below = layer.forward(tall.slice([1..6, 0..32]));
    assert_eq!(floats(below), plain(rows(&|row, col| whole[(row + 1) * 32 + col])));
}
