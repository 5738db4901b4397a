//! Checks of the column sums of several matrices in one dispatch.

use super::harness::{Check, Verdict, judge, numbers, operands, place, place_as, storable, thrice};
use crate::Result;
use crate::gpu::{DType, Gpu};
use crate::ops;
use crate::reference::{self, bound::gamma};

/// Matrices: lengths of rows that four divides and does not divide, one workgroup and several.
const SHAPES: [[usize; 2]; 4] = [[128, 2], [6, 10], [256, 68], [4, 5]];

/// Elements between results, which lie in the same buffer at offsets that every device binds.
const APART: usize = 128;

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for (count, flags) in [(2, ["", ""]), (3, ["", ".third"]), (4, [".fourth", ".third"])] {
        let [fourth, third] = flags;
        for (dtype, first, mixed) in
            [(DType::F32, DType::F32, ""), (DType::F16, DType::F16, ""), (DType::F16, DType::F32, ".mixed")]
        {
            let of = if dtype == DType::F16 { "f16" } else { "f32" };
            let name = format!("fretwork.reduce.sums.{of}{fourth}{mixed}{third}");
            let check = Check::new(name, move |gpu| sums(gpu, first, dtype, &SHAPES[..count]));
            table.push(check.of_half(dtype == DType::F16));
        }
    }
    table
}

/// Sums of matrices of a type, and of the first one of its own type. Those of the last one are added to a running total.
fn sums(gpu: &Gpu, first: DType, dtype: DType, shapes: &[[usize; 2]]) -> Result<Verdict> {
    let mut walk = operands(914);
    let dtype_of = |at| if at == 0 { first } else { dtype };
    let matrices: Vec<_> = (0..)
        .zip(shapes)
        .map(|(at, [rows, columns])| storable(dtype_of(at), numbers(&mut walk, rows * columns, 1.0)))
        .collect();
    let (mut start, mut wanted, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (x, &[_, columns])) in matrices.iter().zip(shapes).enumerate() {
        let add = at + 1 == shapes.len();
        let mut sums = numbers(&mut walk, APART, 1.0);
        start.extend(&sums);
        reference::column_sums(x, &mut sums[..columns], add);
        wanted.extend(sums);
        let size = |column| x.iter().skip(column).step_by(columns).map(|x| f64::from(x.abs())).sum::<f64>();
        sizes.extend((0..columns).map(size).chain(std::iter::repeat_n(0.0, APART - columns)));
    }
    let tensors = matrices.iter().zip(shapes).enumerate();
    let tensors = tensors.map(|(at, (x, shape))| place_as(gpu, dtype_of(at), shape, x));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let found = thrice::<f32>(gpu, |rec| {
        let all = place(gpu, &[APART * shapes.len()], &start)?;
        for (at, (tensor, [_, columns])) in tensors.iter().zip(shapes).enumerate() {
            let out = all.rows(APART * at, *columns)?;
            ops::column_sums_later(rec, tensor, &out, at + 1 == shapes.len())?;
        }
        Ok(all)
    })?;
    // What is added to is at most 1. Elements between the results stay as they were.
    let bound = |at: usize| if sizes[at] > 0.0 { 2.0 * gamma(257) * (sizes[at] + 1.0) } else { 0.0 };
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}
