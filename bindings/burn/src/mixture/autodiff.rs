//! Gradients of a mixture of experts in Burn's autodiff.

use std::sync::Arc;

use burn_core::backend::AutodiffBackend as _;
use burn_core::backend::autodiff::checkpoint::base::Checkpointer;
use burn_core::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_core::backend::autodiff::grads::Gradients;
use burn_core::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_core::backend::autodiff::{Autodiff, NodeId};
use burn_core::backend::tensor::FloatTensor;

use super::engine::Call;
use super::ops::MixtureOps;

/// Backward pass of a mixture.
#[derive(Debug)]
struct Mixture;

/// Operands of the forward pass, of which the backward pass needs all.
#[derive(Debug, Clone)]
struct State {
    operands: [NodeId; 4],
    call: Arc<Call>,
}

impl<B: MixtureOps> Backward<B, 4> for Mixture {
    type State = State;

    fn backward(self, ops: Ops<State, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let State { operands, call } = ops.state;
        let [x, router, up, down] = operands.map(|node| checkpointer.retrieve_node_output(node));
        let found: [FloatTensor<B>; 4] = B::mixture_grads(dy, x, router, up, down, call).into();
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: MixtureOps, C: CheckpointStrategy> MixtureOps for Autodiff<B, C> {
    fn mixture(
        x: FloatTensor<Self>,
        router: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), router.node(), up.node(), down.node()];
        let forward = |x: FloatTensor<Self>,
                       router: FloatTensor<Self>,
                       up: FloatTensor<Self>,
                       down: FloatTensor<Self>,
                       call| {
            let [x, router, up, down] = [x, router, up, down].map(|operand| operand.into_primitive());
            B::mixture(x, router, up, down, call)
        };
        match Mixture.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                call.expect_backward();
                let operands = [&x, &router, &up, &down].map(|operand| prep.checkpoint(operand));
                let state = State { operands, call: Arc::clone(&call) };
                prep.finish(state, forward(x, router, up, down, call))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, router, up, down, call)),
        }
    }

    fn mixture_grads(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        router: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [dy, x, router, up, down] = [dy, x, router, up, down].map(|operand| operand.into_primitive());
        let (dx, router, up, down) = B::mixture_grads(dy, x, router, up, down, call);
        (Self::from_inner(dx), Self::from_inner(router), Self::from_inner(up), Self::from_inner(down))
    }
}
