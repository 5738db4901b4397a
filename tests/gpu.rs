//! The runtime: what it refuses before anything is dispatched, what it reuses, and what it says when the device is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use fretwork::Error;
use fretwork::gpu::{Class, Clock, DType, Gpu, Halt, Options, Recorder, Tensor, Timer, Variant};
use fretwork::graph::{
    Backward, Forward, Graph, Init, Input, Network, Node, Output, ParamSpec, Precision, Start, Wiring,
};
use fretwork::nn::FanIn;
use fretwork::ops::{self, AdamW, Connect, Epilogue, ProductScore, Step, StepValues, Transpose};
use fretwork::optim::{Optimizer, Sgd, Update};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};
use fretwork::wgpu;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn zeros(gpu: &Gpu, shape: &[usize]) -> Tensor {
    gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap()
}

#[track_caller]
fn assert_says(result: fretwork::Result<()>, wanted: &str) {
    let said = result.expect_err(wanted).to_string();
    assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let gpu = gpu();
    let rec = &mut Recorder::new(&gpu);
    let (a, b) = (zeros(&gpu, &[4, 6]), zeros(&gpu, &[8, 10]));
    let nn = Transpose::NN;
    assert_says(
        ops::dense(rec, &a, &b, &zeros(&gpu, &[4, 10]), nn, Epilogue::None),
        "dense: rhs should be of 6 along the contraction",
    );
    let b = zeros(&gpu, &[6, 10]);
    assert_says(
        ops::dense(rec, &a, &b, &zeros(&gpu, &[10, 4]), nn, Epilogue::None),
        "dense: out should be of shape [4, 10], but is of shape [10, 4]",
    );
    assert_says(
        ops::dense(rec, &zeros(&gpu, &[4, 6, 1]), &b, &a, nn, Epilogue::None),
        "dense: lhs should be a matrix",
    );
    let bias = zeros(&gpu, &[4]);
    assert_says(
        ops::dense(rec, &a, &b, &zeros(&gpu, &[4, 10]), nn, Epilogue::Bias(&bias)),
        "dense: bias should be of shape [10]",
    );
    let words = gpu.zeros::<u32>(Class::Scratch, "test", &[4, 6]).unwrap();
    assert_says(
        ops::dense(rec, &words, &b, &zeros(&gpu, &[4, 10]), nn, Epilogue::None),
        "lhs should be of F32, but is of U32",
    );

    let pattern = Pattern::upload(&gpu, &Topology::full(32, 48, 16).unwrap()).unwrap();
    let w = BlockMatrix::alloc(&gpu, Class::Scratch, "w", &pattern).unwrap();
    assert_says(
        ops::dds(rec, &zeros(&gpu, &[5, 32]), &w, &zeros(&gpu, &[5, 32]), Transpose::NT, Epilogue::None),
        "dds: rhs should be of 32 along the contraction",
    );
    assert_says(
        ops::sdd(rec, &zeros(&gpu, &[7, 48]), &zeros(&gpu, &[7, 32]), &w, Transpose::TN, None),
        "sdd: out should be a matrix of 48 x 32",
    );
    assert_says(
        ops::sdd(rec, &zeros(&gpu, &[7, 32]), &zeros(&gpu, &[7, 48]), &w, Transpose::TN, Some(&words)),
        "sdd: mask should be of shape [48]",
    );
    assert_says(
        BlockMatrix::adopt(pattern.clone(), zeros(&gpu, &[5, 16, 16])).map(|_| ()),
        "values should be of shape [6, 16, 16]",
    );
    assert_says(ops::finite(rec, &a, &words, 24, 1), "finite: word should be below 24, but is 24");
    // Nothing of all this was recorded.
    assert_eq!(Recorder::finish(Recorder::new(&gpu)).unwrap().labels().count(), 0);
}

