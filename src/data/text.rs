//! Text, a character after the other: each byte is a token, each distinct byte a row of the vocabulary.
//!
//! The first nine tenths are to train on and the rest to test on, in the order of the text: what is tested is never what
//! stands between two pieces that were trained on.

use std::path::{Path, PathBuf};

use crate::reference::IGNORED;
use crate::{Error, Result};

/// A text as ids of its distinct bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    name: PathBuf,
    vocabulary: Vec<u8>,
    /// The first nine tenths.
    pub train: Passage,
    /// The rest.
    pub test: Passage,
}

/// A part of a text, an id a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage(Vec<u8>);

impl Text {
    /// Reads a file, or all files of a folder whose names end in `.txt`, joined in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is missing or cannot be read, [`Error::Data`] if a folder has no text or there is nothing
    /// in it.
    pub fn load(path: &Path) -> Result<Self> {
        let folder = std::fs::metadata(path).map_err(Error::io(path))?.is_dir();
        let files = if folder { texts_in(path)? } else { vec![path.to_owned()] };
        let mut bytes = Vec::new();
        for file in files {
            bytes.extend(std::fs::read(&file).map_err(Error::io(&file))?);
        }
        Self::new(path, &bytes)
    }

    /// Text that is at hand, under the name that errors are to give.
    ///
    /// # Errors
    /// [`Error::Data`] if it is empty.
    pub fn new(name: impl Into<PathBuf>, text: &[u8]) -> Result<Self> {
        let name = name.into();
        if text.is_empty() {
            return Err(Error::Data { path: name, reason: "there is no text".to_owned() });
        }
        let mut there = [false; 256];
        text.iter().for_each(|&byte| there[usize::from(byte)] = true);
        let vocabulary: Vec<u8> = (0..=255).filter(|&byte| there[usize::from(byte)]).collect();
        let mut id_of = [0; 256];
        for (id, &byte) in (0..).zip(&vocabulary) {
            id_of[usize::from(byte)] = id;
        }
        let mut ids: Vec<u8> = text.iter().map(|&byte| id_of[usize::from(byte)]).collect();
        let test = ids.split_off(ids.len() - ids.len().div_ceil(10));
        Ok(Self { name, vocabulary, train: Passage(ids), test: Passage(test) })
    }

    /// The distinct bytes, ascending: the byte of each id.
    pub fn vocabulary(&self) -> &[u8] {
        &self.vocabulary
    }

    /// How many windows of `context` there are to train on and to test on.
    ///
    /// # Errors
    /// [`Error::Config`] for a context of nothing, [`Error::Data`] if a part is shorter than one window.
    pub fn windows(&self, context: usize) -> Result<[usize; 2]> {
        if context == 0 {
            return Err(Error::Config { option: "context", reason: "0 characters".to_owned() });
        }
        let windows = [&self.train, &self.test].map(|passage| passage.windows(context));
        if let Some(short) = windows.iter().position(|&windows| windows == 0) {
            let (what, passage) = [("train", &self.train), ("test", &self.test)][short];
            let reason = format!(
                "{} characters to {what} on, fewer than the {} of one window",
                passage.0.len(),
                context.saturating_add(1)
            );
            return Err(Error::Data { path: self.name.clone(), reason });
        }
        Ok(windows)
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the first byte that is not in the vocabulary.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        let id = |(at, byte): (usize, &u8)| match self.vocabulary.binary_search(byte) {
            Ok(id) => Ok(id as u32),
            Err(_) => {
                let found = format!("{:?} at {at}", char::from(*byte));
                Err(Error::argument("Text::encode", "text", "of characters of the vocabulary", found))
            }
        };
        text.iter().enumerate().map(id).collect()
    }

    /// The bytes of some ids; those that are no row of the vocabulary, such as padding, are left out.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().filter_map(|&id| self.vocabulary.get(id as usize).copied()).collect()
    }
}

impl Passage {
    /// The ids.
    pub fn ids(&self) -> &[u8] {
        &self.0
    }

    /// How many windows of `context` there are, one behind the other: every character but the first is to be foretold once,
    /// save for those at the end that fill no window. There is none of a context of nothing.
    pub fn windows(&self, context: usize) -> usize {
        self.0.len().saturating_sub(1).checked_div(context).unwrap_or(0)
    }

