//! Texts, byte by byte: the id of a byte is its place among the bytes that occur. Characters of UTF-8 other than ASCII are
//! several bytes, and so several ids.
//!
//! The first nine tenths are for training, the rest is held out. A row is a window of as many bytes as the model sees; its labels
//! are the bytes that follow each of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::terms::IGNORED;
use crate::{Error, Result, files};

/// A part of a text, as ids of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    ids: Arc<[u8]>,
    context: usize,
    rows: usize,
    /// The window of each row, where rows are some of the windows.
    windows: Option<Arc<[u32]>>,
}

/// The bytes that occur in a text, ascending, and its two parts in windows of `context` bytes.
pub(super) fn load(path: &Path, context: usize) -> Result<(Vec<u8>, [Text; 2])> {
    of_bytes(path, &read(path)?, context)
}

/// The bytes of a file, or of the files of a folder.
fn read(path: &Path) -> Result<Vec<u8>> {
    let most = files::most_bytes();
    let mut bytes = Vec::new();
    for file in files_of(path)? {
        bytes.extend(files::read(&file, most - bytes.len() as u64)?);
    }
    Ok(bytes)
}

/// Vocabulary and parts of a text that was read from `path`.
pub(crate) fn of_bytes(path: &Path, bytes: &[u8], context: usize) -> Result<(Vec<u8>, [Text; 2])> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let mut occurs = [false; 256];
    bytes.iter().for_each(|&byte| occurs[usize::from(byte)] = true);
    let vocabulary: Vec<u8> = (0..=u8::MAX).filter(|&byte| occurs[usize::from(byte)]).collect();
    if vocabulary.len() < 2 {
        return Err(bad(format!("has {} different bytes; at least 2 are needed", vocabulary.len())));
    }
    let ids = encode(&vocabulary, bytes).map_err(|_| bad("has no vocabulary".to_owned()))?;
    let (train, test) = ids.split_at(ids.len() / 10 * 9);
    if context > 0 && train.len().min(test.len()) <= context {
        let reason = format!(
            "has {} bytes, of which the last {}, a tenth, are held out for testing; a window of {context} with the byte that \
             follows it needs {} in either part: give a text of at least {} bytes, or a smaller --context",
            ids.len(),
            test.len(),
            context + 1,
            context.saturating_add(1).saturating_mul(10)
        );
        return Err(bad(reason));
    }
    let part = |ids: &[u8]| Text::new(ids, context).map_err(|error| bad(error.to_string()));
    Ok((vocabulary, [part(train)?, part(test)?]))
}

/// All of a text in windows of `context` bytes, by the ids of a vocabulary.
///
/// # Errors
/// [`Error::Data`] for a text that is too short, or has a byte that is not in the vocabulary; [`Error::Io`].
pub(super) fn encoded(path: &Path, vocabulary: &[u8], context: usize) -> Result<Text> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    Text::new(&read_text(path, vocabulary)?, context).map_err(|error| bad(error.to_string()))
}

/// The ids of the bytes of a file, or of a folder's `.txt` files, in a vocabulary.
///
/// # Errors
/// [`Error::Data`] naming the first byte that is not in the vocabulary, with its place; [`Error::Io`].
pub(crate) fn read_text(path: &Path, vocabulary: &[u8]) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    encode(vocabulary, &bytes).map_err(|place| {
        let byte = bytes[place].escape_ascii();
        let reason = format!("byte {place} is '{byte}', which does not occur in the text to train on");
        Error::Data { path: path.to_owned(), reason }
    })
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

/// The ids of bytes.
///
/// # Errors
/// The place of the first byte that is not in the vocabulary.
pub fn encode(vocabulary: &[u8], text: &[u8]) -> std::result::Result<Vec<u8>, usize> {
    let id = |(place, byte)| vocabulary.binary_search(byte).map(|at| at as u8).map_err(|_| place);
    text.iter().enumerate().map(id).collect()
}

