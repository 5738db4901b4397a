//! The only room that names wgpu: the device, its buffers, its kernels, and the recorder.
//!
//! A kernel is named by a [`Key`]; its text is composed from `shaders/` by [`Sources`]; what it binds is read off
//! that text. A [`Recorder`] collects dispatches into a [`Plan`], and a plan is encoded as often as wanted.

mod account;
mod adapters;
mod buffer;
mod compile;
mod compose;
mod context;
mod kernel;
mod key;
mod loss;
mod memory;
mod readback;
mod recorder;
mod reflect;
mod submit;
mod tensor;
mod timer;
mod tuner;

pub use account::{Bytes, Class};
pub use adapters::{AdapterSummary, Matrices, list_adapters};
pub(crate) use buffer::size_class;
pub use compile::Compiling;
pub use compose::{Composed, Sources};
pub use context::{Gpu, Options};
pub use key::{Choice, FLAGS, Key, Tiling, Variant};
pub use loss::LossFlag;
pub use readback::Pending;
pub(crate) use recorder::Args;
pub use recorder::{Plan, Recorder};
pub use submit::Submission;
pub use tensor::{DType, Element, Tensor};
pub use timer::{Clock, Timer};
pub use tuner::{Family, ShapeClass, Verdict, VersusDense, Workload};
