//! Language models, dense, sparse and with experts: gradients, runs, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "lm/capacity.rs"]
mod capacity;
#[path = "lm/causal.rs"]
mod causal;
mod small_lm;

use std::path::Path;

use fretwork::gpu::{Class, Gpu, Options, Plan, Recorder, Tensor};
use fretwork::graph::Start;
use fretwork::methods::{Every, Kind, MethodConfig};
use fretwork::nn::{FanIn, LmConfig, ModelConfig, MoeConfig, Network, Overflow, Precision};
use fretwork::ops::gate::Balance;
use fretwork::ops::{self, IGNORED, Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::train::{Checkpoint, Event, Flow, RunFolder, Sampler, Trainer};
use small_lm::{BATCH, CONTEXT, config, experts, settings, spread, text, words_in};

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

/// A model with bytes to continue from, and plans that tell its loss and its gradients.
struct Bench {
    gpu: Gpu,
    model: Network,
    report: Tensor,
    forward: Plan,
    backward: Plan,
}

impl Bench {
    fn new(config: LmConfig) -> Self {
        let gpu = gpu();
        let classes = config.vocabulary.len() as u32;
        let config = ModelConfig::from(config);
        let topologies = config.topologies(config.sparsity()).unwrap();
        let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
        let model = config.build(&gpu, BATCH, start, Precision::F32, None).unwrap();
        let rows = BATCH * CONTEXT;
        let mut walk = Key::new(3, Stream::Check(7)).walk();
        let mut ids: Vec<u32> = (0..rows).map(|_| walk.below(classes)).collect();
        let mut labels: Vec<u32> = (0..rows).map(|_| walk.below(classes)).collect();
        // The last window pads the batch, in part.
        ids[rows - 4..].fill(IGNORED);
        labels[rows - 4..].fill(IGNORED);
        gpu.write(model.input(), &ids).unwrap();
        let labels = gpu.upload(Class::Scratch, "labels", &[rows], &labels).unwrap();
        let report = gpu.alloc::<f32>(Class::Scratch, "report", &[rows, 2]).unwrap();
        let row_scale = 1.0 / (rows - 4) as f32;
        let step = Step::new(&gpu, StepValues::backward(2, row_scale)).unwrap();
        spread(&gpu, &model, &mut walk, |x| x);
        let plan = |backward: bool| {
            let mut rec = Recorder::new(&gpu);
            model.forward(&mut rec, Some(&step)).unwrap();
            let (logits, grad) = (model.logits(), model.logits_grad());
            ops::softmax_cross_entropy(&mut rec, logits, &labels, &report, grad, &step).unwrap();
            if backward {
                model.backward(&mut rec, Some(&step)).unwrap();
            }
            rec.finish().unwrap()
        };
        let (forward, backward) = (plan(false), plan(true));
        Self { gpu, model, report, forward, backward }
    }

    fn read(&self, tensor: &Tensor) -> Vec<f32> {
        self.gpu.read::<f32>(tensor).unwrap().wait().unwrap()
    }

    /// The mean loss, with those that keep experts in balance.
    fn loss(&self) -> f64 {
        self.gpu.run(&self.forward).unwrap();
        let rows = self.read(&self.report);
        let sum: f64 = rows.chunks(2).map(|row| f64::from(row[0])).sum();
        let loads = self.model.loads();
        let balance =
            loads.iter().filter_map(|load| load.losses).map(|losses| f64::from(self.read(losses)[4]));
        sum / (BATCH * CONTEXT - 4) as f64 + balance.sum::<f64>()
    }

    /// The largest difference between the slope that the gradient of a parameter says and the one that is there, along
    /// directions in which every element counts by its gradient and by chance.
    fn worst(&self) -> (f64, String) {
        self.gpu.run(&self.backward).unwrap();
        let gradients: Vec<Vec<f32>> = self.model.parameters().iter().map(|p| self.read(p.grads())).collect();
        let mut walk = Key::new(8, Stream::Check(9)).walk();
        let mut worst = (0.0, String::new());
        for (parameter, gradient) in self.model.parameters().iter().zip(&gradients) {
            let values = self.read(parameter.values());
            let size = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            assert!(size > 1e-6, "{} has a gradient of {size:e}, which tells nothing", parameter.name());
            for _ in 0..2 {
                let direction: Vec<f64> =
                    gradient.iter().map(|&g| f64::from(g) / size * f64::from(2.0 * walk.uniform())).collect();
                let told: f64 = direction.iter().zip(gradient).map(|(d, &g)| d * f64::from(g)).sum();
                // Enough to be seen, and too little for tokens to choose other experts.
                let length = 2e-4;
                let at = |t: f64| {
                    let moved: Vec<f32> =
                        values.iter().zip(&direction).map(|(x, d)| (f64::from(*x) + t * d) as f32).collect();
                    self.gpu.write(parameter.values(), &moved).unwrap();
                    self.loss()
                };
                let found = (at(length) - at(-length)) / (2.0 * length);
                let error = (found - told).abs() / told.abs();
                if error > worst.0 {
                    worst = (error, format!("{}: {told:e} told, {found:e} found", parameter.name()));
                }
            }
            self.gpu.write(parameter.values(), &values).unwrap();
        }
        worst
    }
}

#[test]
fn gradients_of_all_parameters() {
    let balance = Balance { aux: 0.3, importance: 0.2, load: 0.1, z: 0.05 };
    let mixtures = [
        experts("softmax-top:2:renormalised"),
        experts("softmax-top:4"),
        experts("softmax-top:3:chosen"),
        MoeConfig { gated: true, shared: 32, ..experts("sigmoid-top:2:renormalised") },
        MoeConfig { balance, ..experts("noisy-top:2") },
        MoeConfig { capacity: 0.6, balance, ..experts("gshard:random") },
        MoeConfig { capacity: 0.6, overflow: Overflow::Probability, ..experts("softmax-top:2") },
        MoeConfig { gated: true, ..experts("hash:2") },
        experts("expert-choice:2"),
    ];
    let dense = [config(None, None), config(None, Some(0.2))];
    let sparse = MoeConfig { gated: true, shared: 32, ..experts("softmax-top:3") };
    let sparse = config(Some(sparse), Some(0.2));
    let mixtures = mixtures.map(|mixture| config(Some(mixture), None));
    for config in dense.into_iter().chain(mixtures).chain([sparse]) {
        let name = config.to_string();
        let (error, which) = Bench::new(config).worst();
        assert!(error < 0.01, "{name}: {error:.3}: {which}");
    }
}

/// The check can fail: a gradient that is wrong in one part is found.
#[test]
fn a_wrong_gradient_is_found() {
    let mut bench = Bench::new(config(Some(experts("softmax-top:2:renormalised")), None));
    // A loss that is weighed otherwise than the gradient: a plan with another scale of rows.
    let mut rec = Recorder::new(&bench.gpu);
    let step = Step::new(&bench.gpu, StepValues::backward(2, 0.05)).unwrap();
    let labels = bench.gpu.zeros::<u32>(Class::Scratch, "labels", &[BATCH * CONTEXT]).unwrap();
    bench.model.forward(&mut rec, Some(&step)).unwrap();
    let (logits, grad) = (bench.model.logits(), bench.model.logits_grad());
    ops::softmax_cross_entropy(&mut rec, logits, &labels, &bench.report, grad, &step).unwrap();
    bench.model.backward(&mut rec, Some(&step)).unwrap();
    bench.backward = rec.finish().unwrap();
    assert!(bench.worst().0 > 0.1);
}

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    checkpoint.to_bytes(Path::new("checkpoint")).unwrap()
}

