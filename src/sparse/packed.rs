//! A topology as one buffer of words, for kernels and checkpoints.

use super::topology::{Topology, bad, check_size, grid};
use crate::Result;

/// The first word of a packed topology.
const MAGIC: u32 = 0x4652_4554;
/// Words before the arrays.
const HEADER: usize = 16;
/// Index in the header of the offsets of the arrays, in the order of [`Topology`]'s table.
const OFFSETS: usize = 5;
/// Index in the header of the number of blocks.
pub(super) const NNZ: usize = 4;

/// Offsets of the arrays of a packed topology. They depend on the sizes alone, so the pattern can change in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The words of the header.
    pub(super) header: [u32; HEADER],
    /// Number of all words.
    pub(super) words: usize,
}

impl Layout {
    pub(super) fn new(row_blocks: usize, col_blocks: usize, block: usize, nnz: usize) -> Self {
        let mut header = [0; HEADER];
        header[0] = MAGIC;
        for (word, size) in header[1..OFFSETS].iter_mut().zip([row_blocks, col_blocks, block, nnz]) {
            *word = size as u32;
        }
        let mut words = HEADER;
        for (word, length) in
            header[OFFSETS..].iter_mut().zip([row_blocks + 1, nnz, col_blocks + 1, nnz, nnz, nnz])
        {
            *word = words as u32;
            words += length;
        }
        Self { header, words }
    }
}

impl Topology {
    /// Number of words of a packed topology of `nnz` blocks.
    pub(crate) fn packed_words([row_blocks, col_blocks]: [usize; 2], nnz: usize) -> usize {
        Layout::new(row_blocks, col_blocks, 1, nnz).words
    }

    /// The topology as one buffer: a header, then the arrays. `shaders/common/topology.wgsl` reads it.
    pub fn packed(&self) -> Vec<u32> {
        let layout = Layout::new(self.row_blocks(), self.col_blocks(), self.block(), self.nnz());
        let mut words = layout.header.to_vec();
        words.resize(layout.words, 0);
        let arrays =
            [&self.row_ptr, &self.by_row, &self.col_ptr, &self.by_col, &self.slot_row, &self.slot_col];
        for (place, array) in arrays.into_iter().enumerate() {
            words[layout.header[OFFSETS + place] as usize..][..array.len()].copy_from_slice(array);
        }
        words
    }

    /// Inverse of [`Topology::packed`], of words from an untrusted source.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) unless the words are those of `packed` for some topology.
    pub fn from_packed(words: &[u32]) -> Result<Self> {
        let &[MAGIC, row_blocks, col_blocks, block, nnz, ..] = words else {
            return Err(bad("a packed topology begins with its magic number and sizes".to_owned()));
        };
        let sides = [row_blocks, col_blocks].map(|blocks| blocks.checked_mul(block));
        let [Some(rows), Some(cols)] = sides else {
            return Err(bad(format!("{row_blocks} x {col_blocks} blocks of {block} overflow")));
        };
        grid(rows as usize, cols as usize, block as usize)?;
        let (row_blocks, col_blocks, nnz) = (row_blocks as usize, col_blocks as usize, nnz as usize);
        check_size(nnz, block as usize)?;
        let layout = Layout::new(row_blocks, col_blocks, block as usize, nnz);
        if words.len() != layout.words {
            return Err(bad(format!("{} words, but its sizes need {}", words.len(), layout.words)));
        }
        let array = |place: usize, length: usize| &words[layout.header[OFFSETS + place] as usize..][..length];
        let coordinates: Vec<_> = array(4, nnz).iter().copied().zip(array(5, nnz).iter().copied()).collect();
        let active = array(0, row_blocks + 1)[row_blocks] as usize;
        let mut inactive = vec![true; nnz];
        for &slot in array(1, nnz).get(..active).unwrap_or_default() {
            match inactive.get_mut(slot as usize) {
                Some(inactive) => *inactive = false,
                None => return Err(bad(format!("slot {slot} of {nnz}"))),
            }
        }
        let [rows, cols] = [rows as usize, cols as usize];
        let topology = Self::with_inactive(rows, cols, block as usize, &coordinates, |slot| inactive[slot])?;
        // Coordinates and inactive slots determine all other words.
        if let Some(at) = topology.packed().iter().zip(words).position(|(wanted, found)| wanted != found) {
            return Err(bad(format!("word {at} of the packed index contradicts the slots")));
        }
        Ok(topology)
    }

    /// Packed words for [`Topology::from_packed`], of a [bounded](super::Pattern::bounded) pattern of at most `most` blocks:
    /// the unused slots are removed.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) if there are more than `most` blocks, or if the words are not those of such a pattern.
    pub(super) fn without_room(words: &[u32], most: usize) -> Result<Vec<u32>> {
        let &[_, row_blocks, col_blocks, block, nnz, ..] = words else {
            return Err(bad("a packed topology begins with its magic number and sizes".to_owned()));
        };
        let [row_blocks, col_blocks, block, nnz] =
            [row_blocks, col_blocks, block, nnz].map(|size| size as usize);
        if nnz > most {
            return Err(bad(format!("{nnz} blocks, but at most {most} fit")));
        }
        let mut bounded = Layout::new(row_blocks, col_blocks, block, most);
        bounded.header[NNZ] = nnz as u32;
        if words.len() != bounded.words || words[..HEADER] != bounded.header {
            return Err(bad(format!("{} words are no pattern of at most {most} blocks", words.len())));
        }
        let layout = Layout::new(row_blocks, col_blocks, block, nnz);
        let mut compact = layout.header.to_vec();
        for (place, length) in [row_blocks + 1, nnz, col_blocks + 1, nnz, nnz, nnz].into_iter().enumerate() {
            compact.extend_from_slice(&words[bounded.header[OFFSETS + place] as usize..][..length]);
        }
        Ok(compact)
    }
}
