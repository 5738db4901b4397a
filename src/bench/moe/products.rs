//! Dense feed-forward layers that the mixture is compared with.

use super::{ACTIVATION, noise};
use crate::Result;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::{self, Epilogue, Transpose};
use crate::random::{Key, Stream};

/// Dense feed-forward layer, as its products alone.
pub(super) struct Products {
    /// `[rows, width]`.
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    dx: Tensor,
    /// `[hidden, width]`.
    up: Tensor,
    down: Tensor,
    up_grad: Tensor,
    down_grad: Tensor,
    /// `[rows, hidden]`.
    pre: Tensor,
    hidden: Tensor,
    grad: Tensor,
    /// `[hidden]`, zeros: the epilogue of an activation needs a bias.
    bias: Tensor,
}

impl Products {
    /// Layer of `[hidden, width]` weights for a batch of `rows` rows.
    pub(super) fn new(gpu: &Gpu, rows: usize, [hidden, width]: [usize; 2]) -> Result<Self> {
        let mut walk = Key::new(1, Stream::Check(2)).walk();
        let mut noisy = |label: &str, shape: [usize; 2], scale: f32| {
            let values: Vec<f32> = noise(&mut walk, shape[0] * shape[1]).iter().map(|x| x * scale).collect();
            gpu.upload(Class::Activations, label, &shape, &values)
        };
        let room = |label: &str, shape: [usize; 2]| gpu.alloc::<f32>(Class::Activations, label, &shape);
        let (tokens, units, activations) = ([rows, width], [hidden, width], [rows, hidden]);
        let scales = [width, hidden].map(|inputs| (12.0 / inputs as f32).sqrt());
        Ok(Self {
            x: noisy("x", tokens, 1.0)?,
            dy: noisy("dy", tokens, 1.0)?,
            up: noisy("up", units, scales[0])?,
            down: noisy("down", units, scales[1])?,
            y: room("y", tokens)?,
            dx: room("dx", tokens)?,
            up_grad: room("gradient", units)?,
            down_grad: room("gradient", units)?,
            pre: room("pre-activation", activations)?,
            hidden: room("hidden", activations)?,
            grad: room("gradient", activations)?,
            bias: gpu.zeros::<f32>(Class::Activations, "bias", &[hidden])?,
        })
    }

    /// Records a forward and a backward pass.
    pub(super) fn pass(&self, rec: &mut Recorder<'_>) -> Result<()> {
        self.forward(rec)?;
        self.backward(rec)
    }

    /// Records a forward pass.
    pub(super) fn forward(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Self { x, y, up, down, pre, hidden, bias, .. } = self;
        let epilogue = Epilogue::Forward { bias, activation: ACTIVATION, dropout: None, pre: Some(pre) };
        ops::dense(rec, x, up, hidden, Transpose::NT, epilogue)?;
        ops::dense(rec, hidden, down, y, Transpose::NN, Epilogue::None)
    }

    /// Records a backward pass.
    pub(super) fn backward(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Self { x, dy, dx, up, down, up_grad, down_grad, pre, hidden, grad, .. } = self;
        let epilogue = Epilogue::Backward { pre, activation: ACTIVATION, dropout: None };
        ops::dense(rec, dy, down, grad, Transpose::NT, epilogue)?;
        ops::dense(rec, hidden, dy, down_grad, Transpose::TN, Epilogue::None)?;
        ops::dense(rec, grad, x, up_grad, Transpose::TN, Epilogue::None)?;
        ops::dense(rec, grad, up, dx, Transpose::NN, Epilogue::None)
    }
}
