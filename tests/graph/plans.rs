//! Memory and dispatches of training, case by case, against those of the networks that were written by hand.

use std::collections::BTreeMap;

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Gpu, Options, Plan};
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::{Half, LmConfig, MlpConfig, ModelConfig, MoeConfig, Overflow, Precision};
use fretwork::ops::Activation;
use fretwork::ops::gate::Balance;
use fretwork::sparse::Density;
use fretwork::train::{Length, Schedule, Settings, Trainer};

/// Bytes of the text that language models are built for.
const VOCABULARY: &[u8] = b" abcdefghijklmnopqrstuvwxyz";
const CONTEXT: usize = 32;

fn settings(data: &Dataset, model: ModelConfig, precision: Precision, kind: Kind) -> Settings {
    Settings {
        data: data.name.clone(),
        precision,
        method: MethodConfig::new(kind),
        length: Length::Steps(100),
        batch: 16,
        learning_rate: 0.01,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        ..Settings::new(model)
    }
}

fn mlp(hidden: &[usize], activation: Activation, dropout: f32) -> MlpConfig {
    MlpConfig {
        inputs: 64,
        hidden: hidden.to_vec(),
        classes: 10,
        block: 16,
        sparsity: Some(0.8),
        density: Density::Erk,
        activation,
        dropout,
        seed: 1,
        layers: Default::default(),
        local: None,
    }
}

fn lm(experts: Option<MoeConfig>, sparsity: Option<f64>, depth: usize) -> LmConfig {
    LmConfig {
        vocabulary: VOCABULARY.to_vec(),
        context: CONTEXT,
        width: 64,
        heads: 2,
        depth,
        hidden: 128,
        experts,
        activation: Activation::Gelu,
        block: 16,
        sparsity,
        density: Density::Uniform,
        seed: 1,
        layers: Default::default(),
    }
}

fn moe(gate: &str) -> MoeConfig {
    MoeConfig {
        experts: vec![64, 128, 64, 96],
        gate: gate.parse().unwrap(),
        balance: Balance::default(),
        bias_rate: 0.0,
        capacity: 0.0,
        overflow: Overflow::Position,
        gated: false,
        shared: 0,
    }
}

fn cases() -> Vec<(&'static str, ModelConfig, Kind)> {
    let (relu, gelu) = (Activation::Relu, Activation::Gelu);
    let gated = MoeConfig { gated: true, shared: 64, bias_rate: 0.01, ..moe("softmax-top:2") };
    let tight = MoeConfig { capacity: 1.0, overflow: Overflow::Probability, ..moe("softmax-top:1") };
    let dense = MlpConfig { sparsity: None, ..mlp(&[512], gelu, 0.0) };
    let linear = LmConfig { activation: relu, ..lm(None, Some(0.5), 2) };
    vec![
        ("mlp 64", mlp(&[64], relu, 0.0).into(), Kind::Static),
        ("mlp 256-512-128 relu", mlp(&[256, 512, 128], relu, 0.0).into(), Kind::Static),
        ("mlp 256-512-128 gelu", mlp(&[256, 512, 128], gelu, 0.0).into(), Kind::Static),
        ("mlp 512-512 relu dropout", mlp(&[512, 512], relu, 0.3).into(), Kind::Static),
        ("mlp 512-512 gelu dropout", mlp(&[512, 512], gelu, 0.3).into(), Kind::Static),
        ("mlp 32 five times gelu", mlp(&[32; 5], gelu, 0.0).into(), Kind::Static),
        ("mlp 512 gelu dense", dense.into(), Kind::Static),
        ("mlp 512-512 rigl", mlp(&[512, 512], relu, 0.0).into(), Kind::Rigl),
        ("mlp 512-512 ctre", mlp(&[512, 512], gelu, 0.0).into(), Kind::CtreSeq),
        ("lm", lm(None, None, 2).into(), Kind::Static),
        ("lm one block", lm(None, None, 1).into(), Kind::Static),
        ("lm four blocks", lm(None, Some(0.5), 4).into(), Kind::Static),
        ("lm sparse", lm(None, Some(0.5), 2).into(), Kind::Static),
        ("lm sparse relu", linear.into(), Kind::Static),
        ("lm sparse rigl", lm(None, Some(0.5), 2).into(), Kind::Rigl),
        ("moe softmax", lm(Some(moe("softmax-top:2")), None, 2).into(), Kind::Static),
        ("moe sparse", lm(Some(moe("softmax-top:2")), Some(0.5), 2).into(), Kind::Static),
        ("moe sparse rigl", lm(Some(moe("softmax-top:2")), Some(0.5), 2).into(), Kind::Rigl),
        ("moe gated shared", lm(Some(gated), None, 2).into(), Kind::Static),
        ("moe noisy sparse", lm(Some(moe("noisy-top:2")), Some(0.5), 2).into(), Kind::Static),
        ("moe capacity", lm(Some(tight), None, 2).into(), Kind::Static),
        ("moe sigmoid", lm(Some(moe("sigmoid-top:2:renormalised")), None, 2).into(), Kind::Static),
        ("moe gshard", lm(Some(moe("gshard")), None, 2).into(), Kind::Static),
        ("moe hash", lm(Some(moe("hash:1")), None, 2).into(), Kind::Static),
        ("moe expert choice", lm(Some(moe("expert-choice:1")), None, 1).into(), Kind::Static),
    ]
}

