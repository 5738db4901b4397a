//! Which blocks exist.

use crate::{Error, Result};

/// The block sizes there are kernels for.
pub const BLOCKS: [usize; 5] = [8, 16, 32, 64, 128];

/// The first word of a packed topology.
const MAGIC: u32 = 0x4652_4554;
/// Words before the arrays.
const HEADER: usize = 16;
/// Where in the header the offsets of the arrays stand, in the order of [`Topology`]'s table.
const OFFSETS: usize = 5;
/// Where the number of blocks stands.
pub(super) const NNZ: usize = 4;

/// Where everything lies in a packed topology. It depends on the sizes alone, so the pattern can change in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The first words.
    pub(super) header: [u32; HEADER],
    /// All words.
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

/// The pattern of a `[rows, cols]` matrix in `block x block` blocks, on the host.
///
/// Values lie in *slots*, a block each. Which block a slot holds is said by `slot_row` and `slot_col`; the order of
/// the blocks along rows and along columns is by indirection. So neither a transposed product nor a change of the
/// pattern has to move a value.
///
/// A block may be *resting*: it is stored, and SDD computes its gradient, but it has no part in the matrix, so the
/// products DDS and DSD pass it by. Such is the larger backward set of Top-KAST.
///
/// | array | length | what |
/// | --- | --- | --- |
/// | `row_ptr` | rows of blocks + 1 | where each row of blocks begins in `by_row` |
/// | `by_row` | nnz | slots that are not resting, row by row, by column within a row |
/// | `col_ptr` | columns of blocks + 1 | where each column of blocks begins in `by_col` |
/// | `by_col` | nnz | the same slots, column by column, by row within a column |
/// | `slot_row`, `slot_col` | nnz | the block that a slot holds |
///
/// What lies behind the last entry of `by_row` and `by_col`, where blocks rest, is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    block: usize,
    row_blocks: usize,
    col_blocks: usize,
    row_ptr: Vec<u32>,
    by_row: Vec<u32>,
    col_ptr: Vec<u32>,
    by_col: Vec<u32>,
    slot_row: Vec<u32>,
    slot_col: Vec<u32>,
}

impl Topology {
    /// The topology whose slot `s` holds block `coordinates[s]` = (row of blocks, column of blocks).
    ///
    /// # Errors
    /// [`Error::Topology`] naming what is wrong: a side that the block does not divide, a coordinate out of range, a
    /// block named twice.
    pub fn from_coordinates(
        rows: usize,
        cols: usize,
        block: usize,
        coordinates: &[(u32, u32)],
    ) -> Result<Self> {
        Self::with_resting(rows, cols, block, coordinates, |_| false)
    }

    /// The same, where the slots for which `resting` holds have no part in the matrix.
    ///
    /// # Errors
    /// As [`Topology::from_coordinates`].
    pub fn with_resting(
        rows: usize,
        cols: usize,
        block: usize,
        coordinates: &[(u32, u32)],
        resting: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let [row_blocks, col_blocks] = grid(rows, cols, block)?;
        check_size(coordinates.len(), block)?;
        for (slot, &(row, col)) in coordinates.iter().enumerate() {
            if row as usize >= row_blocks || col as usize >= col_blocks {
                return Err(bad(format!(
                    "slot {slot} holds block ({row}, {col}), outside {row_blocks} x {col_blocks} blocks"
                )));
            }
        }
        let mut by_row: Vec<u32> = (0..coordinates.len() as u32).collect();
        by_row.sort_by_key(|&slot| coordinates[slot as usize]);
        if let Some(pair) =
            by_row.windows(2).find(|pair| coordinates[pair[0] as usize] == coordinates[pair[1] as usize])
        {
            let (row, col) = coordinates[pair[0] as usize];
            return Err(bad(format!("block ({row}, {col}) stands in slots {} and {}", pair[0], pair[1])));
        }
        let mut by_col: Vec<u32> = (0..coordinates.len() as u32).collect();
        by_col.sort_by_key(|&slot| (coordinates[slot as usize].1, coordinates[slot as usize].0));
        by_row.retain(|&slot| !resting(slot as usize));
        by_col.retain(|&slot| !resting(slot as usize));

        let coordinate = |&slot: &u32| coordinates[slot as usize];
        Ok(Self {
            block,
            row_blocks,
            col_blocks,
            row_ptr: pointers(row_blocks, by_row.iter().map(|slot| coordinate(slot).0)),
            by_row,
            col_ptr: pointers(col_blocks, by_col.iter().map(|slot| coordinate(slot).1)),
            by_col,
            slot_row: coordinates.iter().map(|&(row, _)| row).collect(),
            slot_col: coordinates.iter().map(|&(_, col)| col).collect(),
        })
    }

