//! Rows of features with a label or a value each.

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

/// Target of each row.
#[derive(Debug, Clone, PartialEq)]
enum RowTargets {
    Labels(Vec<u32>),
    Values(Vec<f32>),
}

/// Rows of features with a label each, or with a value to predict.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    features: Features,
    targets: RowTargets,
    width: usize,
}

impl Features {
    /// Number of features of all rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len(),
            Self::Floats(floats) => floats.len(),
        }
    }

    /// Whether there is no feature.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    /// Features, row after row, and a label for each row.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no rows or columns, or the numbers of features and labels do not match.
    pub fn new(features: Features, labels: Vec<u32>, width: usize) -> Result<Self> {
        Self::of_targets(features, RowTargets::Labels(labels), width)
    }

    /// Features, row after row, and a value to predict for each row, as a regression has.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn with_values(features: Features, values: Vec<f32>, width: usize) -> Result<Self> {
        Self::of_targets(features, RowTargets::Values(values), width)
    }

    fn of_targets(features: Features, targets: RowTargets, width: usize) -> Result<Self> {
        let count = features.len();
        let table = Self { features, targets, width };
        let rows = table.rows();
        if rows == 0 || width == 0 || rows.checked_mul(width) != Some(count) {
            let wanted = format!("{rows} rows of {width}, and at least one of each");
            return Err(Error::argument("Table", "features", wanted, format!("{count} numbers")));
        }
        Ok(table)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.targets {
            RowTargets::Labels(labels) => labels.len(),
            RowTargets::Values(values) => values.len(),
        }
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The features, row after row.
    pub(super) fn features(&self) -> &Features {
        &self.features
    }

    /// The label of each row; none where rows have values.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            RowTargets::Labels(labels) => labels,
            RowTargets::Values(_) => &[],
        }
    }

    /// The value of each row, where rows have values in place of labels.
    pub fn values(&self) -> Option<&[f32]> {
        match &self.targets {
            RowTargets::Labels(_) => None,
            RowTargets::Values(values) => Some(values),
        }
    }

    /// Changes every label; where one has no new label nothing changes.
    ///
    /// # Errors
    /// The first row whose label has none.
    pub(super) fn relabel(&mut self, change: impl Fn(u32) -> Option<u32>) -> std::result::Result<(), usize> {
        if let RowTargets::Labels(labels) = &mut self.targets {
            let changed = labels.iter().enumerate().map(|(row, &label)| change(label).ok_or(row));
            *labels = changed.collect::<std::result::Result<_, _>>()?;
        }
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
        let targets = match &self.targets {
            RowTargets::Labels(labels) => RowTargets::Labels(gather(labels, rows, 1)),
            RowTargets::Values(values) => RowTargets::Values(gather(values, rows, 1)),
        };
        Self::of_targets(features, targets, self.width)
    }

    /// Adds the rows of another table of the same width, type of features and kind of targets.
    ///
    /// # Errors
    /// [`Error::Argument`] for another width, type or kind; nothing is added then.
    pub(super) fn append(&mut self, other: Self) -> Result<()> {
        let unlike = || Error::argument("Table", "append", "rows of one width and type", "others");
        if self.width != other.width {
            return Err(unlike());
        }
        match (&mut self.targets, other.targets, &mut self.features, other.features) {
            (
                RowTargets::Labels(labels),
                RowTargets::Labels(added),
                Features::Bytes(bytes, factor),
                Features::Bytes(more, other),
            ) if *factor == other => {
                labels.extend(added);
                bytes.extend(more);
            }
            (
                RowTargets::Labels(labels),
                RowTargets::Labels(added),
                Features::Floats(floats),
                Features::Floats(more),
            ) => {
                labels.extend(added);
                floats.extend(more);
            }
            _ => return Err(unlike()),
        }
        Ok(())
    }

    /// Keeps the first rows only.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.targets {
            RowTargets::Labels(labels) => labels.truncate(rows),
            RowTargets::Values(values) => values.truncate(rows),
        }
        match &mut self.features {
            Features::Bytes(bytes, _) => bytes.truncate(rows * self.width),
            Features::Floats(floats) => floats.truncate(rows * self.width),
        }
    }

    /// Gathers a batch: `rows` into `features[batch, stride]` and `labels[batch]`. Columns past the width become 0, and
    /// places past the last row become rows of 0 that do not count.
    ///
    /// # Panics
    /// If a row is not there or has no label, or the batch has fewer places than `rows`.
    pub fn fill(&self, rows: &[u32], stride: usize, features: &mut [f32], labels: &mut [u32]) {
        self.fill_features(rows, stride, features);
        labels.fill(IGNORED);
        labels.iter_mut().zip(rows).for_each(|(label, &row)| *label = self.labels()[row as usize]);
    }

    /// Gathers a batch as [`Table::fill`] does: `rows` into `features[batch, stride]` and `values[batch]`, with NaN in places past the
    /// last row.
    ///
    /// # Panics
    /// If a row is not there or has no value, or the batch has fewer places than `rows`.
    pub fn fill_values(&self, rows: &[u32], stride: usize, features: &mut [f32], values: &mut [f32]) {
        self.fill_features(rows, stride, features);
        values.fill(f32::NAN);
        let known = self.values().unwrap_or_default();
        values.iter_mut().zip(rows).for_each(|(value, &row)| *value = known[row as usize]);
    }

    fn fill_features(&self, rows: &[u32], stride: usize, features: &mut [f32]) {
        features.fill(0.0);
        for (place, &row) in rows.iter().enumerate() {
            let row = row as usize;
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
    fn values_stand_in_the_place_of_labels() {
        let mut table =
            Table::with_values(Features::Floats(vec![1.0, 2.0, 3.0]), vec![0.5, -0.5, 9.0], 1).unwrap();
        table.truncate(2);
        let (mut x, mut values) = (vec![9.0; 3], vec![9.0; 3]);
        table.fill_values(&[1, 0], 1, &mut x, &mut values);
        assert_eq!((x, &values[..2]), (vec![2.0, 1.0, 0.0], &[-0.5, 0.5][..]));
        assert!(values[2].is_nan() && table.labels().is_empty() && table.rows() == 2);
        assert!(Table::with_values(Features::Floats(vec![1.0]), vec![0.5, 1.0], 1).is_err());
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