/// Bytes of values, topologies, gradients, optimizer state, activations and scratch, and dispatches of a training step and of an
/// update (0 where the method has none).
type Numbers = ([u64; 6], [usize; 2]);

/// The numbers of each case in f32 and in f16, as hand-written networks had them.
const MOST: &[(&str, [Numbers; 2])] = &[
    (
        "mlp 64",
        [
            ([6_960, 176, 6_960, 13_920, 13_632, 1_504], [13, 0]),
            ([10_288, 176, 6_960, 13_920, 7_808, 1_840], [19, 0]),
        ],
    ),
    (
        "mlp 256-512-128 relu",
        [
            ([179_760, 3_344, 179_760, 359_520, 128_320, 2_736], [25, 0]),
            ([267_824, 3_344, 179_760, 359_520, 65_152, 3_264], [35, 0]),
        ],
    ),
    (
        "mlp 256-512-128 gelu",
        [
            ([179_760, 3_344, 179_760, 359_520, 185_664, 2_736], [25, 0]),
            ([267_824, 3_344, 179_760, 359_520, 93_824, 3_264], [35, 0]),
        ],
    ),
    (
        "mlp 512-512 relu dropout",
        [
            ([261_168, 4_256, 261_168, 522_336, 136_512, 2_112], [19, 0]),
            ([389_680, 4_256, 261_168, 522_336, 69_248, 2_544], [27, 0]),
        ],
    ),
    (
        "mlp 512-512 gelu dropout",
        [
            ([261_168, 4_256, 261_168, 522_336, 202_048, 2_112], [19, 0]),
            ([389_680, 4_256, 261_168, 522_336, 102_016, 2_544], [27, 0]),
        ],
    ),
    (
        "mlp 32 five times gelu",
        [
            ([7_088, 560, 7_088, 14_176, 30_016, 4_000], [37, 0]),
            ([10_288, 560, 7_088, 14_176, 16_000, 4_720], [51, 0]),
        ],
    ),
    (
        "mlp 512 gelu dense",
        [
            ([153_648, 0, 153_648, 307_296, 103_744, 1_488], [13, 0]),
            ([229_424, 0, 153_648, 307_296, 52_864, 1_824], [19, 0]),
        ],
    ),
    (
        "mlp 512-512 rigl",
        [
            ([261_168, 4_256, 261_168, 522_336, 136_512, 9_600], [19, 47]),
            ([389_680, 4_256, 261_168, 522_336, 69_248, 10_288], [27, 55]),
        ],
    ),
    (
        "mlp 512-512 ctre",
        [
            ([261_168, 4_256, 261_168, 522_336, 202_048, 15_776], [19, 48]),
            ([389_680, 4_256, 261_168, 522_336, 102_016, 16_464], [27, 56]),
        ],
    ),
    (
        "lm",
        [
            ([289_136, 0, 289_136, 578_272, 4_990_976, 36_896], [107, 0]),
            ([423_664, 0, 289_136, 578_272, 4_298_752, 38_928], [142, 0]),
        ],
    ),
    (
        "lm one block",
        [
            ([155_760, 0, 155_760, 311_520, 3_147_776, 24_304], [64, 0]),
            ([224_752, 0, 155_760, 311_520, 2_914_304, 25_536], [85, 0]),
        ],
    ),
    (
        "lm four blocks",
        [
            ([293_744, 6_144, 293_744, 587_488, 8_677_376, 62_688], [193, 0]),
            ([428_272, 6_144, 293_744, 587_488, 7_067_648, 66_320], [256, 0]),
        ],
    ),
    (
        "lm sparse",
        [
            ([158_064, 3_072, 158_064, 316_128, 4_990_976, 37_184], [107, 0]),
            ([227_056, 3_072, 158_064, 316_128, 4_298_752, 39_216], [142, 0]),
        ],
    ),
    (
        "lm sparse relu",
        [
            ([158_064, 3_072, 158_064, 316_128, 4_466_688, 37_184], [107, 0]),
            ([227_056, 3_072, 158_064, 316_128, 4_036_608, 39_216], [142, 0]),
        ],
    ),
    (
        "lm sparse rigl",
        [
            ([158_064, 3_072, 158_064, 316_128, 4_990_976, 57_136], [107, 218]),
            ([227_056, 3_072, 158_064, 316_128, 4_298_752, 60_288], [142, 253]),
        ],
    ),
    (
        "moe softmax",
        [
            ([519_024, 43_232, 519_024, 1_038_048, 8_378_368, 39_360], [149, 0]),
            ([769_264, 43_232, 519_024, 1_038_048, 9_136_128, 42_416], [198, 0]),
        ],
    ),
    (
        "moe sparse",
        [
            ([273_264, 48_288, 273_264, 546_528, 8_378_368, 39_648], [149, 0]),
            ([310_512, 48_288, 273_264, 546_528, 9_005_056, 42_192], [192, 0]),
        ],
    ),
    (
        "moe sparse rigl",
        [
            ([273_264, 48_288, 273_264, 546_528, 8_378_368, 61_168], [149, 258]),
            ([310_512, 48_288, 273_264, 546_528, 9_005_056, 65_088], [192, 301]),
        ],
    ),
    (
        "moe gated shared",
        [
            ([765_840, 43_232, 765_808, 1_531_616, 10_475_520, 47_072], [191, 0]),
            ([1_138_960, 43_232, 765_808, 1_531_616, 10_840_064, 50_832], [254, 0]),
        ],
    ),
    (
        "moe noisy sparse",
        [
            ([275_312, 48_288, 275_312, 550_624, 8_427_520, 73_584], [165, 0]),
            ([313_584, 48_288, 275_312, 550_624, 9_062_400, 76_448], [214, 0]),
        ],
    ),
    (
        "moe capacity",
        [
            ([519_024, 22_496, 519_024, 1_038_048, 6_062_080, 73_152], [157, 0]),
            ([769_264, 22_496, 519_024, 1_038_048, 6_492_160, 76_208], [206, 0]),
        ],
    ),
    (
        "moe sigmoid",
        [
            ([519_024, 43_232, 519_024, 1_038_048, 8_378_368, 39_360], [149, 0]),
            ([769_264, 43_232, 519_024, 1_038_048, 9_136_128, 42_416], [198, 0]),
        ],
    ),
    (
        "moe gshard",
        [
            ([519_024, 43_232, 519_024, 1_038_048, 8_378_368, 39_360], [149, 0]),
            ([769_264, 43_232, 519_024, 1_038_048, 9_136_128, 42_416], [198, 0]),
        ],
    ),
    (
        "moe hash",
        [
            ([516_976, 22_496, 516_976, 1_033_952, 5_996_544, 33_568], [123, 0]),
            ([766_192, 22_496, 516_976, 1_033_952, 6_418_432, 36_048], [164, 0]),
        ],
    ),
    (
        "moe expert choice",
        [
            ([270_704, 17_392, 270_704, 541_408, 3_701_760, 59_408], [88, 0]),
            ([397_552, 17_392, 270_704, 541_408, 4_029_440, 61_152], [116, 0]),
        ],
    ),
];