    /// The topology of a block-CSR index from outside, slots in its order: `col_idx[row_ptr[r]..row_ptr[r + 1]]` are
    /// the columns of blocks in row `r`, ascending. PyTorch's `crow_indices` and `col_indices` of a BSR tensor.
    ///
    /// # Errors
    /// [`Error::Topology`] naming the invariant that is broken, and where.
    pub fn from_csr(
        rows: usize,
        cols: usize,
        block: usize,
        row_ptr: &[u32],
        col_idx: &[u32],
    ) -> Result<Self> {
        let [row_blocks, _] = grid(rows, cols, block)?;
        if row_ptr.len() != row_blocks + 1 {
            return Err(bad(format!(
                "{} row pointers, but {row_blocks} rows of blocks need {}",
                row_ptr.len(),
                row_blocks + 1
            )));
        }
        if row_ptr[0] != 0 {
            return Err(bad(format!("the row pointers begin with {}, not 0", row_ptr[0])));
        }
        if let Some(row) = row_ptr.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(bad(format!(
                "the row pointers fall from {} to {} at row {row}",
                row_ptr[row],
                row_ptr[row + 1]
            )));
        }
        if row_ptr[row_blocks] as usize != col_idx.len() {
            return Err(bad(format!(
                "the row pointers end with {}, but there are {} column indices",
                row_ptr[row_blocks],
                col_idx.len()
            )));
        }
        let mut coordinates = Vec::with_capacity(col_idx.len());
        for row in 0..row_blocks {
            let columns = &col_idx[row_ptr[row] as usize..row_ptr[row + 1] as usize];
            if let Some(pair) = columns.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(bad(format!(
                    "the columns of row {row} do not ascend: {} is followed by {}",
                    pair[0], pair[1]
                )));
            }
            coordinates.extend(columns.iter().map(|&col| (row as u32, col)));
        }
        Self::from_coordinates(rows, cols, block, &coordinates)
    }

    /// Every block there can be.
    ///
    /// # Errors
    /// [`Error::Topology`] if the block does not divide a side.
    pub fn full(rows: usize, cols: usize, block: usize) -> Result<Self> {
        let [row_blocks, col_blocks] = grid(rows, cols, block)?;
        check_size(row_blocks * col_blocks, block)?;
        let coordinates: Vec<_> = (0..row_blocks as u32)
            .flat_map(|row| (0..col_blocks as u32).map(move |col| (row, col)))
            .collect();
        Self::from_coordinates(rows, cols, block, &coordinates)
    }

    /// Words of the packed topology of so many blocks in a grid.
    pub(crate) fn packed_words([row_blocks, col_blocks]: [usize; 2], nnz: usize) -> usize {
        Layout::new(row_blocks, col_blocks, 1, nnz).words
    }

    /// Everything a kernel needs in one buffer: a header, then the arrays. `shaders/common/topology.wgsl` reads it.
    pub fn packed(&self) -> Vec<u32> {
        let layout = Layout::new(self.row_blocks, self.col_blocks, self.block, self.nnz());
        let mut words = layout.header.to_vec();
        words.resize(layout.words, 0);
        let arrays =
            [&self.row_ptr, &self.by_row, &self.col_ptr, &self.by_col, &self.slot_row, &self.slot_col];
        for (place, array) in arrays.into_iter().enumerate() {
            words[layout.header[OFFSETS + place] as usize..][..array.len()].copy_from_slice(array);
        }
        words
    }

    /// Reads what [`Topology::packed`] wrote, from a source that is not trusted.
    ///
    /// # Errors
    /// [`Error::Topology`] unless it is exactly what `packed` gives for some topology.
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
        let awake = array(0, row_blocks + 1)[row_blocks] as usize;
        let mut resting = vec![true; nnz];
        for &slot in array(1, nnz).get(..awake).unwrap_or_default() {
            match resting.get_mut(slot as usize) {
                Some(resting) => *resting = false,
                None => return Err(bad(format!("slot {slot} of {nnz}"))),
            }
        }
        let [rows, cols] = [rows as usize, cols as usize];
        let topology = Self::with_resting(rows, cols, block as usize, &coordinates, |slot| resting[slot])?;
        // Coordinates and resting slots determine the rest; what differs from it has been tampered with.
        if let Some(at) = topology.packed().iter().zip(words).position(|(wanted, found)| wanted != found) {
            return Err(bad(format!("word {at} of the packed index contradicts the slots")));
        }
        Ok(topology)
    }

    /// Packed words that have room for `most` blocks, without the room that is not used: what [`Topology::from_packed`]
    /// reads.
    ///
    /// # Errors
    /// [`Error::Topology`] if more blocks are there than there is room for, or if the words are not those of such a room.
    pub(super) fn without_room(words: &[u32], most: usize) -> Result<Vec<u32>> {
        let &[_, row_blocks, col_blocks, block, nnz, ..] = words else {
            return Err(bad("a packed topology begins with its magic number and sizes".to_owned()));
        };
        let [row_blocks, col_blocks, block, nnz] =
            [row_blocks, col_blocks, block, nnz].map(|size| size as usize);
        if nnz > most {
            return Err(bad(format!("{nnz} blocks where there is room for {most}")));
        }
        let mut room = Layout::new(row_blocks, col_blocks, block, most);
        room.header[NNZ] = nnz as u32;
        if words.len() != room.words || words[..HEADER] != room.header {
            return Err(bad(format!("{} words are no room for {most} blocks", words.len())));
        }
        let layout = Layout::new(row_blocks, col_blocks, block, nnz);
        let mut compact = layout.header.to_vec();
        for (place, length) in [row_blocks + 1, nnz, col_blocks + 1, nnz, nnz, nnz].into_iter().enumerate() {
            compact.extend_from_slice(&words[room.header[OFFSETS + place] as usize..][..length]);
        }
        Ok(compact)
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.row_blocks * self.block
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.col_blocks * self.block
    }

    /// The side of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Rows of blocks.
    pub fn row_blocks(&self) -> usize {
        self.row_blocks
    }

    /// Columns of blocks.
    pub fn col_blocks(&self) -> usize {
        self.col_blocks
    }

    /// Blocks that exist.
    pub fn nnz(&self) -> usize {
        self.slot_row.len()
    }

    /// Elements of the blocks that exist.
    pub fn elements(&self) -> usize {
        self.nnz() * self.block * self.block
    }

    /// The share of blocks that exist.
    pub fn density(&self) -> f64 {
        self.nnz() as f64 / (self.row_blocks * self.col_blocks) as f64
    }

    /// Rows of the matrix in which at least one block is active.
    pub fn written_rows(&self) -> usize {
        self.row_ptr.windows(2).filter(|pair| pair[0] < pair[1]).count() * self.block
    }

    /// Which slots have a part in the matrix, in slot order: those that do not rest.
    pub fn awake(&self) -> Vec<bool> {
        let mut awake = vec![false; self.nnz()];
        self.by_row.iter().for_each(|&slot| awake[slot as usize] = true);
        awake
    }

    /// The place of each slot's block in the grid, counted row by row: what block sets and scores are indexed by.
    pub fn places(&self) -> impl ExactSizeIterator<Item = usize> {
        self.coordinates().map(|(row, col)| row * self.col_blocks + col)
    }

    /// The block that each slot holds: (row of blocks, column of blocks).
    pub fn coordinates(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.slot_row.iter().zip(&self.slot_col).map(|(&row, &col)| (row as usize, col as usize))
    }

    /// The blocks of a row of blocks that do not rest, ascending: (slot, column of blocks).
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        let slots = &self.by_row[self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize];
        slots.iter().map(|&slot| (slot as usize, self.slot_col[slot as usize] as usize))
    }

    /// The blocks of a column of blocks that do not rest, ascending: (slot, row of blocks).
    pub fn col(&self, col: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        let slots = &self.by_col[self.col_ptr[col] as usize..self.col_ptr[col + 1] as usize];
        slots.iter().map(|&slot| (slot as usize, self.slot_row[slot as usize] as usize))
    }

    /// All slots, row by row, by column within a row.
    pub fn row_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.nnz()).collect();
        order.sort_by_key(|&slot| (self.slot_row[slot], self.slot_col[slot]));
        order
    }

    /// The block-CSR index of all stored blocks: row pointers, and columns in [row order](Topology::row_order).
    pub fn csr(&self) -> (Vec<u32>, Vec<u32>) {
        let row_ptr = pointers(self.row_blocks, self.slot_row.iter().copied());
        (row_ptr, self.row_order().iter().map(|&slot| self.slot_col[slot]).collect())
    }

    /// What slots have, as much to each, moved from slot order to [row order](Topology::row_order).
    pub fn in_row_order<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let size = values.len() / self.nnz().max(1);
        self.row_order().iter().flat_map(|&slot| &values[slot * size..][..size]).copied().collect()
    }

    /// The same back again: what stands in [row order](Topology::row_order), in slot order.
    pub fn in_slot_order<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let size = values.len() / self.nnz().max(1);
        let mut slots = values.to_vec();
        for (from, slot) in self.row_order().into_iter().enumerate() {
            slots[slot * size..][..size].copy_from_slice(&values[from * size..][..size]);
        }
        slots
    }

    /// The values of the present blocks, in slot order, of a row-major dense matrix.
    pub fn gather(&self, dense: &[f32]) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.elements());
        for (row, col) in self.coordinates() {
            for r in 0..self.block {
                let at = (row * self.block + r) * self.cols() + col * self.block;
                values.extend_from_slice(&dense[at..at + self.block]);
            }
        }
        values
    }

    /// The row-major dense matrix with these values in its blocks, and zeros in those that are absent or rest.
    pub fn scatter(&self, values: &[f32]) -> Vec<f32> {
        let mut dense = vec![0.0; self.rows() * self.cols()];
        let awake = self.awake();
        for (slot, (row, col)) in self.coordinates().enumerate().filter(|&(slot, _)| awake[slot]) {
            for r in 0..self.block {
                let at = (row * self.block + r) * self.cols() + col * self.block;
                let from = (slot * self.block + r) * self.block;
                dense[at..at + self.block].copy_from_slice(&values[from..from + self.block]);
            }
        }
        dense
    }
}

