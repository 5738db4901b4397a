//! Finite differences through a graph with the layer in its middle.

use burn_core::tensor::{Tensor, activation};
use fretwork_burn::{SparseLinear, SparseLinearConfig};

use crate::{device, floats, numbers, tensor, walk};

const ROWS: usize = 5;

/// A loss behind the layer, whose input is a function of `x`: neither the first nor the last of the graph, so that a gradient that
/// is ignored shows.
fn loss(layer: &SparseLinear, x: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let y = layer.forward(activation::tanh(x));
    (activation::sigmoid(y) - target).powi_scalar(2).sum()
}

#[test]
fn differences_of_the_loss_agree_with_the_gradients() {
    let device = device().autodiff();
    let layer = SparseLinearConfig::new(32, 48).block(16).density(0.5).seed(3).init(&device);
    let mut walk = walk(1000);
    let x = numbers(&mut walk, ROWS * 32);
    let target = tensor(numbers(&mut walk, ROWS * 48), [ROWS, 48], &device);
    let leaf = tensor(x.clone(), [ROWS, 32], &device).require_grad();
    let grads = loss(&layer, leaf.clone(), target.clone()).backward();
    let (values, bias) = (floats(layer.values.val()), floats(layer.bias.as_ref().unwrap().val()));
    let dx = floats(leaf.grad(&grads).unwrap());
    let dw = floats(layer.values.val().grad(&grads).unwrap());
    let db = floats(layer.bias.as_ref().unwrap().val().grad(&grads).unwrap());

    let topology = layer.blocks.topology().unwrap().clone();
    let at = |x: &[f32], values: &[f32], bias: &[f32]| {
        let layer = SparseLinear::from_parts(topology.clone(), values.to_vec(), Some(bias.to_vec()), &device)
            .unwrap();
        f64::from(floats(loss(&layer, tensor(x.to_vec(), [ROWS, 32], &device), target.clone()))[0])
    };
    let check = |what: &str, slope: &[f32], operand: usize| {
        let length = slope.len();
        for index in (0..length).step_by(length.div_ceil(12)) {
            let mut sides = [0.0; 2];
            for (side, step) in sides.iter_mut().zip([-1f32, 1.0]) {
                let mut operands = [x.clone(), values.clone(), bias.clone()];
                operands[operand][index] += step * 1e-2;
                *side = at(&operands[0], &operands[1], &operands[2]);
            }
            let difference = (sides[1] - sides[0]) / 2e-2;
            let off = (difference - f64::from(slope[index])).abs();
            // The third derivative times the step squared, and the rounding of a loss of about 60.
            assert!(off < 2e-3, "{what}[{index}]: the slope is {difference}, the gradient {}", slope[index]);
        }
    };
    check("x", &dx, 0);
    check("W", &dw, 1);
    check("bias", &db, 2);
}
