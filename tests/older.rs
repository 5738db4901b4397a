//! Checkpoints of version 2 resume to the bits of a run that was never stopped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::sparse::Density;
use fretwork::train::{Checkpoint, Event, Flow, Length, Settings, Trainer};
use safetensors::SafeTensors;
use serde_json::{Value, json};

const PATH: &str = "checkpoint.safetensors";
const PARAMETERS: [&str; 6] = [
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
    "layers.1.bias",
    "layers.2.weight",
    "layers.2.bias",
];

fn digits() -> Dataset {
    Dataset::load(&Source::Digits, 1, 0).unwrap().first([Some(256), Some(16)]).unwrap()
}

/// A run of 24 steps, with the options that `older` writes down.
fn settings(kind: Kind) -> Settings {
    let mut method: Value = serde_json::to_value(MethodConfig::new(kind)).unwrap();
    for (name, value) in options().as_object().unwrap() {
        // Names by now.
        let name = match (name.as_str(), kind) {
            ("prune_outgoing", Kind::Importance) => "outgoing",
            ("penalty", Kind::Scl) => "cost",
            (name, _) => name,
        };
        method[name] = value.clone();
    }
    Settings {
        data: "digits".to_owned(),
        first_rows: [Some(256), Some(16)],
        method: serde_json::from_value(method).unwrap(),
        length: Length::Epochs(6),
        batch: 64,
        learning_rate: 0.004,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![80; 2],
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

/// Options of all methods, which version 2 has for each.
fn options() -> Value {
    json!({
        "updates": { "every": { "steps": 3 }, "from": 0.0, "until": 0.75, "fraction": 0.3, "decay": "cosine" },
        "backward_sparsity": 0.25, "penalty": 0.3, "score_rows": 12, "prune_outgoing": true, "scope": "layer",
    })
}

/// The file of version 2: settings with the options of all methods, averages of Sup-tickets by the index of the parameter.
fn older(checkpoint: &Checkpoint) -> Vec<u8> {
    let bytes = checkpoint.to_bytes(Path::new(PATH)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let header = &metadata.metadata().as_ref().unwrap()["fretwork.checkpoint.3"];
    let mut header: Value = serde_json::from_str(header).unwrap();
    header.as_object_mut().unwrap().remove("encoding");
    let kind = header["settings"]["method"]["kind"].clone();
    header["settings"]["method"] = options();
    header["settings"]["method"]["kind"] = kind;
    if let Some(blocks) =
        header["memory"].get_mut("blocks").filter(|blocks| blocks["layers.0.weight"].is_u64())
    {
        *blocks = PARAMETERS.iter().map(|&name| blocks[name].clone()).collect();
    }
    let old_name = |name: &str| -> String {
        let Some(average) = name.strip_prefix("method.average.") else { return name.to_owned() };
        let (parameter, part) = match average.strip_suffix(".pattern") {
            Some(parameter) => (parameter, ".pattern"),
            None => (average, ""),
        };
        let index = PARAMETERS.iter().position(|&known| known == parameter).unwrap();
        format!("method.average.{index}{part}")
    };
    let tensors: BTreeMap<String, _> = file.iter().map(|(name, view)| (old_name(name), view)).collect();

    // Version 2 knew no encodings of files.
    header.as_object_mut().unwrap().remove("encoding");
    let mut crc = flate2::Crc::new();
    let parts = [&header["settings"], &header["position"], &header["memory"]];
    crc.update(serde_json::to_string(&parts).unwrap().as_bytes());
    crc.update(format!("{:08x}", header["fingerprint"].as_u64().unwrap()).as_bytes());
    for (name, view) in &tensors {
        crc.update(format!("{name}{:?}{:?}", view.dtype(), view.shape()).as_bytes());
        crc.update(view.data());
    }
    header["checksum"] = json!(crc.sum());
    let header = HashMap::from([("fretwork.checkpoint.2".to_owned(), header.to_string())]);
    safetensors::serialize(&tensors, Some(header)).unwrap()
}

#[test]
fn checkpoints_of_version_2_resume_to_the_same_bits() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let path = Path::new(PATH);
    for (kind, stop) in [
        (Kind::Static, 5),
        (Kind::Rigl, 7),
        (Kind::SetPublished, 10),
        (Kind::Snfs, 7),
        (Kind::TopKast, 7),
        (Kind::CtreSeq, 7),
        (Kind::Importance, 14),
        (Kind::Scl, 10),
        (Kind::EarlyCrop, 6),
        (Kind::SupTickets, 18),
    ] {
        let mut whole = Trainer::new(&gpu, settings(kind), digits()).unwrap();
        let mut steps = 0;
        let mut stopping = |event: &Event| {
            steps += u64::from(matches!(event, Event::Progress { .. }));
            if steps == stop { Flow::Stop } else { Flow::Continue }
        };
        whole.run(None, &mut stopping).unwrap();
        let bytes = older(&whole.checkpoint().unwrap());
        let checkpoint =
            Checkpoint::from_bytes(path, &bytes).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(checkpoint.settings, settings(kind), "{kind}");
        let mut resumed = Trainer::resume(&gpu, &checkpoint, path, digits()).unwrap();
        let [whole, resumed] = [&mut whole, &mut resumed].map(|run| {
            run.run(None, &mut |_| Flow::Continue).unwrap();
            run.checkpoint().unwrap().to_bytes(path).unwrap()
        });
        assert!(whole == resumed, "{kind} ends elsewhere");
        // A change of any option is noticed.
        // By bytes: a file is no text.
        let text = br#"\"fraction\":0.3"#;
        let at = bytes.windows(text.len()).position(|at| at == text).unwrap();
        let mut forged = bytes.clone();
        forged[at + r#"\"fraction\":0."#.len()] = b'4';
        let error = Checkpoint::from_bytes(path, &forged).unwrap_err().to_string();
        assert!(error.contains("is damaged: its checksum is"), "{error}");
    }
}