/// Sides in blocks; refused where the block does not divide them.
pub(super) fn grid(rows: usize, cols: usize, block: usize) -> Result<[usize; 2]> {
    if !BLOCKS.contains(&block) {
        return Err(bad(format!("blocks of {block}; there are kernels for {BLOCKS:?}")));
    }
    if rows == 0 || cols == 0 || !rows.is_multiple_of(block) || !cols.is_multiple_of(block) {
        return Err(bad(format!("blocks of {block} do not divide a matrix of {rows} x {cols}")));
    }
    // Offsets into the packed index are 32 bits wide too; four slots' worth of it are half of the elements of a block.
    if rows.checked_mul(cols).is_none() || rows.max(cols) / block >= 1 << 28 {
        return Err(bad(format!("a matrix of {rows} x {cols} overflows its index")));
    }
    Ok([rows / block, cols / block])
}

/// The kernels index values with 32 bits.
pub(super) fn check_size(nnz: usize, block: usize) -> Result<()> {
    if nnz.checked_mul(block * block).is_none_or(|elements| elements > u32::MAX as usize) {
        return Err(bad(format!("{nnz} blocks of {block} x {block} have more than 2^32 elements")));
    }
    Ok(())
}

/// Where each line begins, from the line of every block.
fn pointers(lines: usize, of_blocks: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut pointers = vec![0; lines + 1];
    for line in of_blocks {
        pointers[line as usize + 1] += 1;
    }
    for line in 0..lines {
        pointers[line + 1] += pointers[line];
    }
    pointers
}

fn bad(reason: String) -> Error {
    Error::Topology { reason }
}
