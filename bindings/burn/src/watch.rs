//! Operands of a backward pass, kept for an update of the topology.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_cubecl::tensor::CubeTensor;

/// Input and output gradient of a layer in the next backward pass, if they are asked for. Growth is scored by their product at
/// absent blocks, of which Burn's gradients know nothing.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    asked: AtomicBool,
    kept: Mutex<Option<Signals>>,
}

/// Input and output gradient of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// `[rows, inputs]`.
    pub(crate) x: CubeTensor,
    /// `[rows, outputs]`.
    pub(crate) dy: CubeTensor,
}

impl Watch {
    /// Asks for the operands of the next backward pass.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Keeps operands if they were asked for. A layer that is applied several times keeps the last.
    pub(crate) fn show(&self, x: &CubeTensor, dy: &CubeTensor) {
        if self.asked.load(Ordering::Acquire) {
            let signals = Signals { x: x.clone(), dy: dy.clone() };
            *self.kept.lock().expect("no holder of this lock panics") = Some(signals);
        }
    }

    /// Takes what was kept, and asks for no more.
    pub(crate) fn take(&self) -> Option<Signals> {
        self.asked.store(false, Ordering::Release);
        self.kept.lock().expect("no holder of this lock panics").take()
    }
}
