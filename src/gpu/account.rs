//! Bytes on the device, counted by purpose.

use std::sync::Mutex;

/// Purpose of a buffer. Tests hold the bytes of each class against a formula, to show that no buffer has the size of a dense matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Weights and biases.
    Values,
    /// Which blocks exist.
    Topology,
    /// Gradients of weights and biases.
    Gradients,
    /// Momentum, second moments.
    Optimizer,
    /// Inputs, layer outputs and their gradients.
    Activations,
    /// Everything else: parameters of dispatches, partial sums, read-back.
    Scratch,
}

impl Class {
    /// Whether freed buffers of this class are kept for reuse. Parameters, their gradients and their state
    /// live as long as the network and are sized exactly.
    pub(super) fn is_pooled(self) -> bool {
        matches!(self, Self::Activations | Self::Scratch)
    }
}

/// Bytes in use, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Bytes {
    /// Weights and biases.
    pub values: u64,
    /// Which blocks exist.
    pub topology: u64,
    /// Gradients of weights and biases.
    pub gradients: u64,
    /// Momentum, second moments.
    pub optimizer: u64,
    /// Inputs, layer outputs and their gradients.
    pub activations: u64,
    /// Parameters of dispatches, partial sums, read-back.
    pub scratch: u64,
}

impl Bytes {
    /// All classes together.
    pub fn total(&self) -> u64 {
        let Self { values, topology, gradients, optimizer, activations, scratch } = self;
        values + topology + gradients + optimizer + activations + scratch
    }

    fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Values => &mut self.values,
            Class::Topology => &mut self.topology,
            Class::Gradients => &mut self.gradients,
            Class::Optimizer => &mut self.optimizer,
            Class::Activations => &mut self.activations,
            Class::Scratch => &mut self.scratch,
        }
    }
}

/// The running count of one device.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: Bytes,
    peak: u64,
}

impl Ledger {
    pub(super) fn add(&self, class: Class, bytes: u64) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        *counts.now.of(class) += bytes;
        counts.peak = counts.peak.max(counts.now.total());
    }

    pub(super) fn remove(&self, class: Class, bytes: u64) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        *counts.now.of(class) -= bytes;
    }

    pub(super) fn now(&self) -> Bytes {
        self.0.lock().expect("no holder of this lock panics").now
    }

    /// Sets the peak, but not below the bytes in use.
    pub(super) fn set_peak(&self, peak: u64) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        counts.peak = counts.now.total().max(peak);
    }

    pub(super) fn peak(&self) -> u64 {
        self.0.lock().expect("no holder of this lock panics").peak
    }
}
