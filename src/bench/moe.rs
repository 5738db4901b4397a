//! A mixture of experts, forward and backward, against dense layers.
//!
//! The layer is timed whole, as a training step has it: gate, loss of balance, routing, experts, combination, and all
//! gradients. What it is held against is nothing but dense products with the activation in them, so that gathering rows,
//! weighting outputs and masking cost its rivals nothing:
//!
//! - a dense feed-forward layer of equal active operations: as many hidden units as a token's experts have;
//! - a loop over the experts, each with its own rows in a row;
//! - all experts for every token, what is not chosen masked out.

use std::iter;

use super::{Bench, Cell, Entry, Findings, Grid, Part, Row, Subject, Table, contest};
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::graph::{FanIn, Graph, Network, Param, Precision, Start, Weight};
use crate::nn::{Module, Moe, MoeConfig, Overflow};
use crate::ops::gate::{Balance, Gate, Score, Weights};
use crate::ops::{self, Activation, Epilogue, Step, StepValues, Transpose};
use crate::random::{Key, Stream, Walk};
use crate::{Error, Result};

/// Smooth, so that differences make sense of it everywhere.
const ACTIVATION: Activation = Activation::Silu;

/// What the layer should reach of the dense layer's rate, at so many rows an expert.
const BARS: [(usize, f64); 2] = [(16, 0.6), (128, 0.8)];

/// The sizes of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// How many experts there are.
    pub experts: usize,
    /// How many of them a token chooses.
    pub choices: usize,
    /// Columns of the input and of the output.
    pub width: usize,
    /// Hidden units of an expert.
    pub hidden: usize,
    /// The side of a block.
    pub block: usize,
}

impl Sizes {
    /// Eight experts of which a token chooses two, as large as fits a device of this kind.
    pub fn of(gpu: &Gpu) -> Self {
        let [width, hidden] = if gpu.is_software() { [512, 512] } else { [1024, 2048] };
        Self { experts: 8, choices: 2, width, hidden, block: 16 }
    }

    /// Tokens of a batch that has so many rows for each expert.
    fn tokens(&self, rows: usize) -> Result<usize> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        if self.choices == 0 || self.choices > self.experts {
            return bad("choices", format!("{} of {} experts", self.choices, self.experts));
        }
        if self.width < self.experts {
            return bad("width", format!("{} is less than there are experts, {}", self.width, self.experts));
        }
        match self.experts.checked_mul(rows) {
            Some(all) if all > 0 && all.is_multiple_of(self.choices) => Ok(all / self.choices),
            _ => bad("rows", format!("{rows} for each expert cannot be of tokens with {}", self.choices)),
        }
    }

    fn config(&self) -> MoeConfig {
        let (k, score, weights) = (self.choices, Score::Softmax, Weights::Renormalised);
        MoeConfig {
            experts: vec![self.hidden; self.experts],
            gate: Gate::TopK { k, score, weights, tile: None },
            balance: Balance { aux: 0.01, ..Balance::default() },
            bias_rate: 0.0,
            capacity: 0.0,
            overflow: Overflow::Position,
            gated: false,
            shared: 0,
        }
    }
}

/// The rows of a table, by what they are.
const DENSE: &str = "dense, of as many active operations";
const TURNS: &str = "a loop over the experts";
const ALL: &str = "all experts for every token";
const LAYER: &str = "the layer";
const UNEVEN: &str = "the layer, rows shared out at random";

