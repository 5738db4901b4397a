//! IDX, the format of MNIST: a magic number with type and rank, the sides, then the bytes.

use std::io::Read;
use std::path::Path;

use super::table::{Features, Table};
use crate::{Error, Result, files};

/// A file's name and contents.
pub(crate) struct Part<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
}

/// Images and their labels.
pub(crate) fn pair(images: &Part<'_>, labels: &Part<'_>, factor: f32) -> Result<Table> {
    let (sides, pixels) = parse(images)?;
    let (label_sides, label_bytes) = parse(labels)?;
    let bad = |path: &Path, reason: String| Error::Data { path: path.to_owned(), reason };
    if sides.len() < 2 {
        return Err(bad(images.path, format!("has rank {}, but images have 2 or more", sides.len())));
    }
    if label_sides.len() != 1 {
        return Err(bad(labels.path, format!("has rank {}, but labels have 1", label_sides.len())));
    }
    if sides[0] != label_sides[0] {
        return Err(bad(labels.path, format!("has {} labels for {} images", label_sides[0], sides[0])));
    }
    // Images that are not there may have sides of any size.
    let width = sides[1..].iter().try_fold(1usize, |width, &side| width.checked_mul(side));
    let width = width
        .ok_or_else(|| bad(images.path, format!("has images of {:?}, which is too large", &sides[1..])))?;
    Table::new(Features::Bytes(pixels, factor), label_bytes.into_iter().map(u32::from).collect(), width)
        .map_err(|error| bad(images.path, error.to_string()))
}

/// Features of the images in a file, of `width` pixels each.
///
/// # Errors
/// [`Error::Data`] for a file that is not IDX, or has images of another size.
pub(super) fn images(path: &Path, width: usize, factor: f32) -> Result<Features> {
    let bytes = files::read(path, files::most_bytes())?;
    let (sides, pixels) = parse(&Part { path, bytes: &bytes })?;
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let found =
        sides.get(1..).and_then(|sides| sides.iter().try_fold(1usize, |all, &side| all.checked_mul(side)));
    if sides.len() < 2 || found != Some(width) {
        return Err(bad(format!(
            "has elements of the sides {:?}, but the run was trained with images of {width} pixels",
            sides.get(1..).unwrap_or_default()
        )));
    }
    if pixels.is_empty() {
        return Err(bad("has no images".to_owned()));
    }
    Ok(Features::Bytes(pixels, factor))
}

/// Sides and bytes of one file.
fn parse(part: &Part<'_>) -> Result<(Vec<usize>, Vec<u8>)> {
    let bad = |reason: String| Error::Data { path: part.path.to_owned(), reason };
    let mut reader: Box<dyn Read> = if part.bytes.starts_with(&[0x1F, 0x8B]) {
        Box::new(flate2::read::MultiGzDecoder::new(part.bytes))
    } else {
        Box::new(part.bytes)
    };
    let mut word = || -> Result<[u8; 4]> {
        let mut word = [0; 4];
        reader.read_exact(&mut word).map_err(|error| bad(format!("ends within its header: {error}")))?;
        Ok(word)
    };
    let magic = word()?;
    let [0, 0, kind, rank] = magic else {
        return Err(bad(format!("begins with {magic:02x?}, which is not IDX")));
    };
    if kind != 8 {
        return Err(bad(format!("has elements of type {kind:#04x}; only bytes (0x08) are read")));
    }
    let sides = (0..rank).map(|_| Ok(u32::from_be_bytes(word()?) as usize)).collect::<Result<Vec<_>>>()?;
    let most = files::most_bytes().min(u32::MAX.into());
    let size = sides
        .iter()
        .try_fold(1usize, |size, &side| size.checked_mul(side))
        .filter(|&size| (size as u64) < most)
        .ok_or_else(|| {
            bad(format!("promises {sides:?} bytes, which is too large: below {most} can be read here"))
        })?;

    // The header is not trusted with an allocation: what is really there is read, and one byte more to see whether the
    // file goes on.
    let mut bytes = Vec::new();
    reader
        .take(size as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(format!("cannot be unpacked: {error}")))?;
    if bytes.len() < size {
        return Err(bad(format!("is truncated: {} bytes of {size} are there", bytes.len())));
    }
    if bytes.len() > size {
        return Err(bad(format!("goes on after the {size} bytes that its header promises")));
    }
    Ok((sides, bytes))
}
