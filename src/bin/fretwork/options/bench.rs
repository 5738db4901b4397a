//! `fretwork bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Float;

#[derive(Debug, Args)]
#[command(next_help_heading = "What is timed")]
pub(crate) struct BenchOptions {
    /// Subject to time.
    #[arg(value_enum, default_value = "all")]
    pub(crate) subject: BenchSubject,
    /// Adapter to use: an index in the list of `doctor --adapters`, or a name or part of one.
    #[arg(long, help_heading = "Device", value_name = "INDEX|NAME")]
    pub(crate) adapter: Option<String>,
    /// Type of the operands of products, steps and updates; experts and random bases are timed in f32.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub(crate) dtype: Float,
    /// Rows of the layer whose products are timed, a multiple of 16; by default a number that suits the device.
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<usize>,
    /// Hidden layers of the network whose steps are timed, multiples of 16.
    #[arg(long, value_delimiter = ',', value_name = "N,N,..")]
    pub(crate) hidden: Option<Vec<usize>>,
    /// Batch size of the network whose steps are timed.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Print one JSON object of all measurements, raw times included, instead of tables.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Also write all measurements as JSON, up to then after each subject.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) save: Option<PathBuf>,
    /// Also write an HTML page with a roofline and speed-ups over density.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchSubject {
    /// Dense products compared with the naive (shared-memory) tile.
    Matmul,
    /// The three products of a layer, block-sparse compared with dense, over densities and block sides.
    Sparse,
    /// Training step, sparse compared with dense, and its cost on the host.
    Step,
    /// Topology updates, and the steps between them.
    Update,
    /// Random bases, whose directions are generated where they are used, compared with their arithmetic.
    Basis,
    /// Mixture of experts compared with dense layers.
    Moe,
    /// All subjects.
    All,
}
