//! Every public function of `sparse` and `ops` that has to do with no device.

use fretwork::random::{Key, Stream};
use fretwork::sparse::{Adjacency, Density, Draw, Links, Topology, connected, connects, random};
use fretwork::{gpu, ops};

use crate::bench::Bench;
use crate::calls::Call;

/// Everything that a topology can be asked.
fn question(topology: &Topology) {
    let _ =
        (topology.rows(), topology.cols(), topology.block(), topology.row_blocks(), topology.col_blocks());
    let _ =
        (topology.nnz(), topology.elements(), topology.density(), topology.active(), topology.row_order());
    let _ = (topology.places().count(), topology.coordinates().count(), topology.csr());
    (0..topology.row_blocks()).for_each(|row| assert!(topology.row(row).count() <= topology.col_blocks()));
    (0..topology.col_blocks()).for_each(|col| assert!(topology.col(col).count() <= topology.row_blocks()));
    assert_eq!(&Topology::from_packed(&topology.packed()).unwrap(), topology);
    let values = vec![1.0; topology.elements()];
    assert_eq!(topology.in_slot_order(&topology.in_row_order(&values)), values);
    let dense = topology.scatter(&values);
    assert_eq!(dense.len(), topology.rows() * topology.cols());
    assert_eq!(topology.gather(&dense).len(), topology.elements());
}

fn permutations(_: &Bench) {
    for rule in ops::permutations::rules() {
        assert!(rule.contains(&rule.key(usize::MAX)) && rule.contains(&rule.key(rule.count() - 1)));
    }
    for key in [gpu::Key::new("no", "where"), gpu::Key::new("fill", "words").block(usize::MAX)] {
        assert!(ops::permutations::expect(&key).is_err(), "{}", key.label());
    }
}

fn topologies(_: &Bench) {
    let sides = [0, 1, 8, 24, 1 << 40, usize::MAX, usize::MAX & !7];
    for (rows, cols) in sides.into_iter().flat_map(|rows| sides.map(|cols| (rows, cols))) {
        for block in [0, 1, 8, 16, usize::MAX] {
            for blocks in [&[][..], &[(0, 0)], &[(0, 0), (0, 0)], &[(u32::MAX, u32::MAX)]] {
                if let Ok(topology) = Topology::from_coordinates(rows, cols, block, blocks)
                    && rows.max(cols) < 100
                {
                    question(&topology);
                }
                let _ = Topology::with_inactive(rows, cols, block, blocks, |_| true).is_ok();
            }
            for (pointers, columns) in
                [(&[][..], &[][..]), (&[0], &[]), (&[0, 0], &[]), (&[0, u32::MAX], &[0])]
            {
                let _ = Topology::from_csr(rows, cols, block, pointers, columns).is_ok();
            }
            let _ = Topology::full(rows, cols, block).is_ok();
            for nnz in [0, 1, usize::MAX] {
                // Drawing from very many blocks takes long.
                if rows.saturating_mul(cols) < 1 << 20 || rows.max(cols) == usize::MAX {
                    let _ = random(rows, cols, block, nnz, Key::new(1, Stream::Check(0))).is_ok();
                }
            }
        }
    }
    // More blocks than kernels count, and than the host has memory for.
    assert!(Topology::full(8 << 20, 8 << 20, 8).is_err());
    for words in [&[][..], &[0], &[u32::MAX; 5], &[0x4652_4554; 20], &[0x4652_4554, 0, 0, 0, 0]] {
        assert!(Topology::from_packed(words).is_err());
    }
}

fn connections(_: &Bench) {
    let key = Key::new(1, Stream::Check(0));
    for (sides, nnz) in
        [([0, 0], 0), ([16, 24], 0), ([16, 24], 1), ([16, 24], 7), ([usize::MAX; 2], usize::MAX)]
    {
        for block in [0, 8, usize::MAX] {
            for units in [[None, None], [Some(0), Some(1)], [Some(1), Some(0)], [Some(0), Some(0)]] {
                let draw = Draw { sides, block, nnz, units, key };
                if let Ok(drawn) = connected(&[draw, draw]) {
                    let _ = connects(&drawn);
                }
            }
        }
    }
    assert!(connected(&[]).unwrap().is_empty());
    // No layer is no gap; a layer without blocks is one.
    let full = |rows, cols| Topology::full(rows, cols, 8).unwrap();
    assert!(connects([]));
    assert!(!connects([&Topology::from_coordinates(16, 24, 8, &[]).unwrap()]));
    assert!(connects([&full(16, 24), &full(64, 8)]));
}

fn densities(_: &Bench) {
    for density in [Density::Uniform, Density::Er, Density::Erk] {
        for layers in
            [&[][..], &[[0, 0]], &[[1, 1]], &[[0, 5], [3, 3]], &[[usize::MAX; 2]], &[[1 << 32; 2]; 3]]
        {
            for sparsity in [-0.0, 0.0, 0.5, 0.999_999_9, 1.0, f64::NAN, f64::INFINITY] {
                let _ = density.allocate(layers, sparsity).is_ok();
            }
        }
    }
}

fn graphs(_: &Bench) {
    for nodes in [0, 1, 9, usize::MAX] {
        for edges in [&[][..], &[(0, 0)], &[(0, 8), (8, 0), (0, 8)], &[(0, u32::MAX)]] {
            for (block, links) in
                [(0, Links::Directed), (8, Links::Undirected), (usize::MAX, Links::Directed)]
            {
                if let Ok(graph) = Adjacency::new(nodes, edges, block, links) {
                    question(graph.topology());
                    assert_eq!(graph.values().len(), graph.topology().elements());
                    assert_eq!((graph.nodes(), graph.order().len()), (nodes, nodes));
                    assert!(
                        graph.place(nodes - 1).unwrap() < graph.places() && graph.place(usize::MAX).is_none()
                    );
                }
            }
        }
    }
}

/// The functions that each of these drives.
pub(crate) const ALL: &[(Call, &[&str])] = &[
    (
        graphs,
        &[
            "Adjacency::new",
            "Adjacency::nodes",
            "Adjacency::places",
            "Adjacency::order",
            "Adjacency::place",
            "Adjacency::topology",
            "Adjacency::values",
        ],
    ),
    (
        topologies,
        &[
            "Topology::from_coordinates",
            "Topology::with_inactive",
            "Topology::from_csr",
            "Topology::full",
            "Topology::packed",
            "Topology::from_packed",
            "Topology::rows",
            "Topology::cols",
            "Topology::block",
            "Topology::row_blocks",
            "Topology::col_blocks",
            "Topology::nnz",
            "Topology::elements",
            "Topology::density",
            "Topology::active",
            "Topology::written_rows",
            "Topology::places",
            "Topology::coordinates",
            "Topology::row",
            "Topology::col",
            "Topology::row_order",
            "Topology::csr",
            "Topology::in_row_order",
            "Topology::in_slot_order",
            "Topology::gather",
            "Topology::scatter",
            "initial::random",
        ],
    ),
    (connections, &["initial::connected", "initial::connects"]),
    (densities, &["Density::allocate"]),
    (
        permutations,
        &["permutations::rules", "permutations::expect", "Rule::count", "Rule::key", "Rule::contains"],
    ),
];
