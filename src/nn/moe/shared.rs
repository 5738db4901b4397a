//! Shared expert: a feed-forward network that all tokens pass through, beside the experts that the gate chooses.

use super::Moe;
use crate::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::graph::{Backward, Extent, Forward, Init, ParamSpec, Precision, Side, Signals, Value};
use crate::ops::{self, Activation, Epilogue};

/// Places of the shared expert's parameters among the mixture's: weight and bias of both layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedParams {
    up: [usize; 2],
    down: [usize; 2],
}

/// Declares the parameters of both layers, `[width, hidden]`.
pub(super) fn declare(
    declare: &mut dyn FnMut(ParamSpec) -> Result<usize>,
    moe: &Moe,
    x: Value,
    precision: Precision,
) -> Result<SharedParams> {
    let (width, hidden) = (moe.width, moe.padded_shared());
    let units = || Extent::first(moe.config.shared, hidden);
    let mut layer =
        |name: &str, sides: [usize; 2], variance, [rows, columns]: [Side; 2]| -> Result<[usize; 2]> {
            let [out, input] = if name == "up" { [units(), None] } else { [None, units()] };
            let weight = ParamSpec::matrix(&format!("shared.{name}.weight"), sides, variance)
                .sparse(moe.sparse)
                .units(rows, columns)
                .precision(precision)
                .extent(out.clone(), input)
                .biased();
            let bias = ParamSpec::new(&format!("shared.{name}.bias"), &sides[..1], Init::Constant(0.0))
                .extent(out, None);
            Ok([declare(weight)?, declare(bias)?])
        };
    Ok(SharedParams {
        up: layer("up", [hidden, width], 2.0, [Side::Hidden(1), Side::Of(x)])?,
        down: layer("down", [width, hidden], moe.variance, [Side::Output, Side::Hidden(1)])?,
    })
}

/// Tensors of the shared expert, `[tokens, hidden]`.
#[derive(Debug)]
pub(super) struct Shared {
    activation: Activation,
    params: SharedParams,
    pre: Option<Tensor>,
    hidden: Tensor,
    grad: Tensor,
}

impl Shared {
    pub(super) fn new(
        gpu: &Gpu,
        moe: &Moe,
        params: SharedParams,
        tokens: usize,
        precision: Precision,
    ) -> Result<Self> {
        let alloc = |label| precision.alloc(gpu, label, &[tokens, moe.padded_shared()]);
        let activation = moe.activation;
        Ok(Self {
            activation,
            params,
            pre: (!activation.shows_in_output()).then(|| alloc("pre-activation")).transpose()?,
            hidden: alloc("activation")?,
            grad: alloc("gradient")?,
        })
    }

    /// Records `out = down(activation(up(x)))`, in f32.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder<'_>,
        pass: &Forward<'_>,
        x: &Tensor,
        out: &Tensor,
    ) -> Result<()> {
        let SharedParams { up, down } = self.params;
        let epilogue = Epilogue::Forward {
            bias: pass.param(up[1]).values(),
            activation: self.activation,
            dropout: None,
            pre: self.pre.as_ref(),
        };
        pass.param(up[0]).forward(rec, x, &self.hidden, epilogue)?;
        pass.param(down[0]).forward(rec, &self.hidden, out, Epilogue::Bias(pass.param(down[1]).values()))
    }

    // CONTRACT: `dy` is the gradient of the loss by the mixture's output, in the precision that products read.

    /// Records the gradients of the parameters, and `dx`, that of the input, in f32.
    pub(super) fn backward(
        &self,
        rec: &mut Recorder<'_>,
        pass: &mut Backward<'_>,
        dy: &Tensor,
        dx: &Tensor,
    ) -> Result<()> {
        let SharedParams { up, down } = self.params;
        let (x, y) = (pass.input(0), pass.output(0));
        let pre = self.pre.as_ref().unwrap_or(&self.hidden);
        let epilogue = Epilogue::Backward { pre, activation: self.activation, dropout: None };
        self.layer(rec, pass, down, [dy, &self.hidden, y, &self.grad], epilogue)?;
        self.layer(rec, pass, up, [&self.grad, x, &self.hidden, dx], Epilogue::None)
    }

    /// One layer's backward pass: gradients of weight and bias, then `dx`.
    fn layer(
        &self,
        rec: &mut Recorder<'_>,
        pass: &mut Backward<'_>,
        [weight, bias]: [usize; 2],
        [dy, x, y, dx]: [&Tensor; 4],
        epilogue: Epilogue<'_>,
    ) -> Result<()> {
        pass.param(weight).backward_weight(rec, dy, x, pass.weight_grad(weight))?;
        ops::column_sums(rec, dy, pass.weight_grad(bias).values(), false)?;
        pass.param(weight).backward_input(rec, dy, dx, epilogue)?;
        pass.done(rec, weight, Some(Signals::Rows { x, y, dy }))?;
        pass.done(rec, bias, None)
    }
}
