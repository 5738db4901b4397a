//! Memory of one batch: a tensor for each storage of the layout.

use half::f16;

use super::layout::{Layout, StorageId};
use crate::Result;
use crate::gpu::{Class, DType, Gpu, Tensor};

/// The layout of a graph, and its tensors on a device.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) layout: Layout,
    /// Tensor of each storage; none of a storage that no pass touches.
    tensors: Vec<Option<Tensor>>,
}

impl Memory {
    /// Allocates the tensors of a layout.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(super) fn new(gpu: &Gpu, layout: Layout) -> Result<Self> {
        let tensors = allocate(gpu, &layout)?;
        Ok(Self { layout, tensors })
    }

    /// Tensor of a storage that a pass touches.
    pub(super) fn tensor(&self, storage: StorageId) -> &Tensor {
        self.tensors[storage.0]
            .as_ref()
            .expect("a pass should touch the storages that nodes were given alone")
    }
}

/// A tensor for every storage: a buffer of its own where it is pinned, and a view of a shared one otherwise.
fn allocate(gpu: &Gpu, layout: &Layout) -> Result<Vec<Option<Tensor>>> {
    let words =
        |&bytes: &u64| gpu.alloc::<u32>(Class::Activations, "activations", &[bytes.div_ceil(4) as usize]);
    let shared = layout.shared.iter().map(words).collect::<Result<Vec<_>>>()?;
    let mut tensors = Vec::new();
    for storage in &layout.storages {
        let (name, shape) = (storage.name.as_str(), storage.shape.as_slice());
        tensors.push(match (storage.pinned, storage.is_live()) {
            (true, _) => Some(match storage.dtype {
                DType::F32 => gpu.zeros::<f32>(Class::Activations, name, shape)?,
                DType::F16 => gpu.zeros::<f16>(Class::Activations, name, shape)?,
                DType::U32 => gpu.zeros::<u32>(Class::Activations, name, shape)?,
            }),
            (false, true) => Some(shared[storage.shared].prefix(shape, storage.dtype)?),
            (false, false) => None,
        });
    }
    Ok(tensors)
}
