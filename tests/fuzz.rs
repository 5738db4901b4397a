//! Every reader of bytes from outside: valid files that were changed, and bytes of no kind at all. None panics, none hangs, and
//! what is accepted is sound. `fuzz/` drives the same functions for as long as one likes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::path::Path;

use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{LmConfig, MlpConfig, ModelConfig};
use fretwork::ops::Activation;
use fretwork::readers::ALL;
use fretwork::sparse::{Density, Topology};
use fretwork::train::{Checkpoint, Length, OptimizerKind, Position, Schedule, Settings};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// Changed files a reader is given, and files of random bytes.
const CASES: u32 = 1500;

/// Valid files for a reader.
fn valid(reader: &str) -> Vec<Vec<u8>> {
    let blocks = [(0, 1), (2, 0), (1, 1), (2, 2)];
    let topology = Topology::with_inactive(24, 24, 8, &blocks, |slot| slot == 1).unwrap();
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    match reader {
        "idx" => [false, true].map(images).to_vec(),
        "csv" => vec![
            (0..10).map(|i| format!("{i},{}.5,{}\n", 7 * i % 5, i % 2)).collect::<String>().into(),
            b"a,b,label\n1e3,-2,0\n4,\"5\",1\n 6 ,7,2\n8,9,0\n1,1,1\n".to_vec(),
        ],
        "text" => vec!["Full fathom five thy father lies. ".repeat(8).into()],
        "image" => [image::ImageFormat::Png, image::ImageFormat::Jpeg].map(picture).to_vec(),
        "checkpoint" => [mlp(), lm()].map(|model| checkpoint(&model)).to_vec(),
        "packed_topology" => vec![bytes(&topology.packed())],
        "csr_topology" => {
            let (pointers, columns) = topology.csr();
            vec![[vec![3, 3, 0, 0], bytes(&pointers), bytes(&columns)].concat()]
        }
        "tuning" => vec![TUNING.into()],
        "log" => vec![LOG.into()],
        other => panic!("no valid file for {other}"),
    }
}

/// An image of 6 x 5 pixels in colours.
fn picture(format: image::ImageFormat) -> Vec<u8> {
    let colours = |x: u32, y: u32| image::Rgb([(40 * x) as u8, (50 * y) as u8, 90]);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(6, 5, colours).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Three images of 4 x 4 and their labels, packed or not.
fn images(packed: bool) -> Vec<u8> {
    let file = |sides: &[u32], contents: &[u8]| {
        let mut file = vec![0, 0, 8, sides.len() as u8];
        sides.iter().for_each(|side| file.extend(side.to_be_bytes()));
        file.extend(contents);
        if !packed {
            return file;
        }
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&file).unwrap();
        packer.finish().unwrap()
    };
    let (images, labels) = (file(&[3, 4, 4], &[7; 48]), file(&[3], &[0, 2, 1]));
    [&(images.len() as u16).to_le_bytes()[..], &images, &labels].concat()
}

fn mlp() -> ModelConfig {
    MlpConfig {
        inputs: 8,
        hidden: vec![16, 8],
        classes: 2,
        block: 8,
        sparsity: Some(0.5),
        density: Density::Uniform,
        activation: Activation::Relu,
        dropout: 0.0,
        seed: 1,
        layers: Default::default(),
        local: None,
    }
    .into()
}

fn lm() -> ModelConfig {
    LmConfig {
        vocabulary: b"abc".to_vec(),
        context: 4,
        width: 16,
        heads: 1,
        depth: 1,
        hidden: 16,
        experts: None,
        activation: Activation::Gelu,
        block: 16,
        sparsity: Some(0.0),
        density: Density::Uniform,
        seed: 1,
        layers: Default::default(),
    }
    .into()
}

/// A checkpoint with the patterns of a model; a reader goes no further without a device.
fn checkpoint(model: &ModelConfig) -> Vec<u8> {
    let settings = Settings {
        data: "digits".to_owned(),
        method: MethodConfig::new(Kind::Rigl),
        length: Length::Epochs(3),
        batch: 4,
        optimizer: OptimizerKind::Sgd,
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        ..Settings::new(model.clone())
    };
    let position = Position { step: 2, loss_sum: 1.5, hits: 3.0, replaced: 1, best: None };
    let mut checkpoint = Checkpoint::new(settings, position, serde_json::json!({ "tickets": 0 }));
    for (layer, topology) in model.layers().unwrap().iter().zip(model.topologies(Some(0.5)).unwrap()) {
        let name = format!("{}.weight", layer.name);
        match topology {
            // Slots in an order that an exchange of blocks leaves, and an inactive block.
            Some(topology) => {
                let mut blocks: Vec<_> =
                    topology.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
                blocks.reverse();
                let [rows, cols] = layer.sides;
                let block = topology.block();
                let topology = Topology::with_inactive(rows, cols, block, &blocks, |slot| slot == 0).unwrap();
                checkpoint.put_sparse(&name, &topology, &vec![0.5; topology.elements()]);
            }
            None => checkpoint.put(&name, &layer.sides, vec![0.5; layer.sides.iter().product()]),
        }
    }
    checkpoint.to_bytes(Path::new("seed")).unwrap()
}

