//! Every public function that has to do with a device, its plans and its kernels.

use std::path::Path;

use fretwork::gpu::{
    Args, Choice, Class, DType, Family, Gpu, Halt, Key, LossFlag, Mark, Matrices, Options, ParamCache,
    Recorder, Sources, Tiling, Timer, Variant, Verdict, VersusDense, Workload, list_adapters,
};
use fretwork::ops::{self, AdamW, BasisLayer, BasisRange, Directions, Lamb, LossScale, Step, StepValues};
use fretwork::sparse::{Pattern, Topology};
use fretwork::{Error, wgpu};

use crate::bench::{Bench, noop_device};
use crate::calls::{Call, refused, said};

/// Plans of both devices, of nothing and of something.
fn plans(b: &Bench) {
    for gpu in [&b.gpu, &b.other] {
        for some in [false, true] {
            let mut rec = Recorder::new(gpu);
            let out = said(gpu.alloc::<f32>(Class::Scratch, "test", &[5]));
            if let (true, Some(out)) = (some, &out) {
                said(ops::fill(&mut rec, out, 0));
            }
            said(rec.mark(Mark { kind: "test", name: String::new(), tensor: out.clone() }));
            let _ = (rec.len(), rec.is_empty(), rec.gpu());
            let cache = ParamCache::new(&b.gpu);
            let mut same = Recorder::new(gpu);
            if let (true, Some(out)) = (some, &out) {
                said(ops::fill(&mut same, out, 0));
            }
            said(same.finish_with(&cache));
            let _ = (cache.len(), cache.is_empty());
            let Some(plan) = said(rec.finish()) else { continue };
            let _ =
                (plan.len(), plan.is_empty(), plan.labels().count(), plan.marks().count(), plan.barriers());
            if let Some(out) = &out {
                said(plan.rebind(&b.gpu, &[(out, out)]));
                said(plan.rebind(&b.other, &[(out, out)]));
                said(plan.rebind(gpu, &[]));
            }
            said(b.gpu.compile([&plan], &mut |_| true));
            said(b.gpu.compile([], &mut |_| false));
            if let Some(submission) = said(b.gpu.run(&plan)) {
                let _ = submission.index();
                said(b.other.pace(submission.clone()));
                said(b.gpu.pace(submission));
            }
            if let Some(timer) = said(Timer::new(&b.gpu)) {
                let _ = timer.clock();
                said(timer.time(&plan));
                said(timer.time_each(&plan));
            }
            let of_another = !std::ptr::eq(gpu, &b.gpu);
            assert!(
                !of_another
                    || matches!(refused(b.gpu.run(&plan)), Error::Argument { .. } | Error::DeviceLost { .. })
            );
            if !of_another {
                let mut encoder =
                    b.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                plan.encode(&mut encoder);
            }
            let (before, behind) = plan.cut(&|mark| mark.kind == "test");
            said(b.gpu.run(&before));
            for (_, plan) in &behind {
                said(b.gpu.run(plan));
            }
        }
    }
    said(b.gpu.submit([]));
    said(b.gpu.poll());
    said(b.gpu.finish());
    let _ = b.gpu.blocking_waits();
}

fn facts(b: &Bench) {
    let gpu = &b.gpu;
    let _ = (gpu.device(), gpu.queue(), gpu.info(), gpu.limits(), gpu.is_software(), gpu.compilers());
    let _ = (gpu.driver(), gpu.has_f16(), gpu.matrices(), gpu.workloads(), gpu.choices());
    let _ = (gpu.bytes().total(), gpu.peak_bytes(), gpu.idle_bytes());
    for variant in Variant::ALL {
        let _ = (gpu.runs(variant), gpu.with_variant(Some(variant)).forced_variant(), variant.name());
    }
    for choice in Choice::ALL {
        let _ = (
            gpu.with_choice(Some(choice)).with_splits(true).splits(),
            choice.name(),
            choice.is_for(usize::MAX),
        );
    }
    for family in [Family::Dense, Family::Dds, Family::Dsd, Family::Sdd] {
        for (sizes, block, nnz) in [([0; 3], 0, 0), ([usize::MAX; 3], 8, 0), ([usize::MAX; 3], 1, usize::MAX)]
        {
            let work =
                Workload { family, dtype: DType::F32, transpose: [false; 2], sizes, block, nnz, gathered: 0 };
            let _ = (work.places(), work.density(), work.to_string(), family.name());
            gpu.choose(work.class(), Verdict { choice: Variant::Lane.into(), versus_dense: None });
        }
    }
    let _ = VersusDense { density: 0.0, time: 1.0 }.at(0.0);
}

