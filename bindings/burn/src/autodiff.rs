//! Gradients of block-sparse products in Burn's autodiff.

use std::sync::Arc;

use burn_core::backend::AutodiffBackend as _;
use burn_core::backend::autodiff::checkpoint::base::Checkpointer;
use burn_core::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_core::backend::autodiff::grads::Gradients;
use burn_core::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_core::backend::autodiff::{Autodiff, NodeId};
use burn_core::backend::tensor::FloatTensor;

use crate::evolve::Job;
use crate::layout::Layout;
use crate::ops::{BlockOps, Wanted};

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
    /// Registers the gradients of input, blocks and bias.
    fn backward<B: BlockOps>(
        self,
        [x, values, bias]: [Option<NodeId>; 3],
        dy: FloatTensor<B>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let wanted = Wanted {
            input: x.is_some() && self.values.is_some(),
            values: values.is_some() && self.x.is_some(),
            bias: bias.is_some(),
        };
        // An operand that is not kept is not read.
        let mut kept = |node: Option<NodeId>| {
            node.map_or_else(|| dy.clone(), |node| checkpointer.retrieve_node_output(node))
        };
        let [of_x, of_values] = [kept(self.x), kept(self.values)];
        let (dx, dw, db) = B::block_grads(dy, of_x, of_values, wanted, self.layout);
        let found = [(x, wanted.input, dx), (values, wanted.values, dw), (bias, wanted.bias, db)];
        for (node, wanted, grad) in found {
            if let Some(node) = node.filter(|_| wanted) {
                grads.register::<B>(node, grad);
            }
        }
    }
}

impl<B: BlockOps> Backward<B, 3> for Linear {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.backward::<B>(parents, dy, grads, checkpointer);
    }
}

impl<B: BlockOps> Backward<B, 2> for Linear {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [x, values] = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.backward::<B>([x, values, None], dy, grads, checkpointer);
    }
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

    fn block_grads(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        values: FloatTensor<Self>,
        wanted: Wanted,
        layout: Arc<Layout>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [dy, x, values] = [dy, x, values].map(|operand| operand.into_primitive());
        let (dx, dw, db) = B::block_grads(dy, x, values, wanted, layout);
        [dx, dw, db].map(Self::from_inner).into()
    }

    fn block_evolve(values: FloatTensor<Self>, layout: Arc<Layout>, job: Arc<Job>) -> FloatTensor<Self> {
        Self::from_inner(B::block_evolve(values.into_primitive(), layout, job))
    }
}