#[test]
fn views_are_checked() {
    let gpu = gpu();
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4096,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let view = |offset, shape: &[usize]| Tensor::view(&gpu, &buffer, offset, shape, DType::F32);
    assert_eq!(view(256, &[8, 4]).unwrap().bytes(), 128);
    assert_says(view(2, &[1]).map(|_| ()), "offset should be a multiple of 4");
    assert_says(view(4000, &[25]).map(|_| ()), "at most 96 bytes from offset 4000");
    assert_says(view(u64::MAX - 3, &[1]).map(|_| ()), "shape should be at most 0 bytes");
    assert_says(view(0, &[usize::MAX, 8]).map(|_| ()), "a size that fits 64 bits");
    let tensor = view(0, &[8, 4]).unwrap();
    assert_says(tensor.reshape(&[9]).map(|_| ()), "32 elements");
    assert_says(tensor.rows(7, 2).map(|_| ()), "within 0..8");
    assert_eq!(tensor.rows(2, 3).unwrap().offset(), 32);

    // A kernel cannot write bytes that it reads, and an offset must suit the device.
    let rec = &mut Recorder::new(&gpu);
    let (left, right) = (view(0, &[8, 4]).unwrap().rows(0, 4).unwrap(), view(0, &[4, 4]).unwrap());
    let other = zeros(&gpu, &[4, 4]);
    assert_says(
        ops::dense(rec, &left, &other, &right, Transpose::NN, Epilogue::None),
        "out should be in bytes of its own, since it or lhs is written",
    );
    let crooked = view(4, &[4, 4]).unwrap();
    assert_says(
        ops::dense(rec, &crooked, &other, &zeros(&gpu, &[4, 4]), Transpose::NN, Epilogue::None),
        "lhs should be at an offset that is a multiple of",
    );
}

/// wgpu numbers the buffers of every instance from the same number on, so those of two devices look alike.
#[test]
fn what_belongs_to_another_device_is_refused_by_name() {
    let (gpu, other) = (gpu(), gpu());
    let [here, there] = [&gpu, &other].map(|gpu| zeros(gpu, &[4, 4]));
    let out = zeros(&gpu, &[4, 4]);
    let elsewhere = "but is on device";
    let rec = &mut Recorder::new(&gpu);
    for [lhs, rhs, out] in [[&there, &here, &out], [&here, &there, &out], [&here, &here, &there]] {
        let name =
            ["lhs", "rhs", "out"][[lhs, rhs, out].iter().position(|t| std::ptr::eq(*t, &there)).unwrap()];
        let result = ops::dense(rec, lhs, rhs, out, Transpose::NN, Epilogue::None);
        assert_says(result, &format!("{name} should be on device"));
    }
    // A view is where its tensor is.
    let view = there.rows(0, 2).unwrap().reshape(&[8]).unwrap().reinterpret(DType::U32).unwrap();
    assert_says(ops::fill(rec, &view, 0), elsewhere);
    assert_says(gpu.write(&there, &[0.0f32; 16]), "Gpu::write: tensor should be on device");
    assert_says(gpu.read::<f32>(&there).map(drop), "Gpu::read: tensor should be on device");

    let plan = Recorder::new(&other).finish().unwrap();
    assert_says(gpu.run(&plan).map(drop), "Gpu::run: plan should be on device");
    let submission = other.run(&plan).unwrap();
    assert_says(gpu.pace(submission), "Gpu::pace: submission should be on device");
    let timer = Timer::new(&gpu).unwrap();
    assert_says(timer.time(&plan).map(drop), "Timer::time: plan should be on device");
    assert_says(timer.time_each(&plan).map(drop), "Timer::time_each: plan should be on device");

    let topology = Topology::full(16, 16, 8).unwrap();
    let pattern = Pattern::upload(&other, &topology).unwrap();
    assert_says(pattern.topology(&gpu).map(drop), "Gpu::read: tensor");
    assert_says(
        BlockMatrix::alloc(&gpu, Class::Scratch, "w", &pattern).map(drop),
        "w: pattern should be on device",
    );
    let upload = BlockMatrix::upload(&gpu, Class::Scratch, "w", &pattern, &[0.0f32; 256]);
    assert_says(upload.map(drop), "w: pattern should be on device");
    let adopted = BlockMatrix::adopt(pattern, zeros(&gpu, &[4, 8, 8]));
    assert_says(adopted.map(drop), "BlockMatrix::adopt: values should be on device");
    let step = Step::new(&other, StepValues::forward(0)).unwrap();
    assert_says(step.write(&gpu, StepValues::forward(1)), elsewhere);
    assert_says(
        ops::random_uniform(rec, &here, Key::new(1, Stream::Check(0)), &step),
        "now should be on device",
    );
    // Devices that share everything are one.
    let same = gpu.with_variant(Some(Variant::Lane));
    same.run(&Recorder::new(&gpu).finish().unwrap()).unwrap();
    assert!(rec.is_empty());
}

