//! The step, the loop, evaluation, checkpoints, the run folder and its report.

mod checkpoint;
mod evolution;
mod optimizer;
mod plans;
pub mod report;
mod run_folder;
mod sample;
mod schedule;
mod settings;
mod trainer;

pub use checkpoint::{Checkpoint, Position, TensorData};
pub use optimizer::{OptimizerKind, OptimizerState};
pub use report::{EpochRecord, LayerRecord, LoadRecord, LogRecord, StartRecord};
pub use run_folder::RunFolder;
pub(crate) use run_folder::replace;
pub use sample::Sampler;
pub use schedule::Schedule;
pub use settings::{Length, Settings};
pub use trainer::{Evaluation, Event, Flow, Summary, Trainer};
