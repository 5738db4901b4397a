//! Checks of what a language model has besides linear layers.

use super::harness::{
    Check, Output, Verdict, judge, judge_all, judge_exact, numbers, operands, place, poisoned, thrice,
};
use crate::Result;
use crate::gpu::{Class, Gpu, Tensor, Variant};
use crate::ops::{self, Attention, HEADS, IGNORED};
use crate::random::Walk;
use crate::reference::{self, bound::UNIT, bound::gamma};
use crate::terms::{SUM_ROWS, SUM_TOKENS};

pub(super) fn table() -> Vec<Check> {
    let mut table = vec![Check::new("fretwork.embed.gather.f32", gather)];
    // One chunk of tokens, and more than one, the last of them not whole.
    for sequences in [2, SUM_TOKENS / CONTEXT + 3] {
        let name = format!("fretwork.embed.scatter.f32 {sequences}x{CONTEXT}");
        table.push(Check::new(name, move |gpu| scatter(gpu, sequences)));
    }
    for magnitude in [1e-3, 1.0, 1e3] {
        let name = format!("fretwork.norm.forward.f32 {magnitude:e}");
        table.push(Check::new(name, move |gpu| norm_forward(gpu, magnitude)));
    }
    for add in [false, true] {
        let name = format!("fretwork.norm.backward.f32{}", if add { ".add" } else { "" });
        table.push(Check::new(name, move |gpu| norm_backward(gpu, add)));
    }
    for rows in [ROWS, SUM_ROWS + 1] {
        table
            .push(Check::new(format!("fretwork.norm.gain.f32 {rows}x{COLUMNS}"), move |gpu| gain(gpu, rows)));
    }
    let variants = [Variant::Lane, Variant::Tile];
    for (variant, head) in variants.into_iter().flat_map(|variant| HEADS.map(|head| (variant, head))) {
        // One key; less than a workgroup's rows; several workgroups. None is a multiple of what an invocation owns.
        for context in [1, 27, 67] {
            for (pass, check) in [
                ("forward", attention_forward as Pass),
                ("queries", attention_queries),
                ("keys", attention_keys),
            ] {
                let name = attention_name(pass, head, variant, &context.to_string());
                let run =
                    move |gpu: &Gpu| check(&gpu.with_variant(Some(variant)), &Case::new(head, context, 1.0));
                table.push(Check::new(name, run));
            }
        }
    }
    // Scores so far apart that most probabilities are 0.
    for variant in variants {
        let name = attention_name("forward", 16, variant, "67, far apart");
        let run =
            move |gpu: &Gpu| attention_forward(&gpu.with_variant(Some(variant)), &Case::new(16, 67, 6.0));
        table.push(Check::new(name, run));
    }
    table
}

fn attention_name(pass: &str, head: usize, variant: Variant, case: &str) -> String {
    let tile = if variant == Variant::Tile { "_tile" } else { "" };
    let backward = if variant == Variant::Tile && pass != "forward" { ".backward" } else { "" };
    format!("fretwork.attention.{pass}{tile}.f32.b{head}{backward} {case}")
}

/// Not whole workgroups, and columns that four does not divide.
const ROWS: usize = 70;
const COLUMNS: usize = 37;
/// Of embeddings: tokens of a sequence, rows of the table, and columns of more than one strip.
const CONTEXT: usize = 19;
const VOCABULARY: usize = 11;
const STRIPS: usize = 70;

/// Ids of every row but one, and two that are no row.
fn some_ids(walk: &mut Walk, tokens: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..tokens).map(|_| walk.below(VOCABULARY as u32 - 1)).collect();
    (ids[3], ids[tokens - 1]) = (IGNORED, VOCABULARY as u32);
    ids
}

