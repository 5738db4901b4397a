//! Tensors of one dispatch that share a buffer.
//!
//! WebGPU lets a dispatch use a buffer either for reading or for writing, whatever the ranges. Allocators that cut tensors
//! out of large buffers put operands beside results, so every kernel has permutations whose inputs are declared read-write.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::context::Gpu;
use super::kernel::Kernel;
use super::reflect::{Access, Binding};
use super::tensor::Tensor;
use crate::{Error, Result};

/// Bindings that steer control flow around barriers, which must be uniform: a value that a shader may write is not. They stay
/// read-only, so their tensors are in buffers that the dispatch does not write.
pub const STEERING: [&str; 2] = ["topology", "weight"];

/// A tensor and the binding it is bound to.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) name: &'static str,
    pub(super) slot: u32,
    pub(super) tensor: Tensor,
}

impl Bound {
    fn range(&self) -> Range<u64> {
        self.tensor.offset()..self.tensor.offset() + self.tensor.bound_bytes()
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (here, there) = (self.range(), other.range());
        here.start < there.end && there.start < here.end
    }
}

impl Gpu {
    /// The permutation of a kernel for these tensors: inputs whose buffer holds a result as well are declared read-write. `bound`
    /// has a tensor for each binding, in the order of the bindings.
    ///
    /// # Errors
    /// [`Error::Argument`] where a written tensor overlaps another one, or shares a buffer with one of [`STEERING`] or a uniform;
    /// those of [`Gpu::kernel`].
    pub(super) fn kernel_for(&self, kernel: &Arc<Kernel>, bound: &[Bound]) -> Result<Arc<Kernel>> {
        // The declarations of the source are those of the permutation that shares nothing.
        let declared = if kernel.key.shared.is_empty() {
            Arc::clone(kernel)
        } else {
            self.kernel(&kernel.key.clone().shared(BTreeSet::new()))?
        };
        let shared = shared_inputs(&declared.label, &declared.reflection.bindings, bound)?;
        match shared {
            shared if shared == kernel.key.shared => Ok(Arc::clone(kernel)),
            shared => self.kernel(&kernel.key.clone().shared(shared)),
        }
    }
}

/// Slots of the inputs in whose buffer the dispatch writes.
fn shared_inputs(label: &str, bindings: &[Binding], bound: &[Bound]) -> Result<BTreeSet<u32>> {
    let mut shared = BTreeSet::new();
    let all: Vec<_> = bindings.iter().zip(bound).collect();
    for (at, &(binding, here)) in all.iter().enumerate() {
        for &(other, beside) in &all[..at] {
            let is_written = [binding, other].iter().any(|binding| binding.access == Access::Write);
            if !is_written || beside.tensor.buffer() != here.tensor.buffer() {
                continue;
            }
            let stays =
                |binding: &Binding| binding.access == Access::Uniform || STEERING.contains(&&*binding.name);
            if stays(binding) || stays(other) {
                let wanted = format!("in another buffer than {}", beside.name);
                let found = "in the same one, and one of them is written";
                return Err(Error::argument(label, here.name, wanted, found));
            }
            if here.overlaps(beside) {
                let wanted = format!("in bytes of its own, since it or {} is written", beside.name);
                let found = format!("{:?}, which overlaps {:?}", here.tensor, beside.tensor);
                return Err(Error::argument(label, here.name, wanted, found));
            }
            let reads = [binding, other].into_iter().filter(|binding| binding.access == Access::Read);
            shared.extend(reads.map(|binding| binding.slot));
        }
    }
    Ok(shared)
}