/// Runs are the same to the bit, also when they stop in the middle of an epoch and go on; no step waits for the device.
#[test]
fn runs_are_repeated_and_resumed_to_the_bit() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let mixture = MoeConfig {
        bias_rate: 0.01,
        capacity: 1.5,
        ..experts("softmax-top:2:renormalised:tile=4".trim_end_matches(":tile=4"))
    };
    let noisy = MoeConfig {
        balance: Balance { importance: 0.1, load: 0.1, ..Balance::default() },
        ..experts("noisy-top:2")
    };
    for (mixture, kind) in
        [(None, Kind::Set), (None, Kind::Rigl), (Some(mixture), Kind::Static), (Some(noisy), Kind::Static)]
    {
        let (mut settings, dataset) = settings(&data, mixture, Precision::F32, 24);
        settings.method = MethodConfig::new(kind);
        if let Some(updates) = settings.method.shared().updates {
            updates.every = Every::Steps(3);
        }
        let whole = |seen: &mut Vec<Event>| {
            let mut trainer = Trainer::new(&gpu, settings.clone(), dataset.clone()).unwrap();
            let summary = trainer
                .run(None, &mut |event| {
                    seen.push(event.clone());
                    Flow::Continue
                })
                .unwrap();
            assert_eq!(summary.blocking_waits, 0);
            bytes(&trainer.checkpoint().unwrap())
        };
        let mut events = Vec::new();
        let wanted = whole(&mut events);
        assert!(wanted == whole(&mut Vec::new()), "{kind}: two runs differ");
        let loads = events.iter().find_map(|event| match event {
            Event::Epoch { loads, .. } => Some(loads.clone()),
            _ => None,
        });
        for load in loads.unwrap() {
            let all: u32 = load.taken.iter().chain(&load.dropped).sum();
            assert_eq!(all as usize, 10 * 16 * CONTEXT * 2, "every token makes two choices");
        }
        for stop in [4, 10, 17] {
            let mut trainer = Trainer::new(&gpu, settings.clone(), dataset.clone()).unwrap();
            let mut steps = 0;
            let mut until = |event: &Event| {
                steps += u64::from(matches!(event, Event::Progress { .. }));
                if steps >= stop { Flow::Stop } else { Flow::Continue }
            };
            trainer.run(None, &mut until).unwrap();
            let path = Path::new("checkpoint");
            let kept = Checkpoint::from_bytes(path, &bytes(&trainer.checkpoint().unwrap())).unwrap();
            let mut resumed = Trainer::resume(&gpu, &kept, path, dataset.clone()).unwrap();
            resumed.run(None, &mut |_| Flow::Continue).unwrap();
            assert!(wanted == bytes(&resumed.checkpoint().unwrap()), "{kind}: resumed at {stop}");
        }
    }
}

