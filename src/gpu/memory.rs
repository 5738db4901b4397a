//! Allocation, upload and read-back of tensors, and their accounts.

use std::sync::Arc;

use super::account::{Bytes, Class};
use super::buffer::{Owned, size_class};
use super::context::Gpu;
use super::dtype::{DType, Element, byte_size};
use super::readback::Pending;
use super::tensor::Tensor;
use crate::{Error, Result};

impl Gpu {
    /// A tensor with unspecified contents.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Argument`] for a size that overflows, or [`Error::Limit`] for one that no buffer of
    /// this device may have.
    pub fn alloc<T: Element>(&self, class: Class, label: &str, shape: &[usize]) -> Result<Tensor> {
        let bytes = self.expect_buffer(label, shape, T::DTYPE)?;
        if let Some(tensor) = self.cut(class, bytes, shape, T::DTYPE)? {
            return Ok(tensor);
        }
        // Rounding up for reuse must not exceed the device's limit.
        let size = size_class(class, bytes).min(self.limits().max_buffer_size);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.core().healthy()?;
        let reused = if class.is_pooled() { self.inner.store.reuse(size) } else { None };
        let raw = match reused {
            Some(raw) => raw,
            None => self.create_buffer(label, size, usage).or_else(|_| {
                // Idle buffers may occupy the memory needed.
                self.inner.store.clear();
                self.create_buffer(label, size, usage)
            })?,
        };
        let owned = Owned::new(raw, class, Arc::clone(&self.inner.store));
        Ok(Tensor::owned(self.id(), owned, shape, T::DTYPE))
    }

    /// A tensor cut out of a buffer with others, if [`Options::cut_from`](super::Options::cut_from) asks for it.
    fn cut(&self, class: Class, bytes: u64, shape: &[usize], dtype: DType) -> Result<Option<Tensor>> {
        let Some(cuts) = self.inner.cuts.as_ref().filter(|_| class != Class::Topology) else {
            return Ok(None);
        };
        let mut cuts = cuts.lock().expect("no holder of this lock panics");
        if bytes > cuts.size {
            return Ok(None);
        }
        let offset = cuts.used.next_multiple_of(self.limits().min_storage_buffer_offset_alignment.into());
        let current = cuts.current.clone().filter(|_| offset + bytes <= cuts.size);
        let (buffer, offset) = match current {
            Some(buffer) => (buffer, offset),
            None => {
                let usage =
                    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                let raw = self.create_buffer("cut", cuts.size, usage)?;
                (Arc::new(Owned::unpooled(raw, Class::Scratch, Arc::clone(&self.inner.store))), 0)
            }
        };
        cuts.current = Some(Arc::clone(&buffer));
        cuts.used = offset + bytes;
        Ok(Some(Tensor::cut(self.id(), buffer, offset, shape, dtype)))
    }

    /// Bytes of a shape, rounded up to vectors of 16 bytes; [`Error::Limit`] if no buffer of this device may have so many.
    pub(crate) fn expect_buffer(&self, label: &str, shape: &[usize], dtype: DType) -> Result<u64> {
        let bytes = byte_size(shape, dtype)?.max(1);
        let limit = self.limits().max_buffer_size;
        bytes.checked_next_multiple_of(16).filter(|&size| size <= limit).ok_or_else(|| Error::Limit {
            label: label.to_owned(),
            what: "the size of a buffer in bytes",
            value: bytes,
            limit,
        })
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// Those of [`Gpu::alloc`].
    pub fn zeros<T: Element>(&self, class: Class, label: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.alloc::<T>(class, label, shape)?;
        // A whole buffer, or the tensor's part of one that tensors are cut out of.
        let size = self.inner.cuts.is_some().then(|| tensor.bytes().next_multiple_of(16));
        self.submit([self.encode(label, |encoder| {
            encoder.clear_buffer(tensor.buffer(), tensor.offset(), size);
        })?])?;
        Ok(tensor)
    }

    /// A tensor with `values`.
    ///
    /// # Errors
    /// Those of [`Gpu::alloc`], and [`Error::Argument`] if the shape holds another number of elements.
    pub fn upload<T: Element>(
        &self,
        class: Class,
        label: &str,
        shape: &[usize],
        values: &[T],
    ) -> Result<Tensor> {
        if byte_size(shape, T::DTYPE)? != size_of_val(values) as u64 {
            let wanted = format!("as many as the shape {shape:?} holds");
            return Err(Error::argument(label, "values", wanted, values.len()));
        }
        let tensor = self.alloc::<T>(class, label, shape)?;
        self.write(&tensor, values)?;
        Ok(tensor)
    }

    /// Overwrites a tensor, after everything submitted so far and before anything submitted later.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tensor is on another device, type or number of elements differ, its buffer has no
    /// `COPY_DST` usage, or if it begins or ends amid four bytes, as an odd number of halves does, and is not the end of a
    /// buffer of this library's.
    pub fn write<T: Element>(&self, tensor: &Tensor, values: &[T]) -> Result<()> {
        let op = "Gpu::write";
        self.expect_own(op, "tensor", tensor.device())?;
        if tensor.dtype() != T::DTYPE || tensor.len() != values.len() {
            let found = format!("{} of {:?}", values.len(), T::DTYPE);
            return Err(Error::argument(op, "values", format!("{tensor:?}"), found));
        }
        tensor.expect_usage(op, "tensor", wgpu::BufferUsages::COPY_DST)?;
        self.core().healthy()?;
        if values.is_empty() {
            return Ok(());
        }
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let unit = wgpu::COPY_BUFFER_ALIGNMENT;
        let ragged = !tensor.bytes().is_multiple_of(unit);
        if !tensor.offset().is_multiple_of(unit) || ragged && !tensor.ends_its_buffer() {
            let wanted = format!("of a multiple of {unit} bytes, at such an offset");
            return Err(Error::argument(op, "tensor", wanted, format!("{tensor:?}")));
        }
        self.core().guarded("write", || {
            if ragged {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(unit as usize), 0);
                self.queue().write_buffer(tensor.buffer(), tensor.offset(), &padded);
            } else {
                self.queue().write_buffer(tensor.buffer(), tensor.offset(), bytes);
            }
        })
    }

