//! Names that a program which composes, trains or extends networks needs most: `use fretwork::prelude::*;`.
//!
//! [`gpu::Key`](crate::gpu::Key), the key of a kernel, and [`random::Key`](crate::random::Key), that of random draws, share a name, and
//! are imported by their paths; so is [`Result`](crate::Result).

pub use crate::gpu::{Args, Class, DType, Gpu, Options, Recorder, Tensor};
pub use crate::graph::{
    Backward, Buffer, FanIn, Forward, Graph, Init, Input, Network, Node, Output, ParamSpec, Precision, Start,
    Value, Wiring, blocks,
};
pub use crate::methods::{Every, LayerContext, Method, Rigl, Set, Updates};
pub use crate::nn::{
    Attention, Embedding, FeedForward, Linear, Local, LocalParts, Module, Norm, Residual, Sequential, add,
    single,
};
pub use crate::ops::{self, Activation};
pub use crate::optim::{AdamW, Optimizer, Sgd, Update};

#[cfg(feature = "train")]
pub use crate::data::{Batches, Dataset, HostBatch, Source, Targets};
#[cfg(feature = "train")]
pub use crate::train::{
    CrossEntropy, Flow, LossPass, MeanSquaredError, Objective, Schedule, SoftCrossEntropy, Trainer,
};
