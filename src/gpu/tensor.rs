//! Typed, shaped views of slices of buffers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::buffer::Owned;
use super::context::{DeviceId, Gpu};
use crate::{Error, Result};

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 32-bit unsigned integer.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }

    /// The name in a kernel's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U32 => "u32",
        }
    }
}

/// Host types that have a [`DType`].
pub trait Element: bytemuck::Pod + fmt::Debug {
    /// The device's name for it.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for half::f16 {
    const DTYPE: DType = DType::F16;
}

impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

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
    /// With the bytes that are used; there may be more, for the next user.
    Owned(Arc<Owned>, u64),
    Foreign(wgpu::Buffer),
}

impl Tensor {
    pub(super) fn owned(device: DeviceId, buffer: Owned, shape: &[usize], dtype: DType) -> Self {
        let used = shape.iter().product::<usize>() as u64 * dtype.size();
        let storage = Storage::Owned(Arc::new(buffer), used);
        Self { device, storage, offset: 0, shape: shape.to_vec(), dtype }
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

    /// The same elements under another shape.
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

    /// The same bits as elements of another type of the same size.
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

    /// The device it is on.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Refuses a tensor whose buffer may not be used so, in the name of `op` and `argument`.
    pub(super) fn expect_usage(
        &self,
        op: &str,
        argument: &'static str,
        usage: wgpu::BufferUsages,
    ) -> Result<()> {
        expect_usage(self.buffer(), op, argument, usage)
    }

    /// Whether nothing of this library's or a caller's lies right behind the view.
    pub(super) fn ends_its_buffer(&self) -> bool {
        match &self.storage {
            Storage::Owned(_, used) => self.offset + self.bytes() == *used,
            Storage::Foreign(_) => false,
        }
    }

    /// Where the view starts in its buffer, in bytes.
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

    /// The two sizes of a matrix.
    ///
    /// # Errors
    /// [`Error::Argument`] in the name of `op` and `argument` if this is not a matrix.
    pub(crate) fn matrix(&self, op: &str, argument: &'static str) -> Result<[usize; 2]> {
        <[usize; 2]>::try_from(self.shape.as_slice())
            .map_err(|_| Error::argument(op, argument, "a matrix", format!("of shape {:?}", self.shape)))
    }

    /// Refuses a tensor of another type, in the name of `op` and `argument`.
    pub(crate) fn expect_dtype(&self, op: &str, argument: &'static str, wanted: DType) -> Result<()> {
        if self.dtype == wanted {
            return Ok(());
        }
        Err(Error::argument(op, argument, format!("of {wanted:?}"), format!("of {:?}", self.dtype)))
    }

    /// Refuses a tensor that is on another device than `other`, in the name of `op` and `argument`.
    pub(crate) fn expect_beside(&self, op: &str, argument: &'static str, other: &Self) -> Result<()> {
        let [found, wanted] = [self, other].map(|tensor| tensor.device);
        if found == wanted {
            return Ok(());
        }
        Err(Error::argument(op, argument, format!("on {wanted}"), format!("on {found}")))
    }

    /// Refuses a tensor of another shape, in the name of `op` and `argument`.
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

/// Refuses a buffer that may not be used so, in the name of `op` and `argument`.
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

/// Bytes of a shape, refused when they overflow. A product of any of its sides, a side of 0 left out, fits 64 bits, too.
pub(super) fn byte_size(shape: &[usize], dtype: DType) -> Result<u64> {
    let bytes = shape.iter().try_fold(dtype.size(), |bytes, &side| bytes.checked_mul(side.max(1) as u64));
    match bytes {
        Some(bytes) => Ok(if shape.contains(&0) { 0 } else { bytes }),
        None => Err(Error::argument("Tensor", "shape", "a size that fits 64 bits", format!("{shape:?}"))),
    }
}
