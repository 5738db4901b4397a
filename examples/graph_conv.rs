//! Node classification by graph convolutions: the adjacency is a block-sparse matrix that is never written out.
//!
//! Two graphs: a stochastic block model of 1,200 nodes in 24 communities, whose features are so noisy that they say little without the
//! neighbours', and Zachary's karate club (1977), where the members' sides after its split are found from the two leaders' alone.
//!
//! `cargo run --release --example graph_conv`

use std::sync::Arc;
use std::time::{Duration, Instant};

use fretwork::Result;
use fretwork::data::Nodes;
use fretwork::nn::GraphConv;
use fretwork::ops::{Epilogue, Transpose};
use fretwork::prelude::*;
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::{Adjacency, BlockMatrix, Links, Pattern};

const NODES: usize = 1200;
const COMMUNITIES: usize = 24;
const WIDTH: usize = 32;
/// Nodes of each community whose class is known in training.
const KNOWN: usize = 5;

/// Friendships of the karate club's 34 members (Zachary 1977).
const KARATE: [(u32, u32); 78] = [
    (0, 1),
    (0, 2),
    (0, 3),
    (0, 4),
    (0, 5),
    (0, 6),
    (0, 7),
    (0, 8),
    (0, 10),
    (0, 11),
    (0, 12),
    (0, 13),
    (0, 17),
    (0, 19),
    (0, 21),
    (0, 31),
    (1, 2),
    (1, 3),
    (1, 7),
    (1, 13),
    (1, 17),
    (1, 19),
    (1, 21),
    (1, 30),
    (2, 3),
    (2, 7),
    (2, 8),
    (2, 9),
    (2, 13),
    (2, 27),
    (2, 28),
    (2, 32),
    (3, 7),
    (3, 12),
    (3, 13),
    (4, 6),
    (4, 10),
    (5, 6),
    (5, 10),
    (5, 16),
    (6, 16),
    (8, 30),
    (8, 32),
    (8, 33),
    (9, 33),
    (13, 33),
    (14, 32),
    (14, 33),
    (15, 32),
    (15, 33),
    (18, 32),
    (18, 33),
    (19, 33),
    (20, 32),
    (20, 33),
    (22, 32),
    (22, 33),
    (23, 25),
    (23, 27),
    (23, 29),
    (23, 32),
    (23, 33),
    (24, 25),
    (24, 27),
    (24, 31),
    (25, 31),
    (26, 29),
    (26, 33),
    (27, 33),
    (28, 31),
    (28, 33),
    (29, 32),
    (29, 33),
    (30, 32),
    (30, 33),
    (31, 32),
    (31, 33),
    (32, 33),
];

/// Members on the instructor's side, 0, and on the president's, 1.
const SIDES: [u32; 34] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

fn main() -> Result<()> {
    let gpu = Gpu::request(Options::default())?;
    for seed in 1..=3 {
        let [with, without] = communities(&gpu, seed)?;
        println!("{NODES} nodes, seed {seed}: accuracy {with:.3}, without the edges {without:.3}");
        println!("karate club, seed {seed}: accuracy {:.3} on the other 32 members", karate(&gpu, seed)?);
    }
    let graph = block_model().0;
    let [sparse, dense] = times(&gpu, &graph)?;
    println!(
        "A * x at a block density of {:.2}: {:.2} times as fast as the dense product",
        graph.topology().density(),
        dense.as_secs_f64() / sparse.as_secs_f64()
    );
    Ok(())
}

/// Accuracies on the nodes of the block model whose class is not given, with its edges and without.
pub(crate) fn communities(gpu: &Gpu, seed: u64) -> Result<[f64; 2]> {
    let (graph, features) = block_model();
    let lone = Adjacency::new(NODES, &[], 8, Links::Undirected)?;
    let class = |node: usize| (node, (node % COMMUNITIES) as u32);
    let train: Vec<_> = (0..KNOWN * COMMUNITIES).map(class).collect();
    let test: Vec<_> = (KNOWN * COMMUNITIES..NODES).map(class).collect();
    let accuracy = |graph| learn(gpu, graph, (&features, WIDTH), [&train, &test], COMMUNITIES, seed);
    Ok([accuracy(graph)?, accuracy(lone)?])
}

