//! Graphs on the device: gradients where values and parameters are shared, the plan of memory, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod conv;
mod dispatches;
mod gradients;
mod half;
mod nodes;
mod own;
mod plans;
mod refusals;
