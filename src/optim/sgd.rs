//! Stochastic gradient descent with momentum.

use super::{Optimizer, Update};
use crate::gpu::Recorder;
use crate::ops::{self, Parts, Sgd};
use crate::{Error, Result};

impl Default for Sgd {
    /// Nesterov momentum of 0.9, without weight decay.
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: true, weight_decay: 0.0 }
    }
}

impl Optimizer for Sgd {
    fn state_names(&self) -> &'static [&'static str] {
        &["velocity"]
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        let Update { span, step, .. } = *update;
        let [velocity] = span.state else {
            return Err(Error::argument(span.name, "state", "a velocity", span.state.len()));
        };
        let parts = Parts { decaying: span.decaying, births: None, mask: None };
        ops::sgd_parts(rec, [span.values, span.grads, velocity], *self, parts, step)
    }
}
