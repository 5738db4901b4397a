//! Devices, buffers, kernels and the recorder; no other module names wgpu.
//!
//! A kernel is named by a [`Key`]; its WGSL is composed from `shaders/` by [`Sources`], and its bindings are read off the
//! WGSL. A [`Recorder`] collects dispatches into a [`Plan`], which can be encoded any number of times.
//!
//! # Kernels from outside
//!
//! A program adds shaders of its own by [`Gpu::add_shader`] and dispatches them by [`Recorder::dispatch`], with [`Args`] by name.
//! They are composed, validated and cached like this library's, which follow these conventions:
//!
//! - **Module path.** The file `family/name` is the module `package::family::name`. Imports are WESL's:
//!   `import package::common::grid::workgroup_index;`. Names are kept as written, so two imported modules must not declare one
//!   name.
//! - **Entry point.** A kernel has one, a compute shader called `main`. Workgroups are counted in one dimension, by
//!   `workgroup_index` of `common/grid`; those past the last must do nothing.
//! - **Bindings.** All are in group 0: storage buffers, each matched with a tensor by the name of its variable, and at most one
//!   uniform called `params`, a struct of `u32` and `f32` members that are matched with scalars by name. Elements are `f32`
//!   ([`DType::F32`]), `f16` ([`DType::F16`]) or anything else ([`DType::U32`]), vectors of these included.
//! - **Binding numbers** are not seen by the host, and differ within a kernel, imported modules included. By convention 0 to 4 are
//!   operands and then results, in the order of the operation's arguments; 5 is a mask, a weight's pattern or a loss scale; 6 is
//!   `topology` (`common/topology`); 7 is `params`; 8 is `now`, the values of a step (`common/step`); results that found
//!   no number below 5 have those from 8 on. Imports with bindings of their own are `common/topology` (6), `common/step` (8),
//!   `common/weight` (5), `common/load` (0 to 3), `common/epilogue` (2 to 4) and `common/matmul` (0, 1, 3, 7).
//! - **Buffers** may be shared: where an input lies in a buffer that the dispatch writes, its `var<storage, read>` is declared
//!   `read_write`, with the same results. Such a value is not uniform, so control flow around barriers must not depend on it;
//!   the bindings of [`STEERING`] stay read-only.
//! - **Conditionals** are those of [`FLAGS`], and `half`, which is on where the key's dtype is f16. `enable f16;` is written by the
//!   composer where the key [is half](Key::is_half).
//! - **Constants.** `package::constants::BLOCK` is the key's block size, 0 where it has none.

mod account;
mod adapters;
mod args;
mod barriers;
mod buffer;
mod compile;
mod compose;
mod context;
mod deferred;
mod device;
mod dtype;
mod halt;
mod kernel;
mod key;
mod loss;
mod memory;
mod options;
mod params;
mod plan;
mod readback;
mod recorder;
mod reflect;
mod sharing;
mod submit;
mod tensor;
mod timer;
mod tuner;

pub use account::{Bytes, Class};
pub use adapters::{AdapterSummary, Matrices, list_adapters};
pub use args::Args;
pub(crate) use buffer::size_class;
pub use compile::Compiling;
pub use compose::{Composed, Sources};
pub use context::{Gpu, Origin};
pub(crate) use deferred::Deferred;
pub use dtype::{DType, Element};
pub use halt::Halt;
pub use key::{Choice, FLAGS, Key, Tiling, Variant};
pub use loss::LossFlag;
pub use options::Options;
pub use params::ParamCache;
pub use plan::{Mark, Plan};
pub use readback::Pending;
pub use recorder::Recorder;
pub use sharing::STEERING;
pub use submit::Submission;
pub use tensor::Tensor;
pub use timer::{Clock, Timer};
pub use tuner::{Family, ShapeClass, Verdict, VersusDense, Workload};
