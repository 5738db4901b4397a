//! Methods by which topologies begin and change, a file each.
//!
//! An update within a training step is recorded once, from the operations of a [`LayerContext`], and replayed by the device
//! without the host. Changes of the number of blocks are made [between steps](Method::mutate).

mod config;
mod ctre;
mod early_crop;
mod exchange;
mod gap;
mod importance;
mod layer;
mod magnitude;
mod mutation;
mod rigl;
mod saved;
mod scl;
mod set;
mod snfs;
mod snip;
mod sup_tickets;
mod synflow;
mod top_kast;
mod updates;
mod workspace;

use std::fmt;

use serde_json::Value;

use crate::gpu::{Class, Recorder};
use crate::graph::{FanIn, Graph, ParamSize};
use crate::{Error, Result};

pub use config::{Kind, MethodConfig, SharedOptions};
pub use ctre::{CtreSeq, CtreSeqOptions, CtreSim};
pub use early_crop::{EarlyCrop, EarlyCropOptions};
pub use exchange::Exchange;
pub use gap::Gap;
pub use importance::Importance;
pub use layer::{LayerContext, SCORES};
pub use magnitude::Magnitude;
pub use mutation::{Budget, MutableTopology, Phase, Scope, keep, keep_by};
pub use rigl::Rigl;
pub use saved::Saved;
pub use scl::{Scl, SclOptions};
pub use set::{Set, SetPublished};
pub use snfs::Snfs;
pub use snip::{SbpSr, Snip};
pub use sup_tickets::{SupTickets, SupTicketsOptions};
pub use synflow::SynFlow;
pub use top_kast::{TopKast, TopKastOptions};
pub use updates::{Clock, Decay, Every, Updates};
pub use workspace::Workspace;

/// Method by which topologies begin and change. Every function has a default; `examples/method.rs` implements a method in thirty
/// lines.
pub trait Method: fmt::Debug + Send {
    /// Name in notes and errors: that of the type, in kebab case.
    fn name(&self) -> String {
        kebab_case(std::any::type_name::<Self>())
    }

    /// Schedule of the updates, without which none takes place.
    fn updates(&self) -> Option<&Updates> {
        None
    }

    /// Rows of a batch, the first, by which growth is scored. `None` is a sixteenth of the batch, and at most as many rows as
    /// fit a binding: places of absent blocks are scored too, so all rows would cost an update as much as several steps of a very
    /// sparse network.
    fn score_rows(&self) -> Option<usize> {
        None
    }

    /// Refuses options that make no sense, and networks on which the method can't work, before anything is allocated.
    ///
    /// # Errors
    /// [`Error::Config`] with the option or the node that is at fault.
    fn accepts(&self, _graph: &Graph) -> Result<()> {
        Ok(())
    }

    /// Whether the size of gradients matters, or that of passes of the method's own, rather than the order of scores alone. Such a
    /// method is refused in half precision, where gradients are scaled.
    fn measures_gradients(&self) -> bool {
        false
    }

    /// Whether the method divides a run into phases, at whose ends the number of blocks changes. Such a run can't be extended.
    fn has_phases(&self) -> bool {
        false
    }

    /// Sparsity of the stored blocks at the start, in a run of this sparsity: 0 for a method that prunes.
    fn stored_sparsity(&self, sparsity: f64) -> f64 {
        sparsity
    }

    /// Whether topologies never change, so that no workspace is allocated.
    fn is_static(&self) -> bool {
        false
    }

    /// Whether no layer ever gets another number of blocks, as [`MutableTopology::reshape`] would give it. All parameters then lie in
    /// one buffer, which one dispatch of the optimizer updates.
    fn keeps_sizes(&self) -> bool {
        self.is_static()
    }

    /// Most buffers that the method itself holds during a run, besides the workspaces of layers: class, name, elements and bytes of
    /// an element. They are counted in what a run is [expected to take](crate::train::Footprint).
    fn buffers(&self, _sizes: &[ParamSize]) -> Vec<(Class, &'static str, u128, u64)> {
        Vec::new()
    }

    /// Whether one layer at a time has all its blocks, with their gradients and optimizer state.
    fn grows_whole_layers(&self) -> bool {
        false
    }