fn kernels(_: &Bench) {
    let mut sources = Sources::read(Path::new("/nowhere")).unwrap();
    let _ = sources.files().count();
    refused(sources.patch("dds/nowhere", "", ""));
    refused(sources.patch("dds/lane", "no such text", ""));
    for key in [
        Key::new("", ""),
        Key::new("dds", "lane"),
        Key::new("dds", "lane").block(usize::MAX),
        Key::new("a b", "::"),
        Key::new("dds", "lane").with("no such flag", true),
        Key::new("fill", "words").dtype(DType::U32).tiling(None),
        Key::new("fill", "words").shared([0, u32::MAX].into()),
    ] {
        let _ = (key.label(), key.is_half());
        said(sources.compose(&key));
    }
    for side in [0, 3, 8, 16, u32::MAX] {
        for (family, block) in [("dense", None), ("dds", Some(0)), ("dsd", Some(u32::MAX)), ("none", Some(8))]
        {
            let tiling =
                Tiling::new(family, Matrices { side, lanes: u32::MAX, vectors: true }, block, side == 8);
            let sizes = |tiling: Tiling| tiling.invocations() >= tiling.workgroup_memory();
            assert!(tiling.is_none_or(sizes));
            assert!(tiling.is_none_or(|tiling| tiling.sides().iter().all(|side| *side > 0)));
        }
    }
    let _ = (DType::F16.size(), DType::F16.name());
}

/// Shaders from outside, added and dispatched on both devices.
fn shaders(b: &Bench) {
    let source = "struct Params { n: u32, x: f32 }
        @group(0) @binding(0) var<storage, read_write> out: array<f32>;
        @group(0) @binding(7) var<uniform> params: Params;
        @compute @workgroup_size(1) fn main() { if params.n > 0u { out[0] = params.x; } }";
    for (family, name) in [("", ""), ("a b", "::"), ("fill", "words"), ("super", "constants")] {
        said(b.gpu.add_shader(family, name, source));
    }
    let key = b.gpu.add_shader("mine", "store", source).unwrap();
    refused(b.gpu.add_shader("mine", "store", ""));
    let empty = b.gpu.add_shader("mine", "empty", "").unwrap();
    let topology = Topology::full(16, 16, 8).unwrap();
    for gpu in [&b.gpu, &b.other] {
        let (Some(out), Some(none), Some(pattern)) = (
            said(gpu.zeros::<f32>(Class::Scratch, "test", &[3])),
            said(gpu.zeros::<f32>(Class::Scratch, "test", &[0])),
            said(Pattern::upload(gpu, &topology)),
        ) else {
            continue;
        };
        let mut rec = Recorder::new(&b.gpu);
        for key in [
            &key,
            &empty,
            &key.clone().block(usize::MAX),
            &Key::new("fill", "words"),
            &Key::new("no", "where"),
        ] {
            for args in [
                Args::new(),
                Args::new().tensor("out", &out).u32("n", u32::MAX).f32("x", f32::NAN),
                Args::new().tensor("out", &none).u32("n", 0).f32("x", 0.0),
                Args::new().tensor("out", &out).tensor("out", &out).u32("n", 0).f32("x", 0.0),
                pattern.bind(Args::new(), "out").u32("n", 0).f32("x", 0.0),
            ] {
                for workgroups in [0, 1, u64::MAX] {
                    said(rec.dispatch(key, &args, workgroups));
                }
            }
        }
        said(rec.finish());
    }
}

fn requests(_: &Bench) {
    refused(Gpu::request(Options { adapter: Some("Voodoo 2".to_owned()), ..Options::default() }));
    let (adapter, device, queue) = noop_device();
    let adopt = |options| Gpu::adopt_with(&adapter, device.clone(), queue.clone(), None, options);
    assert!(adopt(Options::default()).unwrap().origin().is_none());
    refused(adopt(Options { adapter: Some("Voodoo 2".to_owned()), ..Options::default() }));
    let _ = list_adapters();
    let halt = Halt::default();
    halt.request();
    assert!(halt.clone().is_requested());
    halt.withdraw();
    assert!(!halt.is_requested());
    let lost = LossFlag::default();
    assert!(lost.reason().is_none());
    lost.callback()(wgpu::DeviceLostReason::Unknown, "first".to_owned());
    lost.set("second");
    assert_eq!(lost.reason(), Some("Unknown: first"));
}

