//! Device buffers that account for themselves, and the pool they return to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::account::{Class, Ledger};

/// A buffer of this library. Dropping it frees the memory or returns it to the pool.
#[derive(Debug)]
pub(super) struct Owned {
    raw: Option<wgpu::Buffer>,
    class: Class,
    pooled: bool,
    store: Arc<Store>,
}

impl Owned {
    /// A storage buffer, returned to the pool if its class is pooled.
    pub(super) fn new(raw: wgpu::Buffer, class: Class, store: Arc<Store>) -> Self {
        Self::counted(raw, class, class.is_pooled(), store)
    }

    /// A buffer with another usage than the pool's, never reused.
    pub(super) fn unpooled(raw: wgpu::Buffer, class: Class, store: Arc<Store>) -> Self {
        Self::counted(raw, class, false, store)
    }

    fn counted(raw: wgpu::Buffer, class: Class, pooled: bool, store: Arc<Store>) -> Self {
        store.ledger.add(class, raw.size());
        Self { raw: Some(raw), class, pooled, store }
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        self.raw.as_ref().expect("the buffer is there until drop")
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.store.ledger.remove(self.class, raw.size());
            if self.pooled {
                self.store.keep(raw);
            }
        }
    }
}

/// The buffer that tensors are cut out of, one behind the other. Its bytes are not reused before all of them are dropped.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Bytes of a buffer.
    pub(super) size: u64,
    pub(super) current: Option<Arc<Owned>>,
    /// Bytes of the current buffer that belong to tensors.
    pub(super) used: u64,
}

/// The ledger and the idle buffers of a device, shared by all its buffers.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) ledger: Ledger,
    idle: Mutex<HashMap<u64, Vec<wgpu::Buffer>>>,
}

impl Store {
    /// Takes an idle buffer of exactly `size` bytes, with unspecified contents.
    pub(super) fn reuse(&self, size: u64) -> Option<wgpu::Buffer> {
        self.idle.lock().expect("no holder of this lock panics").get_mut(&size)?.pop()
    }

    /// Frees every idle buffer.
    pub(super) fn clear(&self) {
        self.idle.lock().expect("no holder of this lock panics").clear();
    }

    /// Bytes of idle buffers. They count in no class.
    pub(super) fn idle_bytes(&self) -> u64 {
        let idle = self.idle.lock().expect("no holder of this lock panics");
        idle.iter().map(|(size, buffers)| size * buffers.len() as u64).sum()
    }

    fn keep(&self, raw: wgpu::Buffer) {
        self.idle.lock().expect("no holder of this lock panics").entry(raw.size()).or_default().push(raw);
    }
}

/// Allocated size of a buffer: exact (in whole 16-byte vectors) for parameters, rounded up to a quarter of a
/// power of two for pooled classes, so that similar sizes can be reused for each other.
pub(crate) fn size_class(class: Class, bytes: u64) -> u64 {
    let bytes = bytes.max(1).next_multiple_of(16);
    if !class.is_pooled() || bytes <= 64 {
        return bytes;
    }
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sized_exactly_and_the_rest_within_a_quarter() {
        assert_eq!(size_class(Class::Values, 1001), 1008);
        for bytes in (1..100_000).step_by(37) {
            let size = size_class(Class::Scratch, bytes);
            assert!(size >= bytes && size.is_multiple_of(16));
            assert!(size <= bytes.max(64) * 5 / 4 + 16, "{bytes} became {size}");
        }
    }
}
