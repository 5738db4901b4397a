//! Tensors larger than a binding may be, one window after the other.
//!
//! A device binds so many bytes of a buffer at a time: 128 MiB by WebGPU's default. Where a tensor has more, an operation
//! records a dispatch for each window along a dimension that its tensors share, such as elements, rows or slots. All of
//! them get windows as soon as one needs them, so that a kernel counts from the same place in each. Where none does, there
//! is one window, which is everything, and what is recorded is what always was.

use std::ops::Range;

use crate::Result;
use crate::gpu::{Gpu, Tensor};

/// How a dimension of `units` elements, rows or slots is to be cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    units: usize,
    /// What every window but the last is a multiple of: it keeps their offsets aligned.
    step: usize,
    /// Units that a binding holds of the tensor that needs most.
    most: usize,
    /// Whether a tensor is too large as it is.
    needed: bool,
    largest: u64,
    alignment: u64,
}

impl Windows {
    /// No tensor lies along the dimension yet.
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

    /// Every window but the last is a multiple of `step`.
    #[must_use]
    pub(super) fn by(mut self, step: usize) -> Self {
        self.step = common_multiple(self.step, step);
        self
    }

    /// `tensor` lies along the dimension: row-major, as much of it to every unit.
    #[must_use]
    pub(super) fn over(self, tensor: &Tensor) -> Self {
        self.along(tensor, tensor.bytes() * 8 / (self.units as u64).max(1))
    }

    /// The same, for a kernel that is told where in a binding to begin: what is bound is as [`Window::within`] says.
    #[must_use]
    pub(super) fn over_large(mut self, tensor: &Tensor) -> Self {
        if tensor.bytes() > self.largest {
            let unit = tensor.bytes() / self.units as u64;
            // Room for what lies between an aligned offset and the window.
            let before = if unit.is_multiple_of(self.alignment) { 0 } else { self.alignment };
            self.needed = true;
            self.most = self.most.min((self.largest.saturating_sub(before) / unit) as usize);
        }
        self
    }

    /// `mask` lies along the dimension, with so many bits to every unit.
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

    /// The windows in ascending order. A tensor of which not even the smallest window fits is left whole, and the recorder
    /// refuses it by name.
    pub(super) fn cut(self) -> Vec<Window> {
        let most = self.most / self.step * self.step;
        if !self.needed || most == 0 {
            return vec![Window::whole(self.units)];
        }
        self.every(most, 0..self.units).collect()
    }

    /// The same, where none begins in one chunk and ends in another, though it may be of several whole ones. Chunks begin
    /// at aligned offsets.
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

/// Some units of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The first.
    pub(super) start: usize,
    /// How many.
    pub(super) count: usize,
    units: usize,
}

impl Window {
    /// All of them.
    pub(super) fn whole(units: usize) -> Self {
        Self { start: 0, count: units, units }
    }

    pub(super) fn is_whole(self) -> bool {
        self.count == self.units
    }

    pub(super) fn is_last(self) -> bool {
        self.start + self.count == self.units
    }

    /// This window's part of a tensor that lies along the dimension; all of it keeps its shape.
    pub(super) fn of(self, tensor: &Tensor) -> Result<Tensor> {
        if self.is_whole() {
            return Ok(tensor.clone());
        }
        tensor.reshape(&[self.units, tensor.len() / self.units])?.rows(self.start, self.count)
    }

    /// All of a tensor that is small enough to be bound, or else what begins at the last aligned offset before this window;
    /// and the element of it with which the window begins.
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

    /// This window's words of a mask that has so many bits to a unit.
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