/// It learns what there is to learn, and says it again.
#[test]
fn a_model_learns_words_and_says_them() {
    let gpu = gpu();
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let (settings, dataset) =
        settings(&data, Some(experts("softmax-top:2:renormalised")), Precision::F32, 120);
    let folder = RunFolder::create(&directory.path().join("run")).unwrap();
    let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
    let summary = trainer.run(Some(&folder), &mut |_| Flow::Continue).unwrap();
    // Seven words of four to six letters: a little over half a bit per byte is the best there is, and 1.5 is without words.
    assert!(summary.test_loss < 0.8, "{}", summary.test_loss);

    let say = |seed| {
        let mut sampler = Sampler::new(&gpu, &folder, Some(b"face "), 0.5, seed).unwrap();
        (0..40).map(|_| sampler.next_byte().unwrap()).collect::<Vec<u8>>()
    };
    let said = String::from_utf8(say(1)).unwrap();
    assert_eq!(said.as_bytes(), say(1));
    // Words have five bytes on average, with the space: half of eight words.
    assert!(words_in(&said) > 4, "{said:?}");

    for (prompt, temperature, why) in
        [("", 1.0, "is empty"), ("Z", 1.0, "'Z'"), ("f\u{fc}", 1.0, "'\u{fc}'"), ("face", 0.0, "above 0")]
    {
        let prompt = Some(prompt.as_bytes());
        let refused = Sampler::new(&gpu, &folder, prompt, temperature, 1).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    // Without a prompt the model begins with a byte that it knows: the text has no line break.
    let mut sampler = Sampler::new(&gpu, &folder, None, 0.5, 1).unwrap();
    assert_eq!(sampler.text(), b" ");
    let next = sampler.next_byte().unwrap();
    assert_eq!(sampler.text(), [b' ', next]);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let refused = |config: LmConfig, why: &str| {
        let error = ModelConfig::from(config).validate().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let good = config(Some(experts("softmax-top:2")), Some(0.5));
    assert!(ModelConfig::from(good.clone()).validate().is_ok());
    refused(LmConfig { context: 0, ..good.clone() }, "context");
    refused(LmConfig { width: 40, ..good.clone() }, "try 48");
    refused(LmConfig { heads: 3, ..good.clone() }, "heads");
    refused(LmConfig { depth: 0, ..good.clone() }, "depth");
    refused(LmConfig { hidden: 0, ..good.clone() }, "0 units");
    refused(LmConfig { vocabulary: vec![b'a'], ..good.clone() }, "1 different");
    let with = |change: &dyn Fn(&mut MoeConfig)| {
        let mut mixture = experts("softmax-top:2");
        change(&mut mixture);
        LmConfig { experts: Some(mixture), ..good.clone() }
    };
    refused(with(&|moe| moe.gate = "softmax-top:5".parse().unwrap()), "5 experts per token of 4 experts");
    refused(with(&|moe| moe.experts = vec![16; 513]), "513 experts");
    refused(with(&|moe| moe.experts = vec![]), "0 experts");
    refused(with(&|moe| moe.experts = vec![16, 0, 16]), "0 units");
    refused(with(&|moe| moe.capacity = -1.0), "capacity");
    refused(with(&|moe| moe.balance.aux = f32::NAN), "aux");
    refused(
        with(&|moe| (moe.gate, moe.bias_rate) = ("noisy-top:2".parse().unwrap(), 0.1)),
        "for top-k gates",
    );
}

/// All-ReLU's slope alternates from block to block, and its first maps -1 to the slope as given: feed-forward networks whose units
/// are all at -1 before the activation give what biases of that activation times the sum of their weights give.
#[test]
fn all_relu_alternates_from_block_to_block() {
    const SLOPE: f32 = 0.6;
    let activation = ops::Activation::AllRelu { slope: SLOPE };
    let logits = |by_weights: bool| {
        let bench = Bench::new(LmConfig { activation, ..config(None, None) });
        let parameters = bench.model.parameters();
        let of =
            |name: String| parameters.iter().find(|parameter| parameter.name() == name).unwrap().values();
        let read = |tensor: &Tensor| bench.gpu.read::<f32>(tensor).unwrap().wait().unwrap();
        for (block, passed) in [SLOPE, -SLOPE].into_iter().enumerate() {
            let part = |part: &str| of(format!("blocks.{block}.feed.{part}"));
            let [up, down] = [part("up.bias"), part("down.weight")];
            let weights = part("up.weight");
            bench.gpu.write(weights, &vec![0.0f32; weights.len()]).unwrap();
            bench.gpu.write(up, &vec![-1.0f32; up.len()]).unwrap();
            let sums: Vec<f32> =
                read(down).chunks(up.len()).map(|row| passed * row.iter().sum::<f32>()).collect();
            if !by_weights {
                bench.gpu.write(down, &vec![0.0f32; down.len()]).unwrap();
            }
            let biases = if by_weights { vec![0.0; sums.len()] } else { sums };
            bench.gpu.write(part("down.bias"), &biases).unwrap();
        }
        bench.gpu.run(&bench.forward).unwrap();
        read(bench.model.logits())
    };
    let (found, wanted) = (logits(true), logits(false));
    let far = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-4, "{far}");
}

/// A block is blamed for what is not finite in it, the last one too, and the head for itself.
#[test]
fn what_is_not_finite_names_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    let gpu = gpu();
    for (depth, weight, blamed) in [
        (1, "blocks.0.feed.down.weight", "blocks.0"),
        (1, "blocks.0.attention.qkv.weight", "blocks.0"),
        (2, "blocks.1.feed.up.bias", "blocks.1"),
        (2, "blocks.0.feed.down.bias", "blocks.0"),
        (1, "head.weight", "head"),
    ] {
        let (mut settings, dataset) = settings(&data, None, Precision::F32, 8);
        let ModelConfig::Lm(config) = &mut settings.model else { panic!("not a language model") };
        config.depth = depth;
        let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
        let values = trainer.model().store().by_name(weight).unwrap().values().clone();
        let mut planted = gpu.read::<f32>(&values).unwrap().wait().unwrap();
        planted[0] = f32::NAN;
        gpu.write(&values, &planted).unwrap();
        match trainer.run(None, &mut |_: &Event| Flow::Continue) {
            Err(fretwork::Error::NotFinite { layer, .. }) => assert_eq!(layer, blamed, "{weight} of {depth}"),
            other => panic!("{weight}: {other:?}"),
        }
    }
}
