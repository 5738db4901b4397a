//! Topologies and block matrices where the kernels can see them.

use std::sync::Arc;

use super::{BlockMask, Topology};
use crate::gpu::{Class, Gpu, Tensor};
use crate::{Error, Result};

/// A topology, on the host and packed on the device.
#[derive(Debug, Clone)]
pub struct Pattern {
    topology: Arc<Topology>,
    packed: Tensor,
}

impl Pattern {
    /// Puts a topology on the device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn upload(gpu: &Gpu, topology: Arc<Topology>) -> Result<Self> {
        let words = topology.packed();
        let packed = gpu.upload(Class::Topology, "topology", &[words.len()], &words)?;
        Ok(Self { topology, packed })
    }

    /// A topology that a caller has packed into a buffer of its own, with [`Topology::packed`].
    ///
    /// # Errors
    /// [`Error::Argument`] if `packed` has another size than the topology.
    pub fn adopt(topology: Arc<Topology>, packed: Tensor) -> Result<Self> {
        packed.expect_shape("Pattern::adopt", "packed", &[topology.packed().len()])?;
        Ok(Self { topology, packed })
    }

    /// The host's copy.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// The device's copy.
    pub fn packed(&self) -> &Tensor {
        &self.packed
    }
}

/// A pattern and one value per element of its blocks: `[nnz, block, block]`, a block per slot. Gradients and
/// optimizer state of a block matrix have the same layout.
#[derive(Debug, Clone)]
pub struct BlockMatrix {
    pattern: Pattern,
    values: Tensor,
}

impl BlockMatrix {
    /// Puts values, in slot order, on the device.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `nnz * block * block` values, [`Error::OutOfMemory`].
    pub fn upload(gpu: &Gpu, class: Class, label: &str, pattern: &Pattern, values: &[f32]) -> Result<Self> {
        let values = gpu.upload(class, label, &shape_of(&pattern.topology), values)?;
        Ok(Self { pattern: pattern.clone(), values })
    }

    /// A matrix whose values are unspecified: a gradient to be written, say.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn alloc(gpu: &Gpu, class: Class, label: &str, pattern: &Pattern) -> Result<Self> {
        let values = gpu.alloc::<f32>(class, label, &shape_of(&pattern.topology))?;
        Ok(Self { pattern: pattern.clone(), values })
    }

    /// Values that lie in a caller's buffer.
    ///
    /// # Errors
    /// [`Error::Argument`] if `values` is not `[nnz, block, block]`.
    pub fn adopt(pattern: Pattern, values: Tensor) -> Result<Self> {
        values.expect_shape("BlockMatrix::adopt", "values", &shape_of(&pattern.topology))?;
        Ok(Self { pattern, values })
    }

    /// Gathers the present blocks of a row-major dense matrix.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dense` has another size than the topology's matrix, [`Error::OutOfMemory`].
    pub fn from_dense(
        gpu: &Gpu,
        class: Class,
        label: &str,
        pattern: &Pattern,
        dense: &[f32],
    ) -> Result<Self> {
        let topology = &pattern.topology;
        let wanted = topology.rows() * topology.cols();
        if dense.len() != wanted {
            return Err(Error::argument("BlockMatrix::from_dense", "dense", wanted, dense.len()));
        }
        Self::upload(gpu, class, label, pattern, &topology.gather(dense))
    }

    /// The matrix with its absent blocks written out as zeros, row-major. Waits for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn to_dense(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        Ok(self.pattern.topology.scatter(&gpu.read::<f32>(&self.values)?.wait()?))
    }

    /// Which blocks there are.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The host's copy of which blocks there are.
    pub fn topology(&self) -> &Topology {
        &self.pattern.topology
    }

    /// `[nnz, block, block]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }
}

/// A mask of the elements within blocks, on the device: a bit per stored element.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn upload_mask(gpu: &Gpu, mask: &BlockMask) -> Result<Tensor> {
    gpu.upload(Class::Topology, "mask", &[mask.words().len()], mask.words())
}

fn shape_of(topology: &Topology) -> [usize; 3] {
    [topology.nnz(), topology.block(), topology.block()]
}
