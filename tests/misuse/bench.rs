//! Arguments for every operation, one of which can be made wrong.

use std::cell::Cell;

use fretwork::gpu::{Class, DType, Gpu, LossFlag, Tensor};
use fretwork::ops::{LossScale, Step, StepValues};
use fretwork::sparse::{BlockMatrix, Pattern, Routing, RoutingShape, Topology};
use fretwork::wgpu;

/// A fault of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is on another device.
    Foreign,
    /// Its first dimension, or every pattern's number of blocks, is 0.
    Empty,
    /// Its last dimension is 0.
    Narrow,
    /// It has no dimension.
    Scalar,
    /// It has another type of elements.
    Retyped,
    /// It is a view at an offset that no device binds.
    Odd,
    /// It lies in one buffer with its neighbour.
    Aliased,
    /// It lies in a buffer that is destroyed.
    Destroyed,
    /// It lies in a buffer that is mapped.
    Mapped,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::Foreign,
        Self::Empty,
        Self::Narrow,
        Self::Scalar,
        Self::Retyped,
        Self::Odd,
        Self::Aliased,
        Self::Destroyed,
        Self::Mapped,
    ];
}

/// A device that computes nothing, and another one.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    pub(crate) other: Gpu,
    /// Set when `gpu` is lost.
    pub(crate) lost: LossFlag,
    /// The fault of one argument, in the order in which an operation asks for them.
    pub(crate) fault: Cell<Option<(Fault, usize)>>,
    asked: Cell<usize>,
}

/// wgpu's make-believe device, adopted.
pub(crate) fn noop(lost: Option<LossFlag>) -> Gpu {
    let (adapter, device, queue) = noop_device();
    if let Some(lost) = &lost {
        device.set_device_lost_callback(lost.callback());
    }
    Gpu::adopt(device, queue, adapter.get_info(), lost)
}

pub(crate) fn noop_device() -> (wgpu::Adapter, wgpu::Device, wgpu::Queue) {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    let instance = wgpu::Instance::new(descriptor);
    let adapter =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    (adapter, device, queue)
}

impl Bench {
    pub(crate) fn new() -> Self {
        let lost = LossFlag::default();
        Self {
            gpu: noop(Some(lost.clone())),
            other: noop(None),
            lost,
            fault: Cell::new(None),
            asked: Cell::new(0),
        }
    }

    /// A bench whose device's loss nobody tells of.
    pub(crate) fn unwatched() -> Self {
        Self { gpu: noop(None), ..Self::new() }
    }

    /// Loses the device, as its owner notices when it polls.
    pub(crate) fn lose(&self) {
        self.gpu.device().destroy();
        self.gpu.device().poll(wgpu::PollType::Poll).unwrap();
        assert!(self.lost.reason().is_some());
    }

    /// Begins with the arguments of another operation; says how many the last one had.
    pub(crate) fn begin(&self, fault: Option<(Fault, usize)>) -> usize {
        self.fault.set(fault);
        self.asked.replace(0)
    }

    /// The fault of the next argument, if it has one.
    fn next(&self) -> Option<Fault> {
        let asked = self.asked.replace(self.asked.get() + 1);
        let (fault, at) = self.fault.get()?;
        let is_hit = at == asked || fault == Fault::Aliased && at + 1 == asked;
        is_hit.then_some(fault)
    }

    fn on(&self, fault: Option<Fault>) -> &Gpu {
        if fault == Some(Fault::Foreign) { &self.other } else { &self.gpu }
    }

    /// A tensor of floats.
    pub(crate) fn f(&self, shape: &[usize]) -> Tensor {
        self.tensor(shape, DType::F32)
    }

    /// A tensor of words.
    pub(crate) fn u(&self, shape: &[usize]) -> Tensor {
        self.tensor(shape, DType::U32)
    }

    fn tensor(&self, shape: &[usize], dtype: DType) -> Tensor {
        let fault = self.next();
        let mut shape = shape.to_vec();
        match fault {
            Some(Fault::Empty) => shape[0] = 0,
            Some(Fault::Narrow) => *shape.last_mut().unwrap() = 0,
            Some(Fault::Scalar) => shape.clear(),
            _ => {}
        }
        match fault {
            Some(Fault::Odd) => self.view(&shape, dtype, 4, false),
            Some(Fault::Aliased) => self.shared(&shape, dtype),
            Some(Fault::Mapped) => self.view(&shape, dtype, 0, true),
            Some(Fault::Destroyed) => {
                let view = self.view(&shape, dtype, 0, false);
                view.buffer().destroy();
                view
            }
            fault => self.plain(&shape, dtype, fault),
        }
    }

