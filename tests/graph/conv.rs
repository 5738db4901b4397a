//! Graph convolution against a dense reference in f64, and its gradients against differences.

use std::path::Path;
use std::sync::Arc;

use fretwork::data::{Dataset, Nodes};
use fretwork::gpu::{DType, Recorder};
use fretwork::graph::{Graph, Precision};
use fretwork::methods::SynFlow;
use fretwork::nn::{GraphConv, Linear, Module, Sequential, blocks};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{Adjacency, Links};
use fretwork::train::{Flow, Tasks, Trainer};

use super::bench::{Bench, TOLERANCE, finish, gpu, network, numbers, read};

/// A graph of 37 nodes: a ring, chords, a lone node, an edge to itself and one that is given twice.
fn edges() -> Vec<(u32, u32)> {
    let mut edges: Vec<(u32, u32)> = (0..35).map(|node| (node, (node + 1) % 36)).collect();
    edges.extend([(0, 18), (5, 30), (30, 5), (7, 7), (2, 21), (2, 29)]);
    edges
}

/// `D^-1/2 (A + I) D^-1/2` or `D^-1 (A + I)` by node, in f64.
fn normalised(nodes: usize, links: Links) -> Vec<Vec<f64>> {
    let mut reads = vec![vec![0.0; nodes]; nodes];
    (0..nodes).for_each(|node| reads[node][node] = 1.0);
    for (a, b) in edges() {
        reads[b as usize][a as usize] = 1.0;
        if links == Links::Undirected {
            reads[a as usize][b as usize] = 1.0;
        }
    }
    let degrees: Vec<f64> = reads.iter().map(|row| row.iter().sum()).collect();
    for (a, row) in reads.iter_mut().enumerate() {
        for (b, entry) in row.iter_mut().enumerate() {
            *entry /= match links {
                Links::Undirected => (degrees[a] * degrees[b]).sqrt(),
                Links::Directed => degrees[a],
            };
        }
    }
    reads
}

/// `A * x * W^T + b` equals the dense product, in every block size and both kinds of edges; and not that of another graph.
#[test]
fn a_convolution_equals_the_dense_reference() {
    let (gpu, nodes, inputs, outputs) = (gpu(), 37, 12, 20);
    for (block, links) in
        [(8, Links::Undirected), (16, Links::Undirected), (8, Links::Directed), (32, Links::Directed)]
    {
        let adjacency = Arc::new(Adjacency::new(nodes, &edges(), block, links).unwrap());
        let mut graph = Graph::new(5, Precision::F32);
        let x = graph.input("x", &[adjacency.places(), inputs], DType::F32).unwrap();
        let y = GraphConv::new(&adjacency, Linear::new(inputs, outputs)).apply(&mut graph, x).unwrap();
        let network = network(&gpu, finish(graph, &[y]));
        let mut walk = Key::new(1, Stream::Check(3)).walk();
        let features = numbers(&mut walk, nodes * inputs);
        let mut placed = vec![0.0; adjacency.places() * inputs];
        for (place, &node) in adjacency.order().iter().enumerate() {
            placed[place * inputs..][..inputs].copy_from_slice(&features[node as usize * inputs..][..inputs]);
        }
        gpu.write(network.input(), &placed).unwrap();
        let mut rec = Recorder::new(&gpu);
        network.forward(&mut rec, None).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        let found = read(&gpu, network.outputs()[0]);
        let params = network.parameters();
        let [weight, bias] = [0, 1].map(|at: usize| read(&gpu, params[at].values()));
        let worst = |links| {
            let mut worst = 0.0f64;
            for (node, row) in normalised(nodes, links).iter().enumerate() {
                let sums = |column: usize| -> f64 {
                    row.iter().zip(features.chunks(inputs)).map(|(a, x)| a * f64::from(x[column])).sum()
                };
                let sums: Vec<f64> = (0..inputs).map(sums).collect();
                let found = &found[adjacency.place(node).unwrap() * outputs..][..outputs];
                for ((weights, bias), found) in weight.chunks(inputs).zip(&bias).zip(found) {
                    let products = weights.iter().zip(&sums).map(|(&w, sum)| f64::from(w) * sum);
                    let wanted = f64::from(*bias) + products.sum::<f64>();
                    worst = worst.max((wanted - f64::from(*found)).abs());
                }
            }
            worst
        };
        // Sums of 37 and 12 products of numbers below 1.
        assert!(worst(links) < 1e-5, "{block} {links:?}: {}", worst(links));
        let other = if links == Links::Directed { Links::Undirected } else { Links::Directed };
        assert!(worst(other) > 1e-2, "{block}: the reference does not see the edges");
    }
}

