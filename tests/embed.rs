//! Fretwork on devices that are not its own.

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Class, Gpu, Options, Recorder};
use fretwork::methods::{LayerContext, Method as _, Rigl, Workspace};
use fretwork::nn::Signals;
use fretwork::ops::{Step, StepValues};
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
    let gpu = Gpu::adopt(device, queue, adapter.get_info(), None);
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
