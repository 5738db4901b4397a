//! Folders of IDX files, by the names that MNIST, Fashion-MNIST, KMNIST and EMNIST give them.
//!
//! A part is `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, also with `.gz`; KMNIST and Fashion-MNIST have MNIST's names.
//! EMNIST begins each name with its split, as in `emnist-letters-train-images-idx3-ubyte.gz`, and says `test` for `t10k`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::classes::{self, Classes};
use super::idx::{Part, pair};
use super::table::Table;
use crate::{Error, Result, files};

/// Words for the training and the test part in names of files.
const TRAIN: &[&str] = &["train"];
const TEST: &[&str] = &["t10k", "test"];

/// Files of a folder whose names begin with a prefix, which may be empty.
struct Files {
    folder: PathBuf,
    prefix: String,
}

/// Reads the four files of a folder, `DIR`, or of one of several sets in it, `DIR/PREFIX`, as in `gzip/emnist-letters`. The classes are
/// the labels of the training images, in ascending order.
///
/// # Errors
/// [`Error::Data`] naming the file that is missing or malformed, several sets in one folder, a single class, or a test image of a
/// class that no training image has.
pub(super) fn load(path: &Path) -> Result<(Table, Table, Classes)> {
    let files = Files::find(path)?;
    let (train, test) = (files.read(TRAIN)?, files.read(TEST)?);
    classes::number(path, train, test)
}

/// Whether a folder has training images.
pub(super) fn is_there(folder: &Path) -> bool {
    folder.is_dir() && !prefixes(folder).is_empty()
}

/// Prefixes of the training images in a folder.
fn prefixes(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.filter_map(|entry| prefix(entry.file_name().to_str()?).map(str::to_owned)).collect()
}

/// Part of a name before `train-images…`, if it is that of a file of training images.
fn prefix(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let endings = ["train-images-idx3-ubyte", "train-images.idx3-ubyte"];
    let prefix = endings.iter().find_map(|ending| name.strip_suffix(ending))?;
    (prefix.is_empty() || prefix.ends_with('-')).then_some(prefix)
}

impl Files {
    fn find(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
        let name = path.file_name().and_then(|name| name.to_str());
        if let (false, Some(parent), Some(name)) = (path.is_dir(), path.parent(), name)
            && prefixes(parent).contains(&format!("{name}-"))
        {
            return Ok(Self { folder: parent.to_owned(), prefix: format!("{name}-") });
        }
        let prefixes = prefixes(path);
        let prefix = match prefixes.len() {
            1 => prefixes.first().cloned(),
            _ => prefixes.get("").cloned(),
        };
        let folder = path.to_owned();
        match prefix {
            Some(prefix) => Ok(Self { folder, prefix }),
            None if prefixes.is_empty() => {
                Err(bad("has no train-images-idx3-ubyte (nor with .gz)".to_owned()))
            }
            None => {
                let sets = prefixes
                    .iter()
                    .map(|prefix| format!("idx:{}", path.join(prefix.trim_end_matches('-')).display()));
                Err(bad(format!(
                    "has several sets of images; choose {}",
                    sets.collect::<Vec<_>>().join(" or ")
                )))
            }
        }
    }

    /// Images and labels of a part, by the names that it may have.
    fn read(&self, parts: &[&str]) -> Result<Table> {
        let (images, labels) = (self.locate(parts, "images", 3)?, self.locate(parts, "labels", 1)?);
        let image_bytes = files::read(&images, files::most_bytes())?;
        let label_bytes = files::read(&labels, files::most_bytes())?;
        pair(
            &Part { path: &images, bytes: &image_bytes },
            &Part { path: &labels, bytes: &label_bytes },
            1.0 / 255.0,
        )
    }

    fn locate(&self, parts: &[&str], kind: &str, rank: usize) -> Result<PathBuf> {
        let Self { folder, prefix } = self;
        let names = |dot: &'static str| {
            parts.iter().map(move |part| format!("{prefix}{part}-{kind}{dot}idx{rank}-ubyte"))
        };
        let mut candidates = names("-")
            .chain(names("."))
            .flat_map(|name| [folder.join(format!("{name}.gz")), folder.join(name)]);
        candidates.find(|path| path.is_file()).ok_or_else(|| Error::Data {
            path: folder.clone(),
            reason: format!("has no {} (nor with .gz)", names("-").collect::<Vec<_>>().join(" or ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IDX file of bytes.
    fn idx(sides: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, sides.len() as u8];
        sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
        file.extend(bytes);
        file
    }

    /// Writes three images of 2 x 2 pixels, all of one value, and their labels.
    fn write(folder: &Path, [images, labels]: [&str; 2], value: u8, classes: [u8; 3]) {
        std::fs::write(folder.join(images), idx(&[3, 2, 2], &[value; 12])).unwrap();
        std::fs::write(folder.join(labels), idx(&[3], &classes)).unwrap();
    }

    fn emnist(folder: &Path, split: &str, classes: [u8; 3]) {
        for (part, value) in [("train", 1), ("test", 2)] {
            let [images, labels] =
                ["images-idx3", "labels-idx1"].map(|kind| format!("emnist-{split}-{part}-{kind}-ubyte"));
            write(folder, [&images, &labels], value, classes);
        }
    }

    #[test]
    fn emnists_letters_are_numbered_from_the_first_that_occurs() {
        let folder = tempfile::tempdir().unwrap();
        emnist(folder.path(), "letters", [26, 1, 7]);
        let (train, test, classes) = load(folder.path()).unwrap();
        assert_eq!((train.labels(), test.labels()), (&[2, 0, 1][..], &[2, 0, 1][..]));
        assert_eq!(classes.names, ["1", "7", "26"]);
        let mut features = [0.0; 4];
        test.fill(&[0], 4, &mut features, &mut [0]);
        assert_eq!(features, [2.0 / 255.0; 4]);
    }

    #[test]
    fn one_of_several_sets_is_chosen_by_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        emnist(folder.path(), "letters", [1, 2, 3]);
        emnist(folder.path(), "digits", [0, 1, 2]);
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has several sets of images; choose idx:"), "{error}");
        assert!(error.contains("emnist-digits or idx:") && error.ends_with("emnist-letters"), "{error}");
        let (train, _, classes) = load(&folder.path().join("emnist-letters")).unwrap();
        assert_eq!((train.labels(), classes.count), (&[0, 1, 2][..], 3));
        // Labels from 0 up are their own names.
        assert!(load(&folder.path().join("emnist-digits")).unwrap().2.names.is_empty());
        assert!(load(&folder.path().join("emnist-byclass")).is_err());
        // MNIST's names, as KMNIST has them, go before others.
        write(folder.path(), ["train-images.idx3-ubyte", "train-labels.idx1-ubyte"], 9, [0, 1, 1]);
        write(folder.path(), ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], 9, [0, 0, 1]);
        assert_eq!(load(folder.path()).unwrap().2.count, 2);
        assert!(is_there(folder.path()));
    }

    #[test]
    fn prefixes_of_names() {
        assert_eq!(prefix("train-images-idx3-ubyte.gz"), Some(""));
        assert_eq!(prefix("emnist-letters-train-images-idx3-ubyte"), Some("emnist-letters-"));
        assert_eq!(prefix("emnist-letters-test-images-idx3-ubyte"), None);
        assert_eq!(prefix("restrain-images-idx3-ubyte"), None);
    }
}
