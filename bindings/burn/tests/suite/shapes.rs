//! Forward pass and every gradient, against Burn's dense product with a masked weight.

use burn_core::tensor::{Device, Tensor};
use fretwork_burn::SparseLinear;
use fretwork_burn::fretwork::random::{Key, Stream};
use fretwork_burn::fretwork::sparse;

use crate::{assert_near, device, floats, lent, numbers, tensor, walk};

/// A layer of a random shape, its input and the gradient of its output.
struct Case {
    rows: usize,
    layer: SparseLinear,
    x: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn draw(number: u32, device: &Device) -> Self {
        let mut walk = walk(number);
        let block = [8, 16, 32, 64][number as usize % 4];
        let most = if block == 64 { 3 } else { 6 };
        let [rows_of_blocks, cols_of_blocks] = [0; 2].map(|_| 1 + walk.below(most) as usize);
        let rows = 1 + walk.below(70) as usize;
        let places = rows_of_blocks * cols_of_blocks;
        let nnz = 1 + walk.below(places as u32) as usize;
        let (outputs, inputs) = (rows_of_blocks * block, cols_of_blocks * block);
        let topology =
            sparse::random(outputs, inputs, block, nnz, Key::new(5, Stream::Check(number))).unwrap();
        let values = numbers(&mut walk, topology.elements());
        let bias = (walk.below(4) > 0).then(|| numbers(&mut walk, outputs));
        let layer = SparseLinear::from_parts(topology, values, bias, device).unwrap();
        Self { rows, layer, x: numbers(&mut walk, rows * inputs), dy: numbers(&mut walk, rows * outputs) }
    }

    fn inputs(&self) -> usize {
        self.layer.blocks.sides()[1]
    }
}

/// Output and gradients, in the layout of dense matrices.
struct Found {
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Option<Vec<f32>>,
}

/// The layer in a graph: its input is a result, and its output goes on into a product with `dy`.
fn sparse(case: &Case, device: &Device) -> Found {
    let [outputs, inputs] = case.layer.blocks.sides();
    let x = tensor(case.x.clone(), [case.rows, inputs], device).require_grad();
    let dy = tensor(case.dy.clone(), [case.rows, outputs], device);
    // Three dimensions in every third case.
    let y = if case.rows.is_multiple_of(3) {
        case.layer.forward(x.clone().reshape([3, case.rows / 3, inputs])).reshape([case.rows, outputs])
    } else {
        case.layer.forward(x.clone())
    };
    let grads = (y.clone() * dy).sum().backward();
    let dw = floats(case.layer.values.val().grad(&grads).unwrap());
    Found {
        y: floats(y),
        dx: floats(x.grad(&grads).unwrap()),
        dw: case.layer.blocks.topology().unwrap().scatter(&dw),
        db: case.layer.bias.as_ref().map(|bias| floats(bias.val().grad(&grads).unwrap())),
    }
}

/// The same by Burn's dense product; `of` is applied to each operand.
fn dense(case: &Case, device: &Device, of: impl Fn(Tensor<2>) -> Tensor<2>) -> Found {
    let [outputs, inputs] = case.layer.blocks.sides();
    let weight = case.layer.to_dense().unwrap().transpose();
    let topology = case.layer.blocks.topology().unwrap();
    let mask = topology.scatter(&vec![1.0; topology.elements()]);
    let leaf = |values, shape| of(tensor(values, shape, device)).detach().require_grad();
    let w = leaf(floats(weight), [outputs, inputs]);
    let x = leaf(case.x.clone(), [case.rows, inputs]);
    let dy = of(tensor(case.dy.clone(), [case.rows, outputs], device)).detach();
    let bias = case.layer.bias.as_ref().map(|bias| leaf(floats(bias.val()), [1, outputs]));
    let mut y = x.clone().matmul((w.clone() * tensor(mask, [outputs, inputs], device)).transpose());
    if let Some(bias) = &bias {
        y = y + bias.clone();
    }
    let grads = (y.clone() * dy).sum().backward();
    Found {
        y: floats(y),
        dx: floats(x.grad(&grads).unwrap()),
        dw: floats(w.grad(&grads).unwrap()),
        db: bias.map(|bias| floats(bias.grad(&grads).unwrap())),
    }
}

/// Compares with Burn's dense product; panics where they differ by more than rounding.
fn compare(case: &Case, found: &Found, device: &Device) {
    let wanted = dense(case, device, |tensor| tensor);
    let sizes = dense(case, device, Tensor::abs);
    let [outputs, inputs] = case.layer.blocks.sides();
    assert_near("y", &found.y, &wanted.y, &sizes.y, inputs + 1);
    assert_near("dx", &found.dx, &wanted.dx, &sizes.dx, outputs);
    assert_near("dW", &found.dw, &wanted.dw, &sizes.dw, case.rows);
    assert_eq!(found.db.is_some(), wanted.db.is_some());
    if let (Some(found), Some(wanted), Some(sizes)) = (&found.db, &wanted.db, &sizes.db) {
        assert_near("db", found, wanted, sizes, case.rows);
    }
}

#[test]
fn two_hundred_random_shapes_agree_with_dense_products() {
    let devices = [device().autodiff(), lent().autodiff()];
    for number in 0..200 {
        // Blocks go by the number as well, so each device has all of them.
        let device = &devices[number as usize / 4 % 2];
        let case = Case::draw(number, device);
        compare(&case, &sparse(&case, device), device);
    }
}

/// With Burn's gradient checkpointing, which recomputes what it can.
#[test]
fn gradients_are_the_same_with_checkpointing() {
    let (plain, saving) = (device().autodiff(), device().autodiff().gradient_checkpointing());
    for number in [1, 2, 3, 4] {
        let [wanted, found] = [&plain, &saving].map(|device| sparse(&Case::draw(number, device), device));
        assert_eq!(found.y, wanted.y);
        assert_eq!(found.dx, wanted.dx);
        assert_eq!(found.dw, wanted.dw);
        assert_eq!(found.db, wanted.db);
    }
}

/// The comparison objects to a wrong bit of each of the four.
#[test]
fn the_comparison_objects() {
    let device = device().autodiff();
    let case =
        (0..).map(|number| Case::draw(number, &device)).find(|case| case.layer.bias.is_some()).unwrap();
    assert!(case.inputs() > 0);
    let spoil: [fn(&mut Found); 4] = [
        |found| found.y[0] += 1e-3,
        |found| found.dx[0] += 1e-3,
        |found| {
            let at = found.dw.iter().position(|&value| value != 0.0).unwrap();
            found.dw[at] += 1e-3;
        },
        |found| found.db.as_mut().unwrap()[0] += 1e-3,
    ];
    for spoil in spoil {
        let mut found = sparse(&case, &device);
        spoil(&mut found);
        let objects =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| compare(&case, &found, &device)));
        assert!(objects.is_err());
    }
}