/// The device of a program is not lost over a view that cannot be copied.
#[test]
fn what_cannot_be_copied_is_refused_by_name() {
    let gpu = gpu();
    let (src, dst) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
    let view = |usage, size, offset, shape: &[usize], dtype| {
        let usage = wgpu::BufferUsages::STORAGE | usage;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        Tensor::view(&gpu, &gpu.device().create_buffer(&descriptor), offset, shape, dtype).unwrap()
    };
    let whole = view(dst, 16, 0, &[4], DType::F32);
    assert_says(gpu.read::<f32>(&whole).map(drop), "tensor should be with usage BufferUsages(COPY_SRC)");
    let whole = view(src, 16, 0, &[4], DType::F32);
    assert_says(gpu.write(&whole, &[0.0f32; 4]), "tensor should be with usage BufferUsages(COPY_DST)");
    // Halves that begin amid four bytes, or end amid the last four of their buffer.
    for (size, offset) in [(16, 2), (6, 0)] {
        let odd = view(src | dst, size, offset, &[3], DType::F16);
        assert_says(gpu.read::<half::f16>(&odd).map(drop), "Gpu::read: tensor should be at an offset");
        assert_says(gpu.write(&odd, &[half::f16::ONE; 3]), "Gpu::write: tensor should be of a multiple of 4");
    }
    let odd = view(src | dst, 16, 4, &[3], DType::F16);
    assert_eq!(gpu.read::<half::f16>(&odd).unwrap().wait().unwrap(), [half::f16::ZERO; 3]);
    let unusable = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: src | dst,
        mapped_at_creation: false,
    });
    let refused = Tensor::view(&gpu, &unusable, 0, &[4], DType::F32).map(drop);
    assert_says(refused, "buffer should be with usage BufferUsages(STORAGE)");
    gpu.finish().unwrap();
    assert_eq!(gpu.read::<f32>(&zeros(&gpu, &[2])).unwrap().wait().unwrap(), [0.0; 2]);
}

#[test]
fn sizes_are_held_against_the_limits_first() {
    let gpu = gpu();
    let limit = gpu.limits().max_buffer_size;
    for shape in [&[usize::MAX / 4 - 2][..], &[usize::MAX / 8, 2], &[limit as usize / 4 + 1]] {
        for class in [Class::Values, Class::Activations] {
            let bytes = shape.iter().product::<usize>() as u64 * 4;
            match gpu.alloc::<f32>(class, "too much", shape) {
                Err(Error::Limit { label, value, limit: found, .. }) => {
                    assert_eq!((label.as_str(), value, found), ("too much", bytes, limit));
                }
                other => panic!("{shape:?}: {other:?}"),
            }
        }
    }
    for shape in [&[usize::MAX / 2][..], &[usize::MAX, 0], &[0, usize::MAX, 2]] {
        assert_says(gpu.alloc::<f32>(Class::Values, "w", shape).map(drop), "a size that fits 64 bits");
    }
    // Nothing is allocated on the host either: these would be more than there is.
    let before = gpu.peak_bytes();
    let sides = 8 * ((1 << 28) - 1);
    let most = (1 << 26) - 1;
    assert!(matches!(Pattern::bounded(&gpu, sides, sides, 8, most), Err(Error::Limit { .. })));
    for sides in [[usize::MAX, 2], [1 << 31, 1 << 31], [1 << 20, 1 << 20]] {
        let graph = holder(&[ParamSpec::matrix("head.weight", sides, 1.0)]);
        let start = Start { fan_in: FanIn::All, topologies: &[None], fixed: true };
        let said = Network::new(&gpu, graph, start).unwrap_err().to_string();
        assert!(said.contains("size"), "{said}");
    }
    let upload = gpu.upload(Class::Scratch, "w", &[limit as usize / 8], &[0.0f32; 3]);
    assert_says(upload.map(drop), "w: values should be as many as the shape");
    let connect = Connect { rate: 0.1, cost: 0.1 };
    let (grads, rec) = (zeros(&gpu, &[4]), &mut Recorder::new(&gpu));
    let result = ops::score_connect(rec, &grads, &zeros(&gpu, &[4]), [usize::MAX, usize::MAX], connect);
    assert_says(result, "of a grid of");
    assert!(gpu.peak_bytes() - before < 1 << 10);
    let options = Options { fold_grids_at: Some(0), ..Options::default() };
    if let Ok(none) = Gpu::request(options) {
        let out = zeros(&none, &[4]);
        assert_says(ops::fill(&mut Recorder::new(&none), &out, 0), "this device allows 0");
    }
}

#[test]
fn a_scalar_has_no_rows() {
    let gpu = gpu();
    assert_says(
        zeros(&gpu, &[]).rows(0, 0).map(drop),
        "Tensor::rows: self should be of one dimension at least",
    );
    assert_eq!(zeros(&gpu, &[0, 3]).rows(0, 0).unwrap().shape(), [0, 3]);
}

