//! A mixture on one device: fretwork's graph, whose weights are Burn's tensors.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use burn_core::backend::TensorMetadata as _;
use burn_core::tensor::Shape as Dims;
use burn_cubecl::cubecl::wgpu::WgpuDevice;
use burn_cubecl::tensor::CubeTensor;
use fretwork::gpu::Tensor;
use fretwork::nn;

use super::pass::Pass;
use crate::Result;
use crate::buffers::Lease;
use crate::device::Shared;
use crate::layout::Layout;

/// Numbers of rows whose memory and plans are kept. The last batch of an epoch, and that of an evaluation, are often of other sizes.
const PASSES: usize = 4;

/// A mixture on one device, for weights of these layouts.
pub(crate) struct Engine {
    device: WgpuDevice,
    pub(super) shared: Arc<Shared>,
    pub(super) moe: nn::Moe,
    pub(super) layouts: [Option<Arc<Layout>>; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last used is last.
    passes: Vec<Pass>,
    /// Number of forward passes so far.
    stamp: u64,
}

/// One application of a mixture.
pub(crate) struct Call {
    engine: Arc<Engine>,
    /// Whether a backward pass may follow.
    differentiable: AtomicBool,
    /// The forward pass, by its number; 0 before it.
    stamp: AtomicU64,
}

impl Engine {
    pub(super) fn new(device: &WgpuDevice, moe: nn::Moe, layouts: [Option<Arc<Layout>>; 2]) -> Result<Self> {
        let shared = Shared::of(device)?;
        Ok(Self { device: device.clone(), shared, moe, layouts, state: Mutex::default() })
    }

    pub(super) fn is_on(&self, device: &WgpuDevice) -> bool {
        self.device == *device
    }

    pub(super) fn is_for(&self, device: &WgpuDevice, layouts: &[Option<Arc<Layout>>; 2]) -> bool {
        let same = |(ours, given): (&Option<Arc<Layout>>, &Option<Arc<Layout>>)| match (ours, given) {
            (Some(ours), Some(given)) => Arc::ptr_eq(ours, given),
            (ours, given) => ours.is_none() && given.is_none(),
        };
        self.is_on(device) && self.layouts.iter().zip(layouts).all(same)
    }

    /// Shapes of router, upper and lower weight as the graph has them.
    fn shapes(&self) -> [Vec<usize>; 3] {
        let (experts, width) = (&self.moe.config.experts, self.moe.width);
        let [up, down] = [0, 1].map(|side| match &self.layouts[side] {
            Some(layout) => {
                let block = layout.topology.block();
                vec![layout.topology.nnz(), block, block]
            }
            None => vec![experts.iter().sum(), width],
        });
        [vec![experts.len(), width], up, down]
    }

    fn operands(&self, lease: &mut Lease<'_>, weights: [CubeTensor; 3]) -> Result<[Tensor; 3]> {
        let shapes = self.shapes();
        let [router, up, down] = weights;
        Ok([
            lease.operand("the router", router, &shapes[0])?,
            lease.operand("the upper weight", up, &shapes[1])?,
            lease.operand("the lower weight", down, &shapes[2])?,
        ])
    }

    /// New tensors for the gradients of the weights.
    fn grads(
        &self,
        lease: &mut Lease<'_>,
        weights: &[CubeTensor; 3],
    ) -> Result<([CubeTensor; 3], [Tensor; 3])> {
        let shapes = self.shapes();
        let mut grad = |at: usize| {
            let weight = &weights[at];
            lease.result(weight, weight.shape(), weight.dtype, &shapes[at])
        };
        let ([router, up, down], of) = ([grad(0)?, grad(1)?, grad(2)?], |pair: &(_, Tensor)| pair.1.clone());
        let views = [of(&router), of(&up), of(&down)];
        Ok(([router.0, up.0, down.0], views))
    }

    fn forward(
        &self,
        state: &mut State,
        x: CubeTensor,
        weights: [CubeTensor; 3],
        differentiable: bool,
    ) -> Result<CubeTensor> {
        let dims = [x.shape()[0], self.moe.width];
        let mut lease = Lease::new(&self.shared);
        let (out, y) = lease.result(&x, Dims::from(dims), x.dtype, &dims)?;
        let x = lease.operand("the input", x, &dims)?;
        let operands = self.operands(&mut lease, weights.clone())?;
        let fits = |pass: &Pass| pass.rows == dims[0] && pass.differentiable == differentiable;
        let mut pass = match state.passes.iter().position(fits) {
            Some(place) => state.passes.remove(place),
            None => {
                // Plans bind tensors of each run in the places of these.
                let (_, grads) = self.grads(&mut lease, &weights)?;
                Pass::new(self, dims[0], differentiable, operands.clone(), grads)?
            }
        };
        state.stamp += 1;
        pass.forward(lease, &x, &operands, &y, state.stamp)?;
        if state.passes.len() == PASSES {
            state.passes.remove(0);
        }
        state.passes.push(pass);
        Ok(out)
    }

    /// Gradients of input, router, upper and lower weight by the forward pass of this number, which is repeated where another one
    /// has overwritten its activations.
    fn backward(
        &self,
        stamp: u64,
        dy: CubeTensor,
        x: CubeTensor,
        weights: [CubeTensor; 3],
    ) -> Result<[CubeTensor; 4]> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let mut place = state.passes.iter().position(|pass| pass.stamp == stamp);
        if place.is_none() {
            self.forward(&mut state, x, weights.clone(), true)?;
            place = Some(state.passes.len() - 1);
        }
        let pass = &mut state.passes[place.unwrap_or_default()];
        let dims = [dy.shape()[0], self.moe.width];
        let mut lease = Lease::new(&self.shared);
        let (dx, out) = lease.result(&dy, Dims::from(dims), dy.dtype, &dims)?;
        let ([router, up, down], grads) = self.grads(&mut lease, &weights)?;
        let dy = lease.operand("the output's gradient", dy, &dims)?;
        let operands = self.operands(&mut lease, weights)?;
        pass.backward(lease, &dy, &operands, &grads, &out)?;
        Ok([dx, router, up, down])
    }
}

impl Call {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, differentiable: AtomicBool::new(false), stamp: AtomicU64::new(0) }
    }

    /// Says, before the forward pass, that a backward pass may follow.
    pub(super) fn expect_backward(&self) {
        self.differentiable.store(true, Ordering::Release);
    }

    /// The output, `[rows, width]`.
    pub(super) fn forward(&self, x: CubeTensor, weights: [CubeTensor; 3]) -> Result<CubeTensor> {
        let differentiable = self.differentiable.load(Ordering::Acquire);
        let mut state = self.engine.state.lock().expect("no holder of this lock panics");
        let y = self.engine.forward(&mut state, x, weights, differentiable)?;
        self.stamp.store(state.stamp, Ordering::Release);
        Ok(y)
    }

    /// Gradients of input, router, upper and lower weight.
    pub(super) fn backward(
        &self,
        dy: CubeTensor,
        x: CubeTensor,
        weights: [CubeTensor; 3],
    ) -> Result<[CubeTensor; 4]> {
        self.engine.backward(self.stamp.load(Ordering::Acquire), dy, x, weights)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({} experts)", self.engine.moe.config.experts.len())
    }
}