fn gather(gpu: &Gpu) -> Result<Verdict> {
    const SUM_TOKENS: usize = 3 * CONTEXT;
    let mut walk = operands(940);
    let id = some_ids(&mut walk, SUM_TOKENS);
    let rows = numbers(&mut walk, VOCABULARY * STRIPS, 1.0);
    let places = numbers(&mut walk, CONTEXT * STRIPS, 1.0);
    let mut wanted = vec![0.0; SUM_TOKENS * STRIPS];
    reference::embed_gather(&id, &rows, &places, &mut wanted);
    let ids = gpu.upload(Class::Scratch, "check", &[SUM_TOKENS], &id)?;
    let (table, positions) =
        (place(gpu, &[VOCABULARY, STRIPS], &rows)?, place(gpu, &[CONTEXT, STRIPS], &places)?);
    let found = thrice(gpu, |rec| {
        let out = poisoned(gpu, &[SUM_TOKENS, STRIPS])?;
        ops::embed_gather(rec, &ids, &table, &positions, &out)?;
        Ok(out)
    })?;
    Ok(found.map_or_else(|verdict| verdict, |found| judge_exact::<f32>(&found, &wanted)))
}

fn scatter(gpu: &Gpu, sequences: usize) -> Result<Verdict> {
    let tokens = sequences * CONTEXT;
    let mut walk = operands(941);
    let id = some_ids(&mut walk, tokens);
    let g = numbers(&mut walk, tokens * STRIPS, 1.0);
    let mut rows = vec![0.0; VOCABULARY * STRIPS];
    let mut places = vec![0.0; CONTEXT * STRIPS];
    reference::embed_scatter(&id, &g, &mut rows, &mut places);
    let ids = gpu.upload(Class::Scratch, "check", &[tokens], &id)?;
    let grad = place(gpu, &[tokens, STRIPS], &g)?;
    // Numbers are below 1, so a sum's magnitude is below the number of its terms.
    let count = |i: usize| id.iter().filter(|&&id| id as usize == i / STRIPS).count();
    let bound = |terms: usize| 2.0 * gamma(terms + 1) * terms as f64;
    let outputs = [
        Output {
            name: "dtable",
            shape: &[VOCABULARY, STRIPS],
            wanted: &rows,
            bound: Box::new(|i| bound(count(i))),
        },
        Output {
            name: "dpositions",
            shape: &[CONTEXT, STRIPS],
            wanted: &places,
            bound: Box::new(|_| bound(sequences)),
        },
    ];
    judge_all(gpu, &outputs, |rec, out| ops::embed_scatter(rec, &ids, &grad, &out[0], &out[1]))
}

/// Operands of a normalisation and what it makes of them.
struct Normed {
    x: Vec<f32>,
    gain: Vec<f32>,
    grad: Vec<f32>,
    scale: Vec<f32>,
    out: Vec<f32>,
}

const EPSILON: f32 = 1e-5;

fn normed(rows: usize, magnitude: f32) -> Normed {
    let mut walk = operands(942);
    let mut x = numbers(&mut walk, rows * COLUMNS, magnitude);
    // A row of nothing is divided by no zero.
    x[COLUMNS..2 * COLUMNS].fill(0.0);
    let gain = numbers(&mut walk, COLUMNS, 2.0);
    let grad = numbers(&mut walk, rows * COLUMNS, 1.0);
    let (mut scale, mut out) = (vec![0.0; rows], vec![0.0; rows * COLUMNS]);
    reference::norm_forward(&x, &gain, &mut scale, &mut out, EPSILON);
    Normed { x, gain, grad, scale, out }
}