pub(super) fn run(bench: &Bench) -> Result<Findings> {
    let Sizes { experts, choices, width, hidden, block } = bench.sizes.experts;
    let rows = &bench.sizes.rows;
    let mut tables = Vec::new();
    let mut kernels = Vec::new();
    for &rows in rows {
        let (table, grid) = compare(bench, rows)?;
        tables.push(table);
        kernels.extend(grid);
    }
    // How many times as fast one thing is as another.
    let ratio = |table: &Table, name: &str, than: &str| {
        let median = |name: &str| table.row(name).map_or(f64::NAN, Row::median);
        median(than) / median(name)
    };
    let mut lines = Vec::new();
    for (&rows, table) in rows.iter().zip(&tables) {
        let bar = BARS.iter().find(|bar| bar.0 == rows).map(|bar| bar.1);
        lines.push(vec![
            Cell::text(rows.to_string()),
            Cell::at_least(ratio(table, LAYER, DENSE), bar),
            Cell::Number(ratio(table, UNEVEN, DENSE)),
            Cell::Number(ratio(table, LAYER, TURNS)),
            Cell::Number(ratio(table, LAYER, ALL)),
        ]);
    }
    let faster = |than: &str| {
        let at = rows.iter().zip(&tables).map(|(&rows, table)| (rows, ratio(table, LAYER, than) > 1.0));
        Cell::text(crossover(&at.collect::<Vec<_>>()))
    };
    lines.push(vec![Cell::text("faster"), faster(DENSE), Cell::Empty, faster(TURNS), faster(ALL)]);
    let head = [
        "rows an expert",
        "against dense of as many active operations",
        "the same, rows shared out at random",
        "against a loop over the experts",
        "against all experts for every token",
    ];
    let grid = Grid {
        title: format!(
            "{experts} experts of {hidden} hidden units, {choices} a token, {width} columns, blocks of {block}, forward and \
             backward: times as fast"
        ),
        head: head.map(str::to_owned).to_vec(),
        rows: lines,
    };
    let grids = iter::once(grid).chain(kernels).collect();
    Ok(Findings { subject: Subject::Moe, tables, grids, curves: Vec::new() })
}

/// At which sizes, in ascending order, something is faster.
fn crossover(at: &[(usize, bool)]) -> String {
    let faster: Vec<usize> = at.iter().filter(|size| size.1).map(|size| size.0).collect();
    let (Some(first), Some(last)) = (faster.first(), faster.last()) else { return "nowhere".to_owned() };
    let (from, upto) = (at.iter().skip_while(|size| !size.1), at.iter().take_while(|size| size.1));
    if faster.len() == at.len() {
        "everywhere".to_owned()
    } else if from.clone().all(|size| size.1) {
        format!("from {first} on")
    } else if upto.count() == faster.len() {
        format!("up to {last}")
    } else {
        let sizes: Vec<_> = faster.iter().map(usize::to_string).collect();
        format!("at {}", sizes.join(", "))
    }
}

/// Checks the layer with `rows` rows for each expert, and times it against its rivals; and says where its time goes.
fn compare(bench: &Bench, rows: usize) -> Result<(Table, Option<Grid>)> {
    let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
    let tokens = sizes.tokens(rows)?;
    let [even, uneven] = [true, false].map(|even| Layer::new(bench, tokens, even));
    let (even, uneven) = (even?, uneven?);
    even.check(bench)?;
    uneven.check(bench)?;

    let Sizes { experts, choices, width, hidden, block } = *sizes;
    let operations = 12.0 * (tokens * choices * hidden * width) as f64;
    // Short passes are repeated, as a network repeats layers, so that it does not count what launching and waiting costs.
    let times = ((if gpu.is_software() { 1e9 } else { 1e11 }) / operations).ceil().clamp(1.0, 8.0) as usize;
    let dense = Products::new(gpu, tokens, [choices * hidden, width])?;
    let turns =
        (0..experts).map(|_| Products::new(gpu, rows, [hidden, width])).collect::<Result<Vec<_>>>()?;
    let all = Products::new(gpu, tokens, [experts * hidden, width])?;
    let dense = bench.plan(times, &|rec| dense.pass(rec))?;
    let turns = bench.plan(times, &|rec| {
        turns.iter().try_for_each(|turn| turn.forward(rec))?;
        turns.iter().try_for_each(|turn| turn.backward(rec))
    })?;
    let all = bench.plan(times, &|rec| all.pass(rec))?;
    let once = bench.plan(1, &|rec| even.pass(rec, Some(&even.step)))?;
    let even = bench.plan(times, &|rec| even.pass(rec, Some(&even.step)))?;
    let uneven = bench.plan(times, &|rec| uneven.pass(rec, Some(&uneven.step)))?;
    let entry = |name: &str, part, plan| Entry {
        name: name.to_owned(),
        part,
        operations,
        bytes: None,
        times,
        run: bench.timed(plan),
    };
    let entries = vec![
        entry(DENSE, Part::Baseline, &dense),
        entry("control: the same again", Part::Control, &dense),
        entry(TURNS, Part::Rival, &turns),
        entry(ALL, Part::Rival, &all),
        entry(LAYER, Part::Rival, &even),
        entry(UNEVEN, Part::Rival, &uneven),
    ];
    let title = format!(
        "{experts} experts of {hidden} hidden units, {choices} a token, {width} columns, blocks of {block}: {rows} rows an \
         expert, forward and backward"
    );
    let table = contest(title, bench.sizes.rounds, entries)?;
    let kernels =
        bench.by_kernel(format!("Where the time of the layer goes: {rows} rows an expert"), &once)?;
    Ok((table, kernels))
}

