//! Token and position embeddings: `shaders/embed/`, twins in
//! [`reference::embed_gather`](crate::reference::embed_gather) and
//! [`reference::embed_scatter`](crate::reference::embed_scatter).

use super::windows::Windows;
use super::{column_sums, elementwise};
use crate::gpu::{Args, Class, DType, Key, Recorder, Tensor};
use crate::terms::SUM_TOKENS;
use crate::{Error, Result};

/// Records `out[t] = table[ids[t]] + positions[t % context]`, for `ids[tokens]`, `table[vocabulary, columns]` and
/// `positions[context, columns]`. Sequences of `context` tokens are contiguous.
///
/// Ids outside the table, such as [`IGNORED`](super::IGNORED), select a row of zeros. The table must fit
/// one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit or the last sequence is incomplete.
pub fn embed_gather(
    rec: &mut Recorder<'_>,
    ids: &Tensor,
    table: &Tensor,
    positions: &Tensor,
    out: &Tensor,
) -> Result<()> {
    let op = "embed.gather";
    let [tokens, columns] = out.matrix(op, "out")?;
    let [vocabulary, context] =
        shapes(op, ids, [tokens, columns], [("table", table), ("positions", positions)])?;
    // Windows start at sequence boundaries.
    for window in Windows::new(rec.gpu(), tokens).by(context).over(ids).over(out).cut() {
        let (ids, out) = (window.of(ids)?, window.of(out)?);
        let args = Args::new()
            .tensor("ids", &ids)
            .tensor("table", table)
            .tensor("positions", positions)
            .tensor("out", &out)
            .size(op, "tokens", window.count)?
            .size(op, "columns", columns)?
            .size(op, "vocabulary", vocabulary)?
            .size(op, "context", context)?;
        // A workgroup covers 64 columns of 16 tokens.
        let workgroups = (window.count as u64).div_ceil(16) * elementwise(columns);
        rec.record(&Key::new("embed", "gather"), &args, workgroups)?;
    }
    Ok(())
}

/// Records the gradients of [`embed_gather`]: `dtable[vocabulary, columns]` and `dpositions[context, columns]`, from
/// `grad[tokens, columns]`.
///
/// Tokens of one id are summed in ascending order within chunks of [`SUM_TOKENS`] tokens; chunks, and positions across
/// sequences, are summed like [`column_sums`]. Scratch: one word per token, one per row and chunk, and the chunk
/// sums, which must fit one binding.
///
/// # Errors
/// [`Error::Argument`] where shapes do not fit or the last sequence is incomplete, [`Error::OutOfMemory`].
pub fn embed_scatter(
    rec: &mut Recorder<'_>,
    ids: &Tensor,
    grad: &Tensor,
    dtable: &Tensor,
    dpositions: &Tensor,
) -> Result<()> {
    let op = "embed.scatter";
    let [tokens, columns] = grad.matrix(op, "grad")?;
    let outputs = [("dtable", dtable), ("dpositions", dpositions)];
    let [vocabulary, context] = shapes(op, ids, [tokens, columns], outputs)?;
    let sequences = grad.reshape(&[tokens / context, context * columns])?;
    column_sums(rec, &sequences, &dpositions.reshape(&[context * columns])?, false)?;

    let chunks = tokens.div_ceil(SUM_TOKENS);
    if chunks == 1 {
        return scatter(rec, ids, grad, dtable, vocabulary);
    }
    let lines = vocabulary * columns;
    let partial = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &[chunks, lines])?;
    scatter(rec, ids, grad, &partial, vocabulary)?;
    column_sums(rec, &partial, &dtable.reshape(&[lines])?, false)
}

/// Records the partial sums of every chunk into consecutive slices of `out`.
fn scatter(
    rec: &mut Recorder<'_>,
    ids: &Tensor,
    grad: &Tensor,
    out: &Tensor,
    vocabulary: usize,
) -> Result<()> {
    let op = "embed.scatter";
    let [tokens, columns] = grad.matrix(op, "grad")?;
    for window in Windows::new(rec.gpu(), tokens).by(SUM_TOKENS).over(ids).over(grad).cut() {
        let (ids, grad) = (window.of(ids)?, window.of(grad)?);
        let chunks = window.count.div_ceil(SUM_TOKENS);
        let heads = rec.gpu().alloc::<u32>(Class::Scratch, "first tokens", &[chunks, vocabulary])?;
        let next = rec.gpu().alloc::<u32>(Class::Scratch, "next tokens", &[window.count])?;
        let args = Args::new()
            .tensor("ids", &ids)
            .tensor("heads", &heads)
            .tensor("next", &next)
            .size(op, "tokens", window.count)?
            .size(op, "vocabulary", vocabulary)?;
        rec.record(&Key::new("embed", "link"), &args, chunks as u64 * elementwise(vocabulary))?;

        let mut args = Args::new()
            .tensor("heads", &heads)
            .tensor("next", &next)
            .tensor("grad", &grad)
            .tensor("out", out)
            .size(op, "columns", columns)?
            .size(op, "vocabulary", vocabulary)?
            .size(op, "chunks", chunks)?;
        if !window.is_whole() {
            args = args.size(op, "first", window.start / SUM_TOKENS * vocabulary * columns)?;
        }
        let key = Key::new("embed", "scatter").with("window", !window.is_whole());
        // A workgroup covers 64 columns of one row.
        rec.record(&key, &args, (chunks * vocabulary) as u64 * elementwise(columns))?;
    }
    Ok(())
}

/// Validates shapes; returns the number of rows of both tables.
fn shapes(
    op: &str,
    ids: &Tensor,
    [tokens, columns]: [usize; 2],
    tables: [(&'static str, &Tensor); 2],
) -> Result<[usize; 2]> {
    ids.expect_dtype(op, "ids", DType::U32)?;
    ids.expect_shape(op, "ids", &[tokens])?;
    let mut rows = [0; 2];
    for (rows, (name, table)) in rows.iter_mut().zip(tables) {
        let [there, width] = table.matrix(op, name)?;
        if width != columns || table.is_empty() {
            let wanted = format!("of at least one row of {columns} columns");
            return Err(Error::argument(op, name, wanted, format!("of shape {:?}", table.shape())));
        }
        *rows = there;
    }
    whole_sequences(op, tokens, rows[1])?;
    Ok(rows)
}

/// Refuses a token count that is not a positive multiple of `context`.
pub(super) fn whole_sequences(op: &str, tokens: usize, context: usize) -> Result<()> {
    if tokens > 0 && context > 0 && tokens.is_multiple_of(context) {
        return Ok(());
    }
    let wanted = format!("a positive multiple of the context, {context}");
    Err(Error::argument(op, "tokens", wanted, tokens))
}
