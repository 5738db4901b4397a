//! Invalid data: missing files, malformed tables and images.

use super::{assert_refused, stderr, train};

#[test]
fn missing_data() {
    let mut missing = train(&["--data", "mnist"]);
    missing.env("FRETWORK_DATA", "/nowhere");
    assert_refused(missing, "put the four IDX files under $FRETWORK_DATA/mnist");
    assert_refused(train(&["--data", "csv:/nowhere.csv"]), "/nowhere.csv: No such file");
    assert_refused(train(&["--data", "idx:/nowhere"]), "has no train-images-idx3-ubyte");
}

/// The operating system's message occurs once in an error, not in both the error and its source.
#[test]
fn errors_of_the_system_are_said_once() {
    let output = train(&["--data", "csv:/nowhere.csv"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert_eq!(said.trim_end(), "error: /nowhere.csv: No such file or directory (os error 2)");
}

#[test]
fn malformed_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    let data = format!("csv:{}", path.display());
    for (text, wanted) in [
        ("", "there are no rows"),
        ("a,b,c\n", "has 1 rows; at least 5 are needed"),
        ("a,b,label\n", "there are no rows"),
        ("1,2,0\n3,1\n", "line 2: 2 columns, but the first line has 3"),
        ("1,2,0\n3,,1\n", "line 2: column \"column 2\" has no value; give --missing drop"),
        ("1,2,0\n3,nan,1\n", "line 2: column \"column 2\" has no value"),
        ("1,2,0\n3,inf,1\n", "line 2: column \"column 2\": \"inf\" is not a finite number"),
        ("1,2,0\n3,1,0.5\n", "\"column 3\" has the number 0.5 on line 2"),
        ("1,2,0\n1,3,0\n1,4,0\n2,2,0\n2,7,0\n", "all rows have the label \"0\""),
        ("0\n1\n", "features and a label are needed"),
        ("1,2,0\n3,1,1\n", "has 2 rows; at least 5 are needed"),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_refused(train(&["--data", &data]), wanted);
    }
    // A valid table: column names in the first row, two linearly separable classes.
    let rows: String = (0..200).map(|i| format!("{},{},{}\n", i % 20, i % 7, u8::from(i % 20 > 9))).collect();
    std::fs::write(&path, format!("x,y,label\n{rows}")).unwrap();
    let output =
        train(&["--data", &data, "--hidden", "32", "--sparsity", "0", "--epochs", "100"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned();
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(done["event"], "done");
    assert!(done["test_accuracy"].as_f64().unwrap() > 0.9, "{done}");
}

/// Contents of an IDX file with this element type, these sides and this data.
fn idx(kind: u8, sides: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, sides.len() as u8];
    sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn malformed_images() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("idx:{}", folder.path().display());
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let restore = || {
        for split in ["train", "t10k"] {
            write(&format!("{split}-images-idx3-ubyte"), &idx(8, &[3, 4, 4], &[7; 48]));
            write(&format!("{split}-labels-idx1-ubyte"), &idx(8, &[3], &[0, 1, 2]));
        }
    };
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    for (name, bytes, wanted) in [
        (images, idx(8, &[3, 4, 4], &[7; 47]), "is truncated: 47 bytes of 48 are there"),
        (images, idx(8, &[3, 4, 4], &[7; 49]), "goes on after the 48 bytes"),
        (images, idx(13, &[3, 4, 4], &[7; 48]), "has elements of type 0x0d; only bytes"),
        (images, idx(8, &[3], &[7; 3]), "has rank 1, but images have 2 or more"),
        (images, idx(8, &[u32::MAX, u32::MAX, u32::MAX], &[]), "which is too large"),
        (images, idx(8, &[2_000_000_000, 2, 1], &[]), "is truncated"),
        (images, b"PK\x03\x04".to_vec(), "which is not IDX"),
        (images, vec![0, 0, 8], "ends within its header"),
        (images, vec![0, 0, 8, 3, 0, 0], "ends within its header"),
        (images, vec![0x1F, 0x8B, 8, 0, 1, 2], "ends within its header"),
        (images, idx(8, &[0, 4, 4], &[]), "labels for 0 images"),
        (labels, idx(8, &[4], &[0, 1, 2, 1]), "has 4 labels for 3 images"),
        (labels, idx(8, &[3, 1], &[0, 1, 2]), "has rank 2, but labels have 1"),
        ("t10k-labels-idx1-ubyte", idx(8, &[3], &[0, 9, 2]), "test row 1 has label 9"),
    ] {
        restore();
        write(name, &bytes);
        assert_refused(train(&["--data", &data]), wanted);
    }
    restore();
    std::fs::remove_file(folder.path().join(labels)).unwrap();
    assert_refused(train(&["--data", &data]), "has no train-labels-idx1-ubyte");
}
