//! Typed, shaped views of slices of buffers.

use std::fmt;
use std::sync::Arc;

use super::buffer::Owned;
use super::context::Gpu;
use super::device::DeviceId;
use super::dtype::{DType, byte_size};
use crate::{Error, Result};

/// A row-major view of a slice of a device buffer. Cloning it copies no data.
#[derive(Clone)]
pub struct Tensor {
    device: DeviceId,
    storage: Storage,
    offset: u64,
    shape: Vec<usize>,
    dtype: DType,
}

#[derive(Clone)]
enum Storage {
    /// A buffer of this library, and the bytes in use; a pooled buffer may be longer.
    Owned(Arc<Owned>, u64),
    Foreign(wgpu::Buffer),
}

impl Tensor {
    pub(super) fn owned(device: DeviceId, buffer: Owned, shape: &[usize], dtype: DType) -> Self {
        let used = shape.iter().product::<usize>() as u64 * dtype.size();
        let storage = Storage::Owned(Arc::new(buffer), used);
        Self { device, storage, offset: 0, shape: shape.to_vec(), dtype }
    }

    /// A view of a buffer of this library that other tensors lie in as well.
    pub(super) fn cut(
        device: DeviceId,
        buffer: Arc<Owned>,
        offset: u64,
        shape: &[usize],
        dtype: DType,
    ) -> Self {
        let used = offset + shape.iter().product::<usize>() as u64 * dtype.size();
        Self { device, storage: Storage::Owned(buffer, used), offset, shape: shape.to_vec(), dtype }
    }

    /// A view of a caller's buffer on the device of `gpu`, from `offset` bytes on. The buffer needs `STORAGE` usage, and
    /// `COPY_DST` or `COPY_SRC` where it is written from or read back to the host. A buffer of another device is found by
    /// wgpu, where both are of one [`wgpu::Instance`]; of two instances nobody finds it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the view leaves the buffer, the shape overflows, the buffer has no `STORAGE` usage, or
    /// `offset` is not a multiple of the element size. Whether `offset` suits the device is checked where the view is used.
    pub fn view(
        gpu: &Gpu,
        buffer: &wgpu::Buffer,
        offset: u64,
        shape: &[usize],
        dtype: DType,
    ) -> Result<Self> {
        let bytes = byte_size(shape, dtype)?;
        expect_usage(buffer, "Tensor::view", "buffer", wgpu::BufferUsages::STORAGE)?;
        if !offset.is_multiple_of(dtype.size()) {
            return Err(Error::argument(
                "Tensor::view",
                "offset",
                format!("a multiple of {}", dtype.size()),
                offset,
            ));
        }
        if offset.checked_add(bytes).is_none_or(|end| end > buffer.size()) {
            return Err(Error::argument(
                "Tensor::view",
                "shape",
                format!("at most {} bytes from offset {offset}", buffer.size().saturating_sub(offset)),
                format!("{shape:?}, {bytes} bytes"),
            ));
        }
        let storage = Storage::Foreign(buffer.clone());
        Ok(Self { device: gpu.id(), storage, offset, shape: shape.to_vec(), dtype })
    }

    /// A view of all elements under another shape.
    ///
    /// # Errors
    /// [`Error::Argument`] if the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if byte_size(shape, self.dtype)? != self.bytes() {
            return Err(Error::argument(
                "Tensor::reshape",
                "shape",
                format!("{} elements", self.len()),
                format!("{shape:?}"),
            ));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    /// A view of the bits as elements of another type of equal size.
    ///
    /// # Errors
    /// [`Error::Argument`] if the sizes differ.
    pub fn reinterpret(&self, dtype: DType) -> Result<Self> {
        if dtype.size() != self.dtype.size() {
            let wanted = format!("of {} bytes, as {:?}", self.dtype.size(), self.dtype);
            return Err(Error::argument("Tensor::reinterpret", "dtype", wanted, format!("{dtype:?}")));
        }
        Ok(Self { dtype, ..self.clone() })
    }

    /// A view of the first elements under another shape and type.
    ///
    /// # Errors
    /// [`Error::Argument`] if the shape takes more bytes than there are.
    pub(crate) fn prefix(&self, shape: &[usize], dtype: DType) -> Result<Self> {
        let bytes = byte_size(shape, dtype)?;
        if bytes > self.bytes() {
            let found = format!("{shape:?} of {dtype:?}, {bytes} bytes");
            return Err(Error::argument(
                "Tensor::prefix",
                "shape",
                format!("at most {} bytes", self.bytes()),
                found,
            ));
        }
        Ok(Self { shape: shape.to_vec(), dtype, ..self.clone() })
    }

    /// Offset of the view within another view of the same buffer, in bytes, if all of it lies there.
    pub(super) fn within(&self, whole: &Self) -> Option<u64> {
        let offset = self.offset.checked_sub(whole.offset)?;
        let inside = self.buffer() == whole.buffer() && offset + self.bytes() <= whole.bytes();
        inside.then_some(offset)
    }

