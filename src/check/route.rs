//! Checks of routing tables, of products on their patterns, and of what experts do between them.

use super::activation::{activation_error, derivative_error};
use super::harness::{Check, Verdict, judge, judge_exact, numbers, operands, place, poisoned, thrice};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor, Variant};
use crate::ops::{self, ABSENT, Activation, ExpertsBackward, Transpose};
use crate::random::Walk;
use crate::reference::{self, Routes, bound::UNIT, bound::gamma, oracle};
use crate::sparse::{BLOCKS, BlockMatrix, Routing, RoutingShape};

/// Columns of what tokens and hidden units have, where four divides them and where it does not.
const COLUMNS: [usize; 2] = [36, 37];

pub(super) fn table() -> Vec<Check> {
    let mut table = Vec::new();
    for (name, groups) in [("", None), (".kept", Some(1)), (".kept 3 groups", Some(3))] {
        let name = format!("fretwork.route.tables.f32{name}");
        table.push(Check::new(name, move |gpu| tables(gpu, groups)));
    }
    table.push(Check::new("fretwork.route.values.f32", values));
    for weighted in [false, true] {
        for add in [false, true] {
            for n in COLUMNS {
                let suffix =
                    [if add { ".add" } else { "" }, if weighted { ".weighted" } else { "" }].concat();
                let name = format!("fretwork.combine.rows.f32{suffix} {n} columns");
                table.push(Check::new(name, move |gpu| combine(gpu, weighted, add, n)));
            }
        }
    }
    for block in BLOCKS {
        for variant in Variant::ALIKE {
            for n in COLUMNS {
                let name = |family, flag| {
                    format!("fretwork.{family}.{}.f32.b{block}.{flag} {n} columns", variant.name())
                };
                table.push(Check::new(name("sdd", "lhs_gather"), move |gpu| sdd(gpu, variant, block, n)));
                table.push(Check::new(name("dsd", "rhs_gather"), move |gpu| dsd(gpu, variant, block, n)));
            }
        }
        for gated in [false, true] {
            for activation in [
                Activation::Identity,
                Activation::Relu,
                Activation::Gelu,
                Activation::Silu,
                Activation::AllRelu { slope: 0.6 },
            ] {
                let suffix = if gated { ".gated" } else { "" };
                let name = |pass| format!("fretwork.experts.{pass}.f32.b{block}{suffix}({activation})");
                table.push(Check::new(name("activate"), move |gpu| activate(gpu, block, gated, activation)));
                table.push(Check::new(name("backward"), move |gpu| backward(gpu, block, gated, activation)));
            }
        }
    }
    table
}

/// 90 tokens that choose among experts of three widths, one of them chosen by nobody; some choices are absent.
fn case(block: usize) -> (RoutingShape, Vec<u32>, Walk) {
    let mut walk = operands(1100);
    let widths = [2, 1, 3, 1, 2, 1].map(|blocks| blocks * block).to_vec();
    let shape = RoutingShape { tokens: 90, choices: 2, block, widths, most: None };
    let experts = (0..shape.assignments()).map(|_| [0, 1, 2, 2, 3, 5, ABSENT][walk.below(7) as usize]);
    let experts = experts.collect();
    (shape, experts, walk)
}

/// The tables on the device, and their twin.
fn routed(gpu: &Gpu, block: usize) -> Result<(Routing, Routes, Walk)> {
    let (shape, experts, walk) = case(block);
    let twin = reference::route(&experts, None, &shape)?;
    let routing = Routing::new(gpu, shape)?;
    let shape = routing.shape();
    let experts = gpu.upload(Class::Scratch, "check", &[shape.tokens, shape.choices], &experts)?;
    let mut rec = Recorder::new(gpu);
    ops::route(&mut rec, &experts, None, &routing)?;
    gpu.run(&rec.finish()?)?;
    Ok((routing, twin, walk))
}