/// Two convolutions behind each other, with a directed graph: the product in the backward pass is with the transposed matrix.
#[test]
fn a_convolution_has_the_gradients_of_its_weights_and_its_input() {
    let gpu = gpu();
    let adjacency = Arc::new(
        Adjacency::new(21, &[(0, 1), (0, 2), (5, 1), (9, 20), (20, 3)], 8, Links::Directed).unwrap(),
    );
    let net = Sequential::new()
        .add(GraphConv::new(&adjacency, Linear::new(6, 10).gelu()))
        .add(GraphConv::new(&adjacency, Linear::new(10, 5)));
    let mut graph = Graph::new(2, Precision::F32);
    let x = graph.differentiable_input("x", &[adjacency.places(), 6]).unwrap();
    let y = net.apply(&mut graph, x).unwrap();
    let (worst, place) = Bench::new(&gpu, finish(graph, &[y])).worst();
    assert!(worst < TOLERANCE, "{place}: {worst}");
}

/// No entry of an absent block has memory: the matrix has its blocks, their index, and no more.
#[test]
fn absent_blocks_of_a_graph_cost_nothing() {
    let edges: Vec<(u32, u32)> = (0..1023).map(|node| (node, node + 1)).collect();
    let adjacency = Arc::new(Adjacency::new(1024, &edges, 16, Links::Undirected).unwrap());
    let blocks = adjacency.topology().nnz();
    assert!(blocks <= 3 * 64, "{blocks}");
    let mut graph = Graph::new(2, Precision::F32);
    let x = graph.input("x", &[1024, 16], DType::F32).unwrap();
    let y = GraphConv::new(&adjacency, Linear::new(16, 16)).apply(&mut graph, x).unwrap();
    let gpu = gpu();
    let network = network(&gpu, finish(graph, &[y]));
    let values = network.parameters().iter().map(|param| param.values().len()).sum::<usize>();
    let held = gpu.bytes().values as usize;
    assert_eq!(held, 4 * (values + blocks * 16 * 16));
}

/// Rows that are not the graph's places are refused by name.
#[test]
fn other_rows_than_the_graphs_are_refused() {
    let adjacency = Arc::new(Adjacency::new(20, &[], 8, Links::Undirected).unwrap());
    let mut graph = Graph::new(2, Precision::F32);
    let x = graph.input("x", &[20, 4], DType::F32).unwrap();
    let refused = GraphConv::new(&adjacency, Linear::new(4, 4)).apply(&mut graph, x).unwrap_err().to_string();
    assert!(refused.contains("24 rows"), "{refused}");
}

/// A run goes on with the graph that it began with, and no other.
#[test]
fn a_run_is_resumed_with_its_own_graph_alone() {
    let gpu = gpu();
    let ring: Vec<(u32, u32)> = (0..24).map(|node| (node, (node + 1) % 24)).collect();
    let run = |edges: &[(u32, u32)]| {
        let graph = Adjacency::new(24, edges, 8, Links::Undirected).unwrap();
        let (features, rows) = (vec![0.5; 24 * 8], [(0, 0), (12, 1), (17, 1)]);
        let nodes = Arc::new(Nodes::new(&graph, &features, 8, &rows, 2).unwrap());
        let data = Dataset::of_batches("ring", nodes.clone(), nodes).unwrap();
        let graph = Arc::new(graph);
        let net = Sequential::new()
            .add(GraphConv::new(&graph, Linear::new(8, 16).sparse(blocks(8).density(0.5)).relu()))
            .add(GraphConv::new(&graph, Linear::new(16, 2)));
        Trainer::builder(&gpu, net).data(data).seed(1).steps(3)
    };
    // A method that asks for the graph of a pass has one of all rows.
    let mut trainer = run(&ring).method(SynFlow::default()).build().unwrap();
    trainer.run(None, &mut |_| Flow::Continue).unwrap();
    let checkpoint = trainer.checkpoint().unwrap();
    let path = Path::new("of the test");
    let resumed = run(&ring).method(SynFlow::default()).resume(&checkpoint, path).unwrap();
    assert_eq!(resumed.checkpoint().unwrap(), checkpoint);
    let refused =
        run(&ring[1..]).method(SynFlow::default()).resume(&checkpoint, path).unwrap_err().to_string();
    assert!(refused.contains("the network that was composed differs from the checkpoint's"), "{refused}");
}

/// Rows of one task would be a part of the graph.
#[test]
fn tasks_of_a_graph_are_refused() {
    let ring: Vec<(u32, u32)> = (0..24).map(|node| (node, (node + 1) % 24)).collect();
    let graph = Adjacency::new(24, &ring, 8, Links::Undirected).unwrap();
    let nodes = Arc::new(Nodes::new(&graph, &[0.5; 24 * 8], 8, &[(0, 0), (12, 1)], 2).unwrap());
    let net = Sequential::new().add(GraphConv::new(&Arc::new(graph), Linear::new(8, 2)));
    let run = Trainer::builder(&gpu(), net)
        .data(Dataset::of_batches("ring", nodes.clone(), nodes).unwrap())
        .tasks(Tasks { count: 2, buffer: 0 })
        .epochs(2)
        .build();
    let refused = run.unwrap_err().to_string();
    assert!(refused.contains("tasks: the network reads all rows together"), "{refused}");
}
