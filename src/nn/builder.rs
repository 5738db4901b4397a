//! How networks get their layers: one after the other, with the patterns that they are to have and weights drawn from a seed.

use super::{LayerShape, Linear, Precision, Projection};
use crate::gpu::Gpu;
use crate::random::{Key, Stream};
use crate::sparse::Topology;
use crate::{Error, Result};

/// What first weights are drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanIn {
    /// The mean number of inputs that an output really has, so that signals keep their variance.
    Present,
    /// All inputs there could be, as if the layer were dense: what methods are published with that tell blocks apart by
    /// their magnitude. Against large first weights no new block could hold its place.
    All,
}

/// How first weights are drawn: uniformly within `sqrt(3 * variance / fan_in)`.
#[derive(Debug, Clone, Copy)]
pub struct Init {
    /// What counts as an input.
    pub fan_in: FanIn,
    /// Of an output, where inputs are independent and have that of 1: 2 before a ReLU (He et al. 2015), which halves it, and 1
    /// where nothing follows.
    pub variance: f64,
    /// Where they come from.
    pub key: Key,
}

impl Init {
    /// `count` weights for so many inputs.
    pub(super) fn draw(self, inputs: f64, count: usize) -> Vec<f32> {
        let limit = (3.0 * self.variance / inputs).sqrt() as f32;
        let mut walk = self.key.walk();
        (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * limit).collect()
    }
}

/// Makes the layers of a network in their order.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    gpu: &'a Gpu,
    layers: Vec<LayerShape>,
    topologies: &'a [Option<Topology>],
    fan_in: FanIn,
    seed: u64,
    precision: Precision,
    /// Layers that are made.
    made: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        gpu: &'a Gpu,
        layers: Vec<LayerShape>,
        topologies: &'a [Option<Topology>],
        fan_in: FanIn,
        seed: u64,
        precision: Precision,
    ) -> Result<Self> {
        if layers.len() != topologies.len() {
            return Err(Error::argument("network", "topologies", layers.len(), topologies.len()));
        }
        Ok(Self { gpu, layers, topologies, fan_in, seed, precision, made: 0 })
    }

    pub(super) fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// What products read and activations are stored as.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// How the weights with this number are drawn; layers have the numbers from 0 on.
    pub(super) fn init(&self, number: usize, variance: f64) -> Init {
        let key = Key::new(self.seed, Stream::Weights(number as u32));
        Init { fan_in: self.fan_in, variance, key }
    }

    /// Whether the next layer is block-sparse.
    pub(super) fn next_is_sparse(&self) -> bool {
        self.topologies.get(self.made).is_some_and(Option::is_some)
    }

    /// The next layer, without a bias.
    pub(super) fn projection(&mut self, variance: f64) -> Result<Projection> {
        self.projection_in(self.precision, variance)
    }

    /// The same where products read it in a precision that is not the network's.
    pub(super) fn projection_in(&mut self, precision: Precision, variance: f64) -> Result<Projection> {
        let number = self.made;
        let (Some(layer), Some(topology)) = (self.layers.get(number), self.topologies.get(number)) else {
            return Err(Error::argument("network", "layers", format!("more than {number}"), number));
        };
        self.made += 1;
        let init = self.init(number, variance);
        let mut layer = Projection::new(self.gpu, &layer.name, number, layer.sides, topology.as_ref(), init)?;
        precision.narrow(self.gpu, &mut layer, self.seed)?;
        Ok(layer)
    }

    /// The next layer, with a bias.
    pub(super) fn linear(&mut self, variance: f64) -> Result<Linear> {
        Linear::new(self.gpu, self.projection(variance)?)
    }
}
