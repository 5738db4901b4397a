//! Readers of bytes from outside, each behind a function of the bytes alone: what the targets in `fuzz/` and `tests/fuzz.rs`
//! call. A reader refuses what it cannot read; what it accepts must be sound, which is asserted here.

use std::path::Path;

use crate::data::csv::Tables;
use crate::data::idx::{self, Part};
use crate::data::{ImageOptions, Label, Missing, Rows, Table, TableOptions, Task, csv, images, text};
use crate::gpu::VersusDense;
use crate::report::run;
use crate::sparse::{BLOCKS, Topology};
use crate::train::Checkpoint;
use crate::tune::cache;

/// A reader, by the name of its target. It says whether it accepts the bytes.
pub type Reader = (&'static str, fn(&[u8]) -> bool);

/// All readers.
pub const ALL: [Reader; 9] = [
    ("idx", idx),
    ("csv", csv),
    ("text", text),
    ("image", image),
    ("checkpoint", checkpoint),
    ("packed_topology", packed_topology),
    ("csr_topology", csr_topology),
    ("tuning", tuning),
    ("log", log),
];

const PATH: &str = "bytes";

/// Images and their labels, one file behind the other; the first two bytes say how long the first is.
pub fn idx(bytes: &[u8]) -> bool {
    let Some((length, bytes)) = bytes.split_first_chunk() else { return false };
    let (images, labels) = bytes.split_at(usize::from(u16::from_le_bytes(*length)).min(bytes.len()));
    let [images, labels] = [images, labels].map(|bytes| Part { path: Path::new(PATH), bytes });
    idx::pair(&images, &labels, 1.0 / 255.0).is_ok_and(|table| {
        assert_finite(&table);
        true
    })
}

/// A table, with its split, read for a classification and for a regression in which missing values are filled.
pub fn csv(bytes: &[u8]) -> bool {
    let regression =
        TableOptions { label: Label::Last, missing: Missing::Mean, task: Some(Task::Regression) };
    let read = |options: &TableOptions| {
        csv::of_bytes(Path::new(PATH), bytes, 1, options).is_ok_and(
            |Tables { train, test, encoding, .. }| {
                assert!(train.width() == test.width() && test.rows() == (train.rows() + test.rows()) / 5);
                assert!(encoding.width() == train.width() && encoding.validate().is_ok());
                [train, test].iter().for_each(assert_finite);
                true
            },
        )
    };
    [TableOptions::default(), regression].iter().filter(|options| read(options)).count() > 0
}

/// Every row can be put into a batch, and has finite features.
fn assert_finite(table: &Table) {
    let rows: Vec<u32> = (0..table.rows() as u32).collect();
    let (mut features, mut labels) = (vec![0.0; table.rows() * table.width()], vec![0; table.rows()]);
    match table.values() {
        Some(values) => {
            let mut found = vec![0.0; values.len()];
            table.fill_values(&rows, table.width(), &mut features, &mut found);
            assert!(found == values && values.iter().all(|value| value.is_finite()));
        }
        None => {
            table.fill(&rows, table.width(), &mut features, &mut labels);
            assert!(labels == table.labels());
        }
    }
    assert!(features.iter().all(|feature| feature.is_finite()));
}

/// A text in windows of eight bytes.
pub fn text(bytes: &[u8]) -> bool {
    text::of_bytes(Path::new(PATH), bytes, 8).is_ok_and(|(vocabulary, parts)| {
        assert!(vocabulary.is_sorted_by(|a, b| a < b));
        for part in parts.map(Rows::Text) {
            assert!(part.largest_label().is_some_and(|label| (label as usize) < vocabulary.len()));
        }
        true
    })
}

/// A PNG or JPEG image.
pub fn image(bytes: &[u8]) -> bool {
    images::decode(Path::new(PATH), bytes, ImageOptions::default()).is_ok_and(|image| {
        let pixels = image.size.width as usize * image.size.height as usize;
        assert!(pixels > 0 && [pixels, 3 * pixels].contains(&image.pixels.len()));
        true
    })
}

/// A checkpoint. Its checksum is passed by, or no change would get past it; what it protects is validated all the same.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let path = Path::new(PATH);
    let Ok((checkpoint, ..)) = Checkpoint::parse(path, bytes) else { return false };
    if checkpoint.settings.validate().is_err() {
        return false;
    }
    let saved = checkpoint.to_bytes(path).expect("what was read can be written");
    let again = Checkpoint::from_bytes(path, &saved).and_then(|again| again.to_bytes(path));
    assert!(again.is_ok_and(|again| again == saved));
    checkpoint.topologies(path).is_ok_and(|topologies| {
        topologies.iter().flatten().for_each(assert_sound);
        true
    })
}

/// A packed topology: little-endian words.
pub fn packed_topology(bytes: &[u8]) -> bool {
    let words = words(bytes);
    Topology::from_packed(&words).is_ok_and(|topology| {
        assert_eq!(topology.packed(), words);
        assert_sound(&topology);
        true
    })
}

/// A block-CSR index. The first word is rows of blocks, columns of blocks and block size in a byte each; the row pointers
/// follow, and the column indices.
pub fn csr_topology(bytes: &[u8]) -> bool {
    let Some((&[rows, cols, block, _], bytes)) = bytes.split_first_chunk() else { return false };
    let block = BLOCKS[usize::from(block) % BLOCKS.len()];
    let words = words(bytes);
    let (pointers, columns) = words.split_at((usize::from(rows) + 1).min(words.len()));
    let [height, width] = [rows, cols].map(|blocks| usize::from(blocks) * block);
    Topology::from_csr(height, width, block, pointers, columns).is_ok_and(|topology| {
        assert_eq!(topology.csr(), (pointers.to_vec(), columns.to_vec()));
        assert_sound(&topology);
        true
    })
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Both indices name the slots that have a part in the matrix, each once, in order.
fn assert_sound(topology: &Topology) {
    let active = topology.active();
    let mut seen = [vec![false; topology.nnz()], vec![false; topology.nnz()]];
    let mut note = |index: usize, blocks: Vec<(usize, usize)>, across: usize| {
        assert!(blocks.is_sorted_by(|a, b| a.1 < b.1) && blocks.iter().all(|&(_, place)| place < across));
        for (slot, _) in blocks {
            assert!(!std::mem::replace(&mut seen[index][slot], true));
        }
    };
    let [rows, cols] = [topology.row_blocks(), topology.col_blocks()];
    (0..rows).for_each(|row| note(0, topology.row(row).collect(), cols));
    (0..cols).for_each(|col| note(1, topology.col(col).collect(), rows));
    assert!(seen.iter().all(|seen| *seen == active));
}

/// The tuner's file, whoever's it is.
pub fn tuning(bytes: &[u8]) -> bool {
    cache::choices(bytes).is_ok_and(|choices| {
        let is_sound = |time: VersusDense| time.density > 0.0 && time.time.is_finite();
        assert!(choices.iter().all(|(_, verdict)| verdict.versus_dense.is_none_or(is_sound)));
        !choices.is_empty()
    })
}

/// A run's log.
pub fn log(bytes: &[u8]) -> bool {
    run::read_log(Path::new(PATH), bytes).is_ok_and(|[epochs, layers]| {
        assert!(epochs <= bytes.split(|&byte| byte == b'\n').count() && layers <= bytes.len());
        epochs > 0
    })
}
