//! Checks of products with two sparse matrices.

use super::harness::{Check, Verdict, judge, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu};
use crate::ops::{self, ProductScore};
use crate::random::{Key, Stream};
use crate::reference::{self, bound::gamma};
use crate::sparse::{self, BLOCKS, BlockMatrix, Pattern, Topology};

/// Product named by its sparse matrices: output, left operand, right operand.
#[derive(Debug, Clone, Copy)]
enum Family {
    Sds,
    Dss,
    Ssd,
}

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for block in BLOCKS {
        for (family, name) in [(Family::Sds, "sds"), (Family::Dss, "dss"), (Family::Ssd, "ssd")] {
            for gather in [false, true] {
                if gather && matches!(family, Family::Dss) {
                    continue;
                }
                let suffix = if gather { " gathered" } else { "" };
                let name = format!("fretwork.{name}.lane.f32.b{block}{suffix}");
                table.push(Check::new(name, move |gpu| product(gpu, family, block, gather)));
            }
        }
        for what in [ProductScore::Abs, ProductScore::Sum, ProductScore::Square] {
            let name = format!("fretwork.score.routed.f32.b{block}({what:?})");
            table.push(Check::new(name, move |gpu| score(gpu, block, what)));
        }
    }
    table
}

/// A topology of a third of the blocks in random slots, some of them inactive; the first row and the last column are empty.
fn topology([rows, cols]: [usize; 2], block: usize, case: u32) -> Result<Topology> {
    let key = Key::new(17, Stream::Check(case));
    let drawn = sparse::random(rows * block, cols * block, block, rows * cols / 2, key)?;
    let mut blocks: Vec<(u32, u32)> = drawn
        .coordinates()
        .filter(|&(row, col)| row != 0 && col + 1 != cols)
        .map(|(row, col)| (row as u32, col as u32))
        .collect();
    key.walk().shuffle(&mut blocks);
    Topology::with_inactive(rows * block, cols * block, block, &blocks, |slot| slot % 7 == 5)
}

/// Scores of the blocks of experts' weights by a part of the tokens.
fn score(gpu: &Gpu, block: usize, what: ProductScore) -> Result<Verdict> {
    const THERE: usize = 21;
    let [tokens, hidden_units, columns] = grid(block);
    let hidden = topology([tokens, hidden_units], block, 1202)?;
    let n = columns * block;
    let mut walk = operands(1202);
    let (h, x) = (numbers(&mut walk, hidden.elements(), 1.0), numbers(&mut walk, THERE * n, 1.0));
    // Half of the rows are past the last token.
    let rows: Vec<u32> = (0..tokens * block).map(|_| walk.below(2 * THERE as u32)).collect();
    let mut wanted = vec![f32::NAN; hidden_units * columns];
    reference::score_routed(&hidden, &h, (&x, n), &rows, &mut wanted, what);
    let pattern = Pattern::upload(gpu, &hidden)?;
    let h = BlockMatrix::upload(gpu, Class::Scratch, "check", &pattern, &h)?;
    let (x, rows) =
        (place(gpu, &[THERE, n], &x)?, gpu.upload(Class::Scratch, "check", &[rows.len()], &rows)?);
    let found = thrice::<f32>(gpu, |rec| {
        let scores = poisoned(gpu, &[hidden_units * columns])?;
        ops::score_routed(rec, &h, &x, &rows, &scores, what)?;
        Ok(scores)
    })?;
    // Elements below the number of rows in magnitude (their squares below its square), summed over a block.
    let k = tokens * block;
    let size = (k as f64).powi(if what == ProductScore::Square { 2 } else { 1 });
    let bound = |_| 2.0 * gamma(2 * k + block * block) * size * (block * block) as f64;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

/// Tokens, hidden units and columns, in blocks: fewer of large ones, which the twin takes long for.
fn grid(block: usize) -> [usize; 3] {
    if block > 64 { [3, 5, 4] } else { [5, 14, 9] }
}

fn product(gpu: &Gpu, family: Family, block: usize, gather: bool) -> Result<Verdict> {
    let [tokens, hidden_units, columns] = grid(block);
    let hidden = topology([tokens, hidden_units], block, 1200)?;
    let weight = topology([hidden_units, columns], block, 1201)?;
    let n = columns * block;
    let mut walk = operands(1200);
    let [h, w] = [&hidden, &weight].map(|topology| numbers(&mut walk, topology.elements(), 1.0));
    // Rows in random order, some of them past the last.
    let there = if gather { 21 } else { tokens * block };
    let x = numbers(&mut walk, there * n, 1.0);
    let rows: Vec<u32> =
        (0..tokens * block).map(|_| [walk.below(21), u32::MAX][usize::from(walk.below(5) == 0)]).collect();
    let mut gathered = x.clone();
    if gather {
        let row = |&row: &u32| x[(row as usize).min(there - 1) * n..][..n].to_vec();
        gathered = rows.iter().flat_map(row).collect();
    }
    let mut wanted = match family {
        Family::Sds => vec![0.0; hidden.elements()],
        Family::Dss => vec![0.0; tokens * block * n],
        Family::Ssd => vec![0.0; weight.elements()],
    };
    match family {
        Family::Sds => reference::sds(&gathered, &weight, &w, &hidden, &mut wanted),
        Family::Dss => reference::dss(&hidden, &h, &weight, &w, &mut wanted),
        Family::Ssd => reference::ssd(&hidden, &h, &gathered, &weight, &mut wanted),
    }

    let upload = |topology: &Topology, values: &[f32]| {
        let pattern = Pattern::upload(gpu, topology)?;
        BlockMatrix::upload(gpu, Class::Scratch, "check", &pattern, values)
    };
    let (h, w) = (upload(&hidden, &h)?, upload(&weight, &w)?);
    let x = place(gpu, &[there, n], &x)?;
    let rows = gpu.upload(Class::Scratch, "check", &[rows.len()], &rows)?;
    let rows = gather.then_some(&rows);
    let found = thrice::<f32>(gpu, |rec| match family {
        Family::Sds => {
            let out = upload(&hidden, &vec![f32::NAN; hidden.elements()])?;
            ops::sds(rec, &x, rows, &w, &out)?;
            Ok(out.values().clone())
        }
        Family::Dss => {
            let out = poisoned(gpu, &[tokens * block, n])?;
            ops::dss(rec, &h, &w, &out)?;
            Ok(out)
        }
        Family::Ssd => {
            let out = upload(&weight, &vec![f32::NAN; weight.elements()])?;
            ops::ssd(rec, &h, &x, rows, &out)?;
            Ok(out.values().clone())
        }
    })?;
    // Sums of products of at most 1, at most as many as there are contraction indices.
    let k = hidden_units * block;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |_| 2.0 * gamma(k) * k as f64)))
}
