//! The blocks of a layer's weight, on one device.

use std::fmt;
use std::sync::Arc;

use burn_cubecl::cubecl::wgpu::WgpuDevice;
use fretwork::sparse::{Pattern, Topology};

use crate::Result;
use crate::device::Shared;
use crate::watch::Watch;

/// Topology of a weight `[outputs, inputs]`, uploaded to a device.
pub(crate) struct Layout {
    pub(crate) device: WgpuDevice,
    pub(crate) shared: Arc<Shared>,
    pub(crate) topology: Topology,
    pub(crate) pattern: Pattern,
    pub(crate) watch: Arc<Watch>,
}

impl Layout {
    pub(crate) fn new(device: &WgpuDevice, topology: Topology, watch: Arc<Watch>) -> Result<Arc<Self>> {
        let shared = Shared::of(device)?;
        let pattern = Pattern::upload(&shared.gpu, &topology)?;
        Ok(Arc::new(Self { device: device.clone(), shared, topology, pattern, watch }))
    }

    /// Another topology on the device of `other`, which holds it already.
    pub(crate) fn with_pattern(other: &Self, topology: Topology, pattern: Pattern) -> Arc<Self> {
        let (device, shared) = (other.device.clone(), Arc::clone(&other.shared));
        Arc::new(Self { device, shared, topology, pattern, watch: Arc::default() })
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols, block) = (self.topology.rows(), self.topology.cols(), self.topology.block());
        write!(f, "Layout({} blocks of {block} in {rows} x {cols})", self.topology.nnz())
    }
}
