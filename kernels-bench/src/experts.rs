//! The experts' products against our own dense ones of the same operations.

use anyhow::Result;
use fretwork::bench::{Entry, Table, contest, record, run};
use fretwork::gpu::{Gpu, Tensor};
use fretwork::ops::{self, Epilogue, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{BlockMatrix, Routing, RoutingShape};

use crate::matmul::numbers;

/// The three products of `experts` experts with `rows` tokens each, of the first matrix's pass forward, the second's, and
/// of the gradient of either. Tokens choose their experts in no order.
pub(crate) fn against_dense(gpu: &Gpu, experts: usize, rows: usize) -> Result<Table> {
    let (d, width) = if gpu.is_software() { (512, 512) } else { (1024, 4096) };
    let (tokens, hidden) = (experts * rows, experts * width);
    let (x, y) = (numbers(gpu, 0, &[tokens, d])?, numbers(gpu, 1, &[tokens, width])?);
    let (w, dw) = (numbers(gpu, 2, &[hidden, d])?, numbers(gpu, 3, &[hidden, d])?);
    let mut chosen: Vec<u32> = (0..tokens).map(|token| (token % experts) as u32).collect();
    Key::new(1, Stream::Check(0)).walk().shuffle(&mut chosen);
    let chosen = gpu.upload(fretwork::gpu::Class::Activations, "experts", &[tokens, 1], &chosen)?;
    let operations = 2.0 * (tokens * width * d) as f64;

    let mut plans = Vec::new();
    // One dense product of all rows, and as many of an expert's rows as there are experts.
    let one = w.rows(0, width)?;
    for (name, parts) in [("dense", 1), ("dense, expert by expert", experts)] {
        let part = |tensor: &Tensor, e: usize| tensor.rows(e * tokens / parts, tokens / parts);
        let weight =
            |of: &Tensor, e: usize| if parts == 1 { Ok(one.clone()) } else { of.rows(e * width, width) };
        let plan = record(gpu, |rec| {
            (0..parts).try_for_each(|e| {
                let (x, y) = (part(&x, e)?, part(&y, e)?);
                ops::dense(rec, &x, &weight(&w, e)?, &y, Transpose::NT, Epilogue::None)
            })
        })?;
        plans.push((format!("{name}: x * W^T"), plan));
        let plan = record(gpu, |rec| {
            (0..parts).try_for_each(|e| {
                let (x, y) = (part(&x, e)?, part(&y, e)?);
                ops::dense(rec, &y, &weight(&w, e)?, &x, Transpose::NN, Epilogue::None)
            })
        })?;
        plans.push((format!("{name}: h * W"), plan));
        let plan = record(gpu, |rec| {
            (0..parts).try_for_each(|e| {
                let (x, y) = (part(&x, e)?, part(&y, e)?);
                ops::dense(rec, &y, &x, &weight(&dw, e)?, Transpose::TN, Epilogue::None)
            })
        })?;
        plans.push((format!("{name}: h^T * x"), plan));
    }
    for block in [16, 32] {
        let shape = RoutingShape {
            tokens,
            choices: 1,
            block,
            widths: vec![width; experts],
            capacity: rows,
            most: None,
        };
        let routing = Routing::new(gpu, shape)?;
        let table = record(gpu, |rec| ops::route(rec, &chosen, None, &routing))?;
        run(gpu, &table)?;
        let pattern = routing.pattern();
        let h = numbers(gpu, 4, &[pattern.nnz(), block, block])?;
        let h = BlockMatrix::adopt(pattern.clone(), h)?;
        let out = numbers(gpu, 5, &[pattern.rows(), d])?;
        let name = |what: &str| format!("{what}, experts in blocks of {block}");
        let up = record(gpu, |rec| ops::sdd_gathered(rec, &x, routing.tokens(), &w, &h))?;
        let down = record(gpu, |rec| ops::dsd(rec, &h, &w, &out, Transpose::NN))?;
        let gradient = record(gpu, |rec| ops::dsd_gathered(rec, &h, &x, routing.tokens(), &dw))?;
        plans.extend([
            (name("x * W^T"), up),
            (name("h * W"), down),
            (name("h^T * x"), gradient),
            (format!("(routing alone, blocks of {block})"), table),
        ]);
    }
    let entry = |(name, plan)| Entry { name, operations, run: Box::new(move || run(gpu, &plan)) };
    Ok(contest(
        format!("{experts} experts of {width} hidden units, {rows} tokens each, {d} columns"),
        9,
        plans.into_iter().map(entry).collect(),
    )?)
}
