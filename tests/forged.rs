//! Checkpoints that were forged: whatever a kernel would take an index from is refused by name, before anything is written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use fretwork::data::{Dataset, Features, Source, Table};
use fretwork::gpu::{Gpu, Options};
use fretwork::methods::{Kind, MethodConfig, Scope};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::sparse::{Density, Topology};
use fretwork::train::{Checkpoint, Flow, Length, OptimizerKind, Schedule, Settings, Trainer};
use serde_json::json;

const PATH: &str = "checkpoint.safetensors";
/// Blocks of a side of the hidden layers, and places of the first layer's grid and the second's.
const SIDE: usize = 5;
const PLACES: [usize; 2] = [4 * SIDE, SIDE * SIDE];

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(64), Some(16)]).unwrap()
}

fn settings(kind: Kind) -> Settings {
    Settings {
        data: "digits".to_owned(),
        first_rows: [Some(64), Some(16)],
        method: method(kind),
        length: Length::Epochs(4),
        batch: 32,
        optimizer: OptimizerKind::Sgd,
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![16 * SIDE; 2],
            classes: 10,
            block: 16,
            sparsity: Some(0.5),
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        })
    }
}

fn method(kind: Kind) -> MethodConfig {
    let mut method = MethodConfig::new(kind);
    if let Some(scope) = method.shared().scope {
        *scope = Scope::Layer;
    }
    method
}

/// A run of this method, stopped after so many epochs.
fn stopped(gpu: &Gpu, kind: Kind, epochs: u64) -> Checkpoint {
    let mut trainer = Trainer::new(gpu, settings(kind), digits()).unwrap();
    let mut done = 0;
    trainer
        .run(None, &mut |event| {
            done += u64::from(matches!(event, fretwork::train::Event::Epoch { .. }));
            if done == epochs { Flow::Stop } else { Flow::Continue }
        })
        .unwrap();
    trainer.checkpoint().unwrap()
}

/// Resumes what is forged, to an error that has all these words.
#[track_caller]
fn assert_refused(gpu: &Gpu, whole: &Checkpoint, words: &[&str], forge: impl FnOnce(&mut Checkpoint)) {
    let mut forged = whole.clone();
    forge(&mut forged);
    let said = match Trainer::resume(gpu, &forged, Path::new(PATH), digits()) {
        Ok(_) => panic!("{words:?} is not refused"),
        Err(error) => error.to_string(),
    };
    assert!(words.iter().all(|word| said.contains(word)), "{said:?} should have {words:?}");
}

fn words(checkpoint: &Checkpoint, name: &str, count: usize) -> Vec<u32> {
    checkpoint.words(Path::new(PATH), name, count).unwrap()
}

/// A layer's pattern, births and sets.
#[test]
fn what_indexes_a_layer() {
    let gpu = gpu();
    let whole = stopped(&gpu, Kind::TopKast, 2);
    assert!(Trainer::resume(&gpu, &whole, Path::new(PATH), digits()).is_ok());
    let topology = whole.topology(Path::new(PATH), "layers.1.weight", [16 * SIDE; 2], 16).unwrap();
    let nnz = topology.nnz();
    let put = |name: &'static str, count: usize, at: usize, word: u32| {
        move |forged: &mut Checkpoint| {
            let mut words = words(forged, name, count);
            words[at] = word;
            forged.put_words(name, &words);
        }
    };
    let columns = "layers.1.weight.col_indices";
    assert_refused(&gpu, &whole, &["layers.1.weight", "outside"], put(columns, nnz, nnz - 1, SIDE as u32));
    let pointers = "layers.1.weight.crow_indices";
    assert_refused(&gpu, &whole, &["layers.1.weight", "row pointers"], put(pointers, SIDE + 1, 1, 1 << 30));
    assert_refused(&gpu, &whole, &["layers.1.weight has no block"], |forged| {
        forged.put_words(pointers, &[0; SIDE + 1]);
        forged.put_words(columns, &[]);
    });
    let born = "layers.1.weight.born";
    assert_refused(&gpu, &whole, &[born, "step 6", "at step 4"], put(born, nnz, 0, 6));
    let awake = "layers.1.weight.awake";
    assert_refused(&gpu, &whole, &[awake, "has 2"], put(awake, nnz, 0, 2));
    for (set, places) in [
        ("method.layers.0.visited", PLACES[0]),
        ("method.layers.1.visited", PLACES[1]),
        ("method.awake.0", PLACES[0]),
        ("method.awake.1", PLACES[1]),
    ] {
        let wanted = [set.to_owned(), format!("block {places} of a grid of {places} places")];
        assert_refused(&gpu, &whole, &wanted.each_ref().map(String::as_str), put(set, 1, 0, 1 << places | 1));
        assert_refused(&gpu, &whole, &[set, "1 words"], |forged| forged.put_words(set, &[0, 0]));
    }
    let grown = "method.grown";
    assert_refused(&gpu, &whole, &[grown, "is 7, should be 0 or 1"], put(grown, 1, 0, 7));
}

