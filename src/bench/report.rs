//! All that one run found.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::{Bench, Findings, page};
use crate::Result;
use crate::files::replace;
use crate::gpu::{Clock, Gpu};

/// What was found on which device.
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) adapter: String,
    pub(super) driver: String,
    pub(super) clock: Clock,
    /// What was found, in order.
    pub findings: Vec<Findings>,
}

impl Report {
    /// A report of nothing yet.
    pub fn new(gpu: &Gpu, bench: &Bench) -> Self {
        let (adapter, driver) = (gpu.info().name.clone(), gpu.driver());
        Self { adapter, driver, clock: bench.clock(), findings: Vec::new() }
    }

    /// The same as one page of HTML, with a roofline and speed-ups over density, that needs no network and no script.
    pub fn to_html(&self) -> String {
        page::page(self)
    }

    /// Writes that page, beside an older one and then in its place, so that no half of a page is ever there.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn write_html(&self, path: &Path) -> Result<()> {
        replace(path, self.to_html().as_bytes())
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
