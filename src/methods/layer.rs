//! A layer whose topology may change, and the operations that updates are composed of.

use std::cell::RefCell;

use half::f16;

use super::{Exchange, Workspace};
use crate::gpu::{Class, DType, Mark, Recorder, Tensor};
use crate::graph::{ParamId, Signals};
use crate::ops::{
    self, BlockInit, ColumnScales, NO_PART, Order, ProductScore, Rounding, SelectK, Share, Step, ValueScore,
};
use crate::random::{Key, Stream};
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// Kind of the [marks](Mark) between the scores of a layer's blocks and the selection by them.
pub const SCORES: &str = "scores";

/// A layer in the middle of a training step: the weight `[out, in]` is that of the forward pass, and its gradient is complete.
///
/// A trainer makes one for each sparse layer. A program with a training loop of its own makes one from its tensors with
/// [`LayerContext::new`], and records any method's update on it.
#[derive(Debug, Clone, Copy)]
pub struct LayerContext<'a> {
    /// Parameter of the weight.
    pub param: ParamId,
    /// The weight.
    pub weight: &'a BlockMatrix,
    /// Gradient of the weight's values, `[nnz, block, block]`.
    pub grad: &'a Tensor,
    /// Optimizer state of the weight, each tensor in the layout of the values.
    pub state: &'a [Tensor],
    /// Activations and gradients of the layer in this step.
    pub signals: Signals<'a>,
    /// Inputs of an output if every block were present.
    pub fan_in: usize,
    /// The step.
    pub step: &'a Step,
    /// Rows of the batch, the first, by which growth is scored. None of them is padding in an update; gradients of padding are 0
    /// in an observation.
    pub score_rows: usize,
    /// Key of the layer's random growth.
    pub growth: Key,
    /// Key of the weights of the layer's new blocks.
    pub regrowth: Key,
    /// Memory of the layer's updates.
    pub workspace: &'a Workspace,
    /// Rows and columns that count, a bit each, where others pad the matrix to whole blocks, as of
    /// [`zero_block_padding`](ops::zero_block_padding).
    pub counted: Option<&'a Tensor>,
    /// Exchanges that are recorded after the backward pass, once it is known whether the step counts; `None` records each at
    /// once.
    pub later: Option<&'a RefCell<Vec<Exchange>>>,
}

impl<'a> LayerContext<'a> {
    /// Layer of a program's own tensors, number `layer` of those that the method evolves. There is no optimizer state, all rows
    /// of the signals score growth, and random draws are the layer's own under `seed`. The number of blocks that an update
    /// exchanges is written to [`Workspace::wanted`] before the recording runs.
    pub fn new(
        layer: u32,
        seed: u64,
        weight: &'a BlockMatrix,
        grad: &'a Tensor,
        signals: Signals<'a>,
        step: &'a Step,
        workspace: &'a Workspace,
    ) -> Self {
        Self {
            param: ParamId::new(layer as usize),
            weight,
            grad,
            state: &[],
            signals,
            fan_in: weight.pattern().cols(),
            step,
            score_rows: usize::MAX,
            growth: Key::new(seed, Stream::Growth(layer)),
            regrowth: Key::new(seed, Stream::Regrowth(layer)),
            workspace,
            counted: None,
            later: None,
        }
    }

    fn pattern(&self) -> &Pattern {
        self.weight.pattern()
    }

