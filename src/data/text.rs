//! Texts, character by character: a character is a byte, and its number is its place among those that occur.
//!
//! The first nine tenths are for training, the rest is held out. A row is a window of as many characters as the model sees;
//! its labels are the characters that follow each of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::terms::IGNORED;
use crate::{Error, Result, files};

/// A part of a text, as numbers of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    ids: Arc<[u8]>,
    context: usize,
    rows: usize,
}

/// The characters of a text that is read, ascending, and its two parts in windows of `context` characters.
pub(super) fn load(path: &Path, context: usize) -> Result<(Vec<u8>, [Text; 2])> {
    let most = files::most_bytes();
    let mut bytes = Vec::new();
    for file in files_of(path)? {
        bytes.extend(files::read(&file, most - bytes.len() as u64)?);
    }
    of_bytes(path, &bytes, context)
}

/// Vocabulary and parts of a text that was read from `path`.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8], context: usize) -> Result<(Vec<u8>, [Text; 2])> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let mut occurs = [false; 256];
    bytes.iter().for_each(|&byte| occurs[usize::from(byte)] = true);
    let vocabulary: Vec<u8> = (0..=u8::MAX).filter(|&byte| occurs[usize::from(byte)]).collect();
    if vocabulary.len() < 2 {
        return Err(bad(format!("has {} different characters; at least 2 are needed", vocabulary.len())));
    }
    let ids = encode(&vocabulary, bytes).map_err(|_| bad("has no vocabulary".to_owned()))?;
    let (train, test) = ids.split_at(ids.len() / 10 * 9);
    let part = |ids: &[u8]| Text::new(ids, context).map_err(|error| bad(error.to_string()));
    Ok((vocabulary, [part(train)?, part(test)?]))
}

/// The file, or every `.txt` file of the folder in the order of names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(Error::io(path))?;
    let paths = entries.map(|entry| Ok(entry.map_err(Error::io(path))?.path()));
    let mut files = paths.collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    Ok(files)
}

/// The numbers of the characters of a file, or of a folder's `.txt` files, in a given vocabulary.
///
/// # Errors
/// [`Error::Data`] naming the first character that is not in the vocabulary, with its place.
pub(crate) fn read_text(path: &Path, vocabulary: &[u8]) -> Result<Vec<u8>> {
    let most = files::most_bytes();
    let mut bytes = Vec::new();
    for file in files_of(path)? {
        bytes.extend(files::read(&file, most - bytes.len() as u64)?);
    }
    encode(vocabulary, &bytes).map_err(|unknown| {
        let place = bytes.iter().position(|&byte| byte == unknown).unwrap_or_default() + 1;
        let reason =
            format!("character {place} is '{}', which the run was not trained with", unknown.escape_ascii());
        Error::Data { path: path.to_owned(), reason }
    })
}

/// The numbers of characters.
///
/// # Errors
/// The first character that is not in the vocabulary.
pub fn encode(vocabulary: &[u8], text: &[u8]) -> std::result::Result<Vec<u8>, u8> {
    let number = |byte: &u8| vocabulary.binary_search(byte).map(|at| at as u8).map_err(|_| *byte);
    text.iter().map(number).collect()
}

impl Text {
    /// Windows of `context` characters of a text, given as numbers; what is left over at the end is not seen.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no character to a window, or the text is shorter than one and the character after it.
    pub fn new(ids: &[u8], context: usize) -> Result<Self> {
        let rows = ids.len().saturating_sub(1).checked_div(context).unwrap_or(0);
        if rows == 0 {
            let wanted = format!("at least {} characters, one to follow the window", context.max(1) + 1);
            return Err(Error::argument("Text", "ids", wanted, ids.len()));
        }
        Ok(Self { ids: ids.into(), context, rows })
    }

    /// Number of windows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Characters of a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The numbers of the characters of all windows and of the last label.
    pub(super) fn ids(&self) -> &[u8] {
        &self.ids[..=self.rows * self.context]
    }

    /// The character after each character of each window, window after window.
    pub(crate) fn labels(&self) -> Vec<u32> {
        self.ids()[1..].iter().map(|&id| id.into()).collect()
    }

    /// The largest number of a character.
    pub(super) fn largest(&self) -> Option<u8> {
        self.ids.iter().copied().max()
    }

    /// Keeps the first windows only.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = rows;
    }

    /// Gathers a batch: the windows `rows` into `ids[batch * context]`, and into `labels` the character after each. Places past
    /// the last window hold no character and do not count.
    ///
    /// # Panics
    /// If a window is not there, or the batch has fewer places than `rows`.
    pub fn fill(&self, rows: &[u32], ids: &mut [u32], labels: &mut [u32]) {
        ids.fill(IGNORED);
        labels.fill(IGNORED);
        for (place, &row) in rows.iter().enumerate() {
            let window = &self.ids[row as usize * self.context..][..=self.context];
            for (at, pair) in window.windows(2).enumerate() {
                ids[place * self.context + at] = pair[0].into();
                labels[place * self.context + at] = pair[1].into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_each_other_and_labels_follow_characters() {
        let text = Text::new(&[0, 1, 2, 3, 4, 5, 6, 7], 3).unwrap();
        assert_eq!((text.rows(), text.context()), (2, 3));
        let (mut ids, mut labels) = (vec![9; 9], vec![9; 9]);
        text.fill(&[1, 0], &mut ids, &mut labels);
        assert_eq!(ids, [3, 4, 5, 0, 1, 2, IGNORED, IGNORED, IGNORED]);
        assert_eq!(labels, [4, 5, 6, 1, 2, 3, IGNORED, IGNORED, IGNORED]);
    }

    #[test]
    fn what_is_too_short_is_refused() {
        assert!(Text::new(&[0; 4], 3).is_ok());
        assert!(Text::new(&[0; 3], 3).is_err());
        assert!(Text::new(&[], 1).is_err());
        assert!(Text::new(&[0; 3], 0).is_err());
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.txt"), "dcba".repeat(10)).unwrap();
        std::fs::write(folder.path().join("a.txt"), "abcd".repeat(10)).unwrap();
        std::fs::write(folder.path().join("a.md"), "#").unwrap();
        let (vocabulary, [train, test]) = load(folder.path(), 4).unwrap();
        assert_eq!(vocabulary, b"abcd");
        let (mut ids, mut labels) = (vec![0; 4], vec![0; 4]);
        train.fill(&[0], &mut ids, &mut labels);
        assert_eq!((ids, labels), (vec![0, 1, 2, 3], vec![1, 2, 3, 0]));
        assert_eq!((train.rows(), test.rows()), (17, 1));
    }

    #[test]
    fn a_character_without_a_number_is_named() {
        assert_eq!(encode(b"abc", b"cab"), Ok(vec![2, 0, 1]));
        assert_eq!(encode(b"abc", b"cub"), Err(b'u'));
        assert!(load(Path::new("/nowhere.txt"), 4).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "aaaaaaaaaa").unwrap();
        assert!(load(file.path(), 4).unwrap_err().to_string().contains("1 different"));
    }
}
