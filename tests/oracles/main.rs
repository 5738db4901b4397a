//! Methods choose the blocks that an oracle chooses: of each a thousand random cases or more, with ties in plenty, with
//! nothing to exchange or keep and with everything.
//!
//! An oracle does a method's arithmetic on the host, in numbers that both sides hold exactly, and sorts. It shares no code
//! with the library's CPU twins, and each is shown a wrong set, to which it must object.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod exchange;
mod fixture;
mod importance;
mod prune;
mod scl;
mod sets;
mod sup_tickets;
mod top_kast;

use fretwork::gpu::{Gpu, Options};

/// The side of a block.
const BLOCK: usize = 8;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}
