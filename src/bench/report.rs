//! Findings of one bench, with the device they were measured on.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::{Bench, Findings};
use crate::Result;
use crate::files::replace;
use crate::gpu::{Clock, Gpu};

/// Findings of a bench on one device.
#[derive(Debug, Clone)]
pub struct Report {
    /// Name of the adapter.
    pub adapter: String,
    /// Name and version of the driver.
    pub driver: String,
    /// Clock that timed the products.
    pub clock: Clock,
    /// Findings of each subject, in the order timed.
    pub findings: Vec<Findings>,
}

impl Report {
    /// Report without findings.
    pub fn new(gpu: &Gpu, bench: &Bench) -> Self {
        let (adapter, driver) = (gpu.info().name.clone(), gpu.driver());
        Self { adapter, driver, clock: bench.clock(), findings: Vec::new() }
    }

    /// All measurements.
    pub fn to_json(&self) -> Value {
        json!({
            "adapter": self.adapter,
            "driver": self.driver,
            "clock": self.clock.to_string(),
            "subjects": self.findings.iter().map(Findings::to_json).collect::<Vec<_>>(),
        })
    }

    /// Writes all measurements as JSON to `path`. A file that is there already is replaced atomically.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn save(&self, path: &Path) -> Result<()> {
        replace(path, format!("{:#}\n", self.to_json()).as_bytes())
    }
}

/// Adapter, driver and clock.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}; {}", self.adapter, self.driver, self.clock)
    }
}
