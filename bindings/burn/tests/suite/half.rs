//! Layers in half precision.

use burn_core::module::{Module, ModuleMapper, Param};
use burn_core::tensor::{DType, Tensor, TensorData};
use fretwork_burn::SparseLinear;
use fretwork_burn::fretwork::random::{Key, Stream};
use fretwork_burn::fretwork::sparse;

use crate::{device, numbers, tensor, walk};

struct ToHalf;

impl ModuleMapper for ToHalf {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F16).detach().require_grad())
    }
}

/// Output, and gradients of input, values and bias, as f32.
fn pass(layer: &SparseLinear, x: Tensor<2>, dy: Tensor<2>) -> [Vec<f32>; 4] {
    let x = x.require_grad();
    let y = layer.forward(x.clone());
    let grads = (y.clone() * dy).sum().backward();
    let floats = |data: TensorData| data.iter::<f32>().collect();
    [
        floats(y.into_data()),
        floats(x.grad(&grads).unwrap().into_data()),
        floats(layer.values.val().grad(&grads).unwrap().into_data()),
        floats(layer.bias.as_ref().unwrap().val().grad(&grads).unwrap().into_data()),
    ]
}

/// Results of f16 operands are those of f32 ones of the same values, rounded: sums are in f32.
#[test]
fn half_precision_is_single_precision_rounded() {
    let device = device().autodiff();
    let mut walk = walk(9000);
    // Values that f16 holds exactly.
    let mut exact = |count: usize| -> Vec<f32> {
        numbers(&mut walk, count).iter().map(|value| (value * 64.0).round() / 64.0).collect()
    };
    let topology = sparse::random(48, 64, 16, 7, Key::new(6, Stream::Check(0))).unwrap();
    let layer = SparseLinear::from_parts(topology, exact(7 * 256), Some(exact(48)), &device).unwrap();
    let half = layer.clone().map(&mut ToHalf);
    assert_eq!(half.values.val().dtype(), DType::F16);
    let x = tensor(exact(11 * 64), [11, 64], &device);
    let dy = tensor(exact(11 * 48), [11, 48], &device);
    let wanted = pass(&layer, x.clone(), dy.clone());
    let found = pass(&half, x.cast(DType::F16).detach(), dy.cast(DType::F16).detach());
    for (part, (found, wanted)) in ["y", "dx", "dW", "db"].into_iter().zip(found.iter().zip(&wanted)) {
        let largest = wanted.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            // A rounding to 11 bits; Burn's own sums of the bias round more often.
            let bound = if part == "db" { largest * 2e-3 } else { wanted.abs() * 4.9e-4 + largest * 1e-5 };
            assert!((found - wanted).abs() <= bound, "{part}[{at}] is {found}, should be {wanted}");
        }
    }
}
