//! What a mixture is without its weights.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn_cubecl::cubecl::wgpu::WgpuDevice;
use fretwork::graph::blocks;
use fretwork::nn::{self, MoeConfig};
use fretwork::ops::gate::{Balance, Gate, Overflow, Score, Weights};

use super::SparseMoeConfig;
use super::engine::Engine;
use crate::Result;
use crate::layout::Layout;
use crate::linear::{expect_density, expect_divides};

/// A mixture's settings, and its passes on each device.
pub(crate) struct Shape {
    pub(crate) moe: nn::Moe,
    engines: Mutex<Vec<Arc<Engine>>>,
}

impl Shape {
    pub(crate) fn new(config: &SparseMoeConfig) -> Result<Self> {
        let &SparseMoeConfig { width, experts, top_k, hidden, block, density, activation, balance, .. } =
            config;
        expect_divides(&[("width", width), ("hidden", hidden)], block)?;
        expect_density(density)?;
        let weights = if top_k == 1 { Weights::Probs } else { Weights::Renormalised };
        let config = MoeConfig {
            experts: vec![hidden; experts],
            gate: Gate::TopK { k: top_k, score: Score::Softmax, weights, tile: None },
            balance: Balance { aux: balance, ..Balance::default() },
            bias_rate: 0.0,
            capacity: 0.0,
            overflow: Overflow::Position,
            gated: false,
            shared: 0,
        };
        config.validate()?;
        let sparse = (density < 1.0).then(|| blocks(block).density(density));
        let moe = nn::Moe { config, activation, block, sparse, width, sequence: 1, variance: 1.0 };
        Ok(Self { moe, engines: Mutex::default() })
    }

    /// The passes on a device, for weights of these layouts.
    pub(crate) fn engine(
        &self,
        device: &WgpuDevice,
        layouts: [Option<Arc<Layout>>; 2],
    ) -> Result<Arc<Engine>> {
        let mut engines = self.engines.lock().expect("no holder of this lock panics");
        if let Some(engine) = engines.iter().find(|engine| engine.is_for(device, &layouts)) {
            return Ok(Arc::clone(engine));
        }
        // Others of the device were for the topologies of a record that was replaced.
        engines.retain(|engine| !engine.is_on(device));
        let engine = Arc::new(Engine::new(device, self.moe.clone(), layouts)?);
        engines.push(Arc::clone(&engine));
        Ok(engine)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.moe.config;
        write!(f, "{} experts of {} hidden units, {:?}", config.experts.len(), config.experts[0], config.gate)
    }
}
