//! Twins of `shaders/pattern/`.

use super::bits;
use crate::Result;
use crate::sparse::Topology;
use crate::terms::SetOp;

/// Slot swap: slots of dropped blocks take the coordinates of grown ones, in grid order; a block in both sets stays.
/// Also returns per slot whether its block is new. Bits past the last grid position are ignored.
///
/// # Errors
/// Those of [`Topology::with_inactive`], as [`Error::Topology`](crate::Error::Topology).
pub fn swap_pattern(
    topology: &Topology,
    dropped: &[u32],
    grown: &[u32],
    active: Option<&[u32]>,
) -> Result<(Topology, Vec<bool>)> {
    let mut places: Vec<usize> = topology.places().collect();
    // Only stored blocks can be dropped, and only others grown.
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
    Ok((of_places(topology, &places, active)?, fresh))
}

/// Numbers of block rows and block columns without an active block.
pub fn empty_lines(topology: &Topology) -> [u32; 2] {
    let rows = (0..topology.row_blocks()).filter(|&row| topology.row(row).len() == 0).count();
    let cols = (0..topology.col_blocks()).filter(|&col| topology.col(col).len() == 0).count();
    [rows as u32, cols as u32]
}

/// Pattern whose slots hold the members of a set, in grid order; bits past the last grid position are ignored.
///
/// # Errors
/// Those of [`Topology::with_inactive`], as [`Error::Topology`](crate::Error::Topology).
pub fn fill_pattern(like: &Topology, set: &[u32]) -> Result<Topology> {
    of_places(like, &members(like, set), None)
}

/// Members of a set that are grid positions, ascending.
fn members(grid: &Topology, set: &[u32]) -> Vec<usize> {
    let places = grid.row_blocks() * grid.col_blocks();
    bits::members(set).into_iter().filter(|&place| place < places).collect()
}

fn of_places(like: &Topology, places: &[usize], active: Option<&[u32]>) -> Result<Topology> {
    let across = like.col_blocks();
    let coordinates: Vec<(u32, u32)> =
        places.iter().map(|place| ((place / across) as u32, (place % across) as u32)).collect();
    let inactive =
        |slot: usize| active.is_some_and(|active| active[places[slot] / 32] >> (places[slot] % 32) & 1 == 0);
    Topology::with_inactive(like.rows(), like.cols(), like.block(), &coordinates, inactive)
}
