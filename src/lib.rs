//! Training networks that are really sparse, on any GPU.
//!
//! Weights are block-sparse from the first step to the last: a block that is absent costs no byte and no
//! arithmetic, in the forward pass, the backward pass and the optimizer. Kernels are plain WGSL; this
//! library composes, checks and dispatches them through [`wgpu`], so the same training step runs on Vulkan,
//! Metal and DX12, and headless on lavapipe.
//!
//! # Ways in
//!
//! The [`guide`] has a page for each: a network that is composed of layers and trained, a program that owns its device, a WGSL
//! kernel, a method that changes topologies. [`prelude`] has the names that such programs need.
//!
//! # The house
//!
//! A room imports only rooms below it.
//!
//! | room | what it is |
//! | --- | --- |
//! | [`report`](mod@report) | HTML pages of runs and benches |
//! | [`bench`](mod@bench) | benches in interleaved rounds, printed by `fretwork bench` |
//! | [`export`](mod@export) | trained networks as files that other programs read |
//! | [`train`] | the loop, objectives, evaluation, checkpoints, run folders |
//! | [`tune`] | fastest variant of each kernel: measured once per adapter, kept on disk |
//! | [`methods`] | how topologies begin and evolve, a file per method |
//! | [`optim`] | optimizers: their state of a parameter, and the update that they record |
//! | [`nn`] | layers and ready-made networks: descriptions of graphs |
//! | [`graph`] | values, nodes and parameters; passes recorded from one description; memory planned by liveness |
//! | [`check`](mod@check) | the known-answer check of every kernel, which `fretwork doctor` runs |
//! | [`ops`] | one file per family: shapes checked, variant chosen, dispatch recorded |
//! | [`sparse`] | sparsity on host and device: topologies, block matrices, initial patterns |
//! | [`gpu`] | the only room that names wgpu: device, buffers, shader composition, recorder |
//! | [`reference`](mod@reference) | the CPU twin of every kernel, same names, same argument order |
//! | [`data`] | batches, and readers: IDX, CSV, text, the embedded digits |
//! | [`random`] | the one generator, bit-identical here and in WGSL |
//! | `terms` | options, selections and null indices that [`ops`] re-exports |
//!
//! Without default features there are no [`report`](mod@report), [`bench`](mod@bench), [`export`](mod@export), [`train`] and [`data`].
//! The feature `train` adds the last three, `report` the others, and `cli`, the default, the program.

#![cfg_attr(
    not(feature = "report"),
    allow(dead_code, unused_imports, reason = "helpers of rooms that are left out")
)]
#![cfg_attr(
    not(feature = "report"),
    allow(rustdoc::broken_intra_doc_links, reason = "links to rooms that are left out")
)]

#[cfg(feature = "report")]
pub mod bench;
pub mod check;
#[cfg(feature = "train")]
pub mod data;
mod error;
#[cfg(feature = "train")]
pub mod export;
mod files;
pub mod gpu;
pub mod graph;
pub mod guide;
mod host;
pub mod methods;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod prelude;
pub mod random;
#[cfg(feature = "report")]
#[doc(hidden)]
pub mod readers;
pub mod reference;
#[cfg(feature = "report")]
pub mod report;
pub mod sparse;
mod terms;
#[cfg(feature = "train")]
pub mod train;
pub mod tune;

pub use error::{Error, Result};
/// The very wgpu this library is built on, so that an embedder's types are the same types.
pub use wgpu;
