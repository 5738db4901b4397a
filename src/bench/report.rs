//! All that one run found.

use std::fmt;

use serde_json::{Value, json};

use super::{Bench, Findings};
use crate::gpu::{Clock, Gpu};

/// What was found on which device.
#[derive(Debug, Clone)]
pub struct Report {
    adapter: String,
    driver: String,
    clock: Clock,
    /// What was found, in order.
    pub findings: Vec<Findings>,
}

impl Report {
    /// A report of nothing yet.
    pub fn new(gpu: &Gpu, bench: &Bench) -> Self {
        let (adapter, driver) = (gpu.info().name.clone(), gpu.driver());
        Self { adapter, driver, clock: bench.clock(), findings: Vec::new() }
    }

    /// Everything that was measured.
    pub fn to_json(&self) -> Value {
        json!({
            "adapter": self.adapter,
            "driver": self.driver,
            "clock": self.clock.to_string(),
            "subjects": self.findings.iter().map(Findings::to_json).collect::<Vec<_>>(),
        })
    }
}

/// Where it was found.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}; {}", self.adapter, self.driver, self.clock)
    }
}
