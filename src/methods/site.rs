//! A layer whose pattern may change, and the verbs that methods are made of.

use std::cell::RefCell;

use half::f16;

use super::Exchange;
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::graph::{ParamId, Signals};
use crate::ops::{
    self, BlockInit, ColumnScales, NO_PART, Order, ProductScore, Rounding, SelectK, Share, Step, ValueScore,
};
use crate::random;
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// What a layer needs for its updates, besides itself: one score per block, a few bits per block, a word per slot.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// One score per place in the grid; between selections it serves as the map of slots.
    pub(super) scores: Tensor,
    /// Scores smoothed over steps, for methods that [observe](super::Method::observe).
    smoothed: Option<Tensor>,
    pub(super) dropped: Tensor,
    pub(super) grown: Tensor,
    born: Tensor,
    wanted: Tensor,
    churn: Tensor,
    visited: Tensor,
}

impl Workspace {
    /// Room for a layer of this pattern.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn new(gpu: &Gpu, pattern: &Pattern, smoothing: bool) -> Result<Self> {
        let places = pattern.places();
        let set = || gpu.zeros::<u32>(Class::Scratch, "set of blocks", &[places.div_ceil(32)]);
        let scores = || gpu.zeros::<f32>(Class::Scratch, "scores", &[places]);
        let word = || gpu.zeros::<u32>(Class::Scratch, "count", &[1]);
        Ok(Self {
            scores: scores()?,
            smoothed: smoothing.then(scores).transpose()?,
            dropped: set()?,
            grown: set()?,
            born: gpu.zeros::<u32>(Class::Scratch, "births", &[pattern.nnz()])?,
            wanted: word()?,
            churn: gpu.zeros::<u32>(Class::Scratch, "count", &[2])?,
            visited: set()?,
        })
    }

    /// The same for a pattern of another number of blocks in the same grid.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resized(&self, gpu: &Gpu, nnz: usize) -> Result<Self> {
        let born = gpu.zeros::<u32>(Class::Scratch, "births", &[nnz])?;
        Ok(Self { born, ..self.clone() })
    }

    /// The place of the scores, which nothing between two steps needs.
    pub(crate) fn scores_of_no_use(&self) -> &Tensor {
        &self.scores
    }

    /// How many blocks the next update exchanges: a word.
    pub fn wanted(&self) -> &Tensor {
        &self.wanted
    }

    /// The first step that moved each slot's block, counted from 1 among those that moved weights; 0 for blocks of the start: a
    /// word per slot.
    pub fn born(&self) -> &Tensor {
        &self.born
    }

    /// Two words: how many blocks have been new since the host last set it to 0, and how many updates of the run exchanged any.
    pub fn churn(&self) -> &Tensor {
        &self.churn
    }

    /// The set of blocks that have ever been stored.
    pub fn visited(&self) -> &Tensor {
        &self.visited
    }

    /// Scores smoothed over steps, where there are any.
    pub fn smoothed(&self) -> Option<&Tensor> {
        self.smoothed.as_ref()
    }
}

/// A layer in the middle of a training step: its weight `[m, n]` has not changed since the forward pass, and its gradients
/// are there.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The parameter that the weight is of.
    pub param: ParamId,
    /// Ordinal of the layer's random draws.
    pub stream: u32,
    /// The weight.
    pub weight: &'a BlockMatrix,
    /// Its gradient: the values, of the same pattern.
    pub grad: &'a Tensor,
    /// The parts of the optimizer's state, in the same layout.
    pub state: &'a [Tensor],
    /// Activations and gradients of the layer in this step.
    pub signals: Signals<'a>,
    /// Inputs of an output there could be.
    pub fan_in: usize,
    /// The step.
    pub step: &'a Step,
    /// How many rows of the batch, the first, growth is scored by. None of them pads an update's batch; where one pads that of
    /// an observation, its gradients are 0.
    pub score_rows: usize,
    /// Key of the layer's random growth.
    pub key: random::Key,
    /// Key of the weights of the layer's new blocks.
    pub regrowth: random::Key,
    /// Room to work in.
    pub workspace: &'a Workspace,
    /// Where exchanges are put that must wait for the end of the backward pass; without it they are recorded at once.
    pub later: Option<&'a RefCell<Vec<Exchange>>>,
}

