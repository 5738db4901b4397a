//! Causal self-attention: `shaders/attention/`, twins in
//! [`reference::attention_forward`](crate::reference::attention_forward) and its neighbours.
//!
//! Online softmax: probabilities are never stored (Milakov and Gimelshein, "Online normalizer calculation for
//! softmax", 2018; Dao et al., "FlashAttention", NeurIPS 2022). The backward pass recomputes them from the
//! log-sum-exp of each query. Memory grows linearly with the context, and time with its square.
//!
//! GPUs stage tiles of rows through workgroup memory (`attention/tiles.wgsl`), CPU drivers keep rows in registers
//! (`attention/rows.wgsl`). Gradients sum in the same order in both; the forward pass rescales its running sums at every
//! key on CPU drivers, and once per tile of 32 keys on GPUs, whatever the shape.

use super::embed::whole_sequences;
use super::matmul::fallback_variant;
use super::windows::{Window, Windows};
use crate::gpu::{Args, Gpu, Key, Recorder, Tensor, Variant};
use crate::{Error, Result};

/// Supported head widths. Each is a kernel of its own that holds whole head rows in registers.
pub const HEADS: [usize; 4] = [8, 16, 32, 64];

/// Rows of one head that a workgroup owns in workgroup memory: `OWNED` in `attention/tiles.wgsl`.
const TILE_ROWS: usize = 64;

/// Invocations per workgroup of the kernels without workgroup memory.
const LANES: usize = 32;

/// Tensors of the forward pass, which the backward pass reads again.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Queries, keys and values, `[tokens, 3 * width]`: per token all queries, then all keys, then all values, each
    /// with the columns of a head contiguous. Sequences are contiguous.
    pub qkv: &'a Tensor,
    /// Attention output, `[tokens, width]`: the softmax-weighted mean of the values.
    pub out: &'a Tensor,
    /// Log-sum-exp of each query's scores, `[tokens, heads]`.
    pub lse: &'a Tensor,
    /// Tokens per sequence.
    pub context: usize,
}

/// Records the forward pass: `out = softmax(q * k / sqrt(width / heads)) * v`, each query over the keys up to its own
/// position. A sequence's results have the same bits at any position of a batch.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit, the last sequence is incomplete, or the head width is not one of
/// [`HEADS`].
pub fn attention_forward(rec: &mut Recorder<'_>, attention: Attention<'_>) -> Result<()> {
    let call = Call::new("attention.forward", ["forward", "forward_tile"], attention)?;
    let tensors = [("qkv", attention.qkv), ("out", attention.out), ("lse", attention.lse)];
    call.record(rec, &tensors)
}

/// Records the gradient of the queries into the first third of `dqkv[tokens, 3 * width]`, from the output's gradient
/// `grad[tokens, width]`. Also writes `delta[tokens, heads]`, the dot product of each head's output and gradient.
///
/// # Errors
/// Like [`attention_forward`].
pub fn attention_queries(
    rec: &mut Recorder<'_>,
    attention: Attention<'_>,
    grad: &Tensor,
    delta: &Tensor,
    dqkv: &Tensor,
) -> Result<()> {
    let call = Call::new("attention.queries", ["queries", "queries_tile"], attention)?;
    call.expect_gradients(grad, delta, dqkv)?;
    let Attention { qkv, out, lse, .. } = attention;
    let others = [("grad", grad), ("delta", delta), ("dqkv", dqkv)];
    call.record(rec, &[&[("qkv", qkv), ("out", out), ("lse", lse)], &others[..]].concat())
}

/// Records the gradients of keys and values into the second and last third of `dqkv[tokens, 3 * width]`. Reads the
/// `delta` that [`attention_queries`] writes.
///
/// # Errors
/// Like [`attention_forward`].
pub fn attention_keys(
    rec: &mut Recorder<'_>,
    attention: Attention<'_>,
    grad: &Tensor,
    delta: &Tensor,
    dqkv: &Tensor,
) -> Result<()> {
    let call = Call::new("attention.keys", ["keys", "keys_tile"], attention)?;
    call.expect_gradients(grad, delta, dqkv)?;
    let Attention { qkv, lse, .. } = attention;
    call.record(rec, &[("qkv", qkv), ("lse", lse), ("grad", grad), ("delta", delta), ("dqkv", dqkv)])
}

/// One attention kernel with validated shapes.
struct Call<'a> {
    op: &'static str,
    /// Kernels without workgroup memory, and with it.
    name: &'static str,
    tile: &'static str,
    attention: Attention<'a>,
    sequences: usize,
    heads: usize,
    /// Columns per head.
    head: usize,
}

impl<'a> Call<'a> {
    fn new(op: &'static str, [name, tile]: [&'static str; 2], attention: Attention<'a>) -> Result<Self> {
        let Attention { qkv, out, lse, context } = attention;
        let [tokens, width] = out.matrix(op, "out")?;
        let [_, heads] = lse.matrix(op, "lse")?;
        lse.expect_shape(op, "lse", &[tokens, heads])?;
        let packed = width.saturating_mul(3);
        qkv.expect_shape(op, "qkv", &[tokens, packed])?;
        // The key gradients do not read the output, but it must be on the same device as their operands.
        out.expect_beside(op, "out", qkv)?;
        whole_sequences(op, tokens, context)?;
        if heads == 0 || !HEADS.iter().any(|head| heads.checked_mul(*head) == Some(width)) {
            let wanted = format!("{heads} heads of one of {HEADS:?} columns");
            return Err(Error::argument(op, "width", wanted, format!("{width} columns")));
        }
        Ok(Self { op, name, tile, attention, sequences: tokens / context, heads, head: width / heads })
    }

    fn expect_gradients(&self, grad: &Tensor, delta: &Tensor, dqkv: &Tensor) -> Result<()> {
        grad.expect_shape(self.op, "grad", self.attention.out.shape())?;
        delta.expect_shape(self.op, "delta", self.attention.lse.shape())?;
        dqkv.expect_shape(self.op, "dqkv", self.attention.qkv.shape())
    }

    /// Records one dispatch per window. Windows hold whole sequences, which are independent.
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
            // Shaders index with 32 bits.
            if u32::try_from(view.len()).is_err() {
                return Err(Error::argument(self.op, name, "below 2^32 elements", view.len()));
            }
            args = args.tensor(name, view);
        }
        // Rows per workgroup, and the kernel.
        let (rows, key) = if runs_tile(rec.gpu()) {
            let key = Key::new("attention", self.tile).with("backward", self.name != "forward");
            (TILE_ROWS, key)
        } else {
            // `ROWS` in the shader.
            (LANES * (64 / self.head).clamp(1, 4), Key::new("attention", self.name))
        };
        let tiles = self.attention.context.div_ceil(rows);
        let workgroups = (window.count * self.heads) as u64 * tiles as u64;
        rec.record(&key.block(self.head), &args, workgroups)
    }
}

/// Whether rows are staged through workgroup memory: on GPUs. CPU drivers lose at every barrier. One device runs one of
/// both, unless a variant is forced.
fn runs_tile(gpu: &Gpu) -> bool {
    match gpu.forced_variant() {
        Some(variant) => matches!(fallback_variant(gpu, variant), Variant::Tile),
        None => !gpu.is_software(),
    }
}
