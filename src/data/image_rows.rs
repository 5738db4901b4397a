//! Image files for a network that was trained on some: all of one size, in its colours.

use std::path::{Path, PathBuf};

use super::images::{Images, Pixels, entries, folders};
use super::table::{Features, Table};
use crate::{Error, Result};

/// Refuses images of another size or in colours that the network does not read, by name.
fn expect_pixels(images: &Images, pixels: Pixels) -> Result<()> {
    for (path, image) in images.paths.iter().zip(&images.images) {
        let bad = |reason: String| Err(Error::Data { path: path.clone(), reason });
        let (found, wanted) = (image.size, pixels.size);
        if found != wanted {
            return bad(format!(
                "is {found} pixels, but the run was trained with images of {wanted}; resize it, or train with --image-size"
            ));
        }
        if pixels.gray && !image.is_gray() {
            let reason =
                "has colours, but the run was trained with images in grey; convert it, or train with --gray";
            return bad(reason.to_owned());
        }
    }
    Ok(())
}

/// Features of an image file, or of all in a folder and in the folders in it, in the order of their names, with their paths. Hidden files
/// are passed over.
///
/// # Errors
/// [`Error::Data`] naming the file that is no image, of another size, or in colours where the run has none; [`Error::Io`].
pub(super) fn unlabelled(path: &Path, pixels: Pixels) -> Result<(Vec<PathBuf>, Features)> {
    let mut images = Images::default();
    for path in files(path)? {
        images.add(path, 0, pixels.options())?;
    }
    if images.paths.is_empty() {
        return Err(Error::Data { path: path.to_owned(), reason: "has no images".to_owned() });
    }
    expect_pixels(&images, pixels)?;
    let paths = std::mem::take(&mut images.paths);
    Ok((paths, images.features(pixels.gray).0))
}

/// The images of a folder of classes, or of its folder `test` where it has folders `train` and `test`, with the numbers of their classes.
///
/// # Errors
/// As [`unlabelled`], and [`Error::Data`] for a file, and a folder that is no class of the run.
pub(super) fn labelled(path: &Path, pixels: Pixels, classes: &[String]) -> Result<Table> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    if path.is_file() {
        return Err(bad("has no label; give a folder with a folder for each class".to_owned()));
    }
    let [train, test] = ["train", "test"].map(|part| path.join(part));
    let folder = if train.is_dir() && test.is_dir() { test } else { path.to_owned() };
    let names = folders(&folder)?;
    if names.is_empty() {
        return Err(bad("has no folder of images; each class is a folder".to_owned()));
    }
    if let Some(name) = names.iter().find(|name| !classes.contains(name)) {
        return Err(bad(format!(
            "has images of the class {name}; the run was trained with {}",
            classes.join(", ")
        )));
    }
    let images = Images::read(&folder, classes, pixels.options())?;
    expect_pixels(&images, pixels)?;
    images.table(pixels.gray)
}

/// The file, or all files in a folder and in the folders in it.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for path in entries(path)? {
        found.extend(files(&path)?);
    }
    Ok(found)
}
