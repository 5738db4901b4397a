//! Mixtures of experts as a Burn module.

mod autodiff;
mod engine;
mod ops;
mod pass;
mod shape;

use std::sync::Arc;

use burn_core as burn;
use burn_core::backend::Dispatch;
use burn_core::config::Config;
use burn_core::module::{Module, Param};
use burn_core::serde::{Deserialize, Serialize};
use burn_core::tensor::{DType, Device, Tensor, TensorData};
use fretwork::ops::Activation;
use fretwork::random::{Key, Stream};
use fretwork::sparse::Topology;

use crate::blocks::Blocks;
use crate::device::{Shared, wgpu_device};
use crate::linear::{expect_alike, random};
use crate::{Error, Result};
use engine::Call;
use ops::MixtureOps as _;
use shape::Shape;

/// Settings of a [`SparseMoe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn_core::serde")]
pub struct SparseMoeConfig {
    /// Width of the input and of the output.
    pub width: usize,
    /// Number of experts.
    pub experts: usize,
    /// Experts that a row passes through.
    pub top_k: usize,
    /// Hidden units of an expert.
    pub hidden: usize,
    /// Tile of the routing, and side of a block: 8, 16, 32, 64 or 128. It divides the width and the hidden units.
    pub block: usize,
    /// Share of the blocks of the experts' weights that are stored, in (0, 1]; 1 is dense.
    pub density: f64,
    /// Activation of the hidden units.
    pub activation: Activation,
    /// Coefficient of the load balancing loss, whose gradient the backward pass adds to that of the router.
    pub balance: f32,
    /// Seed of the topologies and of the first values.
    pub seed: u64,
}

impl Config for SparseMoeConfig {}

impl SparseMoeConfig {
    /// Dense experts of twice the width, of which a row passes through two, with GELU and a load balancing loss of 0.01.
    pub fn new(width: usize, experts: usize) -> Self {
        Self {
            width,
            experts,
            top_k: 2,
            hidden: 2 * width,
            block: 16,
            density: 1.0,
            activation: Activation::Gelu,
            balance: 0.01,
            seed: 0,
        }
    }

    /// Sets the number of experts that a row passes through.
    #[must_use]
    pub fn top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// Sets the hidden units of an expert.
    #[must_use]
    pub fn hidden(self, hidden: usize) -> Self {
        Self { hidden, ..self }
    }

    /// Sets the tile of the routing, and side of a block: 8, 16, 32, 64 or 128.
    #[must_use]
    pub fn block(self, block: usize) -> Self {
        Self { block, ..self }
    }

    /// Sets the share of the blocks of the experts' weights that are stored, in (0, 1]; 1 is dense.
    #[must_use]
    pub fn density(self, density: f64) -> Self {
        Self { density, ..self }
    }

    /// Sets the activation of the hidden units.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Sets the coefficient of the load balancing loss; 0 is none.
    #[must_use]
    pub fn balance(self, balance: f32) -> Self {
        Self { balance, ..self }
    }

    /// Sets the seed of the topologies and of the first values. Layers of one network should have different ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Makes the mixture on a wgpu device.
    ///
    /// # Panics
    /// With the message of [`SparseMoeConfig::try_init`]'s error.
    pub fn init(&self, device: &Device) -> SparseMoe {
        self.try_init(device).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`SparseMoeConfig::init`] that returns its errors.
    ///
    /// # Errors
    /// [`Error::Backend`] or [`Error::NotShared`] for a device that has no wgpu or was in use before, [`Error::Shape`] for a
    /// density, a number of experts, or widths that the block does not divide.
    pub fn try_init(&self, device: &Device) -> Result<SparseMoe> {
        let shape = Shape::new(self)?;
        // Before any tensor, since the first one opens the device.
        Shared::of(&wgpu_device(device)?)?;
        let rows = self.experts * self.hidden;
        let mut walk = Key::new(self.seed, Stream::Weights(0)).walk();
        // Uniform values whose products with inputs of variance 1 have this variance.
        let mut draw = |dims: [usize; 3], variance: f64, inputs: f64| {
            let bound = (3.0 * variance / inputs).sqrt() as f32;
            (0..dims.iter().product()).map(|_| (2.0 * walk.uniform() - 1.0) * bound).collect::<Vec<f32>>()
        };
        // Small logits at first, so that every expert is reached.
        let router = draw([1, self.experts, self.width], 0.1, self.width as f64);
        let router = Param::from_data(TensorData::new(router, [self.experts, self.width]), device);
        let mut weight = |variance: f64, inputs: usize, number: u32| {
            let topology = match shape.moe.sparse.is_some() {
                true => Some(self.topology(rows, number)?),
                false => None,
            };
            let dims = match &topology {
                Some(topology) => [topology.nnz(), self.block, self.block],
                None => [self.experts, self.hidden, self.width],
            };
            let values = TensorData::new(draw(dims, variance, inputs as f64 * self.density), dims);
            let blocks = topology.map(|topology| Blocks::new(topology, device));
            Ok::<_, Error>((Param::<Tensor<3>>::from_data(values, device), blocks))
        };
        let (up, up_blocks) = weight(2.0, self.width, 0)?;
        let (down, down_blocks) = weight(1.0, self.hidden, 1)?;
        Ok(SparseMoe { router, up, down, up_blocks, down_blocks, shape: Arc::new(shape) })
    }