/// Accuracy on the karate club's members but for the two leaders, whose sides alone are given.
pub(crate) fn karate(gpu: &Gpu, seed: u64) -> Result<f64> {
    let members = SIDES.len();
    let graph = Adjacency::new(members, &KARATE, 8, Links::Undirected)?;
    // A member is told from the others, and no more: one-hot.
    let mut features = vec![0.0; members * members];
    (0..members).for_each(|member| features[member * members + member] = 1.0);
    let (train, test): (Vec<_>, Vec<_>) =
        SIDES.into_iter().enumerate().partition(|&(member, _)| member == 0 || member == members - 1);
    learn(gpu, graph, (&features, members), [&train, &test], 2, seed)
}

/// Trains two convolutions on the first nodes, and returns the accuracy on the second.
fn learn(
    gpu: &Gpu,
    graph: Adjacency,
    (features, width): (&[f32], usize),
    [train, test]: [&[(usize, u32)]; 2],
    classes: usize,
    seed: u64,
) -> Result<f64> {
    let nodes = |rows| Nodes::new(&graph, features, width, rows, classes);
    let data = Dataset::of_batches("graph", Arc::new(nodes(train)?), Arc::new(nodes(test)?))?;
    let graph = Arc::new(graph);
    let net = Sequential::new()
        .add(GraphConv::new(&graph, Linear::new(width, 32).relu()))
        .add(GraphConv::new(&graph, Linear::new(32, classes)));
    let mut trainer = Trainer::builder(gpu, net)
        .data(data)
        .seed(seed)
        .optimizer(AdamW { weight_decay: 0.01, ..AdamW::default() })
        .learning_rate(0.01, Schedule::Constant)
        .epochs(150)
        .build()?;
    Ok(trainer.run(None, &mut |_| Flow::Continue)?.test_accuracy)
}

/// A stochastic block model: 8 edges to a node within its community on average, and half an edge out of it. Features are a vector for
/// each community, and noise.
fn block_model() -> (Adjacency, Vec<f32>) {
    let mut walk = Key::new(11, Stream::Check(0)).walk();
    let size = (NODES / COMMUNITIES) as f32;
    let mut edges = Vec::new();
    for a in 0..NODES {
        for b in 0..a {
            let together = a % COMMUNITIES == b % COMMUNITIES;
            let share = if together { 8.0 / size } else { 0.5 / (NODES as f32 - size) };
            if walk.uniform() < share {
                edges.push((a as u32, b as u32));
            }
        }
    }
    // Sums of twelve uniform numbers: near to normal, with a variance of 1.
    let normal = |walk: &mut Walk| (0..12).map(|_| walk.uniform()).sum::<f32>() - 6.0;
    let centres: Vec<f32> = (0..COMMUNITIES * WIDTH).map(|_| 0.5 * normal(&mut walk)).collect();
    let features = (0..NODES * WIDTH).map(|at| {
        let (node, column) = (at / WIDTH, at % WIDTH);
        centres[node % COMMUNITIES * WIDTH + column] + 1.5 * normal(&mut walk)
    });
    let features = features.collect();
    let graph = Adjacency::new(NODES, &edges, 8, Links::Undirected);
    (graph.expect("the edges are between nodes of the graph"), features)
}

/// Median times of `A * x` for 64 features, by blocks and written out as a dense matrix, in turns.
fn times(gpu: &Gpu, graph: &Adjacency) -> Result<[Duration; 2]> {
    let (places, width) = (graph.places(), 64);
    let mut walk = Key::new(12, Stream::Check(0)).walk();
    let x: Vec<f32> = (0..places * width).map(|_| walk.uniform()).collect();
    let x = gpu.upload(Class::Activations, "x", &[places, width], &x)?;
    let out = gpu.alloc::<f32>(Class::Activations, "out", &[places, width])?;
    let pattern = Pattern::upload(gpu, graph.topology())?;
    let blocks = BlockMatrix::upload(gpu, Class::Values, "adjacency", &pattern, graph.values())?;
    let dense = graph.topology().scatter(graph.values());
    let dense = gpu.upload(Class::Values, "dense", &[places, places], &dense)?;
    let (mut by_blocks, mut whole) = (Recorder::new(gpu), Recorder::new(gpu));
    // Twenty a submission, so that its own cost counts for little.
    for _ in 0..20 {
        ops::dsd(&mut by_blocks, &blocks, &x, &out, Transpose::NN)?;
        ops::dense(&mut whole, &dense, &x, &out, Transpose::NN, Epilogue::None)?;
    }
    let plans = [by_blocks.finish()?, whole.finish()?];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..15 {
        for (plan, times) in plans.iter().zip(&mut times) {
            let begin = Instant::now();
            gpu.run(plan)?;
            gpu.read::<f32>(&out)?.wait()?;
            times.push(begin.elapsed());
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    }))
}
