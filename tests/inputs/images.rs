//! Images in class folders: what is read of them, runs on them, and refusals by name.

use std::path::{Path, PathBuf};

use fretwork::data::{Dataset, ImageOptions, ImageSize, LoadOptions, Rows, Source};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};

use super::{done, log, refusal, summary};

/// Embedded digits, the first of a part, as pixels and classes.
pub(crate) fn digits(rows: &Rows, count: u32) -> Vec<(Vec<u8>, u32)> {
    let Rows::Table(table) = rows else { panic!("no table") };
    let digit = |row: u32| {
        let (mut features, mut label) = ([0.0; 64], [0]);
        table.fill(&[row], 64, &mut features, &mut label);
        (features.iter().map(|x| (x * 255.0).round() as u8).collect(), label[0])
    };
    (0..count).map(digit).collect()
}

/// Writes digits of 8 x 8 pixels into `DIR/CLASS`, by turns as PNG and as JPEG.
pub(crate) fn write(folder: &Path, digits: &[(Vec<u8>, u32)]) {
    for (number, (pixels, class)) in digits.iter().enumerate() {
        let class = folder.join(format!("digit {class}"));
        std::fs::create_dir_all(&class).unwrap();
        let image = GrayImage::from_raw(8, 8, pixels.clone()).unwrap();
        let ending = ["png", "jpg"][number % 2];
        image.save(class.join(format!("{number:04}.{ending}"))).unwrap();
    }
}

pub(crate) fn images(folder: &Path) -> String {
    format!("images:{}", folder.display())
}

#[test]
fn digits_in_files_are_learned() {
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("split/train"), &digits(&data.train, 800));
    write(&path("split/test"), &digits(&data.test, 200));
    let out = path("run").display().to_string();
    let source = images(&path("split"));
    let train = ["train", "--json", "--hidden", "64", "--sparsity", "0.5", "--epochs", "40", "--data"];
    let told = summary(&done(&[&train[..], &[&source, "--out", &out]].concat()));
    assert!(told["test_accuracy"].as_f64().unwrap() > 0.85, "{told}");
    // The classes are called by their folders.
    let epochs = log(&path("run"), "epoch");
    let confusion = &epochs.last().unwrap()["confusion"];
    assert_eq!(confusion["names"][7], "digit 7");
    let right: u64 = (0..10).map(|class| confusion["counts"][class][class].as_u64().unwrap()).sum();
    let share = right as f64 / 200.0;
    assert!((share - told["test_accuracy"].as_f64().unwrap()).abs() < 1e-9, "{confusion}");
    assert!(epochs[0].get("confusion").is_none());

    // Other images are validated on, by the names of their classes; resized ones are resized again when the run is resumed.
    write(&path("other"), &digits(&data.test, 400)[200..]);
    std::fs::remove_dir_all(path("other/digit 0")).unwrap();
    let (other, out) = (images(&path("other")), path("resized").display().to_string());
    let more =
        ["--validation", &other, "--image-size", "12x10", "--gray", "--out", &out, "--stop-after", "3"];
    let stopped = super::fretwork(&[&train[..], &[&source], &more].concat()).output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", super::stderr(&stopped));
    let told = summary(&done(&["train", "--json", "--resume", &out]));
    assert!(told["validation"]["last"]["accuracy"].as_f64().unwrap() > 0.7, "{told}");
    let found = done(&["evaluate", &out, "--json"]).stdout;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found["names"][7], "digit 7");
    let [found, wanted] = [&found["accuracy"], &told["test_accuracy"]].map(|share| share.as_f64().unwrap());
    assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
}

#[test]
fn pixels_are_rows() {
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let some = digits(&data.train, 50);
    for (number, (pixels, class)) in some.iter().enumerate() {
        let class = folder.path().join(class.to_string());
        std::fs::create_dir_all(&class).unwrap();
        GrayImage::from_raw(8, 8, pixels.clone()).unwrap().save(class.join(format!("{number}.png"))).unwrap();
    }
    let load = |images: ImageOptions, seed| {
        let options = LoadOptions { seed, images, ..LoadOptions::default() };
        Dataset::load_with(&Source::Images(folder.path().to_owned()), &options).unwrap()
    };
    let rows = |data: &Dataset| [digits(&data.train, 40), digits(&data.test, 10)].concat();
    let read = load(ImageOptions::default(), 1);
    assert_eq!((read.train.rows(), read.test.rows(), read.classes, read.width()), (40, 10, 10, 64));
    let (mut found, mut wanted) = (rows(&read), some);
    assert_ne!(found, rows(&load(ImageOptions::default(), 2)), "the split is drawn by the seed");
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    // One image in colours makes three features a pixel of every image, unless they are made grey.
    let colours = RgbImage::from_fn(8, 8, |x, y| image::Rgb([(x * 30) as u8, (y * 30) as u8, 200]));
    colours.save(folder.path().join("3/colours.jpeg")).unwrap();
    assert_eq!(load(ImageOptions::default(), 1).width(), 192);
    let size = Some(ImageSize { width: 5, height: 4 });
    assert_eq!(load(ImageOptions { size, gray: true }, 1).width(), 20);
    assert_eq!(load(ImageOptions { size, gray: false }, 1).width(), 60);
}

