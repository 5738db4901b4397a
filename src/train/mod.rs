//! The step, the loop, evaluation, checkpoints, the run folder and its report.

mod batch;
mod builder;
mod checkpoint;
mod evaluate;
mod events;
mod evolution;
mod extend;
mod footprint;
mod health;
mod log;
mod objective;
mod plans;
pub mod report;
mod restore;
mod resume;
mod run_folder;
mod sample;
mod schedule;
mod settings;
mod trainer;
mod tuning;

pub use crate::optim::OptimizerKind;
pub use builder::TrainerBuilder;
pub use checkpoint::{Checkpoint, Position, TensorData};
pub use events::{Evaluation, Event, Flow, Scaling, Summary};
pub use footprint::Footprint;
pub use health::EmptyLines;
pub use objective::{CrossEntropy, LossPass, MeanSquaredError, Objective, SoftCrossEntropy};
pub use report::{EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord};
pub use run_folder::RunFolder;
pub use sample::Sampler;
pub use schedule::Schedule;
pub use settings::{Length, Settings};
pub use trainer::Trainer;
