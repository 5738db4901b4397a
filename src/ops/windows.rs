//! Windows over tensors that exceed one binding.
//!
//! A device limits the bytes of one binding, to 128 MiB by WebGPU's default. For larger tensors an operation records
//! one dispatch per window along a dimension that its tensors share: elements, rows or slots. All tensors of a
//! dispatch are windowed together, so that offsets agree. If every tensor fits, there is one window that covers
//! everything.

use std::ops::Range;

use crate::Result;
use crate::gpu::{Gpu, Tensor};

/// Plan for splitting a dimension of `units` elements, rows or slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    units: usize,
    /// Window sizes, except the last, are multiples of this number, which keeps offsets aligned.
    step: usize,
    /// Largest number of units for which every tensor fits one binding.
    most: usize,
    /// Whether some tensor exceeds one binding.
    needed: bool,
    largest: u64,
    alignment: u64,
}

impl Windows {
    /// Splits a dimension that no tensor lies along yet.
    pub(super) fn new(gpu: &Gpu, units: usize) -> Self {
        let limits = gpu.limits();
        Self {
            units,
            step: 1,
            most: usize::MAX,
            needed: false,
            largest: limits.max_storage_buffer_binding_size,
            alignment: limits.min_storage_buffer_offset_alignment.into(),
        }
    }

    /// Restricts windows, except the last, to multiples of `step`.
    #[must_use]
    pub(super) fn by(mut self, step: usize) -> Self {
        self.step = common_multiple(self.step, step);
        self
    }

    /// Adds a row-major tensor that lies along the dimension with equally many bytes per unit.
    #[must_use]
    pub(super) fn over(self, tensor: &Tensor) -> Self {
        self.along(tensor, tensor.bytes() * 8 / (self.units as u64).max(1))
    }

    /// Adds a tensor for a kernel that gets its first offset as a parameter, so that only bindings need to be
    /// aligned: see [`Window::within`].
    #[must_use]
    pub(super) fn over_large(mut self, tensor: &Tensor) -> Self {
        if tensor.bytes() > self.largest {
            let unit = tensor.bytes() / self.units as u64;
            // Room for the bytes between an aligned offset and the window.
            let before = if unit.is_multiple_of(self.alignment) { 0 } else { self.alignment };
            self.needed = true;
            self.most = self.most.min((self.largest.saturating_sub(before) / unit) as usize);
        }
        self
    }

    /// Adds a bit mask that lies along the dimension with `bits` bits per unit.
    #[must_use]
    pub(super) fn over_bits(self, mask: &Tensor, bits: usize) -> Self {
        self.along(mask, bits as u64)
    }

    fn along(mut self, tensor: &Tensor, bits: u64) -> Self {
        let bits = bits.max(1);
        self.needed |= tensor.bytes() > self.largest;
        self.most = self.most.min((self.largest.saturating_mul(8) / bits) as usize);
        self.by(self.alignment as usize * 8 / common_divisor(self.alignment as usize * 8, bits as usize))
    }

    /// Windows in ascending order. If even the smallest window does not fit, one window covers everything, and the
    /// recorder refuses the tensor by name.
    pub(super) fn cut(self) -> Vec<Window> {
        let most = self.most / self.step * self.step;
        if !self.needed || most == 0 {
            return vec![Window::whole(self.units)];
        }
        self.every(most, 0..self.units).collect()
    }

    /// Windows in ascending order, each within one chunk or made of whole chunks. Chunks start at aligned offsets.
    pub(super) fn cut_within(self, chunk: usize) -> Vec<Window> {
        let most = self.most / self.step * self.step;
        if !self.needed || most == 0 {
            return vec![Window::whole(self.units)];
        }
        if most >= chunk {
            return self.every(most / chunk * chunk, 0..self.units).collect();
        }
        let chunks = (0..self.units).step_by(chunk);
        chunks.flat_map(|start| self.every(most, start..self.units.min(start + chunk))).collect()
    }

    fn every(self, most: usize, range: Range<usize>) -> impl Iterator<Item = Window> {
        let (end, units) = (range.end, self.units);
        range.step_by(most).map(move |start| Window { start, count: most.min(end - start), units })
    }
}

/// Range of units of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// First unit.
    pub(super) start: usize,
    /// Number of units.
    pub(super) count: usize,
    units: usize,
}

impl Window {
    /// Window over the whole dimension.
    pub(super) fn whole(units: usize) -> Self {
        Self { start: 0, count: units, units }
    }

    pub(super) fn is_whole(self) -> bool {
        self.count == self.units
    }

    pub(super) fn is_last(self) -> bool {
        self.start + self.count == self.units
    }

    /// This window's part of a tensor that lies along the dimension; the whole window keeps the tensor's shape.
    pub(super) fn of(self, tensor: &Tensor) -> Result<Tensor> {
        if self.is_whole() {
            return Ok(tensor.clone());
        }
        tensor.reshape(&[self.units, tensor.len() / self.units])?.rows(self.start, self.count)
    }

    /// Binding for this window and the index of the window's first element in it: the whole tensor if it fits, else
    /// from the last aligned offset before the window.
    pub(super) fn within(self, gpu: &Gpu, tensor: &Tensor) -> Result<(Tensor, usize)> {
        let limits = gpu.limits();
        let unit = tensor.len() / self.units.max(1);
        let start = self.start * unit;
        if self.is_whole() || tensor.bytes() <= limits.max_storage_buffer_binding_size {
            return Ok((tensor.clone(), start));
        }
        let alignment = limits.min_storage_buffer_offset_alignment as usize / tensor.dtype().size() as usize;
        let before = start % alignment.max(1);
        let view = tensor.reshape(&[tensor.len()])?.rows(start - before, before + self.count * unit)?;
        Ok((view, before))
    }

    /// This window's words of a bit mask with `bits` bits per unit.
    pub(super) fn of_bits(self, mask: &Tensor, bits: usize) -> Result<Tensor> {
        if self.is_whole() {
            return Ok(mask.clone());
        }
        mask.rows(self.start * bits / 32, (self.count * bits).div_ceil(32))
    }
}

fn common_multiple(a: usize, b: usize) -> usize {
    a / common_divisor(a, b) * b
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
