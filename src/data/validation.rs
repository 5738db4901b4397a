//! Validation rows: what is chosen by, apart from the rows to train on and to test on.

use super::csv;
use super::dataset::{Dataset, LoadOptions};
use super::encoding::Encoding;
use super::rows::Rows;
use super::source::{Holdout, Source};
use super::table::Table;
use super::text;
use crate::random::{Key, Stream};
use crate::{Error, Result};

fn bad(reason: String) -> Error {
    Error::Config { option: "validation", reason }
}

impl Dataset {
    /// Sets validation rows aside: a share of the training rows, which are then no longer trained on, or all rows of another source,
    /// which is read with the seed, the context and the treatment of images of `options`.
    ///
    /// # Errors
    /// [`Error::Config`] naming what is wrong: a share that leaves no row to train or to validate on, a source of another kind,
    /// of rows of another width, or with a class or a byte that the training rows do not have; as [`Dataset::load`].
    pub fn hold_out(mut self, of: &Holdout, options: &LoadOptions) -> Result<Self> {
        let rows = match of {
            Holdout::Share(share) => {
                let [kept, held] = split(self.train.rows(), *share, options.seed)?;
                let held = self.train.pick(&held)?;
                self.train = self.train.pick(&kept)?;
                held
            }
            Holdout::Source(source) => self.rows_of(source, options)?,
        };
        self.validation = Some(rows);
        Ok(self)
    }

    /// All rows of another source, with the classes or the vocabulary of this data set.
    fn rows_of(&self, source: &Source, options: &LoadOptions) -> Result<Rows> {
        if source.absolute()?.to_string() == self.name || source.to_string() == self.name {
            return Err(bad(format!(
                "{source} is the data to train on; give a share of it, or another source"
            )));
        }
        match (&self.train, source) {
            (Rows::Text(_), Source::Text(path)) => {
                text::encoded(path, &self.vocabulary, options.context).map(Rows::Text)
            }
            (Rows::Text(_), _) => Err(bad(format!("{source} is no text, but {} is one", self.name))),
            (Rows::Table(_), Source::Text(_)) => {
                Err(bad(format!("{source} is a text, but {} is none", self.name)))
            }
            (Rows::Table(_), Source::Csv(path)) => match self.encoding.as_ref().and_then(Encoding::table) {
                Some(encoding) => csv::labelled(path, encoding).map(Rows::Table),
                None => Err(bad(format!("{source} is a table, but {} is none", self.name))),
            },
            (Rows::Table(table), _) => {
                let other = Self::read(source, options)?;
                self.with_classes(table, source, other).map(Rows::Table)
            }
            (Rows::Batches(_), _) => Err(bad("rows of a program's own have no source".to_owned())),
        }
    }

    /// All rows of `other` as one table, with this data set's numbers of the classes.
    fn with_classes(&self, table: &Table, source: &Source, other: Self) -> Result<Table> {
        if other.width() != table.width() {
            let [found, wanted] = [other.width(), table.width()];
            return Err(bad(format!(
                "{source} has rows of {found} features, but {} has {wanted}",
                self.name
            )));
        }
        let classes = (0..other.classes)
            .map(|class| {
                let name = other.class_name(class);
                let known = (0..self.classes).find(|&known| self.class_name(known) == name);
                known.map(|class| class as u32).ok_or_else(|| {
                    bad(format!("{source} has the class {name}, which {} does not have", self.name))
                })
            })
            .collect::<Result<Vec<u32>>>()?;
        let (Rows::Table(mut rows), Rows::Table(test)) = (other.train, other.test) else {
            return Err(bad(format!("{source} is no table")));
        };
        rows.append(test)?;
        // Labels of a data set are below its number of classes.
        rows.relabel(|label| classes.get(label as usize).copied())
            .map_err(|row| bad(format!("row {row} of {source} has no class")))?;
        Ok(rows)
    }

