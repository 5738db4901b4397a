//! Extension module of the Python package. Python code in `python/fretwork/` gives it a Python face: names, defaults, docstrings.
//!
//! Options of a run, their defaults and the refusals of idle ones are the program's own files, so that both take the same.

#[path = "../../../src/bin/fretwork/begin.rs"]
mod begin;
#[path = "../../../src/bin/fretwork/effect.rs"]
mod effect;
#[path = "../../../src/bin/fretwork/events.rs"]
mod events;
#[path = "../../../src/bin/fretwork/examine.rs"]
mod examine;
#[path = "../../../src/bin/fretwork/first_layer.rs"]
mod first_layer;
#[path = "../../../src/bin/fretwork/measure.rs"]
mod measure;
#[path = "../../../src/bin/fretwork/options/mod.rs"]
#[allow(dead_code, unused_imports, reason = "commands that the package has no function of")]
mod options;
#[path = "../../../src/bin/fretwork/settings.rs"]
mod settings;

mod arguments;
mod bench;
mod device;
mod doctor;
mod errors;
mod estimator;
mod export;
mod interrupt;
mod layers;
mod network;
mod ops;
mod predict;
mod progress;
mod train;
mod update;

use pyo3::prelude::*;

#[pymodule]
mod _fretwork {
    #[pymodule_export]
    use super::arguments::options_of;
    #[pymodule_export]
    use super::bench::bench;
    #[pymodule_export]
    use super::doctor::{adapters, doctor};
    #[pymodule_export]
    use super::estimator::fit;
    #[pymodule_export]
    use super::export::{export, weights_of_checkpoint};
    #[pymodule_export]
    use super::network::{Network, parameters, topologies};
    #[pymodule_export]
    use super::ops::{allocate, dds, dense, dsd, random_pattern, sdd};
    #[pymodule_export]
    use super::predict::Predictor;
    #[pymodule_export]
    use super::train::train;
    #[pymodule_export]
    use super::update::{unpruned_share, update_share};
}