fn norm_forward(gpu: &Gpu, magnitude: f32) -> Result<Verdict> {
    let Normed { x, gain, scale, out, .. } = normed(ROWS, magnitude);
    let (x, gain) = (place(gpu, &[ROWS, COLUMNS], &x)?, place(gpu, &[COLUMNS], &gain)?);
    // A sum of squares, a quotient, a root and another quotient of up to 2.5 units in the last place each; two products.
    let share = 2.0 * gamma(COLUMNS + 12);
    let bound = |wanted: f32| share * f64::from(wanted).abs();
    let outputs = [
        Output { name: "scale", shape: &[ROWS], wanted: &scale, bound: Box::new(|i| bound(scale[i])) },
        Output { name: "out", shape: &[ROWS, COLUMNS], wanted: &out, bound: Box::new(|i| bound(out[i])) },
    ];
    judge_all(gpu, &outputs, |rec, outputs| {
        ops::norm_forward(rec, &x, &gain, &outputs[0], &outputs[1], EPSILON)
    })
}

fn norm_backward(gpu: &Gpu, add: bool) -> Result<Verdict> {
    let Normed { x, gain, grad, scale, .. } = normed(ROWS, 1.0);
    let before = numbers(&mut operands(943), ROWS * COLUMNS, 1.0);
    let mut wanted = before.clone();
    reference::norm_backward(&grad, &x, &gain, &scale, &mut wanted, add);
    let tensor = |values: &[f32]| place(gpu, &[ROWS, COLUMNS], values);
    let (x_at, grad_at) = (tensor(&x)?, tensor(&grad)?);
    let (gain_at, scale_at) = (place(gpu, &[COLUMNS], &gain)?, place(gpu, &[ROWS], &scale)?);
    let found = thrice::<f32>(gpu, |rec| {
        let out = tensor(&before)?;
        ops::norm_backward(rec, &grad_at, &x_at, &gain_at, &scale_at, &out, add)?;
        Ok(out)
    })?;
    let wide = |x: f32| f64::from(x).abs();
    let bound = |i: usize| {
        let (row, r) = (i / COLUMNS * COLUMNS, wide(scale[i / COLUMNS]));
        let g = |column: usize| wide(grad[row + column]) * wide(gain[column]);
        let mean = (0..COLUMNS).map(|column| g(column) * wide(x[row + column])).sum::<f64>() / COLUMNS as f64;
        2.0 * gamma(COLUMNS + 12) * (r * (g(i % COLUMNS) + wide(x[i]) * r * r * mean) + wide(before[i]))
    };
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &wanted, bound)))
}

fn gain(gpu: &Gpu, rows: usize) -> Result<Verdict> {
    let Normed { x, grad, scale, .. } = normed(rows, 1.0);
    let mut wanted = vec![0.0; COLUMNS];
    reference::norm_gain(&grad, &x, &scale, &mut wanted);
    let magnitude = |column: usize| -> f64 {
        (0..rows)
            .map(|row| (row, row * COLUMNS + column))
            .map(|(row, at)| f64::from((grad[at] * x[at] * scale[row]).abs()))
            .sum()
    };
    let (x, grad) = (place(gpu, &[rows, COLUMNS], &x)?, place(gpu, &[rows, COLUMNS], &grad)?);
    let scale = place(gpu, &[rows], &scale)?;
    let bound = |column: usize| 2.0 * gamma(rows + 4) * magnitude(column);
    let outputs = [Output { name: "out", shape: &[COLUMNS], wanted: &wanted, bound: Box::new(bound) }];
    judge_all(gpu, &outputs, |rec, out| ops::norm_gain(rec, &grad, &x, &scale, &out[0]))
}

/// Sequences and heads of the checks of attention.
const SEQUENCES: usize = 3;
const NUMBER: usize = 2;

type Pass = fn(&Gpu, &Case) -> Result<Verdict>;

/// Operands of attention, what the twins make of them, and how large the sums are.
struct Case {
    head: usize,
    context: usize,
    qkv: Vec<f32>,
    grad: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
    delta: Vec<f32>,
    dqkv: Vec<f32>,
    /// The sums of the magnitudes behind each element of `out` and `dqkv`.
    out_sums: Vec<f64>,
    dqkv_sums: Vec<f64>,
    /// The largest product of a query and a key, of their magnitudes.
    score: f64,
}

