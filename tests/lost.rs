//! Lost devices, requested and adopted, with and without a loss flag: each call returns `Error::DeviceLost`, and none panics.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::data::{Dataset, Source};
use fretwork::gpu::{Class, Gpu, LossFlag, Options, Plan, Recorder, Submission, Tensor};
use fretwork::nn::MlpConfig;
use fretwork::ops::{self, Activation};
use fretwork::sparse::{BlockMatrix, Density, Pattern, Topology};
use fretwork::train::{Flow, Length, Schedule, Settings, Trainer};
use fretwork::{Error, Result, wgpu};

/// Origin of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Origin {
    /// Requested by the library.
    Requested,
    /// Device of a driver, adopted.
    Driver,
    /// Device of wgpu's no-op backend, adopted.
    Noop,
}

fn device(origin: Origin, lost: Option<LossFlag>) -> Gpu {
    if origin == Origin::Requested {
        return Gpu::request(Options::default()).unwrap();
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    if origin == Origin::Noop {
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
    }
    let instance = wgpu::Instance::new(descriptor);
    let adapter =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    if let Some(lost) = &lost {
        device.set_device_lost_callback(lost.callback());
    }
    Gpu::adopt(device, queue, adapter.get_info(), lost)
}

/// Objects made before the device was lost.
struct Before {
    gpu: Gpu,
    tensor: Tensor,
    pattern: Pattern,
    plan: Plan,
    submission: Submission,
}

impl Before {
    fn new(gpu: Gpu) -> Self {
        let tensor = gpu.zeros::<f32>(Class::Scratch, "test", &[16]).unwrap();
        let pattern = Pattern::upload(&gpu, &Topology::full(16, 16, 8).unwrap()).unwrap();
        let mut rec = Recorder::new(&gpu);
        ops::fill(&mut rec, &tensor, 1).unwrap();
        let plan = rec.finish().unwrap();
        let submission = gpu.run(&plan).unwrap();
        Self { gpu, tensor, pattern, plan, submission }
    }

    /// Results of all calls that use a device, by name.
    fn calls(&self) -> Vec<(&'static str, Result<()>)> {
        let Self { gpu, tensor, pattern, plan, submission } = self;
        let mut rec = Recorder::new(gpu);
        let recorded = ops::blend(&mut rec, tensor, &tensor.clone(), [1.0; 2]).is_err();
        assert!(recorded, "blend accepts one tensor as source and destination");
        let _ = ops::fill(&mut rec, tensor, 2);
        vec![
            ("alloc", gpu.alloc::<f32>(Class::Values, "more", &[16]).map(drop)),
            ("zeros", gpu.zeros::<f32>(Class::Scratch, "more", &[16]).map(drop)),
            ("upload", gpu.upload(Class::Scratch, "more", &[2], &[1u32, 2]).map(drop)),
            ("write", gpu.write(tensor, &[1.0f32; 16])),
            ("block matrix", BlockMatrix::alloc(gpu, Class::Scratch, "more", pattern).map(drop)),
            ("record", rec.finish().map(drop)),
            ("run", gpu.run(plan).map(drop)),
            ("submit", gpu.submit([]).map(drop)),
            ("poll", gpu.poll()),
            ("read", gpu.read::<f32>(tensor).map(drop)),
            ("topology", pattern.topology(gpu).map(drop)),
            ("pace", gpu.pace(submission.clone())),
            ("finish", gpu.finish()),
        ]
    }
}

fn is_lost<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::DeviceLost { .. }))
}

#[test]
fn every_call_returns_that_the_device_is_lost() {
    for origin in [Origin::Requested, Origin::Driver, Origin::Noop] {
        let flag = LossFlag::default();
        let before = Before::new(device(origin, Some(flag.clone())));
        before.gpu.device().destroy();
        // wgpu calls the device-lost callback within a poll.
        before.gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        assert_eq!(flag.reason().is_some(), origin != Origin::Requested);
        for (name, result) in before.calls() {
            assert!(is_lost(&result), "{origin:?}, {name}: {result:?}");
        }
    }
}

