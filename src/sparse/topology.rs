//! Which blocks exist.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// The block sizes there are kernels for.
pub const BLOCKS: [usize; 4] = [8, 16, 32, 64];

/// The first word of a packed topology.
const MAGIC: u32 = 0x4652_4554;
/// Words before the arrays.
const HEADER: usize = 16;

/// The pattern of a `[rows, cols]` matrix in `block x block` blocks. It never changes; a new pattern is a new topology
/// with a new version.
///
/// Values lie in *slots*, a block each. Which block a slot holds is said by `slot_row` and `slot_col`; the order of
/// the blocks along rows and along columns is by indirection. So neither a transposed product nor a change of the
/// pattern has to move a value.
///
/// | array | length | what |
/// | --- | --- | --- |
/// | `row_ptr` | rows of blocks + 1 | where each row of blocks begins in `by_row` |
/// | `by_row` | nnz | slots, row by row, by column within a row |
/// | `col_ptr` | columns of blocks + 1 | where each column of blocks begins in `by_col` |
/// | `by_col` | nnz | slots, column by column, by row within a column |
/// | `slot_row`, `slot_col` | nnz | the block that a slot holds |
#[derive(Debug, Clone)]
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
    version: u64,
}

/// Two topologies are equal if they hold the same blocks in the same slots; versions do not count.
impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        (self.block, self.row_blocks, self.col_blocks) == (other.block, other.row_blocks, other.col_blocks)
            && self.slot_row == other.slot_row
            && self.slot_col == other.slot_col
    }
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

        Ok(Self {
            block,
            row_blocks,
            col_blocks,
            row_ptr: pointers(row_blocks, coordinates.iter().map(|&(row, _)| row)),
            by_row,
            col_ptr: pointers(col_blocks, coordinates.iter().map(|&(_, col)| col)),
            by_col,
            slot_row: coordinates.iter().map(|&(row, _)| row).collect(),
            slot_col: coordinates.iter().map(|&(_, col)| col).collect(),
            version: next_version(),
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
        let coordinates: Vec<_> = (0..row_blocks as u32)
            .flat_map(|row| (0..col_blocks as u32).map(move |col| (row, col)))
            .collect();
        Self::from_coordinates(rows, cols, block, &coordinates)
    }

    /// Everything a kernel needs in one buffer: a header, then the arrays. `shaders/common/topology.wgsl` reads it.
    pub fn packed(&self) -> Vec<u32> {
        let mut words = vec![0; HEADER];
        words[0] = MAGIC;
        words[1] = self.row_blocks as u32;
        words[2] = self.col_blocks as u32;
        words[3] = self.block as u32;
        words[4] = self.nnz() as u32;
        let arrays =
            [&self.row_ptr, &self.by_row, &self.col_ptr, &self.by_col, &self.slot_row, &self.slot_col];
        for (place, array) in arrays.into_iter().enumerate() {
            words[5 + place] = words.len() as u32;
            words.extend_from_slice(array);
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
        let wanted = HEADER + row_blocks + 1 + col_blocks + 1 + 4 * nnz;
        if words.len() != wanted {
            return Err(bad(format!("{} words, but its sizes need {wanted}", words.len())));
        }
        let (slot_row, slot_col) = words[wanted - 2 * nnz..].split_at(nnz);
        let coordinates: Vec<_> = slot_row.iter().copied().zip(slot_col.iter().copied()).collect();
        let topology = Self::from_coordinates(rows as usize, cols as usize, block as usize, &coordinates)?;
        // The coordinates determine the rest; what differs from it has been tampered with.
        if let Some(at) = topology.packed().iter().zip(words).position(|(wanted, found)| wanted != found) {
            return Err(bad(format!("word {at} of the packed index contradicts the slots")));
        }
        Ok(topology)
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

    /// Differs between any two topologies of a process.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The block that each slot holds: (row of blocks, column of blocks).
    pub fn coordinates(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.slot_row.iter().zip(&self.slot_col).map(|(&row, &col)| (row as usize, col as usize))
    }

    /// The blocks of a row of blocks, ascending: (slot, column of blocks).
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        let slots = &self.by_row[self.row_ptr[row] as usize..self.row_ptr[row + 1] as usize];
        slots.iter().map(|&slot| (slot as usize, self.slot_col[slot as usize] as usize))
    }

    /// The blocks of a column of blocks, ascending: (slot, row of blocks).
    pub fn col(&self, col: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        let slots = &self.by_col[self.col_ptr[col] as usize..self.col_ptr[col + 1] as usize];
        slots.iter().map(|&slot| (slot as usize, self.slot_row[slot as usize] as usize))
    }

    /// The block-CSR index: row pointers and columns in row order. [`Topology::in_row_order`] puts values in its order.
    pub fn csr(&self) -> (Vec<u32>, Vec<u32>) {
        (self.row_ptr.clone(), self.by_row.iter().map(|&slot| self.slot_col[slot as usize]).collect())
    }

    /// Values of `[nnz, block, block]` moved from slot order to row order.
    pub fn in_row_order(&self, values: &[f32]) -> Vec<f32> {
        let size = self.block * self.block;
        self.by_row.iter().flat_map(|&slot| &values[slot as usize * size..][..size]).copied().collect()
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

    /// The row-major dense matrix with these values in its present blocks, and zeros elsewhere.
    pub fn scatter(&self, values: &[f32]) -> Vec<f32> {
        let mut dense = vec![0.0; self.rows() * self.cols()];
        for (slot, (row, col)) in self.coordinates().enumerate() {
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
fn grid(rows: usize, cols: usize, block: usize) -> Result<[usize; 2]> {
    if !BLOCKS.contains(&block) {
        return Err(bad(format!("blocks of {block}; there are kernels for {BLOCKS:?}")));
    }
    if rows == 0 || cols == 0 || !rows.is_multiple_of(block) || !cols.is_multiple_of(block) {
        return Err(bad(format!("blocks of {block} do not divide a matrix of {rows} x {cols}")));
    }
    if rows.checked_mul(cols).is_none() || rows.max(cols) / block > u32::MAX as usize {
        return Err(bad(format!("a matrix of {rows} x {cols} overflows its index")));
    }
    Ok([rows / block, cols / block])
}

/// The kernels index values with 32 bits.
fn check_size(nnz: usize, block: usize) -> Result<()> {
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

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn bad(reason: String) -> Error {
    Error::Topology { reason }
}