/// Connections and awake sets of SCL, smoothed scores of SNFS.
#[test]
fn what_methods_keep_for_every_place() {
    let gpu = gpu();
    let whole = stopped(&gpu, Kind::Scl, 1);
    assert!(Trainer::resume(&gpu, &whole, Path::new(PATH), digits()).is_ok());
    let wanted = ["method.awake.1", "block 31 of a grid of 25 places"];
    assert_refused(&gpu, &whole, &wanted, |forged| forged.put_words("method.awake.1", &[1 << 31]));
    let wanted = ["method.connections.1", "should have [25]"];
    assert_refused(&gpu, &whole, &wanted, |forged| {
        forged.put("method.connections.1", &[24], vec![0.0; 24]);
    });
    let whole = stopped(&gpu, Kind::Snfs, 1);
    let wanted = ["method.layers.0.smoothed", "should have [20]"];
    assert_refused(&gpu, &whole, &wanted, |forged| {
        forged.put("method.layers.0.smoothed", &[21], vec![0.0; 21]);
    });
}

/// The average of Sup-tickets: its patterns, and the numbers of blocks that room is made for.
#[test]
fn what_sup_tickets_remember() {
    let gpu = gpu();
    // Two epochs of RigL, then a ticket each.
    let whole = stopped(&gpu, Kind::SupTickets, 3);
    assert!(Trainer::resume(&gpu, &whole, Path::new(PATH), digits()).is_ok());
    assert_eq!(whole.memory["tickets"], 1);
    let nnz = whole.memory["blocks"]["layers.1.weight"].as_u64().unwrap() as usize;
    let packed = |[rows, cols]: [usize; 2], block: usize, nnz: usize| {
        let place = |at: usize| ((at / cols) as u32, (at % cols) as u32);
        let blocks: Vec<(u32, u32)> = (0..nnz).map(place).collect();
        Topology::from_coordinates(rows * block, cols * block, block, &blocks).unwrap().packed()
    };
    let name = "method.average.layers.1.weight.pattern";
    let size = packed([SIDE; 2], 16, nnz).len();
    // The number of words is right, but the grid has other sides: places would lie past the map.
    let taller = packed([SIDE + 1, SIDE - 1], 16, nnz);
    assert_eq!(taller.len(), size);
    assert_refused(&gpu, &whole, &[name, "in 96 x 64", "in 80 x 80"], |forged| {
        forged.put_words(name, &taller);
    });
    let finer = packed([SIDE; 2], 8, nnz);
    assert_refused(&gpu, &whole, &[name, "of 8 in 40 x 40"], |forged| forged.put_words(name, &finer));
    let fewer = packed([SIDE; 2], 16, nnz - 1);
    assert_refused(&gpu, &whole, &[name, "words"], |forged| forged.put_words(name, &fewer));
    assert_refused(&gpu, &whole, &[name, "magic"], |forged| forged.put_words(name, &vec![0; size]));
    let mut broken = packed([SIDE; 2], 16, nnz);
    broken[size - 1] = u32::MAX;
    assert_refused(&gpu, &whole, &[name, "outside"], |forged| forged.put_words(name, &broken));

    for (blocks, wanted) in [
        (
            json!([1u64 << 32, null, 12, null, null, null]),
            "4294967296 blocks of layers.0.weight, which may have 1 to 20",
        ),
        (json!([0, null, 12, null, null, null]), "0 blocks of layers.0.weight"),
        (json!([null, null, 12, null, null, null]), "no blocks of layers.0.weight"),
        (json!([10, 3, 12, null, null, null]), "3 blocks of layers.0.bias, which is not sparse"),
        (json!([10, null, 12, null]), "averages of 4 parameters"),
        (json!(vec![Some(1); 4096]), "averages of 4096 parameters"),
    ] {
        assert_refused(&gpu, &whole, &["sup-tickets", wanted], |forged| forged.memory["blocks"] = blocks);
    }
    assert_refused(&gpu, &whole, &["4 tickets"], |forged| forged.memory["tickets"] = json!(4));
}

