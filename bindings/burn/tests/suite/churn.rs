//! Many steps with Burn allocating and freeing around the layer.

use burn_core::tensor::Tensor;
use fretwork_burn::SparseLinearConfig;

use crate::{device, floats, numbers, tensor, walk};

/// Burn's pool hands freed memory on. It is filled with NaN before and between the layer's passes, so that a stale byte, or a
/// result written over someone else's tensor, shows in the bits of a thousand equal steps.
#[test]
fn a_thousand_steps_read_and_write_nothing_stale() {
    let device = device().autodiff();
    let layer = SparseLinearConfig::new(64, 96).block(16).density(0.4).init(&device);
    let mut walk = walk(2000);
    let (x, dy) = (numbers(&mut walk, 17 * 64), numbers(&mut walk, 17 * 96));
    let step = |number: usize| {
        let poison = |size: usize| Tensor::<1>::full([size], f32::NAN, &device);
        let bystander = tensor(vec![number as f32; 17 * 96], [17, 96], &device);
        drop([17 * 64, 17 * 96, 96, 1 + number % 4000].map(poison));
        let input = tensor(x.clone(), [17, 64], &device).require_grad();
        let y = layer.forward(input.clone());
        drop(poison(17 * 96));
        let grads = (y.clone() * tensor(dy.clone(), [17, 96], &device)).sum().backward();
        drop(poison(layer.values.val().shape().num_elements()));
        let found = [
            floats(y),
            floats(input.grad(&grads).unwrap()),
            floats(layer.values.val().grad(&grads).unwrap()),
            floats(layer.bias.as_ref().unwrap().val().grad(&grads).unwrap()),
        ];
        assert_eq!(floats(bystander), vec![number as f32; 17 * 96], "in step {number}");
        found.map(|floats| floats.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    let wanted = step(0);
    for number in 1..1000 {
        assert!(step(number) == wanted, "step {number} has other bits");
    }
}
