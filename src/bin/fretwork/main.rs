//! The `fretwork` program.
fn main() {}