fn steps(b: &Bench) {
    let (forward, backward) = (StepValues::forward(u32::MAX), StepValues::backward(0, 0.0));
    assert!(forward.row_scale.is_nan() && forward.learning_rate.is_nan() && backward.learning_rate.is_nan());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 3.0] {
        assert!(!ops::is_scale(scale));
        refused(LossScale::new(&b.gpu, scale));
    }
    if let Some(scale) = said(LossScale::new(&b.gpu, 1.0)) {
        let _ = scale.tensor();
        said(scale.read(&b.gpu));
        refused(scale.read(&b.other));
        if let Some(step) = said(Step::new(&b.gpu, forward)) {
            let step = step.with_scale(scale);
            assert!(step.scale().is_some());
            let _ = step.bind(Args::new());
            said(step.write(&b.gpu, backward));
            refused(step.write(&b.other, backward));
        }
    }
    let adamw = AdamW { beta_1: 1.0, beta_2: f32::NAN, epsilon: 0.0, weight_decay: 0.0 };
    let _ = adamw.corrections(u32::MAX);
    let lamb = Lamb { beta_1: 1.0, beta_2: f32::NAN, epsilon: 0.0, weight_decay: 0.0 };
    let _ = lamb.corrections(u32::MAX);
    let most = usize::MAX;
    assert!(Directions { count: most, redraw: false }.columns() > 0);
    let layer = BasisLayer { rows: [most, 0], elements: 0, share: f64::NAN };
    assert!(layer.sizes()[0].is_finite());
    let range = BasisRange { first: most, len: most, key: fretwork::random::Key([0, 0]), layer: most };
    assert_eq!(ops::basis_rows(&[range, range], 0), most);
}

/// The functions that each of these drives.
pub(crate) const ALL: &[(Call, &[&str])] = &[
    (
        facts,
        &[
            "Bytes::total",
            "Gpu::device",
            "Gpu::queue",
            "Gpu::info",
            "Gpu::limits",
            "Gpu::is_software",
            "Gpu::compilers",
            "Gpu::driver",
            "Gpu::forced_variant",
            "Gpu::has_f16",
            "Gpu::matrices",
            "Gpu::runs",
            "Gpu::with_variant",
            "Gpu::with_choice",
            "Gpu::with_splits",
            "Gpu::splits",
            "Gpu::workloads",
            "Gpu::choose",
            "Gpu::choices",
            "Gpu::bytes",
            "Gpu::peak_bytes",
            "Gpu::idle_bytes",
            "Variant::name",
            "Choice::name",
            "Choice::is_for",
            "Family::name",
            "Workload::places",
            "Workload::density",
            "Workload::class",
            "VersusDense::at",
        ],
    ),
    (
        requests,
        &[
            "Gpu::request",
            "Gpu::adopt",
            "Gpu::adopt_with",
            "Gpu::origin",
            "adapters::list_adapters",
            "LossFlag::set",
            "LossFlag::reason",
            "LossFlag::callback",
            "Halt::request",
            "Halt::withdraw",
            "Halt::is_requested",
        ],
    ),
    (
        kernels,
        &[
            "Sources::read",
            "Sources::files",
            "Sources::patch",
            "Sources::compose",
            "Tiling::new",
            "Tiling::sides",
            "Tiling::workgroup_memory",
            "Tiling::invocations",
            "Key::new",
            "Key::dtype",
            "Key::is_half",
            "Key::block",
            "Key::tiling",
            "Key::shared",
            "Key::with",
            "Key::label",
            "DType::size",
            "DType::name",
        ],
    ),
    (
        shaders,
        &[
            "Gpu::add_shader",
            "Recorder::dispatch",
            "Args::new",
            "Args::tensor",
            "Args::u32",
            "Args::f32",
            "Pattern::bind",
        ],
    ),
    (
        plans,
        &[
            "Recorder::new",
            "Recorder::len",
            "Recorder::is_empty",
            "Recorder::gpu",
            "Recorder::finish",
            "Recorder::finish_with",
            "ParamCache::new",
            "ParamCache::len",
            "ParamCache::is_empty",
            "Recorder::mark",
            "Plan::marks",
            "Plan::rebind",
            "Plan::cut",
            "Plan::encode",
            "Plan::len",
            "Plan::is_empty",
            "Plan::labels",
            "Plan::barriers",
            "Submission::index",
            "Gpu::compile",
            "Gpu::run",
            "Gpu::submit",
            "Gpu::poll",
            "Gpu::pace",
            "Gpu::finish",
            "Gpu::blocking_waits",
            "Timer::new",
            "Timer::clock",
            "Timer::time",
            "Timer::time_each",
        ],
    ),
    (
        steps,
        &[
            "Step::new",
            "Step::with_scale",
            "Step::scale",
            "Step::write",
            "Step::bind",
            "StepValues::forward",
            "StepValues::backward",
            "AdamW::corrections",
            "Lamb::corrections",
            "Directions::columns",
            "BasisLayer::sizes",
            "basis::basis_rows",
            "LossScale::new",
            "LossScale::read",
            "LossScale::tensor",
            "scale::is_scale",
        ],
    ),
];
