//! Typed, shaped views of slices of buffers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::buffer::Owned;
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
    pub(super) fn owned(buffer: Owned, shape: &[usize], dtype: DType) -> Self {
        let used = shape.iter().product::<usize>() as u64 * dtype.size();
        Self { storage: Storage::Owned(Arc::new(buffer), used), offset: 0, shape: shape.to_vec(), dtype }
    }

    /// A view of a caller's buffer, from `offset` bytes on. The buffer needs `STORAGE` usage, and `COPY_DST`
    /// or `COPY_SRC` where it is written from or read back to the host.
    ///
    /// # Errors
    /// [`Error::Argument`] if the view leaves the buffer, the shape overflows, or `offset` is not a
    /// multiple of the element size. Whether `offset` suits the device is checked where the view is used.
    pub fn view(buffer: &wgpu::Buffer, offset: u64, shape: &[usize], dtype: DType) -> Result<Self> {
        let bytes = byte_size(shape, dtype)?;
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
        Ok(Self { storage: Storage::Foreign(buffer.clone()), offset, shape: shape.to_vec(), dtype })
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

    /// `count` rows (slices of the first dimension) from `start` on, without a copy.
    ///
    /// # Errors
    /// [`Error::Argument`] if the rows are not all there.
    pub fn rows(&self, start: usize, count: usize) -> Result<Self> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if start.checked_add(count).is_none_or(|end| end > rows) {
            return Err(Error::argument(
                "Tensor::rows",
                "range",
                format!("within 0..{rows}"),
                format!("{start}..{start}+{count}"),
            ));
        }
        let row_bytes = self.bytes() / (rows as u64).max(1);
        let mut shape = self.shape.clone();
        shape[0] = count;
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

/// Bytes of a shape, refused when they overflow.
pub(super) fn byte_size(shape: &[usize], dtype: DType) -> Result<u64> {
    shape
        .iter()
        .try_fold(dtype.size(), |bytes, &side| bytes.checked_mul(side as u64))
        .ok_or_else(|| Error::argument("Tensor", "shape", "a size that fits 64 bits", format!("{shape:?}")))
}
