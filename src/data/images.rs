//! Images in class folders: PNG and JPEG files in `DIR/CLASS`, or in `DIR/train/CLASS` and `DIR/test/CLASS`.
//!
//! The classes are the folders, in the order of their names. A row is the pixels of an image, line by line, byte / 255: one number a
//! pixel where every image is grey, or red, green and blue. Without folders `train` and `test`, every fifth image of a shuffle is
//! for testing, as in a table.

use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageReader};

use super::classes::Classes;
use super::table::{Features, Table, epoch_order};
use crate::{Error, Result, files};

/// Factor of a byte of a pixel.
pub(super) const FACTOR: f32 = 1.0 / 255.0;

/// Most pixels on a side that images are resized to.
const MOST_SIDE: u32 = 4096;

/// Treatment of images before they are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ImageOptions {
    /// Size that images are resized to; `None` where all have one size already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ImageSize>,
    /// Whether colours become shades of grey.
    #[serde(default)]
    pub gray: bool,
}

/// Size of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageSize {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

impl FromStr for ImageSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=MOST_SIDE).contains(side));
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        sides.map(|(width, height)| Self { width, height }).ok_or_else(|| Error::Config {
            option: "image-size",
            reason: format!("{text:?} is not WxH, as 28x28, with sides of 1 to {MOST_SIDE} pixels"),
        })
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Pixels of the images that a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pixels {
    /// Size of an image.
    pub size: ImageSize,
    /// Whether a pixel is one shade of grey, and not red, green and blue.
    pub gray: bool,
    /// Whether images of other sizes are resized to this one.
    pub resized: bool,
    /// Whether colours are converted to shades of grey.
    pub converted: bool,
}

impl Pixels {
    /// Features of an image; `None` for more than can be counted.
    pub(super) fn width(&self) -> Option<usize> {
        let ImageSize { width, height } = self.size;
        (width as usize).checked_mul(height as usize)?.checked_mul(if self.gray { 1 } else { 3 })
    }

    /// Treatment of an image file.
    pub(super) fn options(&self) -> ImageOptions {
        ImageOptions { size: self.resized.then_some(self.size), gray: self.converted }
    }
}

/// A decoded image: one byte a pixel, or three.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) size: ImageSize,
    pub(crate) pixels: Vec<u8>,
}

impl Image {
    pub(super) fn is_gray(&self) -> bool {
        self.pixels.len() == self.size.width as usize * self.size.height as usize
    }
}

/// Images of one part, and the class of each.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) paths: Vec<PathBuf>,
    pub(super) images: Vec<Image>,
    pub(super) labels: Vec<u32>,
    bytes: u64,
}

/// The images of a folder, to train on and to test on.
pub(super) struct Loaded {
    pub(super) train: Table,
    pub(super) test: Table,
    pub(super) classes: Classes,
    pub(super) pixels: Pixels,
}

/// Reads a folder of classes.
///
/// # Errors
/// [`Error::Data`] naming the file or folder that is wrong: no image in a class, a single class, a class of test images without
/// training images, a file that is no image, is damaged, has transparent pixels, or has another size than the first; [`Error::Io`].
pub(super) fn load(folder: &Path, options: ImageOptions, seed: u64) -> Result<Loaded> {
    let bad = |reason: String| Error::Data { path: folder.to_owned(), reason };
    let [train, test] = ["train", "test"].map(|part| folder.join(part));
    let is_split = train.is_dir() && test.is_dir();
    let names = folders(if is_split { &train } else { folder })?;
    if let [only] = &names[..] {
        return Err(bad(format!("has images of a single class, {only}; at least 2 classes are needed")));
    }
    if names.is_empty() {
        return Err(bad("has no folder of images; each class is a folder".to_owned()));
    }
    if is_split && let Some(name) = folders(&test)?.iter().find(|name| !names.contains(name)) {
        return Err(bad(format!("has test images of the class {name}, but no training images of it")));
    }
    let mut parts = Vec::new();
    if is_split {
        for part in [&train, &test] {
            parts.push(Images::read(part, &names, options)?);
        }
    } else {
        parts.push(Images::read(folder, &names, options)?);
    }
    let size = one_size(folder, &parts)?;
    let gray = parts.iter().flat_map(|part| &part.images).all(Image::is_gray);
    let mut tables = parts.into_iter().map(|part| part.table(gray)).collect::<Result<Vec<Table>>>()?;
    let classes = Classes { count: names.len(), names };
    let pixels = Pixels { size, gray, resized: options.size.is_some(), converted: options.gray };
    let last = tables.pop().ok_or_else(|| bad("has no images".to_owned()))?;
    let [train, test] = match tables.pop() {
        Some(train) => [train, last],
        None => split(folder, &last, seed)?,
    };
    Ok(Loaded { train, test, classes, pixels })
}

