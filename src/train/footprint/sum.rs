//! Sums of bytes that no size overflows.

use crate::gpu::{Class, size_class};

/// Classes in the order of [`Sum`].
const CLASSES: [Class; 6] =
    [Class::Values, Class::Topology, Class::Gradients, Class::Optimizer, Class::Activations, Class::Scratch];

/// Bytes by class, and the largest buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sum {
    classes: [u128; CLASSES.len()],
    largest: (u128, &'static str),
}

impl Sum {
    /// Adds a buffer of so many elements of `size` bytes, as large as the allocator makes it.
    pub(super) fn add(&mut self, class: Class, label: &'static str, elements: u128, size: u64) {
        let bytes = elements.saturating_mul(size.into());
        // Near the end of 64 bits nothing is rounded, for nothing has room for it either.
        let bytes = match u64::try_from(bytes) {
            Ok(bytes) if bytes < 1 << 62 => size_class(class, bytes).into(),
            _ => bytes,
        };
        if let Some(at) = CLASSES.iter().position(|&known| known == class) {
            self.classes[at] = self.classes[at].saturating_add(bytes);
        }
        if bytes > self.largest.0 {
            self.largest = (bytes, label);
        }
    }

    pub(super) fn of(&self, class: Class) -> u128 {
        CLASSES.iter().zip(self.classes).filter(|&(&known, _)| known == class).map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn total(&self) -> u128 {
        self.classes.iter().fold(0, |sum, &bytes| sum.saturating_add(bytes))
    }

    /// The largest buffer: its bytes and what it is.
    pub(super) fn largest(&self) -> (u128, &'static str) {
        self.largest
    }
}