/// Only blocks that there are kernels for.
#[test]
fn blocks_without_kernels_are_refused() {
    let gpu = gpu();
    let rec = &mut Recorder::new(&gpu);
    let x = zeros(&gpu, &[4, 12]);
    for block in [0, 1, 3, 4, 6, 12, usize::MAX] {
        let result = ops::score_product(rec, &x, &x, &zeros(&gpu, &[9]), block, ProductScore::Abs, None);
        assert_says(result, "block should be one of [8, 16, 32, 64, 128]");
    }
    let born = gpu.zeros::<u32>(Class::Scratch, "born", &[2]).unwrap();
    let step = Step::new(&gpu, StepValues::forward(0)).unwrap();
    let adamw = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    for shape in [&[2, 3, 3][..], &[2, 8, 16], &[2, 64]] {
        let [values, grads, first, second] = [(); 4].map(|()| zeros(&gpu, shape));
        let result = ops::adamw(rec, &values, &grads, &first, &second, adamw, None, Some(&born), &step);
        assert_says(result, "values should be [nnz, block, block] with a block of [8, 16, 32, 64, 128]");
    }
}

/// A node that holds parameters and records nothing.
#[derive(Debug)]
struct Holder;

impl Node for Holder {
    fn kind(&self) -> &'static str {
        "holder"
    }

    fn forward(&self, _: &mut Recorder<'_>, _: &Forward<'_>) -> fretwork::Result<()> {
        Ok(())
    }

    fn backward(&self, _: &mut Recorder<'_>, _: &mut Backward<'_>) -> fretwork::Result<()> {
        Ok(())
    }
}

/// A graph of one node that holds these parameters.
fn holder(specs: &[ParamSpec]) -> Graph {
    let mut graph = Graph::new(1, Precision::F32);
    let x = graph.input("x", &[1], DType::F32).unwrap();
    let params = specs.iter().map(|spec| graph.param(spec.clone()).unwrap()).collect();
    let wiring = Wiring {
        inputs: vec![Input::new(x)],
        outputs: vec![Output::new("held", &[1])],
        params,
        buffers: Vec::new(),
    };
    let output = graph.add_one(Holder, wiring).unwrap();
    graph.output(output).unwrap();
    graph
}

/// An optimizer updates parameters that have the state it keeps, and refuses others by name.
#[test]
fn an_optimizer_updates_what_it_keeps_state_of() {
    let gpu = gpu();
    let specs = ["a", "b", "c"].map(|name| ParamSpec::new(name, &[4], Init::Constant(0.0)));
    let start = Start { fan_in: FanIn::All, topologies: &[], fixed: true };
    let step = Step::new(&gpu, StepValues::forward(0)).unwrap();
    let optimizers: [(&dyn Optimizer, &str); 2] =
        [(&Sgd::default(), "state should be a velocity"), (&AdamW::default(), "state should be two moments")];
    for (at, (optimizer, missing)) in optimizers.into_iter().enumerate() {
        let mut network = Network::new(&gpu, holder(&specs), start).unwrap();
        let rec = &mut Recorder::new(&gpu);
        let update = |rec: &mut Recorder<'_>, network: &Network, name: &str| {
            let span = network.store().by_name(name).unwrap().span();
            optimizer.record(rec, &Update { span, born: None, step: &step })
        };
        for name in ["a", "b", "c"] {
            assert_says(update(rec, &network, name), missing);
            assert_says(update(rec, &network, name), &format!("{name}: "));
        }
        // The state of another optimizer is none of this one's.
        network.allocate_state(&gpu, optimizers[1 - at].0.state_names()).unwrap();
        assert_says(update(rec, &network, "a"), missing);
        assert!(rec.is_empty());
        network.allocate_state(&gpu, optimizer.state_names()).unwrap();
        for name in ["a", "b", "c"] {
            update(rec, &network, name).unwrap();
        }
        assert_eq!(rec.len(), 3);
    }
}

