//! The topology of a block-sparse matrix, on the host.

use crate::{Error, Result};

/// Block sizes that kernels support.
pub const BLOCKS: [usize; 5] = [8, 16, 32, 64, 128];

/// The pattern of a `[rows, cols]` matrix in `block x block` blocks, on the host.
///
/// Values lie in *slots* of one block each. `slot_row` and `slot_col` are the coordinates of a slot's block; the order of
/// blocks along rows and along columns is an index of slots. Transposed products and changes of the pattern therefore
/// move no value.
///
/// A block may be *inactive*: it is stored, and SDD computes its gradient, but it counts as absent in the products DDS and
/// DSD. Top-KAST's backward set has inactive blocks.
///
/// | array | length | contents |
/// | --- | --- | --- |
/// | `row_ptr` | rows of blocks + 1 | where each row of blocks begins in `by_row` |
/// | `by_row` | nnz | active slots, row by row, by column within a row |
/// | `col_ptr` | columns of blocks + 1 | where each column of blocks begins in `by_col` |
/// | `by_col` | nnz | active slots, column by column, by row within a column |
/// | `slot_row`, `slot_col` | nnz | the block that a slot holds |
///
/// Entries of `by_row` and `by_col` after the last active slot are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    block: usize,
    row_blocks: usize,
    col_blocks: usize,
    pub(super) row_ptr: Vec<u32>,
    pub(super) by_row: Vec<u32>,
    pub(super) col_ptr: Vec<u32>,
    pub(super) by_col: Vec<u32>,
    pub(super) slot_row: Vec<u32>,
    pub(super) slot_col: Vec<u32>,
}

impl Topology {
    /// The topology whose slot `s` holds block `coordinates[s]` = (row of blocks, column of blocks).
    ///
    /// # Errors
    /// [`Error::Topology`] naming the fault: a side that the block does not divide, a coordinate out of range, a
    /// block named twice.
    pub fn from_coordinates(
        rows: usize,
        cols: usize,
        block: usize,
        coordinates: &[(u32, u32)],
    ) -> Result<Self> {
        Self::with_inactive(rows, cols, block, coordinates, |_| false)
    }

    /// The topology whose slot `s` holds block `coordinates[s]`, inactive where `inactive(s)` holds.
    ///
    /// # Errors
    /// Those of [`Topology::from_coordinates`].
    pub fn with_inactive(
        rows: usize,
        cols: usize,
        block: usize,
        coordinates: &[(u32, u32)],
        inactive: impl Fn(usize) -> bool,
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
        by_row.retain(|&slot| !inactive(slot as usize));
        by_col.retain(|&slot| !inactive(slot as usize));

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

    /// The topology in which all blocks are stored.
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

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.row_blocks * self.block
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.col_blocks * self.block
    }

    /// Side of a block.
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

    /// Number of stored blocks.
    pub fn nnz(&self) -> usize {
        self.slot_row.len()
    }

    /// Number of elements of the stored blocks.
    pub fn elements(&self) -> usize {
        self.nnz() * self.block * self.block
    }

    /// Stored blocks divided by blocks of the grid.
    pub fn density(&self) -> f64 {
        self.nnz() as f64 / (self.row_blocks * self.col_blocks) as f64
    }

    /// Rows of the matrix in which at least one block is active.
    pub fn written_rows(&self) -> usize {
        self.row_ptr.windows(2).filter(|pair| pair[0] < pair[1]).count() * self.block
    }

    /// Whether each slot's block is active, in slot order.
    pub fn active(&self) -> Vec<bool> {
        let mut active = vec![false; self.nnz()];
        self.by_row.iter().for_each(|&slot| active[slot as usize] = true);
        active
    }

    /// Index of each slot's block in the grid, row by row. Block sets and scores are indexed by it.
    pub fn places(&self) -> impl ExactSizeIterator<Item = usize> {
        self.coordinates().map(|(row, col)| row * self.col_blocks + col)
    }

    /// The block that each slot holds: (row of blocks, column of blocks).
    pub fn coordinates(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.slot_row.iter().zip(&self.slot_col).map(|(&row, &col)| (row as usize, col as usize))
    }

    /// Active blocks of a row of blocks, ascending: (slot, column of blocks).
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        let slots = &self.by_row[self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize];
        slots.iter().map(|&slot| (slot as usize, self.slot_col[slot as usize] as usize))
    }

    /// Active blocks of a column of blocks, ascending: (slot, row of blocks).
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

    /// Reorders values, equally many per slot, from slot order to [row order](Topology::row_order).
    pub fn in_row_order<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let size = values.len() / self.nnz().max(1);
        self.row_order().iter().flat_map(|&slot| &values[slot * size..][..size]).copied().collect()
    }

    /// Inverse of [`Topology::in_row_order`].
    pub fn in_slot_order<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let size = values.len() / self.nnz().max(1);
        let mut slots = values.to_vec();
        for (from, slot) in self.row_order().into_iter().enumerate() {
            slots[slot * size..][..size].copy_from_slice(&values[from * size..][..size]);
        }
        slots
    }

    /// Values of the stored blocks, in slot order, of a row-major dense matrix.
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

    /// The row-major dense matrix with these values in its active blocks, and zeros elsewhere.
    pub fn scatter(&self, values: &[f32]) -> Vec<f32> {
        let mut dense = vec![0.0; self.rows() * self.cols()];
        let active = self.active();
        for (slot, (row, col)) in self.coordinates().enumerate().filter(|&(slot, _)| active[slot]) {
            for r in 0..self.block {
                let at = (row * self.block + r) * self.cols() + col * self.block;
                let from = (slot * self.block + r) * self.block;
                dense[at..at + self.block].copy_from_slice(&values[from..from + self.block]);
            }
        }
        dense
    }
}

/// Sides in blocks; [`Error::Topology`] if the block does not divide them.
pub(super) fn grid(rows: usize, cols: usize, block: usize) -> Result<[usize; 2]> {
    if !BLOCKS.contains(&block) {
        return Err(bad(format!("blocks of {block}; there are kernels for {BLOCKS:?}")));
    }
    if rows == 0 || cols == 0 || !rows.is_multiple_of(block) || !cols.is_multiple_of(block) {
        return Err(bad(format!("blocks of {block} do not divide a matrix of {rows} x {cols}")));
    }
    // Offsets into the packed index have 32 bits; its four words per slot are half of the elements of the smallest block.
    if rows.checked_mul(cols).is_none() || rows.max(cols) / block >= 1 << 28 {
        return Err(bad(format!("a matrix of {rows} x {cols} overflows its index")));
    }
    Ok([rows / block, cols / block])
}

/// [`Error::Topology`] if values need more than the 32-bit indices of the kernels.
pub(super) fn check_size(nnz: usize, block: usize) -> Result<()> {
    if nnz.checked_mul(block * block).is_none_or(|elements| elements > u32::MAX as usize) {
        return Err(bad(format!("{nnz} blocks of {block} x {block} have more than 2^32 elements")));
    }
    Ok(())
}

/// Offset of each line in a list of blocks sorted by line.
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

pub(super) fn bad(reason: String) -> Error {
    Error::Topology { reason }
}
