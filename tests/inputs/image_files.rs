//! Predictions and evaluation of image files by a network that was trained on some, and refusals by name.

use std::path::Path;

use fretwork::data::{Dataset, Source};
use image::{GrayImage, RgbImage};
use serde_json::Value;

use super::images::{digits, images, write};
use super::{done, refusal, summary};

fn said(args: &[&str]) -> String {
    String::from_utf8(done(args).stdout).unwrap()
}

/// Records of a prediction: its file and its class.
fn records(said: &str) -> Vec<(String, String)> {
    let record = |line: &str| {
        let (file, class) = line.rsplit_once(',').unwrap();
        (file.to_owned(), class.to_owned())
    };
    said.lines().skip(1).map(record).collect()
}

#[test]
fn image_files_are_predicted_and_evaluated() {
    let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("split/train"), &digits(&data.train, 600));
    write(&path("split/test"), &digits(&data.test, 150));
    write(&path("new"), &digits(&data.test, 250)[150..]);
    let run = path("run").display().to_string();
    let source = images(&path("split"));
    let line =
        ["train", "--json", "--data", &source, "--hidden", "64", "--sparsity", "0.5", "--epochs", "40"];
    let told = summary(&done(&[&line[..], &["--out", &run]].concat()));

    // The whole folder has test images of its own, and other folders are evaluated whole.
    for (data, rows) in
        [(source.clone(), 150), (path("split").display().to_string(), 150), (images(&path("new")), 100)]
    {
        let found: Value = serde_json::from_str(&said(&["evaluate", &run, &data, "--json"])).unwrap();
        assert_eq!(found["rows"], rows, "{data}");
        assert!(found["accuracy"].as_f64().unwrap() > 0.7, "{found}");
        if rows == 150 {
            assert_eq!(found["accuracy"], told["test_accuracy"]);
        }
    }

    // Files of all folders, each with its path, in the order of their names; the share of right ones is that of `evaluate`.
    let predicted = said(&["predict", &run, &path("new").display().to_string()]);
    assert!(predicted.starts_with("file,prediction\n"), "{predicted}");
    let predicted = records(&predicted);
    assert!(predicted.len() == 100 && predicted.is_sorted_by_key(|(file, _)| file.clone()), "{predicted:?}");
    let hits =
        predicted.iter().filter(|(file, class)| Path::new(file).parent().unwrap().ends_with(class)).count();
    let found: Value =
        serde_json::from_str(&said(&["evaluate", &run, &images(&path("new")), "--json"])).unwrap();
    assert!((hits as f64 / 100.0 - found["accuracy"].as_f64().unwrap()).abs() < 1e-9, "{hits}, {found}");
    assert_eq!(predicted, records(&said(&["predict", &run, &images(&path("new"))])));
    // One image alone, as it is in the folder.
    let (file, class) = &predicted[42];
    assert_eq!(records(&said(&["predict", &run, file])), [(file.clone(), class.clone())]);
    let shares = said(&["predict", &run, file, "--proba"]);
    assert!(shares.starts_with("file,digit 0,digit 1,") && shares.lines().count() == 2, "{shares}");

    // Refused by name, and nothing is written.
    let large = path("large.png");
    GrayImage::new(9, 8).save(&large).unwrap();
    let colours = path("colours.png");
    RgbImage::from_pixel(8, 8, image::Rgb([1, 2, 3])).save(&colours).unwrap();
    let note = path("note.png");
    std::fs::write(&note, "no image").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    let out = path("never.csv").display().to_string();
    for (file, wanted) in [
        (large, "large.png: is 9x8 pixels, but the run was trained with images of 8x8"),
        (colours, "colours.png: has colours, but the run was trained with images in grey"),
        (note, "note.png: is neither PNG nor JPEG"),
        (path("empty"), "empty: has no images"),
        (path("nowhere.png"), "nowhere.png: No such file"),
    ] {
        let said = refusal(&["predict", &run, &file.display().to_string(), "--out", &out]);
        assert!(said.contains(wanted), "{said}");
    }
    assert!(!Path::new(&out).exists());
    std::fs::rename(path("new/digit 3"), path("new/digit X")).unwrap();
    let said = refusal(&["evaluate", &run, &images(&path("new"))]);
    assert!(
        said.contains("has images of the class digit X; the run was trained with digit 0, digit 1"),
        "{said}"
    );
    let said = refusal(&["evaluate", &run, &path("large.png").display().to_string()]);
    assert!(said.contains("has no label; give a folder with a folder for each class"), "{said}");
    let said = refusal(&["evaluate", &run, &images(&path("empty"))]);
    assert!(said.contains("has no folder of images"), "{said}");
}

/// Images are resized and made grey as those of the run were.
#[test]
fn image_files_are_treated_as_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let shaded = |shade: u8, side: u32| RgbImage::from_pixel(side, side, image::Rgb([shade, shade / 2, 0]));
    for (class, shade) in [("dark", 40), ("light", 220)] {
        std::fs::create_dir_all(path("data").join(class)).unwrap();
        for number in 0..10u8 {
            let image = shaded(shade + number, 5 + u32::from(number));
            image.save(path("data").join(class).join(format!("{number}.png"))).unwrap();
        }
    }
    shaded(230, 30).save(path("new.png")).unwrap();
    shaded(30, 3).save(path("other.jpg")).unwrap();
    for treatment in [&["--gray"][..], &[]] {
        let run = path(&format!("run {}", treatment.len())).display().to_string();
        let line =
            ["train", "--json", "--data", &images(&path("data")), "--image-size", "4x4", "--hidden", "32,32"];
        done(&[&line[..], &["--epochs", "60", "--out", &run], treatment].concat());
        for (file, wanted) in [("new.png", "light"), ("other.jpg", "dark")] {
            let predicted = records(&said(&["predict", &run, &path(file).display().to_string()]));
            assert_eq!(predicted[0].1, wanted, "{file}, {treatment:?}");
        }
    }
}
