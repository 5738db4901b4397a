//! Orders of a graph's nodes that bring neighbours together.

use std::collections::VecDeque;

/// Reverse Cuthill–McKee order (George 1971): node at each place. Neighbours get places near each other, so that few blocks of the
/// adjacency matrix have entries.
///
/// `neighbours` are those of each node, in both directions, without the node itself. Each component begins at a node of least degree among
/// those farthest from its node of least degree; neighbours are visited by degree, equals by number, so that the order is a
/// function of the graph alone.
pub(super) fn reverse_cuthill_mckee(neighbours: &[Vec<u32>]) -> Vec<u32> {
    let by_degree = |&node: &u32| (neighbours[node as usize].len(), node);
    let mut starts: Vec<u32> = (0..neighbours.len() as u32).collect();
    starts.sort_by_key(by_degree);
    let mut order: Vec<u32> = Vec::with_capacity(neighbours.len());
    let mut placed = vec![false; neighbours.len()];
    for start in starts {
        if placed[start as usize] {
            continue;
        }
        let levels = levels(neighbours, start);
        let farthest = levels.iter().map(|&(_, level)| level).max().unwrap_or(0);
        let ends = levels.iter().filter(|&&(_, level)| level == farthest).map(|&(node, _)| node);
        let first = ends.min_by_key(by_degree).unwrap_or(start);
        placed[first as usize] = true;
        order.push(first);
        let mut next = order.len() - 1;
        while next < order.len() {
            let mut open: Vec<u32> = neighbours[order[next] as usize]
                .iter()
                .copied()
                .filter(|&node| !placed[node as usize])
                .collect();
            open.sort_by_key(by_degree);
            for node in open {
                if !std::mem::replace(&mut placed[node as usize], true) {
                    order.push(node);
                }
            }
            next += 1;
        }
    }
    order.reverse();
    order
}

/// Nodes that can be reached from `start`, with their distances.
fn levels(neighbours: &[Vec<u32>], start: u32) -> Vec<(u32, usize)> {
    let mut seen = std::collections::HashSet::from([start]);
    let (mut queue, mut levels) = (VecDeque::from([(start, 0)]), Vec::new());
    while let Some((node, level)) = queue.pop_front() {
        levels.push((node, level));
        for &other in &neighbours[node as usize] {
            if seen.insert(other) {
                queue.push_back((other, level + 1));
            }
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path whose nodes are numbered at random comes out as a path.
    #[test]
    fn a_path_is_put_in_its_order() {
        let path = [5u32, 2, 7, 0, 3, 6, 1, 4];
        let mut neighbours = vec![Vec::new(); path.len()];
        for pair in path.windows(2) {
            neighbours[pair[0] as usize].push(pair[1]);
            neighbours[pair[1] as usize].push(pair[0]);
        }
        let order = reverse_cuthill_mckee(&neighbours);
        let reversed: Vec<u32> = path.iter().rev().copied().collect();
        assert!(order == path || order == reversed, "{order:?}");
    }

    /// Every node has one place, in graphs of several components and with nodes that have no neighbour.
    #[test]
    fn components_and_lone_nodes_have_places() {
        let mut neighbours = vec![Vec::new(); 9];
        for (a, b) in [(0u32, 8u32), (8, 3), (1, 5), (5, 6), (6, 1)] {
            neighbours[a as usize].push(b);
            neighbours[b as usize].push(a);
        }
        let mut order = reverse_cuthill_mckee(&neighbours);
        order.sort_unstable();
        assert_eq!(order, (0..9).collect::<Vec<u32>>());
        assert!(reverse_cuthill_mckee(&[]).is_empty());
    }
}
