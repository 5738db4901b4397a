//! A linear layer whose weight is block-sparse.

use burn_core as burn;
use burn_core::backend::Dispatch;
use burn_core::config::Config;
use burn_core::module::{Module, Param};
use burn_core::serde::{Deserialize, Serialize};
use burn_core::tensor::{DType, Device, Tensor, TensorData};
use burn_cubecl::cubecl::wgpu::WgpuDevice;
use fretwork::random::{Key, Stream};
use fretwork::sparse::{Draw, Topology, connected};

use crate::blocks::Blocks;
use crate::device::wgpu_device;
use crate::ops::BlockOps as _;
use crate::{Error, Result};

/// Settings of a [`SparseLinear`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(crate = "burn_core::serde")]
pub struct SparseLinearConfig {
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
    /// Side of a block: 8, 16, 32, 64 or 128. It divides both widths.
    pub block: usize,
    /// Share of the blocks that are stored, in (0, 1].
    pub density: f64,
    /// Whether a bias is added.
    pub bias: bool,
    /// Seed of the topology and of the first values.
    pub seed: u64,
}

impl Config for SparseLinearConfig {}

impl SparseLinearConfig {
    /// A layer with blocks of 16, a tenth of which are stored, and a bias.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, block: 16, density: 0.1, bias: true, seed: 0 }
    }

    /// Sets the side of a block: 8, 16, 32, 64 or 128.
    #[must_use]
    pub fn block(self, block: usize) -> Self {
        Self { block, ..self }
    }

    /// Sets the share of the blocks that are stored, in (0, 1]. At least one block is.
    #[must_use]
    pub fn density(self, density: f64) -> Self {
        Self { density, ..self }
    }

    /// Sets whether a bias is added.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Sets the seed of the topology and of the first values. Layers of one network should have different ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Makes the layer on a wgpu device. Blocks are drawn at random, so that every row and column has one where there are enough.
    ///
    /// # Panics
    /// With the message of [`SparseLinearConfig::try_init`]'s error.
    pub fn init(&self, device: &Device) -> SparseLinear {
        self.try_init(device).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`SparseLinearConfig::init`] that returns its errors.
    ///
    /// # Errors
    /// [`Error::Backend`] or [`Error::NotShared`] for a device that has no wgpu or was in use before, [`Error::Shape`] for a
    /// density or widths that the block does not divide.
    pub fn try_init(&self, device: &Device) -> Result<SparseLinear> {
        SparseLinear::draw(self.topology()?, self, device)
    }

    fn topology(&self) -> Result<Topology> {
        let Self { inputs, outputs, block, density, seed, .. } = *self;
        random([outputs, inputs], block, density, Key::new(seed, Stream::Pattern(0)))
    }
}

/// A random topology of a matrix, with a block in every row and column where there are enough.
pub(crate) fn random(sides: [usize; 2], block: usize, density: f64, key: Key) -> Result<Topology> {
    let nnz = stored(places(sides, block)?, density)?;
    let drawn = connected(&[Draw { sides, block, nnz, units: [Some(0), Some(1)], key }])?;
    drawn.into_iter().next().ok_or_else(|| unreachable!("one topology for each draw"))
}