    /// Name of a class: its number, unless the data has another.
    pub fn class_name(&self, class: usize) -> String {
        let names = self.encoding.as_ref().map_or(&[][..], Encoding::classes);
        names.get(class).map_or_else(|| class.to_string(), Clone::clone)
    }
}

/// Rows to keep and rows to set aside, of `count`, both ascending: the first `share` of a shuffle are set aside.
fn split(count: usize, share: f64, seed: u64) -> Result<[Vec<u32>; 2]> {
    let held = (share * count as f64).round() as usize;
    if held == 0 || held >= count {
        let rows = format!("{share} of {count} training rows");
        let reason = match held {
            0 => format!("{rows} leaves no row to validate on; give at least {:.2e}", 0.5 / count as f64),
            _ => format!("{rows} leaves no row to train on"),
        };
        return Err(bad(reason));
    }
    let mut order: Vec<u32> = (0..count as u32).collect();
    Key::new(seed, Stream::Validation).walk().shuffle(&mut order);
    let mut kept = order.split_off(held);
    order.sort_unstable();
    kept.sort_unstable();
    Ok([kept, order])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Features, Fingerprint};

    fn digits() -> Dataset {
        Dataset::load(&Source::Digits, 1, 0).unwrap()
    }

    /// Ten rows whose one feature is the row's number, and a row to test on.
    fn rows(names: &[&str]) -> Dataset {
        let table = |values: std::ops::Range<u8>| {
            let labels = values.clone().map(|value| u32::from(value) % 2).collect();
            Table::new(Features::Bytes(values.collect(), 1.0), labels, 1).unwrap()
        };
        let classes = names.iter().map(|&name| name.to_owned()).collect();
        let encoding = Some(Encoding::Images { width: 1, factor: 1.0, classes, pixels: None });
        Dataset { encoding, ..Dataset::of_tables("rows", table(0..10), table(10..12), 2) }
    }

    /// The features of all rows.
    fn features(rows: &Rows) -> Vec<f32> {
        let Rows::Table(table) = rows else { panic!("no table") };
        let places: Vec<u32> = (0..table.rows() as u32).collect();
        let (mut features, mut labels) = (vec![0.0; places.len()], vec![0; places.len()]);
        table.fill(&places, 1, &mut features, &mut labels);
        features
    }

    fn reading(seed: u64, context: usize) -> LoadOptions {
        LoadOptions { seed, context, ..LoadOptions::default() }
    }

    #[test]
    fn a_share_is_drawn_by_the_seed_and_is_not_trained_on() {
        let held = |seed| rows(&[]).hold_out(&Holdout::Share(0.3), &reading(seed, 0)).unwrap();
        let (first, again, other) = (held(1), held(1), held(2));
        let of = |data: &Dataset| (features(&data.train), features(data.validation.as_ref().unwrap()));
        assert_eq!(of(&first), of(&again));
        assert_ne!(of(&first), of(&other));
        let (train, validation) = of(&first);
        assert_eq!((train.len(), validation.len()), (7, 3));
        assert!(train.is_sorted() && validation.is_sorted());
        let mut all = [train, validation].concat();
        all.sort_by(f32::total_cmp);
        assert_eq!(all, (0..10).map(|row| row as f32).collect::<Vec<_>>());
        assert_eq!(first.test, rows(&[]).test);
        // Validation rows are part of the data, which a resumed run may not change.
        let mut changed = first.clone();
        changed.validation = other.validation;
        assert_ne!(Fingerprint::of(&first), Fingerprint::of(&changed));
        assert_ne!(Fingerprint::of(&first), Fingerprint::of(&rows(&[])));
    }

    #[test]
    fn a_share_leaves_rows_on_both_sides() {
        let refused =
            |share| rows(&[]).hold_out(&Holdout::Share(share), &reading(1, 0)).unwrap_err().to_string();
        assert!(
            refused(0.04).contains("0.04 of 10 training rows leaves no row to validate on"),
            "{}",
            refused(0.04)
        );
        assert!(refused(0.96).contains("0.96 of 10 training rows leaves no row to train on"));
        for text in ["0", "1", "-0.5", "NaN", "2"] {
            let error = text.parse::<Holdout>().unwrap_err().to_string();
            assert!(error.contains("is not a share above 0 and below 1"), "{error}");
        }
        assert_eq!("0.25".parse::<Holdout>().unwrap(), Holdout::Share(0.25));
        assert!("cats".parse::<Holdout>().unwrap_err().to_string().contains("neither a share"));
        for text in ["0.1", "digits", "idx:/a/b"] {
            assert_eq!(text.parse::<Holdout>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn windows_of_a_text_are_set_aside_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcdefghij".repeat(20)).unwrap();
        let data = || Dataset::load(&Source::Text(file.path().to_owned()), 1, 9).unwrap();
        let held = data().hold_out(&Holdout::Share(0.25), &reading(1, 9)).unwrap();
        let (Rows::Text(all), Rows::Text(train), Some(Rows::Text(validation))) =
            (data().train, held.train, held.validation)
        else {
            panic!("no text")
        };
        assert_eq!((all.rows(), train.rows(), validation.rows()), (19, 14, 5));
        let windows = |text: &crate::data::Text| -> Vec<[u32; 9]> {
            (0..text.rows() as u32)
                .map(|row| {
                    let (mut ids, mut labels) = ([0; 9], [0; 9]);
                    text.fill(&[row], &mut ids, &mut labels);
                    assert_eq!(labels[..8], ids[1..]);
                    ids
                })
                .collect()
        };
        let mut found = [windows(&train), windows(&validation)].concat();
        let mut wanted = windows(&all);
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert_eq!(validation.labels().count(), 45);
    }

    #[test]
    fn another_source_is_of_the_same_kind() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str, bytes: &str| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            Source::Text(folder.path().join(name))
        };
        let (first, known, unknown) =
            (text("a", &"abcd".repeat(30)), text("b", &"dcba".repeat(5)), text("c", "abcdeabcde"));
        let data = || Dataset::load(&first, 1, 4).unwrap();
        let refused = |data: Dataset, source: &Source| {
            data.hold_out(&Holdout::Source(source.clone()), &reading(1, 4)).unwrap_err().to_string()
        };
        let held = data().hold_out(&Holdout::Source(known), &reading(1, 4)).unwrap();
        assert_eq!((held.train.rows(), held.validation.unwrap().rows()), (26, 4));
        assert!(refused(data(), &unknown).contains("byte 4 is 'e', which does not occur in the text"));
        assert!(refused(data(), &first).contains("is the data to train on"));
        assert!(refused(data(), &Source::Digits).contains("digits is no text"));
        assert!(refused(digits(), &first).contains("is a text, but digits is none"));
        assert!(refused(digits(), &Source::Digits).contains("is the data to train on"));
        assert!(
            refused(digits(), &Source::Csv("table.csv".into())).contains("is a table, but digits is none")
        );
        assert!(
            refused(rows(&[]), &Source::Digits).contains("digits has rows of 64 features, but rows has 1")
        );
    }

    #[test]
    fn classes_of_another_source_go_by_their_names() {
        let source = Source::Digits;
        let Rows::Table(table) = rows(&[]).train else { panic!("no table") };
        // "b" is class 1 here and class 0 there.
        let other = Dataset { classes: 1, ..rows(&["b"]) };
        let other = Dataset {
            train: table.pick(&[0, 2]).unwrap().into(),
            test: table.pick(&[4]).unwrap().into(),
            ..other
        };
        let found = rows(&["a", "b"]).with_classes(&table, &source, other.clone()).unwrap();
        assert_eq!(found.labels(), [1, 1, 1]);
        let error = rows(&["a", "c"]).with_classes(&table, &source, other).unwrap_err().to_string();
        assert!(error.contains("digits has the class b, which rows does not have"), "{error}");
    }
}