/// Bytes that scans for NaN may take more than by hand: the step's status has a word for each watched value and one for each layer,
/// where a layer's output and its gradient shared one, in units of 16 bytes.
const STATUS: u64 = 16;

/// Dispatches of a training step of some cases, in half precision where `f16` says so, by the families of their kernels.
const FAMILIES: &[(&str, bool, &str)] = &[
    ("mlp 256-512-128 gelu", false, "dds 5 dense 3 loss 1 optimizer 8 reduce 5 sdd 3"),
    (
        "lm one block",
        true,
        "attention 3 convert 9 dense 15 embed 3 fill 2 finite 10 loss 1 norm 9 optimizer 15 reduce 16 scale 2",
    ),
    (
        "moe noisy sparse",
        false,
        "attention 6 combine 4 dds 8 dense 15 dss 4 embed 3 experts 4 fill 8 gate 22 loss 1 norm 15 optimizer 25 reduce 24 \
         route 14 sdd 4 sds 4 ssd 4",
    ),
    (
        "moe gated shared",
        true,
        "attention 6 combine 6 convert 35 dense 33 dsd 12 embed 3 experts 4 fill 8 finite 24 gate 18 loss 1 norm 15 \
         optimizer 33 reduce 32 route 14 scale 4 sdd 6",
    ),
];

