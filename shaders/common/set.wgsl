// Sets of places in a grid, 32 to a word.

// Members of a word that are places of the grid. Bits past the last place stand for no place.
fn in_grid(members: u32, word: u32, places: u32) -> u32 {
    let left = places - min(word * 32u, places);
    return select(members & ((1u << (left & 31u)) - 1u), members, left >= 32u);
}
