//! The step, the loop, evaluation, checkpoints and the run folder.

mod batch;
mod checkpoint;
mod evaluate;
mod events;
mod evolution;
mod extend;
mod fit;
mod footprint;
mod health;
mod hex;
mod log;
mod optimizer;
mod plans;
mod record;
mod restore;
mod resume;
mod run_folder;
mod sample;
mod schedule;
mod settings;
mod trainer;
mod tuning;

pub use checkpoint::{Checkpoint, Position, TensorData};
pub use events::{Evaluation, Event, Flow, Scaling, Summary};
pub use footprint::Footprint;
pub use health::EmptyLines;
pub use hex::{from_hex, to_hex};
pub use optimizer::{OptimizerKind, OptimizerState};
pub use record::{EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord};
pub use run_folder::RunFolder;
pub use sample::Sampler;
pub use schedule::Schedule;
pub use settings::{Length, Settings};
pub use trainer::Trainer;