/// Families of a step's kernels that have more dispatches than `most` says, or that it doesn't name.
fn families_above(trainer: &Trainer, most: &str) -> Vec<String> {
    let words: Vec<&str> = most.split_whitespace().collect();
    let most: BTreeMap<&str, usize> =
        words.chunks(2).map(|pair| (pair[0], pair[1].parse().unwrap())).collect();
    let mut counts = BTreeMap::new();
    for label in trainer.step_kernels() {
        *counts.entry(label.split('.').nth(1).unwrap()).or_insert(0) += 1;
    }
    let more = counts.into_iter().filter(|(family, count)| *count > most.get(family).copied().unwrap_or(0));
    more.map(|(family, count)| format!("{family} {count}")).collect()
}

/// Numbers above those of a case, in words.
fn above(gpu: &Gpu, trainer: &Trainer, (bytes, dispatches): Numbers) -> Vec<String> {
    let b = gpu.bytes();
    let found = [b.values, b.topology, b.gradients, b.optimizer, b.activations, b.scratch];
    let classes = ["values", "topology", "gradients", "optimizer", "activations", "scratch"];
    let update = trainer.update_plan().map_or(0, Plan::len);
    let counts = [("steps", trainer.step_plan().len()), ("updates", update)];
    let found = classes.into_iter().zip(found).chain(counts.map(|(what, count)| (what, count as u64)));
    let [sized @ .., scratch] = bytes;
    let most = sized.into_iter().chain([scratch + STATUS]).chain(dispatches.map(|count| count as u64));
    let more = found.zip(most).filter(|((_, found), most)| found > most);
    more.map(|((what, found), most)| format!("{what}: {found}, and {most} by hand")).collect()
}

/// Runs every case of which `takes` says so.
fn compare(takes: impl Fn(&ModelConfig) -> bool) {
    let gpu = Gpu::request(Options::default()).unwrap();
    let digits = Dataset::load(&Source::Digits, 1, 0).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "the quick brown fox jumps over a lazy dog ".repeat(300)).unwrap();
    let text = Dataset::load(&Source::Text(file.path().to_owned()), 1, CONTEXT).unwrap();
    assert_eq!(text.vocabulary, VOCABULARY);
    let mut more = Vec::new();
    for ((name, model, kind), &(named, most)) in cases().into_iter().zip(MOST) {
        assert_eq!(name, named);
        if !takes(&model) {
            continue;
        }
        for (precision, most) in [Precision::F32, Precision::F16(Half::default())].into_iter().zip(most) {
            if precision.half().is_some() && !gpu.has_f16() {
                println!("SKIPPED: {} has no half precision", gpu.info().name);
                continue;
            }
            let data = if model.context() == 0 { &digits } else { &text };
            assert_eq!(gpu.bytes().total(), 0);
            let trainer =
                Trainer::new(&gpu, settings(data, model.clone(), precision, kind), data.clone()).unwrap();
            assert_eq!(trainer.step_kernels().count(), trainer.step_plan().len());
            let half = precision.half().is_some();
            if let Some((.., families)) = FAMILIES.iter().find(|case| (case.0, case.1) == (name, half)) {
                assert_eq!(families_above(&trainer, families), [""; 0], "{name}");
                assert!(!families_above(&trainer, "dense 1").is_empty());
            }
            let precision = if half { "f16" } else { "f32" };
            more.extend(
                above(&gpu, &trainer, most).into_iter().map(|why| format!("{name}, {precision}, {why}")),
            );
            // A plan that is one byte or one dispatch above is seen.
            let b = gpu.bytes();
            let tight =
                ([0, b.topology, b.gradients, b.optimizer, b.activations - 1, b.scratch - STATUS], [0; 2]);
            let update = usize::from(trainer.update_plan().is_some());
            assert_eq!(above(&gpu, &trainer, tight).len(), 3 + update);
        }
    }
    assert!(more.is_empty(), "{}", more.join("\n"));
}

#[test]
fn perceptrons_take_no_more_than_by_hand() {
    compare(|model| matches!(model, ModelConfig::Mlp(_)));
}

#[test]
fn language_models_take_no_more_than_by_hand() {
    compare(|model| matches!(model, ModelConfig::Lm(config) if config.experts.is_none()));
}

#[test]
fn mixtures_take_no_more_than_by_hand() {
    compare(|model| matches!(model, ModelConfig::Lm(config) if config.experts.is_some()));
}

#[test]
fn every_case_has_its_numbers() {
    assert_eq!(cases().len(), MOST.len());
}
