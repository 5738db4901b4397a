//! Causal self-attention: `shaders/attention/`, twins in
//! [`reference::attention_forward`](crate::reference::attention_forward) and its neighbours.
//!
//! The softmax is taken on the way and its probabilities are never stored (Milakov and Gimelshein, "Online normalizer
//! calculation for softmax", 2018; Dao et al., "FlashAttention", NeurIPS 2022): the backward pass has them again from the
//! logarithm of their sum.

use super::embed::whole_sequences;
use super::windows::{Window, Windows};
use crate::gpu::{Args, Gpu, Key, Recorder, Tensor, Variant};
use crate::{Error, Result};

/// The widths that a head may have. Each is a kernel of its own, which keeps whole rows of a head in registers: with 64 the
/// backward pass is short of them on GPUs.
pub const HEADS: [usize; 4] = [8, 16, 32, 64];

/// Invocations of one workgroup.
const LANES: usize = 32;

/// What a forward pass reads and writes, and the backward pass reads.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Queries, keys and values, `[tokens, 3 * width]`: all queries of a token, then all keys, then all values, each with
    /// the columns of a head next to each other. Sequences follow each other.
    pub qkv: &'a Tensor,
    /// For each query the mean of the values, `[tokens, width]`.
    pub out: &'a Tensor,
    /// For each query the logarithm of the sum of the exponentials, `[tokens, heads]`.
    pub lse: &'a Tensor,
    /// Tokens of one sequence.
    pub context: usize,
}

/// Records attention: each query of a sequence and the keys up to its own, weighed by the softmax of their products over
/// `sqrt(width / heads)`. A sequence's results have the same bits wherever it stands in a batch.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, the last sequence is not whole, or the width of a head is none of [`HEADS`].
pub fn attention_forward(rec: &mut Recorder<'_>, attention: Attention<'_>) -> Result<()> {
    let call = Call::new("attention.forward", "forward", attention)?;
    let tensors = [("qkv", attention.qkv), ("out", attention.out), ("lse", attention.lse)];
    call.record(rec, &tensors)
}

/// Records the gradient of the queries, into the first third of `dqkv[tokens, 3 * width]`, from `grad[tokens, width]` of
/// the output. `delta[tokens, heads]` gets the product of each head's output and its gradient.
///
/// # Errors
/// As [`attention_forward`].
pub fn attention_queries(
    rec: &mut Recorder<'_>,
    attention: Attention<'_>,
    grad: &Tensor,
    delta: &Tensor,
    dqkv: &Tensor,
) -> Result<()> {
    let call = Call::new("attention.queries", "queries", attention)?;
    call.expect_gradients(grad, delta, dqkv)?;
    let Attention { qkv, out, lse, .. } = attention;
    let others = [("grad", grad), ("delta", delta), ("dqkv", dqkv)];
    call.record(rec, &[&[("qkv", qkv), ("out", out), ("lse", lse)], &others[..]].concat())
}

/// Records the gradients of the keys and the values, into the other two thirds of `dqkv[tokens, 3 * width]`, with the
/// `delta` that [`attention_queries`] has left.
///
/// # Errors
/// As [`attention_forward`].
pub fn attention_keys(
    rec: &mut Recorder<'_>,
    attention: Attention<'_>,
    grad: &Tensor,
    delta: &Tensor,
    dqkv: &Tensor,
) -> Result<()> {
    let call = Call::new("attention.keys", "keys", attention)?;
    call.expect_gradients(grad, delta, dqkv)?;
    let Attention { qkv, lse, .. } = attention;
    call.record(rec, &[("qkv", qkv), ("lse", lse), ("grad", grad), ("delta", delta), ("dqkv", dqkv)])
}

/// One of the kernels, and sizes that fit each other.
struct Call<'a> {
    op: &'static str,
    name: &'static str,
    attention: Attention<'a>,
    sequences: usize,
    heads: usize,
    /// Columns of one head.
    head: usize,
}

impl<'a> Call<'a> {
    fn new(op: &'static str, name: &'static str, attention: Attention<'a>) -> Result<Self> {
        let Attention { qkv, out, lse, context } = attention;
        let [tokens, width] = out.matrix(op, "out")?;
        let [_, heads] = lse.matrix(op, "lse")?;
        lse.expect_shape(op, "lse", &[tokens, heads])?;
        let packed = width.saturating_mul(3);
        qkv.expect_shape(op, "qkv", &[tokens, packed])?;
        // The gradients of keys need no output, but it belongs to what they need.
        out.expect_beside(op, "out", qkv)?;
        whole_sequences(op, tokens, context)?;
        if heads == 0 || !HEADS.iter().any(|head| heads.checked_mul(*head) == Some(width)) {
            let wanted = format!("{heads} heads of one of {HEADS:?} columns");
            return Err(Error::argument(op, "width", wanted, format!("{width} columns")));
        }
        Ok(Self { op, name, attention, sequences: tokens / context, heads, head: width / heads })
    }

    fn expect_gradients(&self, grad: &Tensor, delta: &Tensor, dqkv: &Tensor) -> Result<()> {
        grad.expect_shape(self.op, "grad", self.attention.out.shape())?;
        delta.expect_shape(self.op, "delta", self.attention.lse.shape())?;
        dqkv.expect_shape(self.op, "dqkv", self.attention.qkv.shape())
    }

    /// Sequences have nothing to do with each other, so windows are of whole ones.
    fn record(&self, rec: &mut Recorder<'_>, tensors: &[(&'static str, &Tensor)]) -> Result<()> {
        let windows = Windows::new(rec.gpu(), self.sequences);
        for window in tensors.iter().fold(windows, |windows, (_, tensor)| windows.over(tensor)).cut() {
            self.dispatch(rec, tensors, window)?;
        }
        Ok(())
    }

    fn dispatch(
        &self,
        rec: &mut Recorder<'_>,
        tensors: &[(&'static str, &Tensor)],
        window: Window,
    ) -> Result<()> {
        let views = tensors.iter().map(|(_, tensor)| window.of(tensor)).collect::<Result<Vec<_>>>()?;
        let mut args = Args::new()
            .size(self.op, "sequences", window.count)?
            .size(self.op, "context", self.attention.context)?
            .size(self.op, "heads", self.heads)?
            .f32("scale", 1.0 / (self.head as f32).sqrt());
        for ((name, _), view) in tensors.iter().zip(&views) {
            // The shaders index with 32 bits.
            if u32::try_from(view.len()).is_err() {
                return Err(Error::argument(self.op, name, "below 2^32 elements", view.len()));
            }
            args = args.tensor(name, view);
        }
        let rows = rows_owned(rec.gpu(), self.head);
        let tiles = self.attention.context.div_ceil(LANES * rows);
        let workgroups = (window.count * self.heads) as u64 * tiles as u64;
        let key = Key::new("attention", self.name).block(self.head).with("several", rows > 1);
        rec.record(&key, &args, workgroups)
    }
}

/// Rows of one invocation, as `ROWS` in the shader. Results have the same bits whatever they are. As with matmuls, what
/// suits a driver that runs on the CPU does not suit GPUs.
fn rows_owned(gpu: &Gpu, head: usize) -> usize {
    let several = match gpu.forced_variant() {
        Some(variant) => variant == Variant::Lane,
        None => gpu.is_software(),
    };
    if several { (64 / head).clamp(1, 4) } else { 1 }
}