/// A mixture of experts alone, for so many tokens.
fn network(gpu: &Gpu, sizes: &Sizes, tokens: usize) -> Result<Network> {
    let mut graph = Graph::new(1, Precision::F32);
    let x = graph.differentiable_input("x", &[tokens, sizes.width])?;
    let ids = graph.input("ids", &[tokens], DType::U32)?;
    let moe = Moe {
        config: sizes.config(),
        activation: ACTIVATION,
        block: sizes.block,
        sparse: None,
        width: sizes.width,
        sequence: tokens,
        variance: 1.0,
    };
    for output in moe.build(&mut graph, &[x, ids])? {
        graph.output(output)?;
    }
    let topologies = vec![None; graph.layers().len()];
    Network::new(gpu, graph, Start { fan_in: FanIn::Present, topologies: &topologies })
}

/// The layer as a network of its own, with a batch of tokens.
struct Layer {
    network: Network,
    step: Step,
}

impl Layer {
    /// Experts have equally many rows where that is wanted, and otherwise what a router makes of noise.
    fn new(bench: &Bench, tokens: usize, even: bool) -> Result<Self> {
        let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
        let mut walk = Key::new(1, Stream::Check(u32::from(even))).walk();
        let mut x = noise(&mut walk, tokens * sizes.width);
        let dy = noise(&mut walk, tokens * sizes.width);
        let network = network(gpu, sizes, tokens)?;
        if even {
            // The first columns say how much a token wants which expert, and the router reads them off. A token has its
            // choices one behind the other, and tokens have no order.
            let Parts { router: weight, .. } = Parts::of(&network)?;
            let mut router = gpu.read::<f32>(weight)?.wait()?;
            for (e, row) in router.chunks_mut(sizes.width).enumerate() {
                row[..sizes.experts].fill(0.0);
                row[e] = 4.0;
            }
            gpu.write(weight, &router)?;
            let mut order: Vec<usize> = (0..tokens).collect();
            walk.shuffle(&mut order);
            for (row, token) in x.chunks_mut(sizes.width).zip(order) {
                row[..sizes.experts].fill(0.0);
                for j in 0..sizes.choices {
                    let expert = (token * sizes.choices + j) % sizes.experts;
                    row[expert] = 1.0 - j as f32 / (2 * sizes.choices) as f32;
                }
            }
        }
        gpu.write(network.input(), &x)?;
        gpu.write(network.logits_grad(), &dy)?;
        Ok(Self { network, step: Step::new(gpu, StepValues::forward(0))? })
    }

    /// Records a pass forward and backward; with a step, as in training.
    fn pass(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.network.forward(rec, step)?;
        self.network.backward(rec, step)
    }

    /// Input, output and their gradients, as [x, y, dy, dx].
    fn tensors(&self) -> Result<[&Tensor; 4]> {
        let network = &self.network;
        let dx = network
            .input_grad(0)
            .ok_or_else(|| Error::argument("moe", "input", "with a gradient", "none"))?;
        Ok([network.input(), network.logits(), network.logits_grad(), dx])
    }

