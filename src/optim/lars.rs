//! LARS: momentum with a trust ratio per parameter (You, Gitman and Ginsburg 2017).

use super::{Optimizer, Update};
use crate::gpu::Recorder;
use crate::ops::{self, Lars};
use crate::{Error, Result};

impl Default for Lars {
    /// Momentum of 0.9, a trust coefficient of 0.001 and a weight decay of 0.0005.
    fn default() -> Self {
        Self { momentum: 0.9, trust: 0.001, weight_decay: 0.0005 }
    }
}

impl Optimizer for Lars {
    fn state_names(&self) -> &'static [&'static str] {
        &["velocity"]
    }

    fn record(&self, rec: &mut Recorder<'_>, update: &Update<'_>) -> Result<()> {
        let Update { span, step, .. } = *update;
        let [velocity] = span.state else {
            return Err(Error::argument(span.name, "state", "a velocity", span.state.len()));
        };
        let params: Vec<_> = span.params.iter().map(|(_, range)| *range).collect();
        ops::lars(rec, span.values, span.grads, velocity, *self, &params, step)
    }
}
