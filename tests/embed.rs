//! Fretwork on devices that are not its own.

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Class, Gpu, Options, ParamCache, Recorder, Sources};
use fretwork::methods::{LayerContext, Method as _, Rigl, Workspace};
use fretwork::nn::Signals;
use fretwork::ops::{self, Step, StepValues};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};
use fretwork::wgpu;

/// Every dispatch of every kernel passes WebGPU's own validation, on an adopted device with default limits. The device is
/// wgpu's make-believe one, which needs no driver and computes nothing.
#[test]
fn every_dispatch_is_valid_without_a_driver() {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    let instance = wgpu::Instance::new(descriptor);
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .expect("noop is enabled");
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))
        .expect("noop has devices");
    // Tensors in buffers of their own, and all of them in one.
    for cut_from in [None, Some(1 << 24)] {
        let (device, queue) = (device.clone(), queue.clone());
        let options = Options { cut_from, ..Options::default() };
        let gpu = Gpu::adopt_with(&adapter, device, queue, None, options).unwrap();
        let mut wrong = 0;
        // It has no half precision and no subgroups.
        for check in check::table().iter().filter(|check| check.applies_to(&gpu)) {
            match check.run(&gpu) {
                Ok(Verdict::Wrong(_)) => wrong += 1,
                Ok(Verdict::Right(_)) => {}
                Err(error) => panic!("{}: {error}", check.name),
            }
        }
        // A device that computes nothing must not pass.
        assert!(wrong > 200, "only {wrong} checks object to a device that computes nothing");
    }
}

/// RigL's update is recorded on a program's own tensors: there is no trainer and no network.
#[test]
fn an_update_is_recorded_on_tensors_of_ones_own() {
    const ROWS: usize = 2;
    const BLOCK: usize = 8;
    let gpu = Gpu::request(Options::default()).unwrap();
    // A row of four blocks, of which the first two are stored, with weights of 1 and 2.
    let topology = Topology::from_coordinates(BLOCK, 4 * BLOCK, BLOCK, &[(0, 0), (0, 1)]).unwrap();
    let pattern = Pattern::upload(&gpu, &topology).unwrap();
    let floats = |values: &[f32], shape: &[usize]| gpu.upload(Class::Values, "own", shape, values).unwrap();
    let area = BLOCK * BLOCK;
    let shape = [2, BLOCK, BLOCK];
    let values: Vec<f32> = [1.0, 2.0].into_iter().flat_map(|w| vec![w; area]).collect();
    let weight = BlockMatrix::adopt(pattern.clone(), floats(&values, &shape)).unwrap();
    let (grad, state) = (floats(&vec![0.0; 2 * area], &shape), [floats(&vec![5.0; 2 * area], &shape)]);
    // Of the absent blocks, the gradient of the last is larger.
    let x: Vec<f32> = (0..ROWS * 4 * BLOCK).map(|at| (at % (4 * BLOCK) / BLOCK) as f32).collect();
    let x = floats(&x, &[ROWS, 4 * BLOCK]);
    let ones = floats(&[1.0; ROWS * BLOCK], &[ROWS, BLOCK]);
    let step = Step::new(&gpu, StepValues::forward(0)).unwrap();
    let workspace = Workspace::new(&gpu, &pattern, false).unwrap();
    gpu.write(workspace.wanted(), &[1u32]).unwrap();
    let signals = Signals::Rows { x: &x, y: &ones, dy: &ones };
    let layer =
        LayerContext { state: &state, ..LayerContext::new(0, 1, &weight, &grad, signals, &step, &workspace) };

    let mut rec = Recorder::new(&gpu);
    Rigl::default().update(&mut rec, &layer).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let places: Vec<usize> = pattern.topology(&gpu).unwrap().places().collect();
    assert_eq!(places, [3, 1]);
    let read = |tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
    assert_eq!(read(weight.values()), [vec![0.0; area], vec![2.0; area]].concat());
    assert_eq!(read(&state[0]), [vec![0.0; area], vec![5.0; area]].concat());
}

/// A program's own device, with options: checked shaders, limits, and no half precision.
#[test]
fn a_device_is_adopted_with_options() {
    let own = Gpu::request(Options::default()).unwrap();
    let adapter = &own.origin().unwrap().adapter;
    let adopt =
        |options| Gpu::adopt_with(adapter, own.device().clone(), own.queue().clone(), None, options).unwrap();
    let plain = adopt(Options::default());
    assert_eq!((plain.has_f16(), plain.matrices()), (own.has_f16(), own.matrices()));
    let bound = adopt(Options {
        without_f16: true,
        fold_grids_at: Some(7),
        largest_binding: Some(4096),
        ..Options::default()
    });
    assert!(!bound.has_f16() && bound.matrices().is_none());
    assert_eq!(bound.limits().max_compute_workgroups_per_dimension, 7);
    assert_eq!(bound.limits().max_storage_buffer_binding_size, 4096);
    let mut sources = Sources::default();
    sources.patch("fill/words", "fn main", "fn no_entry").unwrap();
    let broken = adopt(Options { sources, ..Options::default() });
    let tensor = |gpu: &Gpu| gpu.zeros::<f32>(Class::Scratch, "test", &[8]).unwrap();
    let fill = |gpu: &Gpu| ops::fill(&mut Recorder::new(gpu), &tensor(gpu), 1);
    assert!(fill(&broken).unwrap_err().to_string().contains("fill"));
    fill(&adopt(Options { checked_shaders: true, ..Options::default() })).unwrap();
}

/// A recording that recurs on other tensors takes its parameters from the cache; other parameters are other buffers.
#[test]
fn parameters_are_kept_for_recordings_that_recur() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let cache = ParamCache::new(&gpu);
    let run = |value: u32, length: usize| {
        let out = gpu.zeros::<f32>(Class::Values, "out", &[length]).unwrap();
        let mut rec = Recorder::new(&gpu);
        ops::fill(&mut rec, &out, value).unwrap();
        let before = gpu.bytes().scratch;
        let plan = rec.finish_with(&cache).unwrap();
        gpu.run(&plan).unwrap();
        assert_eq!(gpu.read::<f32>(&out).unwrap().wait().unwrap(), vec![f32::from_bits(value); length]);
        (cache.len(), gpu.bytes().scratch > before)
    };
    let (one, two) = (1f32.to_bits(), 2f32.to_bits());
    assert_eq!(
        [run(one, 100), run(one, 100), run(two, 100), run(one, 100)],
        [(1, true), (1, false), (2, true), (2, false)]
    );
    // Past its capacity the cache starts again.
    let most = ParamCache::CAPACITY;
    let last = (3..=most + 2).fold(0, |_, length| run(two, length).0);
    assert_eq!(last, 1);
    let other = Gpu::request(Options::default()).unwrap();
    let out = other.zeros::<f32>(Class::Scratch, "out", &[8]).unwrap();
    let mut rec = Recorder::new(&other);
    ops::fill(&mut rec, &out, one).unwrap();
    assert!(rec.finish_with(&cache).unwrap_err().to_string().contains("ParamCache"));
}
