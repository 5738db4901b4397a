//! Which bytes a model's logits depend on: in a causal mixture, on those up to their own in their own window alone.

use fretwork::gpu::{Gpu, Plan, Recorder};
use fretwork::graph::Start;
use fretwork::nn::{FanIn, ModelConfig, MoeConfig, Network, Overflow, Precision};
use fretwork::ops::{Step, StepValues};
use fretwork::random::{Key, Stream};
use fretwork::report::run as report;
use fretwork::train::{Event, Flow, Length, RunFolder, Trainer};

use super::gpu;
use super::small_lm::{BATCH, CONTEXT, config, experts, settings, spread, text};

/// A model, and the plan of a forward pass.
struct Pass {
    gpu: Gpu,
    model: Network,
    plan: Plan,
}

impl Pass {
    fn new(gpu: &Gpu, mixture: MoeConfig, training: bool) -> Self {
        let config = ModelConfig::from(config(Some(mixture), None));
        let topologies = config.topologies(config.sparsity()).unwrap();
        let start = Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true };
        let model = config.build(gpu, BATCH, start, Precision::F32, None).unwrap();
        spread(gpu, &model, &mut Key::new(3, Stream::Check(17)).walk(), |x| x);
        let step = Step::new(gpu, StepValues::forward(2)).unwrap();
        let mut rec = Recorder::new(gpu);
        model.forward(&mut rec, training.then_some(&step)).unwrap();
        let plan = rec.finish().unwrap();
        Self { gpu: gpu.clone(), model, plan }
    }

    /// The bits of the logits, byte by byte.
    fn logits(&self, ids: &[u32]) -> Vec<Vec<u32>> {
        self.gpu.write(self.model.input(), ids).unwrap();
        self.gpu.run(&self.plan).unwrap();
        let logits = self.gpu.read::<f32>(self.model.logits()).unwrap().wait().unwrap();
        logits.chunks(logits.len() / ids.len()).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
    }

    /// Assignments that were dropped since the model was made.
    fn dropped(&self) -> u32 {
        let read =
            |load: &fretwork::nn::Load<'_>| self.gpu.read::<u32>(load.dropped).unwrap().wait().unwrap();
        self.model.loads().iter().flat_map(read).sum()
    }

    /// Whether a change of a window's last byte, or of all of another window, changes a logit that it should not.
    fn leaks(&self) -> bool {
        let mut walk = Key::new(4, Stream::Check(18)).walk();
        let ids: Vec<u32> = (0..BATCH * CONTEXT).map(|_| walk.below(12)).collect();
        let before = self.logits(&ids);
        let mut leaks = false;
        for window in 0..BATCH {
            let last = (window + 1) * CONTEXT - 1;
            for byte in (0..12).step_by(2) {
                let mut changed = ids.clone();
                changed[last] = byte;
                let after = self.logits(&changed);
                assert_eq!(after[last] != before[last], byte != ids[last], "the byte itself is seen");
                leaks |= (0..ids.len()).any(|row| row != last && after[row] != before[row]);
            }
            let mut changed = ids.clone();
            let of_window = window * CONTEXT..(window + 1) * CONTEXT;
            changed[of_window.clone()].iter_mut().for_each(|id| *id = walk.below(12));
            let after = self.logits(&changed);
            leaks |= (0..ids.len()).any(|row| !of_window.contains(&row) && after[row] != before[row]);
        }
        leaks
    }
}