/// A folder with two classes of five images each.
fn classes(folder: &Path) {
    for class in ["cats", "dogs"] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
        for number in 0..5 {
            GrayImage::new(4, 4).save(folder.join(class).join(format!("{number}.png"))).unwrap();
        }
    }
}

#[test]
fn what_is_wrong_with_images_is_named() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 11] = [
        (
            "size",
            |dir| GrayImage::new(6, 4).save(dir.join("dogs/3.png")).unwrap(),
            "dogs/3.png: is 6x4 pixels, but ",
        ),
        (
            "empty",
            |dir| std::fs::create_dir(dir.join("empty")).unwrap(),
            "empty: is a class without an image",
        ),
        ("one", |dir| std::fs::remove_dir_all(dir.join("dogs")).unwrap(), "images of a single class, cats"),
        (
            "none",
            |dir| ["cats", "dogs"].iter().for_each(|class| std::fs::remove_dir_all(dir.join(class)).unwrap()),
            "has no folder of images",
        ),
        (
            "text",
            |dir| std::fs::write(dir.join("cats/notes.txt"), "x").unwrap(),
            "cats/notes.txt: is neither PNG nor JPEG",
        ),
        (
            "cut",
            |dir| {
                let path = dir.join("cats/0.png");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            },
            "cats/0.png: is no whole image",
        ),
        (
            "jpeg",
            |dir| {
                let mut bytes = Vec::new();
                let image = DynamicImage::from(RgbImage::new(4, 4));
                image.write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
                std::fs::write(dir.join("cats/a.jpg"), &bytes[..bytes.len() / 3]).unwrap();
            },
            "cats/a.jpg: is no whole image",
        ),
        (
            "clear",
            |dir| RgbaImage::new(4, 4).save(dir.join("cats/a.png")).unwrap(),
            "cats/a.png: has transparent pixels",
        ),
        ("folder", |dir| std::fs::create_dir(dir.join("cats/more")).unwrap(), "cats/more: is a folder"),
        (
            "few",
            |dir| {
                for file in ["cats/0", "cats/1", "cats/2", "dogs/0", "dogs/1", "dogs/2"] {
                    std::fs::remove_file(dir.join(format!("{file}.png"))).unwrap();
                }
            },
            "has 4 images; at least 5 are needed",
        ),
        (
            "strange",
            |dir| {
                let [train, test] = ["train", "test"].map(|part| dir.join(part));
                classes(&train);
                classes(&test);
                std::fs::rename(test.join("cats"), test.join("birds")).unwrap();
            },
            "has test images of the class birds, but no training images",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, spoil, wanted) in cases {
        let dir: PathBuf = folder.path().join(name);
        classes(&dir);
        spoil(&dir);
        let said = refusal(&["train", "--data", &images(&dir)]);
        assert!(said.contains(wanted), "{name}: {said}");
        assert!(said.contains(&dir.display().to_string()), "{name}: {said}");
    }
    let dir = folder.path().join("whole");
    classes(&dir);
    let missing = refusal(&["train", "--data", &images(&folder.path().join("nowhere"))]);
    assert!(missing.contains("nowhere: No such file"), "{missing}");
    let said = refusal(&[
        "train",
        "--data",
        &images(&dir),
        "--validation",
        &images(&folder.path().join("strange/test")),
    ]);
    assert!(said.contains("has the class birds, which "), "{said}");
    let said = refusal(&["train", "--data", &images(&dir), "--validation", "digits"]);
    assert!(said.contains("digits has rows of 64 features, but "), "{said}");
    for size in ["8", "0x8", "8x", "8x99999"] {
        let output = super::fretwork(&["train", "--image-size", size]).output().unwrap();
        assert!(super::stderr(&output).contains("is not WxH, as 28x28"), "{}", super::stderr(&output));
    }
}