    /// Allocates a set of blocks for use within a recording; the plan keeps it alive.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn set(&self, rec: &Recorder<'_>) -> Result<Tensor> {
        rec.gpu().alloc::<u32>(Class::Scratch, "set of blocks", &[self.pattern().places().div_ceil(32)])
    }

    /// Allocates a word for use within a recording.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn word(&self, rec: &Recorder<'_>) -> Result<Tensor> {
        rec.gpu().alloc::<u32>(Class::Scratch, "count", &[1])
    }

    /// Score per place of the grid, `f32[places]`.
    pub fn scores(&self) -> &Tensor {
        self.workspace.scores()
    }

    /// Set of the blocks to drop.
    pub fn dropped(&self) -> &Tensor {
        self.workspace.dropped()
    }

    /// Set of the blocks to grow.
    pub fn grown(&self) -> &Tensor {
        self.workspace.grown()
    }

    /// Records scores of the stored blocks; absent ones take no part in the selection.
    ///
    /// # Errors
    /// As the operations.
    pub fn score_stored(&self, rec: &mut Recorder<'_>, score: ValueScore) -> Result<()> {
        ops::fill(rec, self.scores(), NO_PART.to_bits())?;
        let other = score.takes_other().then_some(self.grad);
        ops::score_values(rec, self.weight, other, self.scores(), score)
    }

    /// Records scores of all places by the gradient that their weights have or would have, `dy^T * x`, over the rows that score
    /// growth; in experts over the rows of those tokens.
    ///
    /// # Errors
    /// As the operation.
    pub fn score_gradient(&self, rec: &mut Recorder<'_>, score: ProductScore) -> Result<()> {
        match self.signals {
            Signals::Rows { x, dy, .. } => {
                let (dy, x) = (self.scored(dy)?, self.scored(x)?);
                ops::score_product(rec, &dy, &x, self.scores(), self.pattern().block(), score, None)
            }
            Signals::Routed { hidden, x, tokens } => {
                ops::score_routed(rec, hidden, &self.scored(x)?, tokens, self.scores(), score)
            }
        }
    }

    /// The rows of a tensor that score growth.
    fn scored(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.rows(0, self.score_rows.min(tensor.shape()[0]))
    }

    /// Records scores of all places by the similarity of inputs and outputs: the sum of |cosine| between the columns of `y` and
    /// `x` over the rows that score growth.
    ///
    /// # Errors
    /// [`Error::Argument`] in experts, each of which processes rows of its own; errors of the operations.
    pub fn score_similarity(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let norms = |rec: &mut Recorder<'_>, of: &Tensor| {
            let columns = of.matrix("score_similarity", "activations")?[1];
            let norms = rec.gpu().alloc::<f32>(Class::Scratch, "norms", &[columns])?;
            ops::inverse_norms(rec, of, &norms)?;
            Ok(norms)
        };
        let Signals::Rows { x, y, .. } = self.signals else {
            let found = "experts, each of which processes rows of its own";
            let wanted = "a layer that processes every row";
            return Err(Error::argument("score_similarity", "layer", wanted, found));
        };
        let (mut y, x) = (self.scored(y)?, self.scored(x)?);
        // Outputs that are added to a residual stream are f32 in half precision, too, and a product has operands of one type.
        if (y.dtype(), x.dtype()) == (DType::F32, DType::F16) {
            let cast = rec.gpu().alloc::<f16>(Class::Scratch, "output", y.shape())?;
            ops::convert(rec, &y, &cast, Rounding::Nearest)?;
            y = cast;
        }
        let (lhs, rhs) = (norms(rec, &y)?, norms(rec, &x)?);
        let scales = ColumnScales { lhs: &lhs, rhs: &rhs };
        let block = self.pattern().block();
        ops::score_product(rec, &y, &x, self.scores(), block, ProductScore::Cosine, Some(scales))
    }

    /// Records a uniform draw as the score of every place.
    ///
    /// # Errors
    /// As the operation.
    pub fn score_randomly(&self, rec: &mut Recorder<'_>) -> Result<()> {
        ops::random_uniform(rec, self.scores(), self.growth, self.step)
    }

    /// Records the selection of the `k` blocks with the smallest scores, to be dropped.
    ///
    /// # Errors
    /// As the operation.
    pub fn drop_smallest(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let k = SelectK::Count(self.workspace.wanted());
        self.mark_scores(rec)?;
        ops::select(rec, self.scores(), k, Order::Smallest, self.dropped())
    }

    /// Records the selection of a share of the blocks with a score, those with the smallest; returns their set.
    ///
    /// # Errors
    /// As the operation; [`Error::OutOfMemory`].
    pub fn smallest_share(&self, rec: &mut Recorder<'_>, share: f64) -> Result<Tensor> {
        let chosen = self.set(rec)?;
        let k = SelectK::Share(Share(share as f32));
        self.mark_scores(rec)?;
        ops::select(rec, self.scores(), k, Order::Smallest, &chosen)?;
        Ok(chosen)
    }

    /// Excludes blocks that are stored and not dropped from the selection.
    ///
    /// # Errors
    /// As the operation.
    pub fn exclude_kept(&self, rec: &mut Recorder<'_>) -> Result<()> {
        ops::score_exclude_stored(rec, self.pattern(), Some(self.dropped()), self.scores())
    }

    /// Records the selection of the `k` blocks with the largest scores, to be grown, among absent and dropped ones.
    ///
    /// # Errors
    /// As the operations.
    pub fn grow_largest(&self, rec: &mut Recorder<'_>) -> Result<()> {
        self.grow(rec, self.workspace.wanted())
    }

    /// Records the selection of [`LayerContext::grow_largest`] with as many blocks as are dropped.
    ///
    /// # Errors
    /// As the operations.
    pub fn grow_as_many(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let dropped = self.word(rec)?;
        ops::bits::count(rec, self.dropped(), &dropped, false)?;
        self.grow(rec, &dropped)
    }

    /// Marks the scores as complete: what follows selects by them.
    fn mark_scores(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let name = format!("parameter {}", self.param.index());
        rec.mark(Mark { kind: SCORES, name, tensor: Some(self.scores().clone()) })
    }

    fn grow(&self, rec: &mut Recorder<'_>, k: &Tensor) -> Result<()> {
        self.exclude_kept(rec)?;
        self.mark_scores(rec)?;
        ops::select(rec, self.scores(), SelectK::Count(k), Order::Largest, self.grown())
    }

    /// New weights drawn uniformly within +- `limit`, by the layer's key.
    pub fn drawn(&self, limit: f32) -> BlockInit {
        BlockInit::Uniform { limit, key: self.regrowth }
    }

    /// Records the [exchange](LayerContext::swap) with new weights of 0, as in RigL. Weights of 0 would never change in a row of
    /// blocks that passes no gradient, such as units behind a ReLU that is never active: there they are drawn, uniformly within
    /// `sqrt(6 / inputs)` (He et al. 2015). In experts new weights are 0: the gradient of a unit is 0 already where its expert
    /// processes none of the tokens that score growth.
    ///
    /// # Errors
    /// As the operations.
    pub fn swap_from_zero(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Signals::Rows { dy, .. } = self.signals else { return self.swap(rec, BlockInit::Zero, None) };
        let pattern = self.pattern();
        let silent = rec.gpu().alloc::<u32>(Class::Scratch, "silent rows", &[pattern.row_blocks()])?;
        ops::score_silent(rec, &self.scored(dy)?, pattern.block(), &silent)?;
        let limit = (6.0 / pattern.cols() as f32).sqrt();
        self.swap(rec, BlockInit::Reviving { silent, limit, key: self.regrowth }, None)
    }

    /// Records the exchange: slots of dropped blocks take grown ones, new blocks get the values, their optimizer state is
    /// zeroed, and the index is rebuilt. A block that is both dropped and grown keeps values and state. With a set `active`, all
    /// other blocks are inactive from now on.
    ///
    /// # Errors
    /// As the operations.
    pub fn swap(&self, rec: &mut Recorder<'_>, values: BlockInit, active: Option<&Tensor>) -> Result<()> {
        let exchange = Exchange {
            weight: self.weight.clone(),
            state: self.state.to_vec(),
            workspace: self.workspace.clone(),
            step: self.step.clone(),
            values,
            counted: self.counted.cloned(),
            active: active.cloned(),
        };
        match self.later {
            Some(later) => later.borrow_mut().push(exchange),
            None => exchange.record(rec)?,
        }
        Ok(())
    }

    /// Records that stored blocks outside a set are inactive from now on, and those in it are active.
    ///
    /// # Errors
    /// As the operation.
    pub fn activate_only(&self, rec: &mut Recorder<'_>, active: &Tensor) -> Result<()> {
        let map = self.scores().reinterpret(DType::U32)?;
        ops::index_pattern(rec, self.pattern(), &map, Some(active))
    }
}