/// With groups, half of the assignments are kept.
fn tables(gpu: &Gpu, groups: Option<usize>) -> Result<Verdict> {
    let (shape, experts, mut walk) = case(16);
    let kept = groups.map(|groups| {
        let sides = [groups, shape.experts(), (shape.tokens / groups).div_ceil(32)];
        let bits: Vec<u32> = (0..sides.iter().product()).map(|_| walk.bits()).collect();
        (sides, bits)
    });
    let twin = kept.as_ref().map(|(sides, bits)| (bits.as_slice(), sides[0]));
    let wanted = reference::route(&experts, twin, &shape)?;
    let experts = gpu.upload(Class::Scratch, "check", &[shape.tokens, shape.choices], &experts)?;
    let upload = |(sides, bits): ([usize; 3], Vec<u32>)| gpu.upload(Class::Scratch, "check", &sides, &bits);
    let kept = kept.map(upload).transpose()?;
    let mut tables = None;
    let found = thrice::<u32>(gpu, |rec| {
        let routing = tables.insert(Routing::new(gpu, shape.clone())?);
        ops::route(rec, &experts, kept.as_ref(), routing)?;
        Ok(routing.places().clone())
    })?;
    let verdict = found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted.places));
    let (Verdict::Right(_), Some(routing)) = (&verdict, tables) else { return Ok(verdict) };
    for (tensor, wanted) in [
        (routing.counts(), &wanted.counts),
        (routing.dropped(), &wanted.dropped),
        (routing.first_tile(), &wanted.first_tile),
        (routing.rows(), &wanted.rows),
        (routing.tokens(), &wanted.tokens),
    ] {
        let verdict = judge_exact(&gpu.read::<u32>(tensor)?.wait()?, wanted);
        let Verdict::Right(_) = verdict else { return Ok(verdict) };
    }
    Ok(judge_exact(&routing.topology(gpu)?.packed(), &wanted.topology.packed()))
}

fn values(gpu: &Gpu) -> Result<Verdict> {
    let (routing, twin, mut walk) = routed(gpu, 8)?;
    let x = numbers(&mut walk, twin.places.len(), 1.0);
    let mut wanted = vec![0.0; twin.rows.len()];
    reference::route_values(&x, &twin.rows, &mut wanted);
    let x = place(gpu, &[90, 2], &x)?;
    let found = thrice::<f32>(gpu, |rec| {
        let out = poisoned(gpu, &[twin.rows.len()])?;
        ops::route_values(rec, &x, routing.rows(), &out)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact(&found, &wanted)))
}

fn combine(gpu: &Gpu, weighted: bool, add: bool, n: usize) -> Result<Verdict> {
    let (routing, twin, mut walk) = routed(gpu, 8)?;
    let (tokens, choices) = (routing.shape().tokens, routing.shape().choices);
    let x = numbers(&mut walk, twin.rows.len() * n, 1.0);
    let (w, old) = (numbers(&mut walk, tokens * choices, 1.0), numbers(&mut walk, tokens * n, 1.0));
    let mut wanted = old.clone();
    reference::combine(&x, &twin.places, weighted.then_some(w.as_slice()), &mut wanted, [choices, n], add);
    let (x, w) = (place(gpu, &[twin.rows.len(), n], &x)?, place(gpu, &[tokens, choices], &w)?);
    // Any number that is no row stands for none.
    let rows = twin.rows.len() as u32;
    let places = twin.places.iter().enumerate().map(|(at, &place)| match place {
        ABSENT => rows + at as u32 % 2 * (ABSENT - rows),
        place => place,
    });
    gpu.write(routing.places(), &places.collect::<Vec<u32>>())?;
    let found = thrice(gpu, |rec| {
        let y = if add { place(gpu, &[tokens, n], &old)? } else { poisoned(gpu, &[tokens, n])? };
        ops::combine(rec, &x, &routing, weighted.then_some(&w), &y, add)?;
        Ok(y)
    })?;
    // One term of at most 1 per choice, and the previous value.
    let bound = |_| 2.0 * gamma(choices + 1) * (choices + 1) as f64;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

/// The rows that a tile gathers: of tokens, or of the last token where there is none.
fn gathered(x: &[f32], tokens: &[u32], n: usize) -> Vec<f32> {
    let last = x.len() / n - 1;
    tokens.iter().flat_map(|&token| x[last.min(token as usize) * n..][..n].to_vec()).collect()
}

fn sdd(gpu: &Gpu, variant: Variant, block: usize, k: usize) -> Result<Verdict> {
    let gpu = &gpu.with_variant(Some(variant));
    let (routing, twin, mut walk) = routed(gpu, block)?;
    let (topology, pattern) = (&twin.topology, routing.pattern());
    let (x, w) = (numbers(&mut walk, 90 * k, 1.0), numbers(&mut walk, topology.cols() * k, 1.0));
    let lhs = gathered(&x, &twin.tokens, k);
    // Slots behind the last block keep their poison.
    let mut wanted = vec![0.0; topology.elements()];
    reference::sdd(&lhs, &w, topology, &mut wanted, k, Transpose::NT, None);
    let (x, w) = (place(gpu, &[90, k], &x)?, place(gpu, &[topology.cols(), k], &w)?);
    let found = thrice::<f32>(gpu, |rec| {
        let poison = vec![POISON; pattern.elements()];
        let out = BlockMatrix::upload(gpu, Class::Scratch, "check", pattern, &poison)?;
        ops::sdd_gathered(rec, &x, routing.tokens(), &w, &out)?;
        Ok(out.values().clone())
    })?;
    let bound = |_| 2.0 * gamma(k) * k as f64;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_live(&found, &wanted, bound)))
}