    /// Refuses a layer that computes something else than an f64 loop on the host, for some tokens: what they get, and a few
    /// elements of their gradient. The loss of balance is left out, of which a token alone knows nothing.
    fn check(&self, bench: &Bench) -> Result<()> {
        let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
        gpu.run(&bench.plan(1, &|rec| self.pass(rec, None))?)?;
        let read = |tensor: &Tensor| gpu.read::<f32>(tensor)?.wait();
        let Parts { router, up, down } = Parts::of(&self.network)?;
        let host = Host { sizes, router: read(router)?, up: read(up)?, down: read(down)? };
        let [x, y, dy, dx] = self.tensors()?.map(read);
        let (x, y, dy, dx) = (x?, y?, dy?, dx?);
        let d = sizes.width;
        let token = |of: &[f32], t: usize| -> Vec<f64> {
            of[t * d..(t + 1) * d].iter().copied().map(f64::from).collect()
        };
        // Where two experts are as good as each other, rounding decides between them.
        let tokens = x.len() / d;
        let clear: Vec<usize> = (0..tokens).filter(|&t| host.margin(&token(&x, t)) > 0.01).collect();
        if clear.is_empty() {
            return Err(Error::Wrong {
                label: "moe".to_owned(),
                reason: "no token has a clear choice".to_owned(),
            });
        }
        for &t in clear.iter().step_by(clear.len().div_ceil(3)) {
            let row = token(&x, t);
            agree("the output", t, &token(&y, t), &host.output(&row))?;

            let dy = token(&dy, t);
            let loss = |row: &[f64]| dot(&host.output(row), &dy);
            let found = token(&dx, t);
            // The first column is one of the router's, the others are not.
            let columns: Vec<usize> = (0..4).map(|i| i * (d - 1) / 3).collect();
            let wanted = columns.iter().map(|&column| {
                let moved = |by: f64| {
                    let mut row = row.clone();
                    row[column] += by;
                    loss(&row)
                };
                (moved(1e-4) - moved(-1e-4)) / 2e-4
            });
            let found: Vec<f64> = columns.iter().map(|&column| found[column]).collect();
            agree("the gradient of the input", t, &found, &wanted.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// The layer's matrices.
struct Parts<'a> {
    router: &'a Tensor,
    up: &'a Tensor,
    down: &'a Tensor,
}

impl<'a> Parts<'a> {
    fn of(network: &'a Network) -> Result<Self> {
        match network.layers()[..] {
            [router, up, down] => {
                let [router, up, down] = [router, up, down].map(Param::weight).map(Weight::values);
                Ok(Self { router, up, down })
            }
            ref parts => Err(Error::argument("moe", "layers", 3, parts.len())),
        }
    }
}

/// The layer in f64, one token after the other.
struct Host<'a> {
    sizes: &'a Sizes,
    /// `[experts, width]`.
    router: Vec<f32>,
    /// `[experts * hidden, width]`, both.
    up: Vec<f32>,
    down: Vec<f32>,
}

impl Host<'_> {
    /// The experts with their logits, the largest first.
    fn ranked(&self, x: &[f64]) -> Vec<(usize, f64)> {
        let rows = self.router.chunks(x.len());
        let mut ranked: Vec<_> = rows.map(|row| weighted(row, x)).enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    /// How far the last choice is from the first expert that is not chosen.
    fn margin(&self, x: &[f64]) -> f64 {
        let ranked = self.ranked(x);
        let chosen = self.sizes.choices;
        ranked.get(chosen).map_or(f64::INFINITY, |next| ranked[chosen - 1].1 - next.1)
    }

    fn output(&self, x: &[f64]) -> Vec<f64> {
        let (d, hidden) = (x.len(), self.sizes.hidden);
        let ranked = self.ranked(x);
        let chosen = &ranked[..self.sizes.choices];
        let total: f64 = chosen.iter().map(|(_, logit)| logit.exp()).sum();
        let mut y = vec![0.0; d];
        for (expert, logit) in chosen {
            for unit in expert * hidden..(expert + 1) * hidden {
                let pre = weighted(&self.up[unit * d..(unit + 1) * d], x);
                let out = logit.exp() / total * pre / (1.0 + (-pre).exp());
                for (y, w) in y.iter_mut().zip(&self.down[unit * d..]) {
                    *y += out * f64::from(*w);
                }
            }
        }
        y
    }
}

/// Dense products of a feed-forward network's passes.
struct Products {
    /// `[rows, width]`.
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    dx: Tensor,
    /// `[hidden, width]`.
    up: Tensor,
    down: Tensor,
    up_grad: Tensor,
    down_grad: Tensor,
    /// `[rows, hidden]`.
    pre: Tensor,
    hidden: Tensor,
    grad: Tensor,
    /// `[hidden]`, of zeros: an activation comes with a bias.
    bias: Tensor,
}

impl Products {
    fn new(gpu: &Gpu, rows: usize, [hidden, width]: [usize; 2]) -> Result<Self> {
        let mut walk = Key::new(1, Stream::Check(2)).walk();
        let mut noisy = |label: &str, shape: [usize; 2], scale: f32| {
            let values: Vec<f32> = noise(&mut walk, shape[0] * shape[1]).iter().map(|x| x * scale).collect();
            gpu.upload(Class::Activations, label, &shape, &values)
        };
        let room = |label: &str, shape: [usize; 2]| gpu.alloc::<f32>(Class::Activations, label, &shape);
        let (tokens, units, activations) = ([rows, width], [hidden, width], [rows, hidden]);
        let scales = [width, hidden].map(|inputs| (12.0 / inputs as f32).sqrt());
        Ok(Self {
            x: noisy("x", tokens, 1.0)?,
            dy: noisy("dy", tokens, 1.0)?,
            up: noisy("up", units, scales[0])?,
            down: noisy("down", units, scales[1])?,
            y: room("y", tokens)?,
            dx: room("dx", tokens)?,
            up_grad: room("gradient", units)?,
            down_grad: room("gradient", units)?,
            pre: room("pre-activation", activations)?,
            hidden: room("hidden", activations)?,
            grad: room("gradient", activations)?,
            bias: gpu.zeros::<f32>(Class::Activations, "bias", &[hidden])?,
        })
    }

    /// Records a pass forward, and one backward.
    fn pass(&self, rec: &mut Recorder<'_>) -> Result<()> {
        self.forward(rec)?;
        self.backward(rec)
    }

    fn forward(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Self { x, y, up, down, pre, hidden, bias, .. } = self;
        let epilogue = Epilogue::Forward { bias, activation: ACTIVATION, dropout: None, pre: Some(pre) };
        ops::dense(rec, x, up, hidden, Transpose::NT, epilogue)?;
        ops::dense(rec, hidden, down, y, Transpose::NN, Epilogue::None)
    }

    fn backward(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Self { x, dy, dx, up, down, up_grad, down_grad, pre, hidden, grad, .. } = self;
        let epilogue = Epilogue::Backward { pre, activation: ACTIVATION, dropout: None };
        ops::dense(rec, dy, down, grad, Transpose::NT, epilogue)?;
        ops::dense(rec, hidden, dy, down_grad, Transpose::TN, Epilogue::None)?;
        ops::dense(rec, grad, x, up_grad, Transpose::TN, Epilogue::None)?;
        ops::dense(rec, grad, up, dx, Transpose::NN, Epilogue::None)
    }
}

/// Numbers around zero: zeros can be faster than what networks compute with.
fn noise(walk: &mut Walk, count: usize) -> Vec<f32> {
    (0..count).map(|_| walk.uniform() - 0.5).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn weighted(row: &[f32], x: &[f64]) -> f64 {
    row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
}

/// Far more than rounding makes of it, and far less than any mistake: a thousandth of the largest element.
fn agree(what: &str, token: usize, found: &[f64], wanted: &[f64]) -> Result<()> {
    let most = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (found, wanted) in found.iter().zip(wanted) {
        let off = (found - wanted).abs();
        if off.is_nan() || off > 1e-3 * most {
            let reason = format!("{what} of token {token} is {found} where {wanted} is right");
            return Err(Error::Wrong { label: "moe".to_owned(), reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossovers_in_words() {
        let words = |faster: [bool; 4]| crossover(&std::array::from_fn::<_, 4, _>(|i| (1 << i, faster[i])));
        assert_eq!(words([true; 4]), "everywhere");
        assert_eq!(words([false; 4]), "nowhere");
        assert_eq!(words([false, false, true, true]), "from 4 on");
        assert_eq!(words([true, true, true, false]), "up to 4");
        assert_eq!(words([true, false, true, false]), "at 1, 4");
        assert_eq!(words([true, false, false, true]), "at 1, 8");
    }
}