    /// Gathers a batch: of each of `rows`, which are windows of `context`, the ids into `ids[batch, context]` and the ids one
    /// character later into `labels[batch, context]`. Places past the last row become [`IGNORED`], which neither counts nor
    /// is a row of any table.
    ///
    /// # Panics
    /// If a window is not there, or the batch has fewer places than `rows`.
    pub fn fill(&self, rows: &[u32], context: usize, ids: &mut [u32], labels: &mut [u32]) {
        ids.fill(IGNORED);
        labels.fill(IGNORED);
        for (place, &row) in rows.iter().enumerate() {
            let window = &self.0[row as usize * context..][..=context];
            let into = place * context..(place + 1) * context;
            for ((id, label), pair) in
                ids[into.clone()].iter_mut().zip(&mut labels[into]).zip(window.windows(2))
            {
                (*id, *label) = (pair[0].into(), pair[1].into());
            }
        }
    }
}

/// The files of a folder whose names end in `.txt`, by name.
fn texts_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "txt") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::Data { path: folder.to_owned(), reason: "no file ends in .txt".to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text::new("test", text.as_bytes()).unwrap()
    }

    #[test]
    fn ids_are_those_of_the_distinct_bytes() {
        let text = text("banana bandana band.");
        assert_eq!(text.vocabulary(), b" .abdn");
        assert_eq!(text.encode(b"band.").unwrap(), [3, 2, 5, 4, 1]);
        assert_eq!(text.decode(&[3, 2, IGNORED, 5, 6, 4]), b"band");
        assert_eq!(text.train.ids().len(), 18);
        assert_eq!(text.test.ids(), [4, 1]);
        let error = text.encode(b"band!").unwrap_err().to_string();
        assert!(error.contains("'!' at 4"), "{error}");
    }

    #[test]
    fn nine_tenths_are_to_train_on() {
        for length in [1, 9, 10, 11, 19, 20, 1_234_567] {
            let text = Text::new("test", &vec![b'x'; length]).unwrap();
            assert_eq!(text.train.ids().len(), length * 9 / 10, "of {length}");
            assert_eq!(text.train.ids().len() + text.test.ids().len(), length);
        }
    }

    #[test]
    fn every_byte_can_be_in_the_vocabulary() {
        let all: Vec<u8> = (0..=255).rev().collect();
        let text = Text::new("test", &all).unwrap();
        assert_eq!(text.vocabulary().len(), 256);
        assert_eq!(text.decode(&text.encode(&all).unwrap()), all);
        assert_eq!(text.train.ids()[0], 255);
    }

    #[test]
    fn windows_follow_each_other_and_labels_are_one_ahead() {
        // 18 characters to train on: four windows of 4 and one character that only the last label could use, and did.
        let text = text("abcdefghijklmnopqrst");
        let train = &text.train;
        assert_eq!([1, 4, 17, 18].map(|context| train.windows(context)), [17, 4, 1, 0]);
        let (mut ids, mut labels) = (vec![9; 12], vec![9; 12]);
        train.fill(&[3, 0], 4, &mut ids, &mut labels);
        assert_eq!(text.decode(&ids), b"mnopabcd");
        assert_eq!(text.decode(&labels), b"nopqbcde");
        assert_eq!((&ids[8..], &labels[8..]), (&[IGNORED; 4][..], &[IGNORED; 4][..]));
    }

    #[test]
    fn what_is_too_short_says_so() {
        let says = |result: Result<[usize; 2]>, wanted: &str| {
            let said = result.expect_err(wanted).to_string();
            assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
        };
        let text = text("abcdefghijklmnopqrst");
        assert_eq!(text.windows(1).unwrap(), [17, 1]);
        says(text.windows(2), "test: 2 characters to test on, fewer than the 3 of one window");
        says(text.windows(18), "test: 18 characters to train on, fewer than the 19 of one window");
        says(text.windows(usize::MAX), "characters to train on");
        says(text.windows(0), "context: 0 characters");
    }

    #[test]
    fn files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let says = |path: &Path, wanted: &str| {
            let said = Text::load(path).expect_err(wanted).to_string();
            assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
            assert!(said.contains(&path.display().to_string()), "{said:?} does not name {path:?}");
        };
        says(folder.path(), "no file ends in .txt");
        says(&at("missing.txt"), "missing.txt");
        std::fs::write(at("b.txt"), "second").unwrap();
        std::fs::write(at("a.txt"), "first ").unwrap();
        std::fs::write(at("c.md"), "never").unwrap();
        std::fs::create_dir(at("d.txt")).unwrap();
        let joined = Text::load(folder.path()).unwrap();
        let ids = [joined.train.ids(), joined.test.ids()].concat();
        assert_eq!(joined.decode(&ids.iter().map(|&id| id.into()).collect::<Vec<_>>()), b"first second");
        assert_eq!(Text::load(&at("b.txt")).unwrap().vocabulary(), b"cdenos");
        std::fs::write(at("empty"), "").unwrap();
        says(&at("empty"), "there is no text");
    }
}