fn dsd(gpu: &Gpu, variant: Variant, block: usize, n: usize) -> Result<Verdict> {
    let gpu = &gpu.with_variant(Some(variant));
    let (routing, twin, mut walk) = routed(gpu, block)?;
    let (topology, pattern) = (&twin.topology, routing.pattern());
    let sides = [topology.cols(), n];
    let (x, mut h) = (numbers(&mut walk, 90 * n, 1.0), numbers(&mut walk, topology.elements(), 1.0));
    let rhs = gathered(&x, &twin.tokens, n);
    let mut wanted = vec![0.0; topology.cols() * n];
    reference::dsd(topology, &h, &rhs, &mut wanted, n, Transpose::TN);
    let sizes = [topology.cols(), n, topology.rows()];
    let truth = oracle::product(&topology.scatter(&h), &rhs, sizes, Transpose::TN);
    h.resize(pattern.elements(), f32::NAN);
    let h = BlockMatrix::upload(gpu, Class::Scratch, "check", pattern, &h)?;
    let x = place(gpu, &[90, n], &x)?;
    let found = thrice(gpu, |rec| {
        let out = poisoned(gpu, &sides)?;
        ops::dsd_gathered(rec, &h, &x, routing.tokens(), &out)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, |i| 2.0 * truth.bound(i))))
}

/// Poison of unused slots.
const POISON: f32 = -77.0;

/// A verdict on the slots that there are; those behind them hold what they held.
fn judge_live(found: &[f32], wanted: &[f32], bound: impl Fn(usize) -> f64) -> Verdict {
    let (live, idle) = found.split_at(wanted.len());
    if idle.is_empty() || idle.iter().any(|&x| x != POISON) {
        return Verdict::Wrong("a slot without a block was written".to_owned());
    }
    judge(live, wanted, bound)
}

/// Block matrices on the device, with a poison behind what there is.
fn matrix(gpu: &Gpu, routing: &Routing, values: &[f32]) -> Result<BlockMatrix> {
    let pattern = routing.pattern();
    let mut values = values.to_vec();
    values.resize(pattern.elements(), POISON);
    BlockMatrix::upload(gpu, Class::Scratch, "check", pattern, &values)
}