impl Site<'_> {
    fn pattern(&self) -> &Pattern {
        self.weight.pattern()
    }

    /// Room for a set that is needed in the middle of a recording; the plan holds it.
    pub fn set(&self, rec: &Recorder<'_>) -> Result<Tensor> {
        rec.gpu().alloc::<u32>(Class::Scratch, "set of blocks", &[self.pattern().places().div_ceil(32)])
    }

    /// Room for a word.
    pub fn word(&self, rec: &Recorder<'_>) -> Result<Tensor> {
        rec.gpu().alloc::<u32>(Class::Scratch, "count", &[1])
    }

    /// The scores, one per place in the grid.
    pub fn scores(&self) -> &Tensor {
        &self.workspace.scores
    }

    /// The set of blocks to drop.
    pub fn dropped(&self) -> &Tensor {
        &self.workspace.dropped
    }

    /// The set of blocks to grow.
    pub fn grown(&self) -> &Tensor {
        &self.workspace.grown
    }

    /// Records the scores of stored blocks; absent ones take no part.
    ///
    /// # Errors
    /// As the operations.
    pub fn score_stored(&self, rec: &mut Recorder<'_>, what: ValueScore) -> Result<()> {
        ops::fill(rec, self.scores(), NO_PART.to_bits())?;
        let other = what.takes_other().then_some(self.grad);
        ops::score_values(rec, self.weight, other, self.scores(), what)
    }

    /// Records the scores of all blocks by what the gradient of their weights would be, `dy^T * x`, over the rows that growth
    /// is scored by; in experts, over those that come from these tokens.
    ///
    /// # Errors
    /// As the operation.
    pub fn score_gradient(&self, rec: &mut Recorder<'_>, what: ProductScore) -> Result<()> {
        match self.signals {
            Signals::Rows { x, dy, .. } => {
                let (dy, x) = (self.scored(dy)?, self.scored(x)?);
                ops::score_product(rec, &dy, &x, self.scores(), self.pattern().block(), what, None)
            }
            Signals::Routed { hidden, x, tokens } => {
                ops::score_routed(rec, hidden, &self.scored(x)?, tokens, self.scores(), what)
            }
        }
    }

    /// The rows that growth is scored by.
    fn scored(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.rows(0, self.score_rows.min(tensor.shape()[0]))
    }

    /// Records the scores of all blocks by how alike inputs and outputs behave: the sum of |cosine| between the columns of
    /// `y` and `x` over the rows that growth is scored by.
    ///
    /// # Errors
    /// [`Error::Argument`] in experts, where each passes rows of its own; errors of the operations.
    pub fn score_likeness(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let norms = |rec: &mut Recorder<'_>, of: &Tensor| {
            let columns = of.matrix("score_likeness", "activations")?[1];
            let norms = rec.gpu().alloc::<f32>(Class::Scratch, "norms", &[columns])?;
            ops::inverse_norms(rec, of, &norms)?;
            Ok(norms)
        };
        let Signals::Rows { x, y, .. } = self.signals else {
            let found = "experts, each of which passes rows of its own";
            return Err(Error::argument("score_likeness", "site", "a layer that every row passes", found));
        };
        let (mut y, x) = (self.scored(y)?, self.scored(x)?);
        // In half precision, what joins a residual stream is f32 all the same.
        if (y.dtype(), x.dtype()) == (DType::F32, DType::F16) {
            let narrow = rec.gpu().alloc::<f16>(Class::Scratch, "output", y.shape())?;
            ops::convert(rec, &y, &narrow, Rounding::Nearest)?;
            y = narrow;
        }
        let (lhs, rhs) = (norms(rec, &y)?, norms(rec, &x)?);
        let scales = ColumnScales { lhs: &lhs, rhs: &rhs };
        let block = self.pattern().block();
        ops::score_product(rec, &y, &x, self.scores(), block, ProductScore::Cosine, Some(scales))
    }

    /// Records a uniform draw as the score of every block.
    ///
    /// # Errors
    /// As the operation.
    pub fn score_randomly(&self, rec: &mut Recorder<'_>) -> Result<()> {
        ops::random_uniform(rec, self.scores(), self.key, self.step)
    }

    /// Records that as many blocks as the schedule wants are dropped: those with the smallest scores.
    ///
    /// # Errors
    /// As the operation.
    pub fn drop_smallest(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let quota = SelectK::Count(&self.workspace.wanted);
        ops::select(rec, self.scores(), quota, Order::Smallest, self.dropped())
    }

    /// Records the choice of this share of the blocks that take part, those with the smallest scores.
    ///
    /// # Errors
    /// As the operation.
    pub fn smallest_share(&self, rec: &mut Recorder<'_>, share: f64) -> Result<Tensor> {
        let chosen = self.set(rec)?;
        let quota = SelectK::Share(Share(share as f32));
        ops::select(rec, self.scores(), quota, Order::Smallest, &chosen)?;
        Ok(chosen)
    }

    /// Records that blocks which stay take no part in what grows: those that are stored and not dropped.
    ///
    /// # Errors
    /// As the operation.
    pub fn exclude_kept(&self, rec: &mut Recorder<'_>) -> Result<()> {
        ops::score_exclude_stored(rec, self.pattern(), Some(self.dropped()), self.scores())
    }

    /// Records that as many blocks as the schedule wants are grown: those with the largest scores, among all that do not
    /// stay. Blocks that were dropped a moment ago are among them.
    ///
    /// # Errors
    /// As the operations.
    pub fn grow_largest(&self, rec: &mut Recorder<'_>) -> Result<()> {
        self.grow(rec, &self.workspace.wanted)
    }

    /// The same, as many as are dropped.
    ///
    /// # Errors
    /// As the operations.
    pub fn grow_as_many(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let dropped = self.word(rec)?;
        ops::bits::count(rec, self.dropped(), &dropped, false)?;
        self.grow(rec, &dropped)
    }

    fn grow(&self, rec: &mut Recorder<'_>, wanted: &Tensor) -> Result<()> {
        self.exclude_kept(rec)?;
        ops::select(rec, self.scores(), SelectK::Count(wanted), Order::Largest, self.grown())
    }

    /// New weights within +- `limit`, drawn for this layer from the run's seed.
    pub fn drawn(&self, limit: f32, seed: u64) -> BlockInit {
        BlockInit::Uniform { limit, key: random::Key::new(seed, random::Stream::Regrowth(self.stream)) }
    }

    /// Records the exchange as [`Site::swap`] does, with new weights of 0, as RigL has them. Where a row of blocks passes no gradient
    /// on, weights of 0 would never change, as units behind a ReLU that is never active: there they are drawn, uniformly within
    /// `sqrt(6 / inputs)` (He et al. 2015). In experts new weights are 0: the gradient of a unit whose expert got none of the tokens
    /// that growth is scored by is 0, too.
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

    /// Records the exchange: slots of dropped blocks take grown ones, values of new blocks are renewed, their optimizer's
    /// state is zeroed, and the index is rebuilt. A block that was dropped and grown at once keeps everything. With a set
    /// `awake`, other blocks rest from now on.
    ///
    /// # Errors
    /// As the operations.
    pub fn swap(&self, rec: &mut Recorder<'_>, values: BlockInit, awake: Option<&Tensor>) -> Result<()> {
        let exchange = Exchange {
            weight: self.weight.clone(),
            state: self.state.to_vec(),
            workspace: self.workspace.clone(),
            step: self.step.clone(),
            values,
            awake: awake.cloned(),
        };
        match self.later {
            Some(later) => later.borrow_mut().push(exchange),
            None => exchange.record(rec)?,
        }
        Ok(())
    }

    /// Records that only the blocks of a set have a part in the matrix from now on; other stored blocks rest.
    ///
    /// # Errors
    /// As the operation.
    pub fn wake_only(&self, rec: &mut Recorder<'_>, awake: &Tensor) -> Result<()> {
        let map = self.scores().reinterpret(DType::U32)?;
        ops::index_pattern(rec, self.pattern(), &map, Some(awake))
    }
}
