//! Gradients of block-sparse products in Burn's autodiff.

use std::sync::Arc;

use burn_core::backend::autodiff::checkpoint::base::Checkpointer;
use burn_core::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_core::backend::autodiff::grads::Gradients;
use burn_core::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_core::backend::autodiff::{Autodiff, NodeId};
use burn_core::backend::tensor::FloatTensor;
use burn_core::backend::{AutodiffBackend as _, Backend, TensorMetadata};
use burn_core::tensor::Shape;

use crate::evolve::Job;
use crate::layout::Layout;
use crate::ops::BlockOps;

/// Backward pass of `y = x·Wᵀ + bias`: `dx = dy·W`, `dW = dyᵀ·x` on the stored blocks, and the column sums of `dy`.
#[derive(Debug)]
struct Linear;

/// Operands of the forward pass that the backward pass reads. An operand is kept only where the other's gradient is wanted.
#[derive(Debug, Clone)]
struct State {
    x: Option<NodeId>,
    values: Option<NodeId>,
    layout: Arc<Layout>,
}

impl State {
    /// Registers the gradients of the input and of the blocks.
    fn backward<B: BlockOps>(
        self,
        [x, values]: [Option<NodeId>; 2],
        dy: &FloatTensor<B>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        if let (Some(node), Some(kept)) = (x, self.values) {
            let kept = checkpointer.retrieve_node_output(kept);
            grads.register::<B>(node, B::block_input_grad(dy.clone(), kept, Arc::clone(&self.layout)));
        }
        if let (Some(node), Some(kept)) = (values, self.x) {
            let kept = checkpointer.retrieve_node_output(kept);
            grads.register::<B>(node, B::block_values_grad(dy.clone(), kept, self.layout));
        }
    }
}

impl<B: BlockOps> Backward<B, 3> for Linear {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [x, values, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.backward::<B>([x, values], &dy, grads, checkpointer);
        if let Some(node) = bias {
            grads.register::<B>(node, column_sums::<B>(dy));
        }
    }
}

impl<B: BlockOps> Backward<B, 2> for Linear {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.backward::<B>(parents, &dy, grads, checkpointer);
    }
}

fn column_sums<B: Backend>(dy: FloatTensor<B>) -> FloatTensor<B> {
    let outputs = dy.shape()[1];
    B::float_reshape(B::float_sum_dim(dy, 0), Shape::from([outputs]))
}

impl<B: BlockOps, C: CheckpointStrategy> BlockOps for Autodiff<B, C> {
    fn block_product(
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self> {
        let tracked = [x.is_tracked(), values.is_tracked()];
        let forward = |x: FloatTensor<Self>, values: FloatTensor<Self>, layout| {
            B::block_product(x.into_primitive(), values.into_primitive(), layout)
        };
        match Linear.prepare::<C>([x.node(), values.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept_x = tracked[1].then(|| prep.checkpoint(&x));
                let kept_values = tracked[0].then(|| prep.checkpoint(&values));
                let state = State { x: kept_x, values: kept_values, layout: Arc::clone(&layout) };
                prep.finish(state, forward(x, values, layout))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, values, layout)),
        }
    }

    fn block_linear(
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self> {
        let tracked = [x.is_tracked(), values.is_tracked()];
        let nodes = [x.node(), values.node(), bias.node()];
        let forward = |x: FloatTensor<Self>, values: FloatTensor<Self>, layout| {
            B::block_linear(x.into_primitive(), values.into_primitive(), bias.into_primitive(), layout)
        };
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept_x = tracked[1].then(|| prep.checkpoint(&x));
                let kept_values = tracked[0].then(|| prep.checkpoint(&values));
                let state = State { x: kept_x, values: kept_values, layout: Arc::clone(&layout) };
                prep.finish(state, forward(x, values, layout))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, values, layout)),
        }
    }

    fn block_input_grad(
        dy: FloatTensor<Self>,
        values: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::block_input_grad(dy.into_primitive(), values.into_primitive(), layout))
    }

    fn block_values_grad(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::block_values_grad(dy.into_primitive(), x.into_primitive(), layout))
    }

    fn block_evolve(values: FloatTensor<Self>, layout: Arc<Layout>, job: Arc<Job>) -> FloatTensor<Self> {
        Self::from_inner(B::block_evolve(values.into_primitive(), layout, job))
    }
}
