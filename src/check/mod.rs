//! Known-answer checks of all kernels: results of a device, compared with the CPU twins.
//!
//! `fretwork doctor` runs [`table`] and so do the tests. A result may differ from its twin by what the rounding of either
//! can explain and by no more; see [`reference::bound`](crate::reference::bound). What must be exact is compared exactly.

mod activation;
mod basis;
mod ceiling;
mod dynamic;
mod elementwise;
mod gate;
mod gate_stages;
mod half_precision;
mod harness;
mod language;
mod layer_norm;
mod layerwise;
mod loss;
mod matmul;
mod optimizer;
mod pairs;
mod pool;
mod product;
mod quick;
mod route;
mod scores;
mod step;
mod sums;

pub use harness::{Check, Verdict, judge, judge_exact, thrice};
pub use pool::{by_kernel, parallel_for_each};
pub use quick::{compile_time, quick};

/// All checks.
pub fn table() -> Vec<Check> {
    let mut table = matmul::table();
    table.extend(ceiling::table());
    table.extend(elementwise::table());
    table.extend(sums::table());
    table.extend(loss::table());
    table.extend(optimizer::table());
    table.extend(layerwise::table());
    table.extend(basis::table());
    table.extend(half_precision::table());
    table.extend(language::table());
    table.extend(layer_norm::table());
    table.extend(scores::table());
    table.extend(dynamic::table());
    table.extend(route::table());
    table.extend(gate_stages::table());
    table.extend(gate::table());
    table.extend(pairs::table());
    table
}