    /// Fan-in that first weights are drawn for.
    fn fan_in(&self) -> FanIn {
        FanIn::All
    }

    /// `k` of an update: number of blocks to exchange in a layer of `stored` blocks, `active` of them active, where the
    /// schedule's share is `share`. At least 1 while the share is above 0, and less than `stored`, so that a layer of one block
    /// keeps it.
    fn k(&self, stored: usize, _active: usize, share: f64) -> usize {
        let least = usize::from(share > 0.0);
        ((stored as f64 * share) as usize).max(least).min(stored.saturating_sub(1))
    }

    /// Records the update of one layer. Where nothing is recorded, the topology stays.
    ///
    /// # Errors
    /// As the recorded operations.
    fn update(&self, _rec: &mut Recorder<'_>, _layer: &LayerContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Records work of every training step in one layer, between the backward pass and the optimizer.
    ///
    /// # Errors
    /// As the recorded operations.
    fn each_step(&self, _rec: &mut Recorder<'_>, _layer: &LayerContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Interval of observations in steps; `None` for no observations.
    fn observe_every(&self) -> Option<u64> {
        None
    }

    /// Records an observation of one layer, in addition to a training step.
    ///
    /// # Errors
    /// As the recorded operations.
    fn observe(&self, _rec: &mut Recorder<'_>, _layer: &LayerContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Changes topologies between steps. The number of blocks may change here, and the host may wait for the device.
    ///
    /// # Errors
    /// As the operations, or [`Error::Config`] if a layer is left with no block.
    fn mutate(&mut self, _phase: Phase, _network: &mut dyn MutableTopology) -> Result<()> {
        Ok(())
    }

    /// Share of the blocks to exchange at this step, if an update is due: that of the schedule.
    fn share(&self, clock: Clock) -> Option<f64> {
        self.updates()?.at(clock)
    }

    /// Learning rate at this step, where the schedule's is `rate`.
    fn learning_rate(&self, rate: f32, _clock: Clock) -> f32 {
        rate
    }

    /// State on the device, by name: part of every checkpoint. Words of a checkpoint are validated by their [`Saved`] variant
    /// before they are written.
    fn tensors(&self) -> Vec<(String, Saved)> {
        Vec::new()
    }

    /// State on the host: part of every checkpoint.
    fn memory(&self) -> Value {
        Value::Null
    }

    /// Restores the state that [`Method::memory`] returned, on the network that is resumed. [`Method::tensors`] are filled from
    /// the checkpoint afterwards.
    ///
    /// # Errors
    /// [`Error::Config`] if the state is not of this method.
    fn recall(&mut self, memory: &Value, _network: &mut dyn MutableTopology) -> Result<()> {
        if memory.is_null() {
            return Ok(());
        }
        let reason = format!("{} has no state on the host, but the checkpoint has {memory}", self.name());
        Err(Error::Config { option: "method", reason })
    }
}

/// Refuses a method whose options make no sense, or that can't work on a network of this graph and precision.
pub(crate) fn expect_method(method: &dyn Method, graph: &Graph) -> Result<()> {
    if let Some(updates) = method.updates() {
        updates.validate()?;
    }
    if method.score_rows() == Some(0) {
        let reason = "0 rows score nothing".to_owned();
        return Err(Error::Config { option: "score-rows", reason });
    }
    if graph.precision().half().is_some() && method.measures_gradients() {
        let reason = format!("{} measures gradients, which f16 scales", method.name());
        return Err(Error::Config { option: "dtype", reason });
    }
    method.accepts(graph)
}

/// Name of a type without its path and parameters: `top-kast` for `methods::TopKast<T>`.
fn kebab_case(type_name: &str) -> String {
    let path = type_name.split('<').next().unwrap_or_default();
    let name = path.rsplit("::").next().unwrap_or_default();
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

/// Topologies stay as they were drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "config::NoOptions")]
pub struct Static;

impl Method for Static {
    fn is_static(&self) -> bool {
        true
    }

    fn fan_in(&self) -> FanIn {
        FanIn::Present
    }
}
