//! The step, the loop, evaluation, checkpoints and the run folder.

mod accumulate;
mod active;
mod batch;
mod builder;
mod calibration;
mod checkpoint;
mod confusion;
mod evaluate;
mod events;
mod evolution;
mod extend;
mod extract;
mod feed;
mod fit;
mod footprint;
mod health;
mod hex;
mod local;
mod log;
mod metrics;
mod networks;
mod objective;
mod parts;
mod plans;
mod predictor;
mod program;
mod record;
mod restore;
mod resume;
mod run;
mod run_folder;
mod sample;
mod schedule;
mod score;
mod settings;
mod start;
mod step_log;
mod steps;
mod teachers;
mod tensor_data;
mod trainer;
mod tuning;
mod upcycle;
mod validation;
mod weights;
mod whole;

pub use crate::optim::OptimizerKind;
pub use builder::TrainerBuilder;
pub use calibration::{Bin, Calibration};
pub use checkpoint::{Checkpoint, Position};
pub use events::{Confusion, Evaluation, Event, Flow, Scaling, Summary};
pub use footprint::Footprint;
pub use health::EmptyLines;
pub use hex::{from_hex, to_hex};
pub use metrics::{ClassMetrics, PerClass, ValueMetrics};
pub use networks::{NetworkScore, NetworkScores, Whole};
pub use objective::{
    CrossEntropy, LossPass, MeanSquaredError, NetworksCrossEntropy, Objective, SoftCrossEntropy,
};
pub use parts::Parts;
pub use predictor::Predictor;
pub use program::{Exchange, GRADIENTS};
pub use record::{
    EpochRecord, KernelRecord, KernelsRecord, LayerRecord, LoadRecord, LogRecord, StartRecord, StepsRecord,
};
pub use run_folder::{RunFolder, write_whole};
pub use sample::Sampler;
pub use schedule::Schedule;
pub use score::{BytePrediction, Metrics};
pub use settings::{Length, Origin, Settings};
pub use start::StartFrom;
pub use tensor_data::{TensorData, Values};
pub use trainer::Trainer;
pub use validation::{Best, Validated, Validation};
pub use weights::Weights;