impl Text {
    /// Windows of `context` bytes of a text, given as ids; what is left over at the end is not seen.
    ///
    /// # Errors
    /// [`Error::Argument`] if a window has no byte, or the text is shorter than a window and the byte after it.
    pub fn new(ids: &[u8], context: usize) -> Result<Self> {
        let rows = ids.len().saturating_sub(1).checked_div(context).unwrap_or(0);
        if rows == 0 {
            let wanted = format!("at least {} bytes, one to follow the window", context.max(1) + 1);
            return Err(Error::argument("Text", "ids", wanted, ids.len()));
        }
        Ok(Self { ids: ids.into(), context, rows, windows: None })
    }

    /// Number of windows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The ids of the bytes of each row and of its last label: one slice where the rows are consecutive windows.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let whole = self.windows.is_none().then(|| &self.ids[..=self.rows * self.context]);
        let picked = self.windows.iter().flat_map(|windows| &windows[..self.rows]);
        whole.into_iter().chain(picked.map(|&window| self.window(window)))
    }

    /// The label of each byte of the rows.
    pub(crate) fn labels(&self) -> impl Iterator<Item = u8> {
        self.slices().flat_map(|ids| &ids[1..]).copied()
    }

    /// The ids of a window, and of its last label.
    fn window(&self, window: u32) -> &[u8] {
        &self.ids[window as usize * self.context..][..=self.context]
    }

    /// Some of the rows, in the order of `rows`.
    ///
    /// # Panics
    /// If a row is not there.
    pub(super) fn pick(&self, rows: &[u32]) -> Self {
        let window = |&row: &u32| self.windows.as_ref().map_or(row, |windows| windows[row as usize]);
        assert!(rows.iter().all(|&row| (row as usize) < self.rows), "a row is not there");
        let windows = rows.iter().map(window).collect();
        Self { rows: rows.len(), windows: Some(windows), ..self.clone() }
    }

    /// The largest id.
    pub(super) fn largest(&self) -> Option<u8> {
        self.ids.iter().copied().max()
    }

    /// Keeps the first windows only.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = rows;
    }

    /// Gathers a batch: the windows `rows` into `ids[batch * context]`, and into `labels` the byte after each. Places past
    /// the last window hold no byte and do not count.
    ///
    /// # Panics
    /// If a window is not there, or the batch has fewer places than `rows`.
    pub fn fill(&self, rows: &[u32], ids: &mut [u32], labels: &mut [u32]) {
        ids.fill(IGNORED);
        labels.fill(IGNORED);
        for (place, &row) in rows.iter().enumerate() {
            let window = self.window(self.windows.as_ref().map_or(row, |windows| windows[row as usize]));
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
    fn windows_follow_each_other_and_labels_follow_bytes() {
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
    fn a_byte_without_an_id_is_named() {
        assert_eq!(encode(b"abc", b"cab"), Ok(vec![2, 0, 1]));
        assert_eq!(encode(b"abc", b"cub"), Err(1));
        assert!(load(Path::new("/nowhere.txt"), 4).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "aaaaaaaaaa").unwrap();
        assert!(load(file.path(), 4).unwrap_err().to_string().contains("1 different"));
    }

    #[test]
    fn a_short_text_is_told_of_its_held_out_tenth() {
        let path = Path::new("short.txt");
        // A tenth of 59 bytes, rounded up so that nine tenths are whole tens, is 14.
        let bytes = "ab".repeat(50);
        assert!(of_bytes(path, &bytes.as_bytes()[..59], 13).is_ok());
        let error = of_bytes(path, &bytes.as_bytes()[..59], 14).unwrap_err().to_string();
        assert!(
            error.contains("has 59 bytes, of which the last 14, a tenth, are held out for testing"),
            "{error}"
        );
        assert!(error.contains("at least 150 bytes"), "{error}");
        assert!(of_bytes(path, "ab".repeat(75).as_bytes(), 14).is_ok());
    }
}
