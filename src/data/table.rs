//! Rows of features with a label each.

use crate::random::{Key, Stream};
use crate::terms::IGNORED;
use crate::{Error, Result};

/// Features, in the type they are stored in.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// Bytes, which stand for their value times a factor.
    Bytes(Vec<u8>, f32),
    /// Numbers.
    Floats(Vec<f32>),
}

/// Rows of features with a label each.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    features: Features,
    labels: Vec<u32>,
    width: usize,
}

impl Table {
    /// Features, row after row, and a label for each row.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows or columns, or the numbers of features and labels do not match.
    pub fn new(features: Features, labels: Vec<u32>, width: usize) -> Result<Self> {
        let count = match &features {
            Features::Bytes(bytes, _) => bytes.len(),
            Features::Floats(floats) => floats.len(),
        };
        if labels.is_empty() || width == 0 || labels.len().checked_mul(width) != Some(count) {
            let wanted = format!("{} rows of {width}, and at least one of each", labels.len());
            return Err(Error::argument("Table", "features", wanted, format!("{count} numbers")));
        }
        Ok(Self { features, labels, width })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The features, row after row.
    pub(super) fn features(&self) -> &Features {
        &self.features
    }

    /// The label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Changes every label; where one has no new label nothing changes.
    ///
    /// # Errors
    /// The first row whose label has none.
    pub(super) fn relabel(&mut self, change: impl Fn(u32) -> Option<u32>) -> std::result::Result<(), usize> {
        let changed = self.labels.iter().enumerate().map(|(row, &label)| change(label).ok_or(row));
        self.labels = changed.collect::<std::result::Result<_, _>>()?;
        Ok(())
    }

    /// Some of the rows, in the order of `rows`.
    ///
    /// # Errors
    /// As [`Table::new`].
    ///
    /// # Panics
    /// If a row is not there.
    pub(super) fn pick(&self, rows: &[u32]) -> Result<Self> {
        fn gather<T: Copy>(from: &[T], rows: &[u32], width: usize) -> Vec<T> {
            rows.iter().flat_map(|&row| &from[row as usize * width..][..width]).copied().collect()
        }
        let features = match &self.features {
            Features::Bytes(bytes, factor) => Features::Bytes(gather(bytes, rows, self.width), *factor),
            Features::Floats(floats) => Features::Floats(gather(floats, rows, self.width)),
        };
        Self::new(features, gather(&self.labels, rows, 1), self.width)
    }

    /// Adds the rows of another table of the same width and type of features.
    ///
    /// # Errors
    /// [`Error::Argument`] for another width or type.
    pub(super) fn append(&mut self, other: Self) -> Result<()> {
        match (&mut self.features, other.features) {
            (Features::Bytes(bytes, factor), Features::Bytes(more, same))
                if *factor == same && self.width == other.width =>
            {
                bytes.extend(more);
            }
            (Features::Floats(floats), Features::Floats(more)) if self.width == other.width => {
                floats.extend(more);
            }
            _ => {
                let found = format!("rows of {} features of {}", other.width, self.width);
                return Err(Error::argument("Table", "append", "rows of one width and type", found));
            }
        }
        self.labels.extend(other.labels);
        Ok(())
    }

    /// Keeps the first rows only.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.labels.truncate(rows);
        match &mut self.features {
            Features::Bytes(bytes, _) => bytes.truncate(rows * self.width),
            Features::Floats(floats) => floats.truncate(rows * self.width),
        }
    }

    /// Gathers a batch: `rows` into `features[batch, stride]` and `labels[batch]`. Columns past the width become 0, and
    /// places past the last row become rows of 0 that do not count.
    ///
    /// # Panics
    /// If a row is not there, or the batch has fewer places than `rows`.
    pub fn fill(&self, rows: &[u32], stride: usize, features: &mut [f32], labels: &mut [u32]) {
        features.fill(0.0);
        labels.fill(IGNORED);
        for (place, &row) in rows.iter().enumerate() {
            let row = row as usize;
            labels[place] = self.labels[row];
            let from = row * self.width..(row + 1) * self.width;
            let into = &mut features[place * stride..place * stride + self.width];
            match &self.features {
                Features::Bytes(bytes, factor) => {
                    for (x, &byte) in into.iter_mut().zip(&bytes[from]) {
                        *x = f32::from(byte) * factor;
                    }
                }
                Features::Floats(floats) => into.copy_from_slice(&floats[from]),
            }
        }
    }
}

/// The order in which an epoch sees its rows: a shuffle that depends on the seed and the epoch alone.
pub fn epoch_order(rows: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let key = Key::new(seed, Stream::Shuffle);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    Key(key.at([epoch as u32, (epoch >> 32) as u32])).walk().shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_padded_with_rows_that_do_not_count() {
        let table = Table::new(Features::Bytes(vec![1, 2, 3, 4], 0.5), vec![7, 8], 2).unwrap();
        let (mut x, mut labels) = (vec![9.0; 9], vec![9; 3]);
        table.fill(&[1, 0], 3, &mut x, &mut labels);
        assert_eq!(x, [1.5, 2.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(labels, [8, 7, IGNORED]);
    }

    #[test]
    fn epochs_are_shuffles_of_their_own() {
        let order = |seed, epoch| epoch_order(100, seed, epoch);
        let mut sorted = order(1, 0);
        assert_ne!(sorted, order(1, 1));
        assert_ne!(sorted, order(2, 0));
        assert_eq!(sorted, order(1, 0));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
