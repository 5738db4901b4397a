//! Guide: a page for each way into the library, with a program that is a test.
//!
//! | page | for a program that |
//! | --- | --- |
//! | `guide::compose` | composes a network of layers and trains it; needs the feature `train` |
//! | [`guide::embed`](embed) | owns its wgpu device and runs single operations or whole networks in its own encoder |
//! | [`guide::own_kernel`](own_kernel) | adds WGSL kernels |
//! | `guide::own_method` | changes topologies in its own way; needs the feature `train` |
//!
//! Larger programs are in `examples/`: `own_layer`, `own_objective`, `own_optimizer` and `input_gradient` are about 60 lines each.

#[cfg(feature = "train")]
#[doc = include_str!("guide/compose.md")]
pub mod compose {}

#[doc = include_str!("guide/embed.md")]
pub mod embed {}

#[doc = include_str!("guide/own_kernel.md")]
pub mod own_kernel {}

#[cfg(feature = "train")]
#[doc = include_str!("guide/own_method.md")]
pub mod own_method {}