    /// Starts to copy a tensor back to the host.
    ///
    /// # Errors
    /// [`Error::Argument`] if the tensor is on another device, the type differs, its buffer has no `COPY_SRC` usage, or if
    /// it begins amid four bytes, or ends amid the last four of its buffer; [`Error::OutOfMemory`].
    pub fn read<T: Element>(&self, tensor: &Tensor) -> Result<Pending<T>> {
        let op = "Gpu::read";
        self.expect_own(op, "tensor", tensor.device())?;
        tensor.expect_dtype(op, "tensor", T::DTYPE)?;
        tensor.expect_usage(op, "tensor", wgpu::BufferUsages::COPY_SRC)?;
        let unit = wgpu::COPY_BUFFER_ALIGNMENT;
        let size = tensor.bytes().next_multiple_of(unit);
        let fits = tensor.offset().is_multiple_of(unit) && tensor.offset() + size <= tensor.buffer().size();
        if !tensor.is_empty() && !fits {
            let wanted = format!("at an offset of a multiple of {unit} bytes, with as many behind it");
            return Err(Error::argument(op, "tensor", wanted, format!("{tensor:?}")));
        }
        self.core().alive()?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.create_buffer("read-back", size.max(unit), usage)?;
        let commands = self.encode("read-back", |encoder| {
            if !tensor.is_empty() {
                encoder.copy_buffer_to_buffer(tensor.buffer(), tensor.offset(), &staging, 0, size);
            }
        })?;
        let submission = self.submit([commands])?;
        Pending::new(self, staging, submission, tensor.len())
    }

    /// A buffer for uniforms, filled.
    pub(super) fn uniform(&self, label: &str, bytes: &[u8]) -> Result<Owned> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        // Their own usage keeps them out of the pool, so their size need not be one of its classes.
        let raw = self.create_buffer(label, (bytes.len() as u64).next_multiple_of(16), usage)?;
        self.core().guarded(label, || self.queue().write_buffer(&raw, 0, bytes))?;
        Ok(Owned::unpooled(raw, Class::Scratch, Arc::clone(&self.inner.store)))
    }

    /// A small tensor that kernels read as a uniform.
    ///
    /// # Errors
    /// Those of [`Gpu::alloc`].
    pub(crate) fn uniform_words(&self, label: &str, words: &[u32]) -> Result<Tensor> {
        let owned = self.uniform(label, bytemuck::cast_slice(words))?;
        Ok(Tensor::owned(self.id(), owned, &[words.len()], u32::DTYPE))
    }

    pub(super) fn create_buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer> {
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.core().guarded(label, || self.device().create_buffer(&descriptor)).map_err(|error| match error {
            Error::OutOfMemory { label, .. } => Error::OutOfMemory { label, bytes: size },
            other => other,
        })
    }

    /// Bytes in use, by class.
    pub fn bytes(&self) -> Bytes {
        self.inner.store.ledger.now()
    }

    /// Most bytes in use at one time.
    pub fn peak_bytes(&self) -> u64 {
        self.inner.store.ledger.peak()
    }

    /// Bytes of idle buffers kept for reuse.
    pub fn idle_bytes(&self) -> u64 {
        self.inner.store.idle_bytes()
    }

    /// Frees idle buffers and resets the peak, so that measurements do not count in a run's peak.
    pub(crate) fn forget_since(&self, peak: u64) {
        self.inner.store.clear();
        self.inner.store.ledger.set_peak(peak);
    }
}