/// Expects operands on a device and of a type.
pub(crate) fn expect_alike(
    device: &WgpuDevice,
    dtype: DType,
    operands: &[(&'static str, Device, DType)],
) -> Result<()> {
    for (what, on, of) in operands {
        let on = wgpu_device(on)?;
        if on != *device {
            return Err(Error::OtherDevice { what, wanted: format!("{device:?}"), found: format!("{on:?}") });
        }
        if *of != dtype {
            return Err(Error::DType { what, wanted: format!("{dtype:?}"), found: format!("{of:?}") });
        }
    }
    Ok(())
}

/// Expects that a block divides widths.
pub(crate) fn expect_divides(widths: &[(&'static str, usize)], block: usize) -> Result<()> {
    for &(what, width) in widths {
        if width == 0 || block == 0 || !width.is_multiple_of(block) {
            let wanted = format!("a multiple of the block, {block}: pad the width, or take another block");
            return Err(Error::Shape { what, wanted, found: width.to_string() });
        }
    }
    Ok(())
}

/// Expects a share of blocks.
pub(crate) fn expect_density(density: f64) -> Result<()> {
    if !(density > 0.0 && density <= 1.0) {
        let wanted = "above 0 and at most 1".to_owned();
        return Err(Error::Shape { what: "density", wanted, found: density.to_string() });
    }
    Ok(())
}

/// Number of blocks of the grid of a weight `[outputs, inputs]`.
pub(crate) fn places([outputs, inputs]: [usize; 2], block: usize) -> Result<usize> {
    expect_divides(&[("inputs", inputs), ("outputs", outputs)], block)?;
    Ok((outputs / block) * (inputs / block))
}

/// Number of blocks to store of so many, at least one.
pub(crate) fn stored(places: usize, density: f64) -> Result<usize> {
    expect_density(density)?;
    Ok(((places as f64 * density).round() as usize).clamp(1, places))
}

/// A linear layer `y = x·Wᵀ + bias` with a block-sparse weight `W[outputs, inputs]`. Absent blocks take no memory and no
/// arithmetic, forward, backward or in the optimizer.
#[derive(Module, Debug)]
pub struct SparseLinear {
    /// Values of the stored blocks, `[nnz, block, block]`: a block's rows are outputs.
    pub values: Param<Tensor<3>>,
    /// The bias, `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Which blocks are stored.
    pub blocks: Blocks,
}

impl SparseLinear {
    /// The layer with first values uniform in `±1/√fan_in`, as those of Burn's dense layer. The fan-in of an output counts the
    /// stored inputs.
    fn draw(topology: Topology, config: &SparseLinearConfig, device: &Device) -> Result<Self> {
        let block = topology.block();
        let mut walk = Key::new(config.seed, Stream::Weights(0)).walk();
        let mut values = Vec::with_capacity(topology.elements());
        for (row, _) in topology.coordinates() {
            let reach = 1.0 / ((topology.row(row).len() * block) as f32).sqrt();
            values.extend((0..block * block).map(|_| (2.0 * walk.uniform() - 1.0) * reach));
        }
        let reach = 1.0 / (config.inputs as f32 * config.density as f32).sqrt();
        let bias = config
            .bias
            .then(|| (0..config.outputs).map(|_| (2.0 * walk.uniform() - 1.0) * reach).collect::<Vec<f32>>());
        Self::from_parts(topology, values, bias, device)
    }

    /// The layer with these blocks, in slot order, and this bias.
    ///
    /// # Errors
    /// [`Error::Backend`] or [`Error::NotShared`] for a device that has no wgpu or was in use before, [`Error::Shape`] for another
    /// number of values or biases than the topology has.
    pub fn from_parts(
        topology: Topology,
        values: Vec<f32>,
        bias: Option<Vec<f32>>,
        device: &Device,
    ) -> Result<Self> {
        let expect = |what, wanted: usize, found: usize| match wanted == found {
            true => Ok(()),
            false => Err(Error::Shape { what, wanted: wanted.to_string(), found: found.to_string() }),
        };
        expect("the number of values", topology.elements(), values.len())?;
        if let Some(bias) = &bias {
            expect("the number of biases", topology.rows(), bias.len())?;
        }
        let (nnz, block, outputs) = (topology.nnz(), topology.block(), topology.rows());
        let wgpu = wgpu_device(device)?;
        // Before any tensor, since the first one opens the device.
        crate::device::Shared::of(&wgpu)?;
        let values = Param::from_data(TensorData::new(values, [nnz, block, block]), device);
        let bias = bias.map(|bias| Param::from_data(TensorData::new(bias, [outputs]), device));
        Ok(Self { values, bias, blocks: Blocks::new(topology, device) })
    }

    /// Applies the layer to the last dimension of `input`: `[.., inputs]` becomes `[.., outputs]`.
    ///
    /// # Panics
    /// With the message of [`SparseLinear::try_forward`]'s error.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.try_forward(input).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`SparseLinear::forward`] that returns its errors.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input of another width, [`Error::OtherDevice`], [`Error::Backend`] or [`Error::NotShared`] for one
    /// that is elsewhere, [`Error::DType`] for one of another type than the weight, which is f32 or, where the device has it, f16.
    pub fn try_forward<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>> {
        let [outputs, inputs] = self.blocks.sides();
        let mut shape = input.shape();
        if D == 0 || shape[D - 1] != inputs {
            let (wanted, found) = (format!("of width {inputs}"), format!("of shape {shape:?}"));
            return Err(Error::Shape { what: "the input", wanted, found });
        }
        let values = self.values.val();
        let device = wgpu_device(&values.device())?;
        let layout = self.blocks.layout(&device)?;
        let bias = self.bias.as_ref().map(Param::val);
        let mut operands = vec![
            ("the input", input.device(), input.dtype()),
            ("the weight", values.device(), values.dtype()),
        ];
        operands.extend(bias.as_ref().map(|bias| ("the bias", bias.device(), bias.dtype())));
        let dtype = values.dtype();
        if !(dtype == DType::F32 || dtype == DType::F16 && layout.shared.gpu.has_f16()) {
            let wanted =
                if layout.shared.gpu.has_f16() { "F32 or F16" } else { "F32, all that the device has" };
            let (wanted, found) = (wanted.to_owned(), format!("{dtype:?}"));
            return Err(Error::DType { what: "the weight", wanted, found });
        }
        expect_alike(&device, dtype, &operands)?;
        let rows = shape.num_elements() / inputs;
        shape[D - 1] = outputs;
        if rows == 0 {
            return Ok(Tensor::zeros(shape, &input.device()));
        }
        let x = input.reshape([rows, inputs]).into_dispatch();
        let values = values.into_dispatch();
        let y = match bias {
            Some(bias) => Dispatch::block_linear(x, values, bias.into_dispatch(), layout),
            None => Dispatch::block_product(x, values, layout),
        };
        Ok(Tensor::<2>::from_dispatch(y).reshape(shape))
    }
}
