// Bit sets of grid positions, 32 to a word.

// Members of a word that lie in the grid: masks out bits past the last position.
fn in_grid(members: u32, word: u32, places: u32) -> u32 {
    let left = places - min(word * 32u, places);
    return select(members & ((1u << (left & 31u)) - 1u), members, left >= 32u);
}
