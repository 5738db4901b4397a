//! Element types of tensors, and the size of a shape of them.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// The element type on the device.
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

/// Bytes of a shape; [`Error::Argument`] on overflow. Products of any of its nonzero sides fit 64 bits, too.
pub(super) fn byte_size(shape: &[usize], dtype: DType) -> Result<u64> {
    let bytes = shape.iter().try_fold(dtype.size(), |bytes, &side| bytes.checked_mul(side.max(1) as u64));
    match bytes {
        Some(bytes) => Ok(if shape.contains(&0) { 0 } else { bytes }),
        None => Err(Error::argument("Tensor", "shape", "a size that fits 64 bits", format!("{shape:?}"))),
    }
}