    fn topology(&self, rows: usize, number: u32) -> Result<Topology> {
        random([rows, self.width], self.block, self.density, Key::new(self.seed, Stream::Pattern(number)))
    }
}

/// A mixture of experts: each row passes through the `top_k` experts to which a router gives the largest probabilities, and their
/// outputs are added, weighted by the probabilities, which for more than one expert are divided by their sum.
///
/// Rows are routed and sorted on the device, and no row is dropped. Experts have no bias: the output of one is
/// `activation(x·upᵀ)·down` with its `hidden` rows of both weights.
#[derive(Module, Debug)]
pub struct SparseMoe {
    /// Weight of the router, `[experts, width]`.
    pub router: Param<Tensor<2>>,
    /// Upper weights, `[experts, hidden, width]`; block-sparse, `[nnz, block, block]`.
    pub up: Param<Tensor<3>>,
    /// Lower weights, stored by hidden units, `[experts, hidden, width]`; block-sparse, `[nnz, block, block]`.
    pub down: Param<Tensor<3>>,
    /// Stored blocks of the upper weights, as a matrix `[experts * hidden, width]`, where they are sparse.
    pub up_blocks: Option<Blocks>,
    /// Stored blocks of the lower weights, likewise.
    pub down_blocks: Option<Blocks>,
    #[module(skip)]
    shape: Arc<Shape>,
}

impl SparseMoe {
    /// Applies the mixture to the last dimension of `input`.
    ///
    /// # Panics
    /// With the message of [`SparseMoe::try_forward`]'s error.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`SparseMoe::forward`] that returns its errors.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input of another width, [`Error::OtherDevice`], [`Error::Backend`] or [`Error::NotShared`] for one
    /// that is elsewhere, [`Error::DType`] for one that is not f32.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>> {
        let shape = input.shape();
        let width = self.shape.moe.width;
        if D == 0 || shape[D - 1] != width {
            let (wanted, found) = (format!("of width {width}"), format!("of shape {shape:?}"));
            return Err(Error::Shape { what: "the input", wanted, found });
        }
        let [up, down] = [self.up.val(), self.down.val()];
        let router = self.router.val();
        let device = wgpu_device(&up.device())?;
        expect_alike(
            &device,
            DType::F32,
            &[
                ("the input", input.device(), input.dtype()),
                ("the router", router.device(), router.dtype()),
                ("the upper weight", up.device(), up.dtype()),
                ("the lower weight", down.device(), down.dtype()),
            ],
        )?;
        let rows = shape.num_elements() / width;
        if rows == 0 {
            return Ok(input);
        }
        let layout =
            |blocks: &Option<Blocks>| blocks.as_ref().map(|blocks| blocks.layout(&device)).transpose();
        let layouts = [layout(&self.up_blocks)?, layout(&self.down_blocks)?];
        let call = Arc::new(Call::new(self.shape.engine(&device, layouts)?));
        let x = input.reshape([rows, width]).into_dispatch();
        let [up, down] = [up, down].map(Tensor::into_dispatch);
        let y = Dispatch::mixture(x, router.into_dispatch(), up, down, call);
        Ok(Tensor::<2>::from_dispatch(y).reshape(shape))
    }
}
