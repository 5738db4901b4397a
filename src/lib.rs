//! Training networks that are really sparse, on any GPU.
//!
//! Weights are block-sparse from the first step to the last: a block that is absent costs no byte and no
//! arithmetic, in the forward pass, the backward pass and the optimizer. Kernels are plain WGSL; this
//! library composes, checks and dispatches them through [`wgpu`], so the same training step runs on Vulkan,
//! Metal and DX12, and headless on lavapipe.
//!
//! # The house
//!
//! A room imports only rooms below it.
//!
//! | room | what it is |
//! | --- | --- |
//! | [`report`](mod@report) | HTML pages of runs and benches |
//! | [`bench`](mod@bench) | benches in interleaved rounds, printed by `fretwork bench` |
//! | [`train`] | the step, the loop, evaluation, checkpoints, run folders |
//! | [`tune`] | which variant of a kernel is fastest here: measured once, kept on disk |
//! | [`nn`] | layers and losses: forward and backward over [`ops`] |
//! | [`check`] | the known-answer check of every kernel: what `fretwork doctor` runs |
//! | [`ops`] | one file per family: shapes checked, kernel chosen, dispatch recorded |
//! | [`sparse`] | what sparsity is, on host and device: topologies, block matrices, initial patterns |
//! | [`gpu`] | the only room that names wgpu: device, buffers, shaders, recorder |
//! | [`reference`](mod@reference) | the CPU twin of every kernel, same names, same argument order |
//! | [`data`] | readers: IDX, CSV, text, the embedded digits |
//! | [`random`] | the one generator, bit-identical here and in WGSL |
//! | `terms` | options, selections and null indices that [`ops`] re-exports |
//!
//! # Embedding
//!
//! A program that owns its device adopts it with [`gpu::Gpu::adopt`], wraps its buffers as
//! [`gpu::Tensor`]s and records operations with a [`gpu::Recorder`]; nothing is submitted or waited for
//! behind its back. `examples/embed.rs` is such a program. It needs no feature of this crate: `train` adds [`data`] and
//! [`train`], `report` adds [`bench`](mod@bench) and [`report`](mod@report), and `cli`, the default, adds the program.
//!
//! WGSL kernels of its own are added by [`gpu::Gpu::add_shader`] and dispatched by [`gpu::Recorder::dispatch`]; see
//! [their conventions](gpu#kernels-from-outside).

#![cfg_attr(
    not(feature = "report"),
    allow(dead_code, unused_imports, reason = "helpers of rooms that are left out")
)]

#[cfg(feature = "report")]
pub mod bench;
pub mod check;
#[cfg(feature = "train")]
pub mod data;
mod error;
mod files;
pub mod gpu;
pub mod graph;
mod host;
pub mod methods;
pub mod nn;
pub mod ops;
pub mod optim;
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
