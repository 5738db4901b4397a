//! The adjacency of a graph as a block-sparse matrix, for graph networks.

use std::collections::BTreeMap;

use super::reorder::reverse_cuthill_mckee;
use super::topology::{BLOCKS, Topology};
use crate::{Error, Result};

/// Most nodes of a graph: lists of neighbours are made on the host.
const MOST_NODES: usize = 1 << 26;

/// Direction in which an edge `(a, b)` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// `a` and `b` read each other. The matrix is `D^-1/2 (A + I) D^-1/2` (Kipf and Welling 2017), with the degrees of `A + I` in `D`.
    #[default]
    Undirected,
    /// `b` reads `a`. The matrix is `D^-1 (A + I)`: each node reads the mean of itself and the nodes with an edge to it.
    Directed,
}

/// The normalised adjacency of a graph, in which every node has an edge to itself, as a block-sparse matrix.
///
/// Nodes stand in reverse Cuthill–McKee order, so that the entries lie in few blocks; the last block is padded with places whose rows and
/// columns are 0. An edge that is given several times, or in both directions of an undirected graph, counts once; an edge from a node
/// to itself is the one that every node has. A node without neighbours reads itself alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjacency {
    order: Vec<u32>,
    place: Vec<u32>,
    topology: Topology,
    values: Vec<f32>,
}

impl Adjacency {
    /// The adjacency of a graph of so many nodes, in blocks of this side.
    ///
    /// # Errors
    /// [`Error::Argument`] for a graph without nodes, an edge of a node that there is not, or a block that has no kernels;
    /// [`Error::Topology`] for blocks of more than 2^32 elements.
    pub fn new(nodes: usize, edges: &[(u32, u32)], block: usize, links: Links) -> Result<Self> {
        let op = "Adjacency";
        if !(1..=MOST_NODES).contains(&nodes) {
            return Err(Error::argument(op, "nodes", format!("from 1 to {MOST_NODES}"), nodes));
        }
        if !BLOCKS.contains(&block) {
            return Err(Error::argument(op, "block", format!("one of {BLOCKS:?}"), block));
        }
        if let Some((at, edge)) = edges.iter().enumerate().find(|(_, (a, b))| *a.max(b) as usize >= nodes) {
            let wanted = format!("between nodes below {nodes}");
            return Err(Error::argument(op, "edges", wanted, format!("{edge:?}, edge {at}")));
        }
        let mut read: Vec<Vec<u32>> = (0..nodes as u32).map(|node| vec![node]).collect();
        let mut around: Vec<Vec<u32>> = vec![Vec::new(); nodes];
        for &(a, b) in edges.iter().filter(|(a, b)| a != b) {
            read[b as usize].push(a);
            if links == Links::Undirected {
                read[a as usize].push(b);
            }
            around[a as usize].push(b);
            around[b as usize].push(a);
        }
        for list in read.iter_mut().chain(&mut around) {
            list.sort_unstable();
            list.dedup();
        }
        let order = reverse_cuthill_mckee(&around);
        let mut place = vec![0; nodes];
        order.iter().enumerate().for_each(|(at, &node)| place[node as usize] = at as u32);

        let degree = |node: u32| read[node as usize].len() as f64;
        let mut entries = BTreeMap::<(u32, u32), Vec<(usize, f32)>>::new();
        let side = block as u32;
        for node in 0..nodes as u32 {
            let row = place[node as usize];
            for &from in &read[node as usize] {
                let weight = match links {
                    Links::Undirected => 1.0 / (degree(node) * degree(from)).sqrt(),
                    Links::Directed => 1.0 / degree(node),
                };
                let column = place[from as usize];
                let within = (row % side * side + column % side) as usize;
                entries.entry((row / side, column / side)).or_default().push((within, weight as f32));
            }
        }
        let coordinates: Vec<(u32, u32)> = entries.keys().copied().collect();
        let places = nodes.next_multiple_of(block);
        let topology = Topology::from_coordinates(places, places, block, &coordinates)?;
        let mut values = vec![0.0; topology.elements()];
        for (slot, of_block) in entries.values().enumerate() {
            of_block.iter().for_each(|&(within, weight)| values[slot * block * block + within] = weight);
        }
        Ok(Self { order, place, topology, values })
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.order.len()
    }

    /// Rows of the matrix: the nodes, and padding to whole blocks.
    pub fn places(&self) -> usize {
        self.topology.rows()
    }

    /// Node at each place, without the padding.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Place of a node; `None` for a node that there is not.
    pub fn place(&self, node: usize) -> Option<usize> {
        self.place.get(node).map(|&place| place as usize)
    }

    /// Blocks that have an entry.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Elements of the blocks, `[nnz, block, block]`, in the order of the topology's slots.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(adjacency: &Adjacency, row: usize, column: usize) -> f32 {
        let places = adjacency.places();
        let [row, column] = [row, column].map(|node| adjacency.place(node).unwrap());
        adjacency.topology().scatter(adjacency.values())[row * places + column]
    }

    /// Repeated edges, both directions, edges of a node to itself and lone nodes: degrees 2, 3, 2 and 1 with the own edges.
    #[test]
    fn edges_count_once() {
        let edges = [(0, 1), (1, 0), (0, 1), (1, 2), (2, 2)];
        let adjacency = Adjacency::new(4, &edges, 8, Links::Undirected).unwrap();
        assert_eq!((adjacency.nodes(), adjacency.places()), (4, 8));
        let root = |product: f64| (1.0 / product.sqrt()) as f32;
        for (row, column, wanted) in [
            (0, 0, root(4.0)),
            (0, 1, root(6.0)),
            (1, 0, root(6.0)),
            (1, 1, root(9.0)),
            (1, 2, root(6.0)),
            (2, 2, root(4.0)),
            (3, 3, 1.0),
            (0, 2, 0.0),
            (3, 0, 0.0),
        ] {
            assert_eq!(entry(&adjacency, row, column), wanted, "{row}, {column}");
        }
    }

    #[test]
    fn directed_edges_lead_one_way() {
        let adjacency = Adjacency::new(3, &[(0, 1), (2, 1)], 8, Links::Directed).unwrap();
        assert_eq!(entry(&adjacency, 0, 0), 1.0);
        assert_eq!(entry(&adjacency, 0, 1), 0.0);
        for from in 0..3 {
            assert_eq!(entry(&adjacency, 1, from), (1.0f64 / 3.0) as f32);
        }
    }

    /// A ring of 256 nodes numbered at random has no more blocks than a band of them; in the order given it has most of them.
    #[test]
    fn the_order_leaves_few_blocks() {
        let count = 256u32;
        // 77 has no factor in common with 256.
        let at = |place: u32| place % count * 77 % count;
        let edges: Vec<_> = (0..count).map(|place| (at(place), at(place + 1))).collect();
        let adjacency = Adjacency::new(count as usize, &edges, 8, Links::Undirected).unwrap();
        assert!(adjacency.topology().nnz() <= 3 * 32, "{}", adjacency.topology().nnz());
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let said = |nodes, edges: &[(u32, u32)], block| {
            Adjacency::new(nodes, edges, block, Links::Undirected).unwrap_err().to_string()
        };
        assert!(said(0, &[], 8).contains("nodes"));
        assert!(said(3, &[(0, 1), (1, 3)], 8).contains("edge 1"));
        assert!(said(3, &[], 12).contains("block"));
    }
}