const TUNING: &str = r#"{
  "format": 2,
  "owner": {"adapter": "a", "backend": "vulkan", "driver": "d", "ids": [1, 2], "version": "0", "shaders": "0", "checked": false},
  "choices": [
    {"class": {"family": "dds", "dtype": "f32", "transpose": [false, true], "sizes": [7, 9, 9], "block": 16, "absence": 3,
               "ragged": false, "gathered": false}, "choice": "lane", "versus_dense": {"density": 0.1, "time": 0.2}},
    {"class": {"family": "dense"}, "choice": "abacus"}
  ]
}"#;

const LOG: &str = r#"{"event":"steps","epoch":0,"steps":[3,6],"loss":[2.5,null],"learning_rate":[0.1,0.2],"step_ms":[7.5,8.0]}
{"event":"start","step":0,"layers":[{"name":"layers.0","row_blocks":3,"col_blocks":2,"block":8,"nnz":2,"visited":0.5,"pattern":"05"}]}
{"event":"kernels","step":0,"adapter":"a","kernels":[{"shape":"dds","choice":"lane","versus_dense":1.5}]}
{"event":"epoch","epoch":0,"step":5,"train":{"loss":1.5,"accuracy":null},"test":{"loss":1.0,"accuracy":0.5},"layers":[{"name":"layers.0","row_blocks":3,"col_blocks":2,"block":8,"nnz":2,"churn":1,"visited":0.7,"pattern":"21","resting":"20"}],"loads":[{"name":"f","taken":[1,2],"dropped":[0,0]}]}
{"event":"weather"}
"#;

/// A change of a file.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let places = bytes.len() + 1;
        let at = |index: &prop::sample::Index| index.index(places);
        match self {
            Self::Flip(index, bit) => {
                bytes.iter_mut().skip(at(index)).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Self::Set(index, value) => {
                bytes.iter_mut().skip(at(index)).take(1).for_each(|byte| *byte = *value);
            }
            Self::Word(index, word) => {
                let word_at = bytes.iter_mut().skip(at(index) / 4 * 4);
                word_at.zip(word.to_le_bytes()).for_each(|(byte, value)| *byte = value);
            }
            Self::Cut(index) => bytes.truncate(at(index)),
            Self::Remove(index, count) => {
                let at = at(index);
                bytes.drain(at..bytes.len().min(at + count));
            }
            Self::Repeat(index, count) => {
                let at = at(index);
                let part = bytes[at..bytes.len().min(at + count)].to_vec();
                bytes.splice(at..at, part);
            }
            Self::Insert(index, part) => {
                let at = at(index);
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let word = prop_oneof![any::<u32>(), 0u32..40, Just(u32::MAX), Just(1 << 31), Just(1 << 30)];
    // Numbers and signs that texts are made of, and whatever else.
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(
            &[
                "9",
                "99999999999999999999",
                "1e308",
                "1e400",
                "-",
                ".",
                ",",
                "\"",
                "\n",
                "null",
                "[",
                "{",
                "0"
            ][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        (at(), b'0'..=b'9').prop_map(|(at, digit)| Change::Set(at, digit)),
        (at(), word).prop_map(|(at, word)| Change::Word(at, word)),
        at().prop_map(Change::Cut),
        (at(), 1usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), 1usize..200).prop_map(|(at, count)| Change::Repeat(at, count)),
        (at(), part).prop_map(|(at, part)| Change::Insert(at, part)),
    ]
}

/// A runner with a fixed seed: its cases are the same on every machine, so that a failure can be found again.
fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })
}

#[test]
fn valid_files_are_accepted() {
    for (name, read) in ALL {
        for (at, bytes) in valid(name).iter().enumerate() {
            assert!(read(bytes), "{name}: valid file {at} is refused");
        }
    }
}

#[test]
fn changed_files_do_no_harm() {
    for (name, read) in ALL {
        let file = prop::sample::select(valid(name));
        let changed = (file, prop::collection::vec(change(), 1..4)).prop_map(|(mut bytes, changes)| {
            changes.iter().for_each(|change| change.apply(&mut bytes));
            bytes
        });
        let outcome = runner().run(&changed, |bytes| {
            read(&bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let bytes = prop::collection::vec(any::<u8>(), 0..400);
    let outcome = runner().run(&bytes, |bytes| {
        for (_, read) in ALL {
            read(&bytes);
        }
        Ok(())
    });
    outcome.unwrap();
}

/// Every reader has a target, and every target a reader.
#[test]
fn each_reader_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut targets: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    let mut readers = ALL.map(|(name, _)| name);
    readers.sort_unstable();
    assert_eq!(targets, readers);
    for name in readers {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("fretwork::readers::{name}(")), "{text}");
    }
}