impl Case {
    fn new(head: usize, context: usize, magnitude: f32) -> Self {
        let tokens = SEQUENCES * context;
        let width = NUMBER * head;
        let mut walk = operands(944);
        let qkv = numbers(&mut walk, tokens * 3 * width, magnitude);
        let grad = numbers(&mut walk, tokens * width, 1.0);
        let mut case = Self {
            head,
            context,
            qkv,
            grad,
            out: vec![0.0; tokens * width],
            lse: vec![0.0; tokens * NUMBER],
            delta: vec![0.0; tokens * NUMBER],
            dqkv: vec![0.0; tokens * 3 * width],
            out_sums: vec![0.0; tokens * width],
            dqkv_sums: vec![0.0; tokens * 3 * width],
            score: 0.0,
        };
        let Self { qkv, grad, out, lse, delta, dqkv, .. } = &mut case;
        reference::attention_forward(qkv, out, lse, context, NUMBER);
        reference::attention_queries(qkv, out, lse, grad, delta, dqkv, [context, NUMBER]);
        reference::attention_keys(qkv, lse, grad, delta, dqkv, [context, NUMBER]);
        case.add_up();
        case
    }

    fn tokens(&self) -> usize {
        SEQUENCES * self.context
    }

    fn width(&self) -> usize {
        NUMBER * self.head
    }

    /// Where a head's queries, keys and values of a token begin.
    fn at(&self, token: usize, part: usize, head: usize) -> usize {
        (token * 3 + part) * self.width() + head * self.head
    }

    /// The magnitudes behind every sum, one pair of a query and a key after the other.
    fn add_up(&mut self) {
        let scale = 1.0 / (self.head as f64).sqrt();
        let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|&x| f64::from(x)).collect() };
        let sizes = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum() };
        for query in 0..self.tokens() {
            for key in query / self.context * self.context..=query {
                for head in 0..NUMBER {
                    let part = |token, part| wide(&self.qkv[self.at(token, part, head)..][..self.head]);
                    let (q, k, v) = (part(query, 0), part(key, 1), part(key, 2));
                    let row = query * self.width() + head * self.head;
                    let (g, out) =
                        (wide(&self.grad[row..][..self.head]), wide(&self.out[row..][..self.head]));
                    let score: f64 = q.iter().zip(&k).map(|(q, k)| q * k * scale).sum();
                    let p = (score - f64::from(self.lse[query * NUMBER + head])).exp();
                    let slope = p * scale * (sizes(&g, &v) + sizes(&g, &out));
                    self.score = self.score.max(scale * sizes(&q, &k));
                    let [dq, dk, dv] =
                        [self.at(query, 0, head), self.at(key, 1, head), self.at(key, 2, head)];
                    for c in 0..self.head {
                        self.out_sums[row + c] += p * v[c].abs();
                        self.dqkv_sums[dq + c] += slope * k[c].abs();
                        self.dqkv_sums[dk + c] += slope * q[c].abs();
                        self.dqkv_sums[dv + c] += p * g[c].abs();
                    }
                }
            }
        }
    }

    /// By what share a probability times something may err, kernel and twin together: scores by their rounding, and so
    /// their exponentials by that and 3 + 2|x| units in the last place (WGSL), where no |x| is above two scores; then sums
    /// and products over a head's columns and over the context.
    fn share(&self) -> f64 {
        let rounded = 4.0 * gamma(self.head + 4) * self.score;
        let exponential = 4.0 * (3.0 + 4.0 * self.score + (self.context as f64).ln()) * UNIT;
        rounded + exponential + 4.0 * gamma(self.head + self.context + 16)
    }

    fn place(&self, gpu: &Gpu) -> Result<Placed> {
        let (tokens, width) = (self.tokens(), self.width());
        Ok(Placed {
            qkv: place(gpu, &[tokens, 3 * width], &self.qkv)?,
            grad: place(gpu, &[tokens, width], &self.grad)?,
            out: place(gpu, &[tokens, width], &self.out)?,
            lse: place(gpu, &[tokens, NUMBER], &self.lse)?,
            delta: place(gpu, &[tokens, NUMBER], &self.delta)?,
            context: self.context,
        })
    }

    /// Expected values of one third of `dqkv`, and poison in the others.
    fn third(&self, parts: &[usize]) -> Vec<f32> {
        let mut wanted = vec![POISON; self.dqkv.len()];
        for token in 0..self.tokens() {
            for part in parts {
                let span = self.at(token, *part, 0)..self.at(token, *part + 1, 0);
                wanted[span.clone()].copy_from_slice(&self.dqkv[span]);
            }
        }
        wanted
    }
}

