//! Matmuls against the textbook's, and sparse ones against our own dense one.

use anyhow::Result;
use fretwork::bench::{Entry, Table, contest, record, run};
use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::ops::{self, Epilogue, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BLOCKS, BlockMatrix, Pattern};

use crate::textbook::Textbook;

/// Dense 1024 x 1024 x 1024 against the textbook's kernel.
pub(crate) fn against_textbook(gpu: &Gpu) -> Result<Table> {
    const SIDE: usize = 1024;
    let operands = [0, 1].map(|i| numbers(gpu, i, &[SIDE, SIDE]));
    let [lhs, rhs] = operands;
    let (lhs, rhs, out) = (lhs?, rhs?, numbers(gpu, 2, &[SIDE, SIDE])?);
    let textbook = Textbook::new(gpu, &lhs, &rhs, &out);
    let dense = record(gpu, |rec| ops::dense(rec, &lhs, &rhs, &out, Transpose::NN, Epilogue::None))?;
    let operations = 2.0 * (SIDE as f64).powi(3);
    let entries = vec![
        Entry {
            name: "textbook, 16 x 16 in workgroup memory".to_owned(),
            operations,
            run: Box::new(|| textbook.run(gpu)),
        },
        Entry { name: "fretwork dense".to_owned(), operations, run: Box::new(|| Ok(run(gpu, &dense)?)) },
    ];
    contest(format!("dense f32, {SIDE} x {SIDE} x {SIDE}"), 5, entries)
}

/// Sparse products of a layer's three passes against the dense one, rate per non-zero operation.
pub(crate) fn against_dense(gpu: &Gpu, density: f64) -> Result<Table> {
    // Wider where the device can fill its time with it.
    let (rows, side) = if gpu.is_software() { (256, 1024) } else { (512, 4096) };
    let (x, y) = (numbers(gpu, 0, &[rows, side])?, numbers(gpu, 1, &[rows, side])?);
    let w = numbers(gpu, 2, &[side, side])?;
    let dense = record(gpu, |rec| ops::dense(rec, &x, &w, &y, Transpose::NT, Epilogue::None))?;
    let operations = 2.0 * (rows * side * side) as f64;
    let mut plans =
        vec![("dense x * W^T".to_owned(), operations), ("control: the same again".to_owned(), operations)]
            .into_iter()
            .map(|(name, operations)| (name, operations, &dense))
            .collect::<Vec<_>>();

    // As many sparse products in a row as do the work of the dense one, so that what it costs to launch and to wait is the
    // same share of both. What it costs in a network is seen in the training step.
    let times = (1.0 / density).round() as usize;
    let repeat = |op: &dyn Fn(&mut Recorder<'_>) -> fretwork::Result<()>| {
        record(gpu, |rec| (0..times).try_for_each(|_| op(rec)))
    };
    let mut sparse_plans = Vec::new();
    for block in BLOCKS {
        let blocks = (side / block).pow(2);
        let nnz = (density * blocks as f64).round() as usize;
        let topology = sparse::random(side, side, block, nnz, Key::new(1, Stream::Pattern(block as u32)))?;
        let operations = 2.0 * (times * rows * topology.elements()) as f64;
        let values = vec![0.5; topology.elements()];
        let pattern = Pattern::upload(gpu, &topology)?;
        let w = BlockMatrix::upload(gpu, Class::Values, "W", &pattern, &values)?;
        let dw = BlockMatrix::alloc(gpu, Class::Gradients, "dW", &pattern)?;
        let forward = repeat(&|rec| ops::dds(rec, &x, &w, &y, Transpose::NT, Epilogue::None))?;
        let backward = repeat(&|rec| ops::dds(rec, &y, &w, &x, Transpose::NN, Epilogue::None))?;
        let gradient = repeat(&|rec| ops::sdd(rec, &y, &x, &dw, Transpose::TN, None))?;
        sparse_plans.push((format!("x * W^T, blocks of {block}"), operations, forward));
        sparse_plans.push((format!("dy * W, blocks of {block}"), operations, backward));
        sparse_plans.push((format!("dy^T * x, blocks of {block}"), operations, gradient));
    }
    plans.extend(sparse_plans.iter().map(|(name, operations, plan)| (name.clone(), *operations, plan)));

    let entries = plans
        .into_iter()
        .map(|(name, operations, plan)| Entry { name, operations, run: Box::new(move || run(gpu, plan)) })
        .collect();
    Ok(contest(format!("a layer of {side} x {side} with {rows} rows, density {density}"), 9, entries)?)
}

/// A tensor of numbers around zero: zeros can be faster than what networks compute with.
pub(crate) fn numbers(gpu: &Gpu, case: u32, shape: &[usize]) -> Result<Tensor> {
    let mut walk = Key::new(1, Stream::Check(case)).walk();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| walk.uniform() - 0.5).collect();
    Ok(gpu.upload(Class::Activations, "operand", shape, &values)?)
}
