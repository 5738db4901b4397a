//! `fretwork sweep`.

use clap::Args;

use super::data::Data;
use super::network::Storage;
use super::networks::Networks;
use super::train::{Run, Steps};

#[derive(Debug, Clone, Args)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) networks: Networks,
    #[command(flatten)]
    pub(crate) storage: Storage,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) run: Run,
}