/// Poison of the thirds that a backward pass must not write.
const POISON: f32 = 77.0;

struct Placed {
    qkv: Tensor,
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
    delta: Tensor,
    context: usize,
}

impl Placed {
    fn attention(&self) -> Attention<'_> {
        Attention { qkv: &self.qkv, out: &self.out, lse: &self.lse, context: self.context }
    }
}

fn attention_forward(gpu: &Gpu, case: &Case) -> Result<Verdict> {
    let placed = case.place(gpu)?;
    let share = case.share();
    // A logarithm errs by up to 2^-21 near 1.
    let level = |i: usize| share + (1.0 + f64::from(case.lse[i]).abs()) * 2f64.powi(-20);
    let outputs = [
        Output {
            name: "out",
            shape: placed.out.shape(),
            wanted: &case.out,
            bound: Box::new(|i| share * case.out_sums[i]),
        },
        Output { name: "lse", shape: placed.lse.shape(), wanted: &case.lse, bound: Box::new(level) },
    ];
    judge_all(gpu, &outputs, |rec, found| {
        ops::attention_forward(rec, Attention { out: &found[0], lse: &found[1], ..placed.attention() })
    })
}

fn attention_queries(gpu: &Gpu, case: &Case) -> Result<Verdict> {
    let placed = case.place(gpu)?;
    let found = thrice::<f32>(gpu, |rec| {
        let delta = poisoned(gpu, placed.delta.shape())?;
        let dqkv = place(gpu, placed.qkv.shape(), &vec![POISON; case.dqkv.len()])?;
        ops::attention_queries(rec, placed.attention(), &placed.grad, &delta, &dqkv)?;
        Ok(dqkv)
    })?;
    let share = case.share();
    let bound = |i: usize| share * case.dqkv_sums[i];
    let verdict = found.map_or_else(|verdict| verdict, |found| judge(&found, &case.third(&[0]), bound));
    if !matches!(verdict, Verdict::Right(_)) {
        return Ok(verdict);
    }
    // Outputs are means of numbers below 1, and gradients are below 1 too.
    let level = |_| 2.0 * gamma(case.head + 4) * case.head as f64;
    let shape = placed.delta.shape();
    let outputs = [Output { name: "delta", shape, wanted: &case.delta, bound: Box::new(level) }];
    judge_all(gpu, &outputs, |rec, found| {
        let dqkv = poisoned(gpu, placed.qkv.shape())?;
        ops::attention_queries(rec, placed.attention(), &placed.grad, &found[0], &dqkv)
    })
}

fn attention_keys(gpu: &Gpu, case: &Case) -> Result<Verdict> {
    let placed = case.place(gpu)?;
    let found = thrice::<f32>(gpu, |rec| {
        let dqkv = place(gpu, placed.qkv.shape(), &vec![POISON; case.dqkv.len()])?;
        ops::attention_keys(rec, placed.attention(), &placed.grad, &placed.delta, &dqkv)?;
        Ok(dqkv)
    })?;
    let share = case.share();
    let bound = |i: usize| share * case.dqkv_sums[i];
    Ok(found.map_or_else(|verdict| verdict, |found| judge(&found, &case.third(&[1, 2]), bound)))
}