fn activate(gpu: &Gpu, block: usize, gated: bool, activation: Activation) -> Result<Verdict> {
    let (routing, twin, mut walk) = routed(gpu, block)?;
    let elements = twin.topology.elements();
    let (x, u) = (numbers(&mut walk, elements, 6.0), numbers(&mut walk, elements, 2.0));
    let mut wanted = vec![0.0; elements];
    reference::experts_activate(&x, gated.then_some(u.as_slice()), &mut wanted, activation);
    let (pre, up) = (matrix(gpu, &routing, &x)?, matrix(gpu, &routing, &u)?);
    let found = thrice::<f32>(gpu, |rec| {
        let out = matrix(gpu, &routing, &[])?;
        ops::experts_activate(rec, &pre, gated.then_some(&up), activation, &out)?;
        Ok(out.values().clone())
    })?;
    let bound = |i: usize| 2.0 * activation_error(activation, x[i]) + 4.0 * UNIT * f64::from(wanted[i]).abs();
    Ok(found.map_or_else(|verdict| verdict, |found| judge_live(&found, &wanted, bound)))
}

fn backward(gpu: &Gpu, block: usize, gated: bool, activation: Activation) -> Result<Verdict> {
    let (routing, twin, mut walk) = routed(gpu, block)?;
    let topology = &twin.topology;
    let elements = topology.elements();
    let (x, u, g) = (
        numbers(&mut walk, elements, 6.0),
        numbers(&mut walk, elements, 2.0),
        numbers(&mut walk, elements, 1.0),
    );
    let weights: Vec<f32> =
        twin.rows.iter().map(|&row| if row == ABSENT { 0.0 } else { walk.uniform() }).collect();
    let (mut grad, mut up_grad) = (g.clone(), u.clone());
    let (mut hidden, mut dots) = (vec![0.0; elements], vec![POISON; topology.rows()]);
    let twin = reference::ExpertsBackward {
        grad: &mut grad,
        pre: &x,
        up: gated.then_some(up_grad.as_mut_slice()),
        hidden: &mut hidden,
        weights: &weights,
        dots: &mut dots,
    };
    reference::experts_backward(topology, twin, activation);

    let pre = matrix(gpu, &routing, &x)?;
    let row_weights = place(gpu, &[topology.rows()], &weights)?;
    let mut made: Option<[Tensor; 3]> = None;
    let found = thrice::<f32>(gpu, |rec| {
        let (grad, up) = (matrix(gpu, &routing, &g)?, matrix(gpu, &routing, &u)?);
        let hidden = matrix(gpu, &routing, &[])?;
        let dots = place(gpu, &[topology.rows()], &vec![POISON; topology.rows()])?;
        let on = ExpertsBackward {
            grad: &grad,
            pre: &pre,
            up: gated.then_some(&up),
            hidden: &hidden,
            weights: &row_weights,
            dots: &dots,
        };
        ops::experts_backward(rec, on, activation)?;
        made = Some([hidden.values().clone(), up.values().clone(), dots]);
        Ok(grad.values().clone())
    })?;
    // Weights, gradients and factors are below 1, 1 and 2.
    let of_derivative = |i: usize| 2.0 * derivative_error(activation, x[i]) + 8.0 * UNIT;
    let verdict = found.map_or_else(|verdict| verdict, |found| judge_live(&found, &grad, of_derivative));
    let (Verdict::Right(_), Some([found_hidden, found_up, found_dots])) = (&verdict, made) else {
        return Ok(verdict);
    };
    let of_activation = |i: usize| 2.0 * activation_error(activation, x[i]) + 8.0 * UNIT * 12.0;
    for (tensor, wanted) in [(found_hidden, &hidden), (found_up, &up_grad)] {
        let verdict = judge_live(&gpu.read::<f32>(&tensor)?.wait()?, wanted, of_activation);
        let Verdict::Right(_) = verdict else { return Ok(verdict) };
    }
    // Of a row, the errors of its terms, and of their sum: each is at most 12.
    let width = 3 * block;
    let terms = |row: usize| -> f64 {
        let of_block =
            |slot: usize| (slot * block + row % block) * block..(slot * block + row % block + 1) * block;
        topology.row(row / block).flat_map(|(slot, _)| of_block(slot)).map(of_activation).sum()
    };
    let bound = |row: usize| terms(row) + 2.0 * gamma(width) * 12.0 * width as f64;
    Ok(judge(&gpu.read::<f32>(&found_dots)?.wait()?, &dots, bound))
}
