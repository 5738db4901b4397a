//! How topologies are born and evolve: a file per method.
//!
//! What a method does in the middle of training is recorded once, from the verbs of a [`Site`], and replayed by the device
//! without a word from the host. What changes the number of blocks is [operated](Method::operate) between steps.

mod config;
mod ctre;
mod early_crop;
mod exchange;
mod gap;
mod importance;
mod magnitude;
mod rigl;
mod saved;
mod scl;
mod set;
mod site;
mod snfs;
mod snip;
mod sup_tickets;
mod surgery;
mod synflow;
mod top_kast;
mod updates;

use std::fmt;

use serde_json::Value;

use crate::gpu::Recorder;
use crate::graph::FanIn;
use crate::{Error, Result};

pub use config::{Kind, MethodConfig};
pub use ctre::{CtreSeq, CtreSim};
pub use early_crop::EarlyCrop;
pub use exchange::Exchange;
pub use gap::Gap;
pub use importance::Importance;
pub use magnitude::Magnitude;
pub use rigl::Rigl;
pub use saved::Saved;
pub use scl::Scl;
pub use set::{Set, SetPublished};
pub use site::{Site, Workspace};
pub use snfs::Snfs;
pub use snip::{SbpSr, Snip};
pub use sup_tickets::SupTickets;
pub use surgery::{Budget, Moment, Scope, Surgery, keep, keep_by};
pub use synflow::SynFlow;
pub use top_kast::TopKast;
pub use updates::{Clock, Decay, Every, Updates};

/// A way for topologies to be born and evolve. Every function has a default, and `examples/method.rs` is a method of its
/// own in thirty lines.
pub trait Method: fmt::Debug + Send {
    /// The sparsity of what is stored at the start, where the run's is `sparsity`: 0 for a method that prunes.
    fn stored_sparsity(&self, sparsity: f64) -> f64 {
        sparsity
    }

    /// Whether it never does anything, so that nothing needs to be kept ready for it.
    fn is_static(&self) -> bool {
        false
    }

    /// What first weights are drawn for.
    fn fan_in(&self) -> FanIn {
        FanIn::All
    }

    /// How many blocks an update exchanges, in a layer that stores `stored` blocks of which `present` have a part in it, when
    /// the schedule's share is `share`: at least one while that is above 0, and never all, so that a layer of one block keeps it.
    fn quota(&self, stored: usize, _present: usize, share: f64) -> usize {
        let least = usize::from(share > 0.0);
        ((stored as f64 * share) as usize).max(least).min(stored.saturating_sub(1))
    }

    /// Records an update of one layer. Where it is recorded nothing, the topology stays.
    ///
    /// # Errors
    /// As the operations it records.
    fn update(&self, _rec: &mut Recorder<'_>, _site: &Site<'_>) -> Result<()> {
        Ok(())
    }

    /// Records what belongs to every step of one layer, between its backward pass and the optimizer.
    ///
    /// # Errors
    /// As the operations it records.
    fn each_step(&self, _rec: &mut Recorder<'_>, _site: &Site<'_>) -> Result<()> {
        Ok(())
    }

    /// After how many steps [`Method::observe`] takes place; `None` for never.
    fn observe_every(&self) -> Option<u64> {
        None
    }

    /// Records an observation of one layer, on top of a training step.
    ///
    /// # Errors
    /// As the operations it records.
    fn observe(&self, _rec: &mut Recorder<'_>, _site: &Site<'_>) -> Result<()> {
        Ok(())
    }

    /// Changes the network between steps. The number of blocks may change here, and the host may wait for the device.
    ///
    /// # Errors
    /// As the operations, or [`Error::Config`] if a layer is left with no block.
    fn operate(&mut self, _moment: Moment, _network: &mut dyn Surgery) -> Result<()> {
        Ok(())
    }

    /// The share of blocks that is exchanged now, if an update is due: by the schedule, unless the method knows better.
    fn share(&self, updates: &Updates, clock: Clock) -> Option<f64> {
        updates.at(clock)
    }

    /// The learning rate now, where the schedule's is `rate`.
    fn learning_rate(&self, rate: f32, _clock: Clock) -> f32 {
        rate
    }

    /// State on the device, by name: part of every checkpoint. Words of a checkpoint are validated as [`Saved`] says before they
    /// are put back.
    fn tensors(&self) -> Vec<(String, Saved)> {
        Vec::new()
    }

    /// What it remembers on the host: part of every checkpoint.
    fn memory(&self) -> Value {
        Value::Null
    }

    /// Takes up what [`Method::memory`] gave, on the network that is resumed. Tensors that it names afterwards are filled
    /// from the checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not of this method.
    fn recall(&mut self, memory: &Value, _network: &mut dyn Surgery) -> Result<()> {
        if memory.is_null() {
            return Ok(());
        }
        Err(Error::Config { option: "method", reason: format!("{self:?} has no memory, but finds {memory}") })
    }
}

/// Topologies stay as they were drawn.
#[derive(Debug)]
pub struct Static;

impl Method for Static {
    fn is_static(&self) -> bool {
        true
    }

    fn fan_in(&self) -> FanIn {
        FanIn::Present
    }
}
