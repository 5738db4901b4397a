//! A mixture of experts as an operation of Burn's backends.

use std::sync::Arc;

use burn_core as burn;
use burn_core::backend::tensor::FloatTensor;
use burn_core::backend::{Backend, backend_extension};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::engine::Call;

/// Applications of a mixture. Operands are checked by the module before they come here.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait MixtureOps: Backend {
    /// The output of rows `x[rows, width]`.
    #[fusion(dtype = x, shape = x)]
    fn mixture(
        x: FloatTensor<Self>,
        router: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> FloatTensor<Self>;

    /// Gradients of `x`, `router`, `up` and `down`. Not differentiable.
    #[fusion(meta = |_dy, x, router, up, down, _call| (x.clone(), router.clone(), up.clone(), down.clone()))]
    #[expect(clippy::type_complexity, reason = "a gradient for each operand")]
    fn mixture_grads(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        router: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        call: Arc<Call>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl MixtureOps for CubeBackend {
    fn mixture(
        x: CubeTensor,
        router: CubeTensor,
        up: CubeTensor,
        down: CubeTensor,
        call: Arc<Call>,
    ) -> CubeTensor {
        crate::ops::expect(call.forward(x, [router, up, down]))
    }

    fn mixture_grads(
        dy: CubeTensor,
        x: CubeTensor,
        router: CubeTensor,
        up: CubeTensor,
        down: CubeTensor,
        call: Arc<Call>,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        crate::ops::expect(call.backward(dy, x, [router, up, down])).into()
    }
}
