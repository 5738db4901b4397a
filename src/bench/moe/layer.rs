//! The timed mixture of experts, with all its operands.

use super::check::Parts;
use super::{ACTIVATION, noise};
use crate::Result;
use crate::bench::Bench;
use crate::gpu::{Class, Recorder, Tensor};
use crate::nn::Moe;
use crate::ops::{Step, StepValues};
use crate::random::{Key, Stream};

/// Mixture of experts with its input, output and gradients.
pub(super) struct Layer {
    pub(super) moe: Moe,
    pub(super) step: Step,
    ids: Tensor,
    pub(super) x: Tensor,
    pub(super) y: Tensor,
    pub(super) dy: Tensor,
    pub(super) dx: Tensor,
}

impl Layer {
    /// Layer for a batch of `tokens` tokens. Experts have equal loads where `even`, otherwise those of a random router.
    pub(super) fn new(bench: &Bench, tokens: usize, even: bool) -> Result<Self> {
        let (gpu, sizes) = (&bench.gpu, &bench.sizes.experts);
        let matrix = [tokens, sizes.width];
        let mut walk = Key::new(1, Stream::Check(u32::from(even))).walk();
        let mut x = noise(&mut walk, tokens * sizes.width);
        let dy = noise(&mut walk, tokens * sizes.width);
        let moe = Moe::new(gpu, &sizes.config(), ACTIVATION, sizes.block, [1, tokens, sizes.width], 1)?;
        if even {
            // The router reads the logits of the experts from the first columns of a token. Consecutive tokens take consecutive
            // experts, which gives equal loads; the rows are then shuffled.
            let Parts { router: weight, .. } = Parts::of(&moe)?;
            let mut router = gpu.read::<f32>(weight)?.wait()?;
            for (e, row) in router.chunks_mut(sizes.width).enumerate() {
                row[..sizes.experts].fill(0.0);
                row[e] = 4.0;
            }
            gpu.write(weight, &router)?;
            let mut order: Vec<usize> = (0..tokens).collect();
            walk.shuffle(&mut order);
            for (row, token) in x.chunks_mut(sizes.width).zip(order) {
                row[..sizes.experts].fill(0.0);
                for j in 0..sizes.choices {
                    let expert = (token * sizes.choices + j) % sizes.experts;
                    row[expert] = 1.0 - j as f32 / (2 * sizes.choices) as f32;
                }
            }
        }
        let upload = |label: &str, values: &[f32]| gpu.upload(Class::Activations, label, &matrix, values);
        Ok(Self {
            moe,
            step: Step::new(gpu, StepValues::forward(0))?,
            ids: gpu.zeros::<u32>(Class::Activations, "ids", &[tokens])?,
            x: upload("x", &x)?,
            y: upload("y", &vec![f32::NAN; x.len()])?,
            dy: upload("dy", &dy)?,
            dx: upload("dx", &vec![f32::NAN; x.len()])?,
        })
    }

    /// Records a forward and a backward pass; with a step, those of training.
    pub(super) fn pass(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        let Self { moe, ids, x, y, dy, dx, .. } = self;
        moe.forward(rec, [x, ids, y], step)?;
        moe.backward(rec, [x, ids, y], [dy, dx], step, &mut |_, _| Ok(()))
    }
}
