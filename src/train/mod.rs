//! The step, the loop, evaluation, checkpoints and the run folder.

mod accumulate;
mod batch;
mod builder;
mod checkpoint;
mod confusion;
mod evaluate;
mod events;
mod evolution;
mod extend;
mod fit;
mod footprint;
mod health;
mod hex;
mod log;
mod objective;
mod parts;
mod plans;
mod program;
mod record;
mod restore;
mod resume;
mod run;
mod run_folder;
mod sample;
mod schedule;
mod settings;
mod start;
mod step_log;
mod steps;
mod trainer;
mod tuning;
mod upcycle;
mod validation;
mod weights;

pub use crate::optim::OptimizerKind;
pub use builder::TrainerBuilder;
pub use checkpoint::{Checkpoint, Position, TensorData, Values};
pub use events::{Confusion, Evaluation, Event, Flow, Scaling, Summary};
pub use footprint::Footprint;
pub use health::EmptyLines;
pub use hex::{from_hex, to_hex};
pub use objective::{CrossEntropy, LossPass, MeanSquaredError, Objective, SoftCrossEntropy};
pub use parts::Parts;
pub use program::{Exchange, GRADIENTS};
pub use record::{
    EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord, StepsRecord,
};
pub use run_folder::RunFolder;
pub use sample::Sampler;
pub use schedule::Schedule;
pub use settings::{Length, Origin, Settings};
pub use start::StartFrom;
pub use trainer::Trainer;
pub use validation::{Best, Validated, Validation};
pub use weights::Weights;