/// A mixture leaks where it says that it is not causal, and nowhere else, with a capacity and without one.
#[test]
fn only_what_is_not_causal_sees_the_future() {
    let gpu = gpu();
    let scarce = |gate: &str| MoeConfig { capacity: 0.5, ..experts(gate) };
    let by_weight = |gate: &str| MoeConfig { overflow: Overflow::Probability, ..scarce(gate) };
    for gate in
        ["softmax-top:2:renormalised", "sigmoid-top:2", "noisy-top:2", "gshard", "gshard:random", "hash:2"]
    {
        for mixture in [experts(gate), scarce(gate)] {
            for training in [true, false] {
                assert!(mixture.is_causal(training), "{gate}");
                let pass = Pass::new(&gpu, mixture.clone(), training);
                let name = format!("{gate}, capacity {}, training {training}", mixture.capacity);
                assert!(!pass.leaks(), "{name}");
                assert_eq!(pass.dropped() > 0, training && mixture.capacity > 0.0, "{name}");
            }
        }
    }
    for (mixture, in_training, outside) in [
        (experts("expert-choice:1"), false, false),
        (experts("softmax-top:2:tile=4"), false, true),
        (by_weight("softmax-top:2"), false, true),
        (by_weight("hash:2"), true, true),
        (MoeConfig { capacity: 0.5, ..experts("softmax-top:2:tile=1") }, true, true),
    ] {
        for (training, causal) in [(true, in_training), (false, outside)] {
            assert_eq!(mixture.is_causal(training), causal, "{mixture}, training {training}");
            let pass = Pass::new(&gpu, mixture.clone(), training);
            assert_eq!(pass.leaks(), !causal, "{mixture}, {:?}, training {training}", mixture.overflow);
        }
    }
}

/// The loss of a test is that of its windows, however they are cut into batches, and though experts are short in training.
#[test]
fn a_test_does_not_depend_on_its_batches() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    for (gate, overflow) in [
        ("softmax-top:2:renormalised", Overflow::Position),
        ("softmax-top:2", Overflow::Probability),
        ("sigmoid-top:2:tile=8", Overflow::Position),
        ("hash:2", Overflow::Position),
    ] {
        let mixture = MoeConfig { capacity: 0.5, overflow, ..experts(gate) };
        assert!(mixture.is_causal(false), "{gate}");
        let loss = |batch: usize| {
            let (settings, dataset) = settings(&data, Some(mixture.clone()), Precision::F32, 1);
            // Batches of 3, 4 and 16 leave another number of places to pad each.
            let dataset = dataset.first([None, Some(49)]).unwrap();
            let settings = fretwork::train::Settings { batch, first_rows: [None, Some(49)], ..settings };
            let mut trainer = Trainer::new(&gpu, settings, dataset).unwrap();
            spread(&gpu, trainer.model(), &mut Key::new(9, Stream::Check(19)).walk(), |x| x);
            trainer.evaluate().unwrap().loss
        };
        let losses = [3, 4, 16].map(loss);
        let [least, most] = [f64::min, f64::max].map(|pick| losses.into_iter().reduce(pick).unwrap());
        assert!(most - least < 1e-6 * most, "{gate}: {losses:?}");
    }
}

/// A run of a mixture that is not causal says so when it begins, and in its report; others say nothing.
#[test]
fn what_is_not_causal_is_told() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let data = text(folder.path());
    for (number, (gate, told)) in [
        ("expert-choice:2", Some("tests do so, too")),
        ("softmax-top:2:tile=4", Some("tests and samples leave that out")),
        ("gshard", None),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut settings, dataset) = settings(&data, Some(experts(gate)), Precision::F32, 1);
        settings.length = Length::Steps(1);
        let dataset = dataset.first([Some(16), Some(16)]).unwrap();
        settings.first_rows = [Some(16); 2];
        let run = RunFolder::create(&folder.path().join(number.to_string())).unwrap();
        let mut notices = Vec::new();
        let mut watch = |event: &Event| {
            if let Event::Notice(text) = event
                && text.contains("is not causal")
            {
                notices.push(text.clone());
            }
            Flow::Continue
        };
        Trainer::new(&gpu, settings, dataset).unwrap().run(Some(&run), &mut watch).unwrap();
        let page = report::render(&run).unwrap();
        assert_eq!(page.contains("is not causal"), told.is_some(), "{gate}");
        assert_eq!(notices.len(), usize::from(told.is_some()), "{gate}: {notices:?}");
        if let Some(told) = told {
            assert!(notices[0].contains(told), "{notices:?}");
            assert!(page.contains(told), "{gate}");
        }
    }
}