/// Labels that are no class, which the network would take for rows that do not count.
#[test]
fn labels_past_the_classes() {
    let table =
        |labels: Vec<u32>| Table::new(Features::Bytes(vec![1; 64 * labels.len()], 1.0), labels, 64).unwrap();
    let fine = || table(vec![0; 32]);
    for (train, test, wanted) in [
        (table(vec![10; 32]), fine(), "a training row of class 10"),
        (fine(), table(vec![3, 11]), "a test row of class 11"),
    ] {
        let data = Dataset::of_tables("labels", train, test, 10);
        let error = Trainer::new(&gpu(), settings(Kind::Static), data).unwrap_err().to_string();
        assert!(error.contains("the network is for 10 classes") && error.contains(wanted), "{error}");
    }
}

/// The type of a tensor is part of the checksum: the bits of floats are not those of indices.
#[test]
fn the_checksum_has_types() {
    let (path, mut settings) = (Path::new(PATH), settings(Kind::Static));
    settings.first_rows = [None; 2];
    let position = fretwork::train::Position { step: 0, loss_sum: 0.0, hits: 0.0, replaced: 0, best: None };
    let mut floats = Checkpoint::new(settings, position, serde_json::Value::Null);
    floats.put("x", &[2], vec![1.0, 2.0]);
    let bytes = floats.to_bytes(path).unwrap();
    assert_eq!(Checkpoint::from_bytes(path, &bytes).unwrap(), floats);
    // By bytes: a file is no text.
    let find = |text: &str| bytes.windows(text.len()).position(|at| at == text.as_bytes()).unwrap();
    let (at, as_words) = (find("\"F32\""), b"\"I32\"");
    let mut forged = bytes.clone();
    forged[at..at + as_words.len()].copy_from_slice(as_words);
    let error = Checkpoint::from_bytes(path, &forged).unwrap_err().to_string();
    assert!(error.contains("is damaged: its checksum is"), "{error}");
    // In version 1 the checksum is without types, and there is no version 4.
    let version = |version: u8| {
        let mut other = bytes.clone();
        other[find("fretwork.checkpoint.3") + "fretwork.checkpoint.".len()] = version;
        Checkpoint::from_bytes(path, &other).unwrap_err().to_string()
    };
    assert!(version(b'1').contains("is damaged: its checksum is"), "{}", version(b'1'));
    assert!(version(b'4').contains("of another version"), "{}", version(b'4'));
    let sum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    };
    let words = bytemuck::cast_slice::<f32, u8>(&[1.0, 2.0]).to_vec();
    let settings = serde_json::to_string(&(&floats.settings, floats.position, &floats.memory)).unwrap();
    let of = |types: &str| sum(&[settings.as_bytes(), b"x", types.as_bytes(), b"[2]", &words].concat());
    let header = floats.to_bytes(path).unwrap();
    let end = 8 + u64::from_le_bytes(*header.first_chunk().unwrap()) as usize;
    let text = std::str::from_utf8(&header[8..end]).unwrap();
    let text =
        text.replace("checkpoint.3", "checkpoint.1").replace(&of("F32").to_string(), &of("").to_string());
    let old = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &header[end..]].concat();
    assert_eq!(Checkpoint::from_bytes(path, &old).unwrap(), floats);
}
