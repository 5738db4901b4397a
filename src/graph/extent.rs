//! Rows or columns of a matrix that count, where others pad it to whole blocks.

use std::ops::Range;

use crate::sparse::Topology;

/// Ascending ranges of the rows, or of the columns, of a matrix that stand for units. The lines between and behind them are padding:
/// their weights and biases are 0, and no gradient reaches them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Extent(Vec<Range<usize>>);

impl Extent {
    /// The first `real` of `padded` lines; `None` where those are all.
    pub fn first(real: usize, padded: usize) -> Option<Self> {
        Self::of_parts([real], [padded])
    }

    /// The first lines of each of several parts that follow each other, as of experts; `None` where no part is padded.
    pub fn of_parts(
        real: impl IntoIterator<Item = usize>,
        padded: impl IntoIterator<Item = usize>,
    ) -> Option<Self> {
        let (mut ranges, mut begin, mut pads) = (Vec::new(), 0, false);
        for (real, padded) in real.into_iter().zip(padded) {
            ranges.push(begin..begin + real);
            begin += padded;
            pads |= real < padded;
        }
        pads.then_some(Self(ranges))
    }

    /// Number of lines that count.
    pub fn count(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// The lines that count, ascending.
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.0.iter().cloned().flatten()
    }

    /// Whether each of `count` lines counts.
    pub fn mask(&self, count: usize) -> Vec<bool> {
        let mut mask = vec![false; count];
        self.lines().for_each(|line| mask[line] = true);
        mask
    }
}

/// Sets elements outside the extents of a parameter's rows and columns to 0: those of a topology's blocks, in slot order, or of the
/// whole shape, row by row.
pub(super) fn zero_padding(
    extent: &[Option<Extent>; 2],
    shape: &[usize],
    topology: Option<&Topology>,
    values: &mut [f32],
) {
    if extent.iter().all(Option::is_none) {
        return;
    }
    let sides = [shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1)];
    let mask =
        |axis: usize| extent[axis].as_ref().map_or(vec![true; sides[axis]], |lines| lines.mask(sides[axis]));
    let [rows, cols] = [mask(0), mask(1)];
    let zero = |values: &mut [f32], width: usize, [row, col]: [usize; 2]| {
        for (at, value) in values.iter_mut().enumerate() {
            if !(rows[row + at / width] && cols[col + at % width]) {
                *value = 0.0;
            }
        }
    };
    match topology {
        None => zero(values, sides[1], [0, 0]),
        Some(topology) => {
            let block = topology.block();
            let blocks = values.chunks_mut(block * block).zip(topology.coordinates());
            blocks.for_each(|(values, (row, col))| zero(values, block, [row * block, col * block]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_padded_one_by_one() {
        assert_eq!(Extent::first(16, 16), None);
        assert_eq!(Extent::of_parts([8, 16], [8, 16]), None);
        let extent = Extent::of_parts([2, 3, 1], [2, 4, 2]).unwrap();
        assert_eq!(extent.lines().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6]);
        assert_eq!(extent.count(), 6);
        assert_eq!(extent.mask(8), [true, true, true, true, true, false, true, false]);
    }
}
