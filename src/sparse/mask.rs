//! Bits within blocks.

use super::topology::Topology;
use crate::random::Key;
use crate::{Error, Result};

/// Mask of the elements within stored blocks: a bit per element, in the order of the values, the lowest bit of a word
/// first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMask {
    words: Vec<u32>,
    elements: usize,
}

impl BlockMask {
    /// A mask for `elements` stored elements.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there is a bit for each, with no word to spare.
    pub fn from_words(words: Vec<u32>, elements: usize) -> Result<Self> {
        if words.len() != elements.div_ceil(32) {
            return Err(Error::argument("BlockMask", "words", elements.div_ceil(32), words.len()));
        }
        Ok(Self { words, elements })
    }

    /// Keeps each element of the topology's blocks with probability `keep`.
    pub fn random(topology: &Topology, keep: f32, key: Key) -> Self {
        let elements = topology.elements();
        let mut words = vec![0; elements.div_ceil(32)];
        let mut walk = key.walk();
        for element in 0..elements {
            words[element / 32] |= u32::from(walk.uniform() < keep) << (element % 32);
        }
        Self { words, elements }
    }

    /// Whether an element is present.
    pub fn get(&self, element: usize) -> bool {
        self.words[element / 32] >> (element % 32) & 1 == 1
    }

    /// Number of elements present.
    pub fn count(&self) -> usize {
        (0..self.elements).filter(|&element| self.get(element)).count()
    }

    /// The bits, 32 a word.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}