#[test]
fn what_no_binding_or_buffer_holds_is_refused_before_it_is_tried() {
    let gpu = Gpu::request(Options { default_limits: true, ..Options::default() }).unwrap();
    let limit = gpu.limits().max_storage_buffer_binding_size;
    let side = (limit as usize / 4 / 1024) + 1;
    let large = gpu.alloc::<f32>(Class::Scratch, "large", &[side, 1024]).unwrap();
    let rec = &mut Recorder::new(&gpu);
    // Scores are not computed in windows.
    let scores = zeros(&gpu, &[128 * 128]);
    match ops::score_product(rec, &large, &large, &scores, 8, ProductScore::Abs, None) {
        Err(Error::Limit { value, limit: found, .. }) => assert_eq!((value, found), (large.bytes(), limit)),
        other => panic!("{other:?}"),
    }
    let most = gpu.limits().max_buffer_size as usize;
    match gpu.alloc::<f32>(Class::Values, "weights of everything", &[most, 1024]) {
        Err(Error::Limit { label, .. }) => assert_eq!(label, "weights of everything"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn freed_activations_are_used_again_and_parameters_are_not_kept() {
    let gpu = gpu();
    let first = gpu.alloc::<f32>(Class::Activations, "first", &[1000]).unwrap();
    let buffer = first.buffer().clone();
    let bytes = gpu.bytes().activations;
    assert!((4000..=5000).contains(&bytes), "{bytes}");
    drop(first);
    assert_eq!((gpu.bytes().activations, gpu.idle_bytes()), (0, bytes));
    // A little smaller, and of another class that is pooled.
    let second = gpu.alloc::<f32>(Class::Scratch, "second", &[990]).unwrap();
    assert!(second.buffer() == &buffer);
    assert_eq!(gpu.idle_bytes(), 0);
    drop(gpu.alloc::<f32>(Class::Values, "weights", &[500]).unwrap());
    assert_eq!(gpu.idle_bytes(), 0);
    assert_eq!(gpu.bytes().values, 0);
    assert_eq!(gpu.peak_bytes(), bytes + 2000);
}

#[test]
fn read_backs_arrive_without_waiting() {
    let gpu = gpu();
    let tensor = gpu.upload(Class::Scratch, "numbers", &[3], &[1.0f32, 2.0, 3.0]).unwrap();
    let mut pending = gpu.read::<f32>(&tensor).unwrap();
    // The read-back precedes the later write.
    gpu.write(&tensor, &[9.0f32; 3]).unwrap();
    let started = Instant::now();
    while !pending.is_ready().unwrap() {
        assert!(started.elapsed().as_secs() < 20, "it should have arrived");
        std::thread::yield_now();
    }
    assert_eq!(pending.wait().unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(gpu.blocking_waits(), 0);
    assert_eq!(gpu.read::<f32>(&tensor).unwrap().wait().unwrap(), [9.0; 3]);
    assert_eq!(gpu.blocking_waits(), 1);
}

/// By whichever clock there is: more than nothing, and no more than the host saw go by.
#[test]
fn a_request_stops_a_device() {
    let halt = Halt::default();
    let gpu = Gpu::request(Options { halt: Some(halt.clone()), ..Options::default() }).unwrap();
    let (x, y) = (zeros(&gpu, &[8, 8]), zeros(&gpu, &[8, 8]));
    let mut rec = Recorder::new(&gpu);
    ops::blend(&mut rec, &x, &y, [1.0, 1.0]).unwrap();
    let plan = rec.finish().unwrap();
    gpu.run(&plan).unwrap();
    halt.request();
    assert!(matches!(gpu.run(&plan), Err(Error::Halted)));
    assert!(matches!(Timer::new(&gpu).unwrap().time(&plan), Err(Error::Halted)));
    // A kernel that is new is not compiled; the next recording compiles it.
    let record = || {
        let mut rec = Recorder::new(&gpu);
        ops::dense(&mut rec, &x, &x, &y, Transpose::NN, Epilogue::None).unwrap();
        rec.finish()
    };
    assert!(matches!(record(), Err(Error::Halted)));
    halt.withdraw();
    gpu.run(&record().unwrap()).unwrap();
    assert_eq!(gpu.read::<f32>(&y).unwrap().wait().unwrap(), [0.0; 64]);
}

#[test]
fn plans_are_timed() {
    let gpu = gpu();
    let timer = Timer::new(&gpu).unwrap();
    let stamps = gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
    assert_eq!(timer.clock(), if stamps { Clock::Device } else { Clock::Host });
    let out = zeros(&gpu, &[4096]);
    let took = [0, 64].map(|rounds| {
        let mut rec = Recorder::new(&gpu);
        ops::ceiling::fma(&mut rec, &out, rounds, [0.5, 0.5]).unwrap();
        let plan = rec.finish().unwrap();
        let started = Instant::now();
        let times = [0; 3].map(|_| timer.time(&plan).unwrap());
        assert!(times.iter().sum::<Duration>() <= started.elapsed(), "{times:?}");
        times.iter().sum::<Duration>()
    });
    assert!(took[1] > Duration::ZERO, "{took:?}");
}
