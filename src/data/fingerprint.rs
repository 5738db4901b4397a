//! Fingerprints, by which data that changed is noticed.

use std::fmt;

use super::dataset::Dataset;
use super::rows::Rows;
use super::table::Features;

/// CRC-32 over everything a run sees of a data set (rows, labels or values, their order, widths, classes and vocabulary), or over the
/// bytes of a file. It guards against mistakes, not against forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(u32);

impl Fingerprint {
    /// The fingerprint of a data set.
    pub fn of(data: &Dataset) -> Self {
        let mut crc = flate2::Crc::new();
        let sizes = [data.classes, data.width(), data.train.rows(), data.test.rows()];
        sizes.iter().for_each(|&size| crc.update(&(size as u64).to_le_bytes()));
        crc.update(&data.vocabulary);
        for rows in [&data.train, &data.test].into_iter().chain(&data.validation) {
            match rows {
                Rows::Table(table) => {
                    match table.features() {
                        Features::Bytes(bytes, factor) => {
                            crc.update(&factor.to_le_bytes());
                            crc.update(bytes);
                        }
                        Features::Floats(floats) => crc.update(bytemuck::cast_slice(floats)),
                    }
                    crc.update(bytemuck::cast_slice(table.labels()));
                    crc.update(bytemuck::cast_slice(table.values().unwrap_or_default()));
                }
                Rows::Text(text) => text.slices().for_each(|ids| crc.update(ids)),
                Rows::Batches(batches) => crc.update(&batches.fingerprint().to_le_bytes()),
            }
        }
        Self(crc.sum())
    }

    /// The fingerprint of a file's bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        Self(crc.sum())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Table, Text};
    use super::*;

    fn table(features: Features, labels: &[u32], width: usize) -> Table {
        Table::new(features, labels.to_vec(), width).unwrap()
    }

    #[test]
    fn whatever_a_run_sees_changes_the_fingerprint() {
        let floats =
            |values: &[f32], labels: &[u32], width| table(Features::Floats(values.to_vec()), labels, width);
        let of = |train: &Table, test: &Table, classes| {
            Fingerprint::of(&Dataset::of_tables("data", train.clone(), test.clone(), classes))
        };
        let (train, test) = (floats(&[1.0, 2.0, 3.0, 4.0], &[0, 1], 2), floats(&[5.0, 6.0], &[0], 2));
        let mut seen = vec![
            of(&train, &test, 2),
            of(&train, &test, 3),
            of(&floats(&[1.0, 2.0, 3.0, 4.5], &[0, 1], 2), &test, 2),
            of(&floats(&[1.0, 2.0, 3.0, 4.0], &[1, 1], 2), &test, 2),
            of(&floats(&[3.0, 4.0, 1.0, 2.0], &[1, 0], 2), &test, 2),
            of(&train, &floats(&[5.0, 7.0], &[0], 2), 2),
            of(&train, &floats(&[5.0, 6.0], &[1], 2), 2),
            of(&floats(&[1.0, 2.0], &[0], 2), &floats(&[3.0, 4.0, 5.0, 6.0], &[1, 0], 2), 2),
            of(&table(Features::Bytes(vec![1, 2], 1.0), &[0], 2), &test, 2),
            of(&table(Features::Bytes(vec![1, 2], 0.5), &[0], 2), &test, 2),
        ];
        assert_eq!(seen[0], of(&train, &test, 2));
        // The name is none of the data: a file may be renamed.
        assert_eq!(seen[0], Fingerprint::of(&Dataset::of_tables("other", train, test, 2)));
        let all = seen.len();
        seen.sort_by_key(|fingerprint| fingerprint.0);
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn a_text_is_its_windows_and_its_vocabulary() {
        let of = |ids: &[u8], vocabulary: &[u8]| {
            let text = Text::new(ids, 2).unwrap();
            Fingerprint::of(&Dataset {
                name: "text".to_owned(),
                train: Rows::Text(text.clone()),
                test: Rows::Text(text),
                validation: None,
                classes: vocabulary.len(),
                vocabulary: vocabulary.to_vec(),
                encoding: None,
                notices: Vec::new(),
            })
        };
        let whole = of(&[0, 1, 2, 0, 1], b"abc");
        assert_ne!(whole, of(&[0, 1, 2, 0, 2], b"abc"));
        assert_ne!(whole, of(&[0, 1, 2, 0, 1], b"abd"));
        // A byte after the last window's labels is seen by nobody.
        assert_eq!(whole, of(&[0, 1, 2, 0, 1, 2], b"abc"));
    }
}