#[test]
fn a_flag_set_by_the_caller_counts() {
    let flag = LossFlag::default();
    let before = Before::new(device(Origin::Noop, Some(flag.clone())));
    before.gpu.finish().unwrap();
    flag.set("closed by its owner");
    for (name, result) in before.calls() {
        let said = result.expect_err(name).to_string();
        assert_eq!(said, "the device was lost: closed by its owner", "{name}");
    }
}

/// Without a flag, reads, waits and polls detect the loss; each of them is the first call after it once.
#[test]
fn without_a_flag_the_next_read_or_wait_detects_the_loss() {
    for origin in [Origin::Driver, Origin::Noop] {
        let detect: [fn(&Before) -> Result<()>; 6] = [
            |before| before.gpu.read::<f32>(&before.tensor).map(drop),
            |before| before.pattern.topology(&before.gpu).map(drop),
            |before| before.gpu.pace(before.submission.clone()),
            |before| before.gpu.pace(before.gpu.run(&before.plan)?),
            |before| before.gpu.poll(),
            |before| before.gpu.finish(),
        ];
        for (at, detect) in detect.into_iter().enumerate() {
            let before = Before::new(device(origin, None));
            let pending = before.gpu.read::<f32>(&before.tensor).unwrap();
            before.gpu.device().destroy();
            let result = detect(&before);
            assert!(is_lost(&result), "{origin:?}, {at}: {result:?}");
            // All later calls return the loss, too.
            assert!(before.calls().iter().all(|(_, result)| is_lost(result)), "{origin:?}, {at}");
            assert!(is_lost(&pending.wait()), "{origin:?}, {at}");
        }
        // Calls before the first read or wait may succeed; all from there on return the loss.
        let before = Before::new(device(origin, None));
        before.gpu.device().destroy();
        let results = before.calls();
        let noticed = results.iter().position(|(_, result)| is_lost(result)).unwrap();
        assert!(results[..noticed].iter().all(|(_, result)| result.is_ok()), "{results:?}");
        assert!(results[noticed..].iter().all(|(_, result)| is_lost(result)), "{results:?}");
    }
}

/// A call that wgpu rejects does not make a working device count as lost.
#[test]
fn rejected_calls_lose_no_device() {
    for origin in [Origin::Requested, Origin::Driver, Origin::Noop] {
        let before = Before::new(device(origin, None));
        let buffer = before.gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let view = Tensor::view(&before.gpu, &buffer, 0, &[16], fretwork::gpu::DType::F32).unwrap();
        buffer.destroy();
        for result in [before.gpu.read::<f32>(&view).map(drop), before.gpu.write(&view, &[0.0f32; 16]), {
            let mut rec = Recorder::new(&before.gpu);
            ops::fill(&mut rec, &view, 1).unwrap();
            rec.finish().and_then(|plan| before.gpu.run(&plan)).map(drop)
        }] {
            assert!(matches!(result, Err(Error::Rejected { .. })), "{origin:?}: {result:?}");
        }
        for (name, result) in before.calls() {
            assert!(result.is_ok(), "{origin:?}, {name}: {result:?}");
        }
    }
}

fn settings() -> Settings {
    Settings {
        data: "digits".to_owned(),
        length: Length::Epochs(1),
        batch: 512,
        learning_rate: 0.004,
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        ..Settings::new(MlpConfig {
            inputs: 64,
            hidden: vec![32, 32],
            classes: 10,
            block: 16,
            sparsity: Some(0.5),
            density: Density::Erk,
            activation: Activation::Relu,
            dropout: 0.0,
            seed: 1,
            layers: Default::default(),
            local: None,
        })
    }
}

#[test]
fn a_run_ends_with_its_device() {
    for flag in [None, Some(LossFlag::default())] {
        let gpu = device(Origin::Noop, flag);
        let data = Dataset::load(&Source::Digits, 1, 0).unwrap();
        let mut trainer = Trainer::new(&gpu, settings(), data).unwrap();
        let mut steps = 0;
        let result = trainer.run(None, &mut |_| {
            steps += 1;
            if steps == 3 {
                gpu.device().destroy();
            }
            Flow::Continue
        });
        assert!(is_lost(&result.map(drop)), "{steps}");
        assert!(is_lost(&trainer.checkpoint()));
    }
}
