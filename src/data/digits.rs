//! The embedded digits; `digits/README.md` says whose they are.

use std::path::Path;

use super::idx::{Part, pair};
use super::table::Table;
use crate::Result;

macro_rules! part {
    ($name:literal) => {
        Part { path: Path::new(concat!("digits/", $name)), bytes: include_bytes!(concat!("digits/", $name)) }
    };
}

/// Pixels run from 0 to 16.
const FACTOR: f32 = 1.0 / 16.0;

pub(super) fn load() -> Result<(Table, Table)> {
    let train = pair(&part!("train-images-idx3-ubyte.gz"), &part!("train-labels-idx1-ubyte.gz"), FACTOR)?;
    let test = pair(&part!("t10k-images-idx3-ubyte.gz"), &part!("t10k-labels-idx1-ubyte.gz"), FACTOR)?;
    Ok((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_the_published_counts() {
        let (train, test) = load().unwrap();
        let counts = |table: &Table| {
            let mut counts = [0; 10];
            table.labels().iter().for_each(|&label| counts[label as usize] += 1);
            counts
        };
        assert_eq!((train.width(), test.width()), (64, 64));
        assert_eq!(counts(&train), [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]);
        assert_eq!(counts(&test), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }
}
