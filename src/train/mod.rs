//! The step, the loop, evaluation, checkpoints and the run folder.

mod checkpoint;
mod evolution;
mod optimizer;
mod plans;
mod run_folder;
mod schedule;
mod settings;
mod trainer;

pub use checkpoint::{Checkpoint, Position, TensorData};
pub use optimizer::{OptimizerKind, OptimizerState};
pub use run_folder::RunFolder;
pub use schedule::Schedule;
pub use settings::{Length, Settings};
pub use trainer::{Evaluation, Event, Flow, Summary, Trainer};
