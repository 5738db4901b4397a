//! Dense layers made sparse, and sparse ones made dense.

use burn_core::module::Param;
use burn_core::tensor::{Device, Tensor, TensorData};
use fretwork::sparse::Topology;

use crate::linear::SparseLinear;
use crate::{Error, Result};

impl SparseLinear {
    /// The layer with the blocks of largest magnitude, the sum of absolute values, of a dense layer's weight, as Burn's `Linear`
    /// holds it: `weight[inputs, outputs]`. `density` is the share of blocks that are kept; of equal blocks, the first are. Waits
    /// for the device.
    ///
    /// # Errors
    /// [`Error::Shape`] for a density out of (0, 1] or widths that the block does not divide; those of
    /// [`SparseLinear::from_parts`].
    pub fn from_dense(
        weight: &Param<Tensor<2>>,
        bias: Option<&Param<Tensor<1>>>,
        block: usize,
        density: f64,
    ) -> Result<Self> {
        let weight = weight.val();
        let (device, [inputs, outputs]) = (weight.device(), weight.dims());
        let places = crate::linear::places([outputs, inputs], block)?;
        let nnz = crate::linear::stored(places, density)?;
        let whole = Topology::full(outputs, inputs, block)?;
        let values = whole.gather(&floats(weight.transpose())?);
        let slots = largest(&values, block, nnz);
        let all: Vec<_> = whole.coordinates().collect();
        let kept: Vec<_> = slots.iter().map(|&slot| (all[slot].0 as u32, all[slot].1 as u32)).collect();
        let topology = Topology::from_coordinates(outputs, inputs, block, &kept)?;
        let values = slots.iter().flat_map(|&slot| &values[slot * block * block..][..block * block]);
        let bias = bias.map(|bias| floats(bias.val())).transpose()?;
        Self::from_parts(topology, values.copied().collect(), bias, &device)
    }

    /// The weight as Burn's `Linear` holds it, `[inputs, outputs]`, with zeros where no block is stored. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Fretwork`] if a record left an invalid topology.
    pub fn to_dense(&self) -> Result<Tensor<2>> {
        let [outputs, inputs] = self.blocks.sides();
        let values = self.values.val();
        let device: Device = values.device().without_autodiff();
        let dense = self.blocks.topology()?.scatter(&floats(values)?);
        Ok(Tensor::<2>::from_data(TensorData::new(dense, [outputs, inputs]), &device).transpose())
    }
}

/// The elements on the host.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let found = format!("{:?}", tensor.dtype());
    let wanted = "F32".to_owned();
    tensor.into_data().try_to_vec::<f32>().map_err(|_| Error::DType { what: "the tensor", wanted, found })
}

/// Slots of the `count` blocks with the largest sums of absolute values, ascending; of equal blocks, the first.
pub(crate) fn largest(values: &[f32], block: usize, count: usize) -> Vec<usize> {
    let size = |block: &[f32]| block.iter().map(|&value| f64::from(value.abs())).sum::<f64>();
    let sizes: Vec<f64> = values.chunks_exact(block * block).map(size).collect();
    let mut slots: Vec<usize> = (0..sizes.len()).collect();
    slots.sort_by(|&a, &b| sizes[b].total_cmp(&sizes[a]));
    slots.truncate(count);
    slots.sort_unstable();
    slots
}