    fn plain(&self, shape: &[usize], dtype: DType, fault: Option<Fault>) -> Tensor {
        let dtype = match (dtype, fault) {
            (DType::F32, Some(Fault::Retyped)) => DType::U32,
            (_, Some(Fault::Retyped)) => DType::F32,
            (dtype, _) => dtype,
        };
        let gpu = self.on(fault);
        match dtype {
            DType::F32 => gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap(),
            _ => gpu.zeros::<u32>(Class::Scratch, "test", shape).unwrap(),
        }
    }

    /// A view of a buffer of the caller's.
    fn view(&self, shape: &[usize], dtype: DType, offset: u64, mapped: bool) -> Tensor {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let bytes = shape.iter().product::<usize>() as u64 * dtype.size();
        let descriptor = wgpu::BufferDescriptor {
            label: Some("caller's"),
            size: bytes.next_multiple_of(4) + offset,
            usage,
            mapped_at_creation: mapped,
        };
        let buffer = self.gpu.device().create_buffer(&descriptor);
        Tensor::view(&self.gpu, &buffer, offset, shape, dtype).unwrap()
    }

    /// The beginning of a buffer that everything shares.
    fn shared(&self, shape: &[usize], dtype: DType) -> Tensor {
        thread_local!(static SHARED: Cell<Option<(wgpu::Device, wgpu::Buffer)>> = const { Cell::new(None) });
        let device = self.gpu.device();
        let buffer = match SHARED.take() {
            Some((of, buffer)) if &of == device => buffer,
            _ => device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("shared"),
                size: 1 << 16,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            }),
        };
        SHARED.set(Some((device.clone(), buffer.clone())));
        Tensor::view(&self.gpu, &buffer, 0, shape, dtype).unwrap()
    }

    /// A pattern of blocks of 8, one in every row of blocks; none, if that is what is wrong.
    pub(crate) fn pattern(&self, [rows, cols]: [usize; 2]) -> Pattern {
        let fault = self.next();
        self.pattern_with([rows, cols], fault)
    }

    fn pattern_with(&self, [rows, cols]: [usize; 2], fault: Option<Fault>) -> Pattern {
        let count = if fault == Some(Fault::Empty) { 0 } else { rows / 8 };
        let blocks: Vec<_> = (0..count).map(|row| (row as u32, (row % (cols / 8)) as u32)).collect();
        let topology = Topology::from_coordinates(rows, cols, 8, &blocks).unwrap();
        let packed = topology.packed();
        match fault {
            Some(Fault::Odd) => adopt(&topology, self.view(&[packed.len()], DType::U32, 4, false)).unwrap(),
            Some(Fault::Aliased) => adopt(&topology, self.shared(&[packed.len()], DType::U32)).unwrap(),
            fault => Pattern::upload(self.on(fault), &topology).unwrap(),
        }
    }

    /// A block matrix of such a pattern.
    pub(crate) fn matrix(&self, sides: [usize; 2]) -> BlockMatrix {
        let fault = self.next();
        let of_pattern = fault.filter(|fault| matches!(fault, Fault::Foreign | Fault::Empty));
        let pattern = self.pattern_with(sides, of_pattern);
        let shape = [pattern.nnz(), 8, 8];
        let values = match fault {
            Some(Fault::Odd) => self.view(&shape, DType::F32, 4, false),
            Some(Fault::Aliased) => self.shared(&shape, DType::F32),
            Some(Fault::Mapped) => self.view(&shape, DType::F32, 0, true),
            fault => self.plain(&shape, DType::F32, fault),
        };
        BlockMatrix::adopt(pattern, values).unwrap()
    }

    /// Where the values of a step stand.
    pub(crate) fn step(&self) -> Step {
        Step::new(self.on(self.next()), StepValues::forward(0)).unwrap()
    }

    /// A loss scale.
    pub(crate) fn scale(&self) -> LossScale {
        LossScale::new(self.on(self.next()), 1024.0).unwrap()
    }

    /// The routing of four tokens, two choices each, to two experts.
    pub(crate) fn routing(&self) -> Routing {
        let widths = vec![8, 16];
        let shape = RoutingShape { tokens: 4, choices: 2, block: 8, widths, most: None };
        Routing::new(self.on(self.next()), shape).unwrap()
    }
}

/// A pattern in a buffer that holds no topology: these devices compute nothing, so nothing reads it.
#[expect(unsafe_code, reason = "the words of a pattern are not read on a make-believe device")]
pub(crate) fn adopt(topology: &Topology, packed: Tensor) -> fretwork::Result<Pattern> {
    // SAFETY: no kernel runs on a device that computes nothing.
    unsafe { Pattern::adopt(topology, packed) }
}