    /// Whether two views share bytes.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.buffer() == other.buffer()
            && self.offset < other.offset + other.bytes()
            && other.offset < self.offset + self.bytes()
    }

    /// The view, moved to `offset` bytes within another tensor.
    pub(super) fn moved_to(&self, whole: &Self, offset: u64) -> Self {
        Self { storage: whole.storage.clone(), offset: whole.offset + offset, ..self.clone() }
    }

    /// `count` rows (slices of the first dimension) from `start` on, without a copy.
    ///
    /// # Errors
    /// [`Error::Argument`] if the rows are not all there, or this is a scalar, which has no rows.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        let mut shape = self.shape.clone();
        let Some(first) = shape.first_mut() else {
            return Err(Error::argument("Tensor::rows", "self", "of one dimension at least", "a scalar"));
        };
        let rows = std::mem::replace(first, count);
        if start.checked_add(count).is_none_or(|end| end > rows) {
            return Err(Error::argument(
                "Tensor::rows",
                "range",
                format!("within 0..{rows}"),
                format!("{start}..{start}+{count}"),
            ));
        }
        let row_bytes = self.bytes() / (rows as u64).max(1);
        Ok(Self { offset: self.offset + start as u64 * row_bytes, shape, ..self.clone() })
    }

    /// Sizes of the dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the view in bytes.
    pub fn bytes(&self) -> u64 {
        self.len() as u64 * self.dtype.size()
    }

    /// The size of the view as a binding, whose size is a multiple of four: an odd number of halves takes two bytes more.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(4)
    }

    /// The device of the tensor.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// [`Error::Argument`] naming `op` and `argument`, unless the buffer has the usage.
    pub(super) fn expect_usage(
        &self,
        op: &str,
        argument: &'static str,
        usage: wgpu::BufferUsages,
    ) -> Result<()> {
        expect_usage(self.buffer(), op, argument, usage)
    }

    /// Whether the view ends where the used bytes of this library's own buffer end, so that padding written there is harmless.
    pub(super) fn ends_its_buffer(&self) -> bool {
        match &self.storage {
            Storage::Owned(_, used) => self.offset + self.bytes() == *used,
            Storage::Foreign(_) => false,
        }
    }

    /// Offset of the view in its buffer, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The buffer behind the view.
    pub fn buffer(&self) -> &wgpu::Buffer {
        match &self.storage {
            Storage::Owned(owned, _) => owned.raw(),
            Storage::Foreign(buffer) => buffer,
        }
    }

    /// Rows and columns of a matrix.
    ///
    /// # Errors
    /// [`Error::Argument`] naming `op` and `argument` if this is not a matrix.
    pub(crate) fn matrix(&self, op: &str, argument: &'static str) -> Result<[usize; 2]> {
        <[usize; 2]>::try_from(self.shape.as_slice())
            .map_err(|_| Error::argument(op, argument, "a matrix", format!("of shape {:?}", self.shape)))
    }

    /// [`Error::Argument`] naming `op` and `argument`, unless the dtype is `wanted`.
    pub(crate) fn expect_dtype(&self, op: &str, argument: &'static str, wanted: DType) -> Result<()> {
        if self.dtype == wanted {
            return Ok(());
        }
        Err(Error::argument(op, argument, format!("of {wanted:?}"), format!("of {:?}", self.dtype)))
    }

    /// [`Error::Argument`] naming `op` and `argument`, unless both tensors are on one device.
    pub(crate) fn expect_beside(&self, op: &str, argument: &'static str, other: &Self) -> Result<()> {
        let [found, wanted] = [self, other].map(|tensor| tensor.device);
        if found == wanted {
            return Ok(());
        }
        Err(Error::argument(op, argument, format!("on {wanted}"), format!("on {found}")))
    }

    /// [`Error::Argument`] naming `op` and `argument`, unless the shape is `wanted`.
    pub(crate) fn expect_shape(&self, op: &str, argument: &'static str, wanted: &[usize]) -> Result<()> {
        if self.shape == wanted {
            return Ok(());
        }
        Err(Error::argument(
            op,
            argument,
            format!("of shape {wanted:?}"),
            format!("of shape {:?}", self.shape),
        ))
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?}{:?} at byte {})", self.dtype, self.shape, self.offset)
    }
}

/// [`Error::Argument`] naming `op` and `argument`, unless the buffer has the usage.
fn expect_usage(
    buffer: &wgpu::Buffer,
    op: &str,
    argument: &'static str,
    usage: wgpu::BufferUsages,
) -> Result<()> {
    if buffer.usage().contains(usage) {
        return Ok(());
    }
    Err(Error::argument(op, argument, format!("with usage {usage:?}"), format!("with {:?}", buffer.usage())))
}
