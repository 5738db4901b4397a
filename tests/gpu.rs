//! The runtime: what it refuses before anything is dispatched, what it reuses, and what it says when the device is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use fretwork::Error;
use fretwork::gpu::{Class, Clock, DType, Gpu, Options, Recorder, Tensor, Timer};
use fretwork::ops::{self, Epilogue, ProductScore, Transpose};
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
    let view = |offset, shape: &[usize]| Tensor::view(&buffer, offset, shape, DType::F32);
    assert_eq!(view(256, &[8, 4]).unwrap().bytes(), 128);
    assert_says(view(2, &[1]).map(|_| ()), "offset should be a multiple of 4");
    assert_says(view(4000, &[25]).map(|_| ()), "at most 96 bytes from offset 4000");
    assert_says(view(u64::MAX - 3, &[1]).map(|_| ()), "shape should be at most 0 bytes");
    assert_says(view(0, &[usize::MAX, 8]).map(|_| ()), "a size that fits 64 bits");
    let tensor = view(0, &[8, 4]).unwrap();
    assert_says(tensor.reshape(&[9]).map(|_| ()), "32 elements");
    assert_says(tensor.rows(7, 2).map(|_| ()), "within 0..8");
    assert_eq!(tensor.rows(2, 3).unwrap().offset(), 32);

    // A kernel cannot write a buffer that it reads, and an offset must suit the device.
    let rec = &mut Recorder::new(&gpu);
    let (left, right) = (view(0, &[4, 4]).unwrap(), view(1024, &[4, 4]).unwrap());
    let other = zeros(&gpu, &[4, 4]);
    assert_says(
        ops::dense(rec, &left, &other, &right, Transpose::NN, Epilogue::None),
        "out should be in another buffer than lhs",
    );
    let crooked = view(4, &[4, 4]).unwrap();
    assert_says(
        ops::dense(rec, &crooked, &other, &zeros(&gpu, &[4, 4]), Transpose::NN, Epilogue::None),
        "lhs should be at an offset that is a multiple of",
    );
}

#[test]
fn what_no_binding_or_buffer_holds_is_refused_before_it_is_tried() {
    let gpu = Gpu::request(Options { default_limits: true, ..Options::default() }).unwrap();
    let limit = gpu.limits().max_storage_buffer_binding_size;
    let side = (limit as usize / 4 / 1024) + 1;
    let large = gpu.alloc::<f32>(Class::Scratch, "large", &[side, 1024]).unwrap();
    let rec = &mut Recorder::new(&gpu);
    // What is scored is not cut into windows.
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
    // What is written later does not show.
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

/// A device that is gone is an error from every call, and never a panic.
/// By whichever clock there is: more than nothing, and no more than the host saw go by.
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

#[test]
fn a_lost_device_is_an_error() {
    let gpu = gpu();
    let tensor = zeros(&gpu, &[16]);
    gpu.finish().unwrap();
    gpu.device().destroy();
    let lost =
        |result: fretwork::Result<()>| assert!(matches!(result, Err(Error::DeviceLost { .. })), "{result:?}");
    lost(gpu.finish());
    lost(gpu.write(&tensor, &[1.0f32; 16]));
    lost(gpu.alloc::<f32>(Class::Scratch, "more", &[16]).map(|_| ()));
    lost(gpu.read::<f32>(&tensor).map(|_| ()));
    lost(gpu.poll());
}
