//! Twins of `shaders/pattern/`.

use super::bits;
use super::bits::SetOp;
use crate::Result;
use crate::sparse::Topology;

/// Slots of dropped blocks take the coordinates of grown ones, in the order of the grid; a block that is both stays. With
/// the new pattern comes, per slot, whether its block is new. Bits past the last place of the grid are no members.
///
/// # Errors
/// [`Error::Topology`](crate::Error::Topology) as [`Topology::with_inactive`].
pub fn swap_pattern(
    topology: &Topology,
    dropped: &[u32],
    grown: &[u32],
    awake: Option<&[u32]>,
) -> Result<(Topology, Vec<bool>)> {
    let mut places: Vec<usize> = topology.places().collect();
    // What is not stored cannot leave, and what stays cannot enter.
    let stored = bits::present(topology);
    let leavers = bits::combine(&bits::combine(dropped, grown, SetOp::AndNot), &stored, SetOp::And);
    let entrants = bits::combine(&bits::combine(grown, dropped, SetOp::AndNot), &stored, SetOp::AndNot);
    let (leavers, entrants) = (members(topology, &leavers), members(topology, &entrants));
    let mut fresh = vec![false; places.len()];
    for (leaver, entrant) in leavers.into_iter().zip(entrants) {
        if let Some(slot) = topology.places().position(|place| place == leaver) {
            places[slot] = entrant;
            fresh[slot] = true;
        }
    }
    Ok((of_places(topology, &places, awake)?, fresh))
}

/// Numbers of rows and of columns of blocks in which no block is active.
pub fn empty_lines(topology: &Topology) -> [u32; 2] {
    let rows = (0..topology.row_blocks()).filter(|&row| topology.row(row).len() == 0).count();
    let cols = (0..topology.col_blocks()).filter(|&col| topology.col(col).len() == 0).count();
    [rows as u32, cols as u32]
}

/// The pattern whose slots hold the members of a set, in the order of the grid; bits past its last place are no members.
///
/// # Errors
/// [`Error::Topology`](crate::Error::Topology) as [`Topology::with_inactive`].
pub fn fill_pattern(like: &Topology, set: &[u32]) -> Result<Topology> {
    of_places(like, &members(like, set), None)
}

/// Members of a set that are places of the grid, ascending.
fn members(grid: &Topology, set: &[u32]) -> Vec<usize> {
    let places = grid.row_blocks() * grid.col_blocks();
    bits::members(set).into_iter().filter(|&place| place < places).collect()
}

fn of_places(like: &Topology, places: &[usize], awake: Option<&[u32]>) -> Result<Topology> {
    let across = like.col_blocks();
    let coordinates: Vec<(u32, u32)> =
        places.iter().map(|place| ((place / across) as u32, (place % across) as u32)).collect();
    let resting =
        |slot: usize| awake.is_some_and(|awake| awake[places[slot] / 32] >> (places[slot] % 32) & 1 == 0);
    Topology::with_inactive(like.rows(), like.cols(), like.block(), &coordinates, resting)
}