/// Names of the folders in a folder, in ascending order; hidden ones are passed over.
pub(super) fn folders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::Data {
            path: path.clone(),
            reason: "is a class whose name is not UTF-8".to_owned(),
        })?;
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Paths in a folder, in the order of their names; hidden ones are passed over.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

impl Images {
    /// The images of these classes in a folder, which need not have all of them.
    pub(super) fn read(folder: &Path, names: &[String], options: ImageOptions) -> Result<Self> {
        let mut part = Self::default();
        for (label, name) in names.iter().enumerate() {
            let class = folder.join(name);
            // A class need not be tested on.
            let paths = if class.is_dir() { entries(&class)? } else { continue };
            if paths.is_empty() {
                return Err(Error::Data { path: class, reason: "is a class without an image".to_owned() });
            }
            for path in paths {
                part.add(path, label as u32, options)?;
            }
        }
        Ok(part)
    }

    pub(super) fn add(&mut self, path: PathBuf, label: u32, options: ImageOptions) -> Result<()> {
        let most = files::most_bytes();
        let image = decode(&path, &files::read(&path, most)?, options)?;
        self.bytes += image.pixels.len() as u64;
        if self.bytes > most {
            let reason =
                format!("the images up to here have {} bytes; at most {most} can be held here", self.bytes);
            return Err(Error::Data { path, reason });
        }
        self.paths.push(path);
        self.images.push(image);
        self.labels.push(label);
        Ok(())
    }

    /// The images as rows, with three bytes a pixel unless all are to be grey.
    pub(super) fn table(self, gray: bool) -> Result<Table> {
        let count = self.images.len().max(1);
        let (features, labels) = self.features(gray);
        let width = features.len() / count;
        Table::new(features, labels, width)
    }

    /// Features of all images, which are of one size, and their labels.
    pub(super) fn features(self, gray: bool) -> (Features, Vec<u32>) {
        let mut bytes = Vec::new();
        for image in self.images {
            if gray || !image.is_gray() {
                bytes.extend(image.pixels);
            } else {
                bytes.extend(image.pixels.into_iter().flat_map(|shade| [shade; 3]));
            }
        }
        (Features::Bytes(bytes, FACTOR), self.labels)
    }
}

/// The size of all images; different sizes are refused by name.
fn one_size(folder: &Path, parts: &[Images]) -> Result<ImageSize> {
    let mut all = parts.iter().flat_map(|part| part.paths.iter().zip(&part.images));
    let Some((first, Image { size: wanted, .. })) = all.next() else {
        return Err(Error::Data { path: folder.to_owned(), reason: "has no images".to_owned() });
    };
    match all.find(|(_, image)| image.size != *wanted) {
        Some((path, Image { size, .. })) => Err(Error::Data {
            path: path.clone(),
            reason: format!(
                "is {size} pixels, but {} is {wanted}; resize all with --image-size WxH",
                first.display()
            ),
        }),
        None => Ok(*wanted),
    }
}

/// Four fifths to train on and a fifth to test on, by a shuffle.
fn split(folder: &Path, all: &Table, seed: u64) -> Result<[Table; 2]> {
    let order = epoch_order(all.rows(), seed, 0);
    let part = |tested: bool| -> Vec<u32> {
        let places = order.iter().enumerate().filter(|(place, _)| (place % 5 == 4) == tested);
        places.map(|(_, &row)| row).collect()
    };
    let (train, test) = (part(false), part(true));
    if test.is_empty() {
        let reason = format!("has {} images; at least 5 are needed to train and to test", all.rows());
        return Err(Error::Data { path: folder.to_owned(), reason });
    }
    Ok([all.pick(&train)?, all.pick(&test)?])
}

/// Decodes an image that was read from `path`, upright, in grey where it has no colours or is to have none, and of the size that is
/// asked for.
///
/// # Errors
/// [`Error::Data`] naming the file.
pub(crate) fn decode(path: &Path, bytes: &[u8], options: ImageOptions) -> Result<Image> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let damaged = |error: ImageError| bad(format!("is no whole image: {error}"));
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Error::io(path))?;
    if reader.format().is_none() {
        return Err(bad("is neither PNG nor JPEG".to_owned()));
    }
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    // Photographs are stored as the sensor saw them, with a note of how they were held.
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    if image.color().has_alpha() && image.to_rgba8().pixels().any(|pixel| pixel.0[3] < u8::MAX) {
        return Err(bad("has transparent pixels, which have no colour; flatten it first".to_owned()));
    }
    let gray = options.gray || !image.color().has_color();
    let mut image: DynamicImage = if gray { image.to_luma8().into() } else { image.to_rgb8().into() };
    if let Some(ImageSize { width, height }) = options.size
        && (image.width(), image.height()) != (width, height)
    {
        image = image.resize_exact(width, height, FilterType::Triangle);
    }
    let size = ImageSize { width: image.width(), height: image.height() };
    Ok(Image { size, pixels: image.into_bytes() })
}
