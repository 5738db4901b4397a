//! Matmul dispatch for all families: shapes, variant selection, windows and bindings. Kernels:
//! `shaders/common/matmul.wgsl`.

use half::f16;

use super::windows::{Window, Windows};
use super::{Epilogue, Transpose};
use crate::gpu::{Args, Choice, Class, DType, Family, Gpu, Key, Recorder, Tensor, Tiling, Variant, Workload};
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// Problem size of `op(lhs)[m, k] * op(rhs)[k, n]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProblemSize {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl ProblemSize {
    /// Problem size from the stored shapes of the operands.
    pub(super) fn of(op: &str, lhs: [usize; 2], rhs: [usize; 2], transpose: Transpose) -> Result<Self> {
        let [m, k] = if transpose.lhs { [lhs[1], lhs[0]] } else { lhs };
        let [inner, n] = if transpose.rhs { [rhs[1], rhs[0]] } else { rhs };
        if inner != k {
            let wanted = format!("of {k} along the contraction, like lhs {lhs:?}");
            return Err(Error::argument(op, "rhs", wanted, format!("of {inner} in {rhs:?}")));
        }
        if [m, n, k].contains(&0) {
            return Err(Error::argument(
                op,
                "lhs",
                "a product with nonzero m, k and n",
                format!("{m} x {k} x {n}"),
            ));
        }
        Ok(Self { m, n, k })
    }

    /// Tuner key of this product. `gathered` is the number of rows that a gathered operand has, `operand` one of the
    /// two operands.
    pub(super) fn workload(
        self,
        family: Family,
        transpose: Transpose,
        sparse: Option<&BlockMatrix>,
        gathered: usize,
        operand: &Tensor,
    ) -> Workload {
        let pattern = sparse.map(BlockMatrix::pattern);
        let dtype = if operand.dtype() == DType::F16 { DType::F16 } else { DType::F32 };
        Workload {
            family,
            dtype,
            transpose: [transpose.lhs, transpose.rhs],
            sizes: [self.m, self.n, self.k],
            block: pattern.map_or(0, Pattern::block),
            nnz: pattern.map_or(0, Pattern::nnz),
            gathered,
        }
    }
}

/// Cut of a contraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Contraction indices of a segment; the last one may have fewer.
    pub(super) span: usize,
    /// Number of segments, at least two.
    pub(super) segments: usize,
}

/// A product, recorded whole or in windows.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) op: &'static str,
    pub(super) sizes: ProblemSize,
    pub(super) transpose: Transpose,
    /// Dense matrix, or the values of the sparse one; likewise `rhs` and `out`.
    pub(super) lhs: &'a Tensor,
    pub(super) rhs: &'a Tensor,
    pub(super) out: &'a Tensor,
    pub(super) sparse: Option<(Place, &'a BlockMatrix)>,
    /// Element mask of a sparse `out`.
    pub(super) mask: Option<&'a Tensor>,
    /// Row indices of a gathered dense operand: row `r` of the product's operand is row `gather[r]` of the bound
    /// tensor.
    pub(super) gather: Option<&'a Tensor>,
    pub(super) epilogue: Epilogue<'a>,
    /// Cut of the contraction, and the workgroups of a segment; `out` then holds the partial sums of all segments.
    pub(super) split: Option<(Split, u64)>,
}

/// Operand position of the sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lhs,
    Rhs,
    Out,
}

/// Window of a product that one dispatch computes: rows, columns, contraction indices and slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubProduct {
    pub(super) m: Window,
    pub(super) n: Window,
    pub(super) k: Window,
    pub(super) slots: Window,
}

impl Product<'_> {
    /// The whole product as one window.
    pub(super) fn whole(&self) -> SubProduct {
        let ProblemSize { m, n, k } = self.sizes;
        let slots = self.sparse.map_or(1, |(_, matrix)| matrix.pattern().nnz());
        let [m, n, k, slots] = [m, n, k, slots].map(Window::whole);
        SubProduct { m, n, k, slots }
    }

    /// Windows small enough for the device's bindings, in accumulation order. An operand beyond one binding is
    /// windowed along its stored rows, or along its slots.
    pub(super) fn sub_products(&self, gpu: &Gpu) -> Vec<SubProduct> {
        let whole = self.whole();
        let place = self.sparse.map(|(place, _)| place);
        // Columns are loaded as vec4.
        let along = |whole: Window| Windows::new(gpu, whole.count).by(4);
        let (mut m, mut n, mut k) = (along(whole.m), along(whole.n), along(whole.k));
        let mut slots = Windows::new(gpu, whole.slots.count);
        // Blocks of a sparse operand spread over all contraction indices, those of a sparse product over all rows and
        // columns, so only some dimensions can be windowed.
        match (place, self.transpose.lhs) {
            (None | Some(Place::Rhs), false) => m = m.over_large(self.lhs),
            (None | Some(Place::Out), true) => k = k.over_large(self.lhs),
            _ => {}
        }
        match (place, self.transpose.rhs) {
            (None, true) => n = n.over_large(self.rhs),
            (None | Some(Place::Out), false) => k = k.over_large(self.rhs),
            (Some(Place::Rhs), _) => slots = slots.over(self.rhs),
            _ => {}
        }
        if place == Some(Place::Out) {
            slots = slots.over(self.out);
            if let Some(mask) = self.mask {
                slots = slots.over_bits(mask, self.block_area());
            }
        } else {
            m = [Some(self.out), self.epilogue.pre()].into_iter().flatten().fold(m, Windows::over_large);
        }
        let mut parts = Vec::new();
        for m in m.cut() {
            for &n in &n.cut() {
                for &slots in &slots.cut() {
                    parts.extend(k.cut().into_iter().map(|k| SubProduct { m, n, k, slots }));
                }
            }
        }
        parts
    }

    /// Records one window; `others` are additional bindings of the kernel.
    pub(super) fn record(
        &self,
        rec: &mut Recorder<'_>,
        key: Key,
        part: SubProduct,
        others: &[(&'static str, &Tensor)],
        workgroups: u64,
    ) -> Result<()> {
        let op = self.op;
        let place = self.sparse.map(|(place, _)| place);
        let SubProduct { m, n, k, slots } = part;
        let dtype = operand_type(op, self.lhs, self.rhs)?;
        let gpu = rec.gpu();
        let rows = |here: Place, dense: Window| if place == Some(here) { slots } else { dense };
        let (lhs, lhs_first) =
            rows(Place::Lhs, if self.transpose.lhs { k } else { m }).within(gpu, self.lhs)?;
        let (rhs, rhs_first) =
            rows(Place::Rhs, if self.transpose.rhs { n } else { k }).within(gpu, self.rhs)?;
        let (out, out_first) = rows(Place::Out, m).within(gpu, self.out)?;
        let mask = self.mask.map(|mask| slots.of_bits(mask, self.block_area())).transpose()?;
        let pre = self.epilogue.pre().map(|pre| m.within(gpu, pre)).transpose()?;
        let (lhs, rhs) = (bindable(gpu, lhs)?, bindable(gpu, rhs)?);
        for (name, tensor) in [("lhs", &lhs), ("rhs", &rhs), ("out", &out)] {
            // Shaders index with 32 bits.
            if u32::try_from(tensor.len()).is_err() {
                return Err(Error::argument(op, name, "below 2^32 elements", tensor.len()));
            }
        }

        let windowed = self.is_windowed(part);
        let over_slots = place == Some(Place::Rhs);
        let continued = k.start > 0 || over_slots && slots.start > 0;
        let last = k.is_last() && (!over_slots || slots.is_last());
        // Partial sums are stored raw; the epilogue applies to the last window.
        let epilogue =
            if last { self.epilogue.with_pre(pre.as_ref().map(|(pre, _)| pre)) } else { Epilogue::None };
        let mut args = Args::new()
            .tensor("lhs", &lhs)
            .tensor("rhs", &rhs)
            .tensor("out", &out)
            .size(op, "m", m.count)?
            .size(op, "n", n.count)?
            .size(op, "k", k.count)?
            .u32("threads", gpu.threads());
        if let Some(mask) = &mask {
            args = args.tensor("mask", mask);
        }
        if let Some((_, matrix)) = self.sparse {
            args = args.tensor("topology", matrix.pattern().packed());
        }
        for (name, tensor) in others {
            args = args.tensor(name, tensor);
        }
        let gathered =
            if place == Some(Place::Out) { ("lhs_gather", self.lhs) } else { ("rhs_gather", self.rhs) };
        if let Some(rows) = self.gather {
            let there = gathered.1.shape().first().copied().unwrap_or(0);
            args = args.tensor("rows", rows).size(op, "gathered", there)?;
        }
        if let Some((split, tiles)) = self.split {
            args = args.size(op, "span", split.span)?.size(op, "workgroups", tiles as usize)?;
            args = args.size(op, "slots", slots.count)?;
        }
        if windowed {
            args = self.bind_window(args, part, [lhs_first, rhs_first, out_first])?;
        }
        let key = epilogue.flags(key).with("window", windowed).with("continued", continued);
        let key = key.with("split", self.split.is_some());
        let key = key.with(gathered.0, self.gather.is_some());
        let key = key.dtype(dtype).with("half_out", self.out.dtype() == DType::F16);
        rec.record(&key, &epilogue.bind(op, args)?, workgroups)
    }

    fn is_windowed(&self, part: SubProduct) -> bool {
        ![part.m, part.n, part.k, part.slots].into_iter().all(Window::is_whole)
    }

    /// Binds the row strides and first offsets of a window; `lhs`, `rhs` and `out` are the offsets of its first rows
    /// in their bindings.
    fn bind_window<'a>(
        &self,
        args: Args<'a>,
        part: SubProduct,
        [lhs, rhs, out]: [usize; 3],
    ) -> Result<Args<'a>> {
        let ProblemSize { m, n, k } = self.sizes;
        let (lhs_stride, lhs_column) = if self.transpose.lhs { (m, part.m.start) } else { (k, part.k.start) };
        let (rhs_stride, rhs_column) = if self.transpose.rhs { (k, part.k.start) } else { (n, part.n.start) };
        args.size(self.op, "lhs_stride", lhs_stride)?
            .size(self.op, "lhs_first", lhs + lhs_column)?
            .size(self.op, "rhs_stride", rhs_stride)?
            .size(self.op, "rhs_first", rhs + rhs_column)?
            .size(self.op, "out_stride", n)?
            .size(self.op, "out_first", out + part.n.start)?
            .size(self.op, "out_column", part.n.start)?
            .size(self.op, "first_slot", part.slots.start)?
            .size(self.op, "slots", part.slots.count)
            // Only dropout draws use it, and they are indexed with 32 bits; elsewhere it may wrap.
            .map(|args| args.u32("out_before", (part.m.start * n - out) as u32))
    }

    fn block_area(&self) -> usize {
        self.sparse.map_or(1, |(_, matrix)| matrix.pattern().block().pow(2))
    }
}

/// The tensor, or a dummy of four elements for a matrix without blocks, because bindings cannot be empty. Kernels
/// iterate over stored blocks and never read it.
fn bindable(gpu: &Gpu, values: Tensor) -> Result<Tensor> {
    match values.dtype() {
        DType::F32 if values.is_empty() => gpu.alloc::<f32>(Class::Scratch, "no blocks", &[4]),
        DType::F16 if values.is_empty() => gpu.alloc::<f16>(Class::Scratch, "no blocks", &[4]),
        _ => Ok(values),
    }
}

/// Common operand type: f16 if both are, else f32. The recorder refuses other types.
fn operand_type(op: &str, lhs: &Tensor, rhs: &Tensor) -> Result<DType> {
    let [left, right] = [lhs, rhs].map(Tensor::dtype);
    match [left, right].map(|dtype| dtype == DType::F16) {
        [true, true] => Ok(DType::F16),
        [false, false] => Ok(DType::F32),
        _ => Err(Error::argument(op, "rhs", format!("of {left:?}, like lhs"), format!("of {right:?}"))),
    }
}

/// Adds the transposes to a kernel key, and scalar loads for operands whose row length is no multiple of four.
pub(super) fn operand_flags(key: Key, transpose: Transpose, scalar: Scalar) -> Key {
    key.with("lhs_t", transpose.lhs)
        .with("rhs_t", transpose.rhs)
        .with("lhs_scalar", scalar.lhs)
        .with("rhs_scalar", scalar.rhs)
        .with("out_scalar", scalar.out)
        .with("k_tail", scalar.k)
}

/// Row lengths that are no multiple of four, and therefore loaded as scalars.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scalar {
    pub(super) lhs: bool,
    pub(super) rhs: bool,
    pub(super) out: bool,
    pub(super) k: bool,
}

impl Scalar {
    /// Scalar loads by the stored row lengths: `lhs` rows are `k` long (`m` if transposed), `rhs` rows `n` (`k`).
    pub(super) fn of(sizes: ProblemSize, transpose: Transpose) -> Self {
        let ragged = |length: usize| !length.is_multiple_of(4);
        Self {
            lhs: ragged(if transpose.lhs { sizes.m } else { sizes.k }),
            rhs: ragged(if transpose.rhs { sizes.k } else { sizes.n }),
            out: ragged(sizes.n),
            k: ragged(sizes.k),
        }
    }
}

/// Selects the variant of a product, by precedence: forced by the caller, measured by the tuner, default. Also
/// returns the tiling if the variant uses cooperative matrices.
pub(super) fn choose(gpu: &Gpu, work: &Workload) -> (Choice, Option<Tiling>) {
    let runs = |choice: &Choice| gpu.runs(choice.variant) && choice.is_for(work.block);
    let choice = match gpu.forced() {
        Some(forced) if forced.variant == Variant::Coop && tiling(gpu, work, forced.small).is_some() => {
            forced
        }
        Some(forced) => match fallback_variant(gpu, forced.variant) {
            variant if variant == forced.variant && forced.is_for(work.block) => forced,
            other => other.into(),
        },
        // A matrix without blocks has nothing to measure.
        None if work.block > 0 && work.nnz == 0 => default_variant(gpu, work),
        None => {
            let default_variant = default_variant(gpu, work);
            // A tuned shape class may span the threshold of cooperative matrices, whose bits differ.
            let measured =
                gpu.chosen_for(work).filter(|choice| runs(choice) && default_variant.is_alike(*choice));
            measured.unwrap_or(default_variant)
        }
    };
    let tiling = match choice.variant {
        Variant::Coop => tiling(gpu, work, choice.small),
        _ => None,
    };
    (choice, tiling)
}

/// Fallback variant of a forced one: the variant itself where the device and f32 support it, else tile or lane.
pub(crate) fn fallback_variant(gpu: &Gpu, forced: Variant) -> Variant {
    match forced {
        Variant::Coop if !gpu.is_software() => Variant::Tile,
        Variant::Coop => Variant::Lane,
        forced if gpu.runs(forced) => forced,
        _ => Variant::Lane,
    }
}

/// Cooperative-matrix tiling of a product, if the device and the operand type support it. On a device without the workgroup memory
/// of the large tiling, both are the small one.
pub(crate) fn tiling(gpu: &Gpu, work: &Workload, small: bool) -> Option<Tiling> {
    let block = (work.block > 0).then_some(work.block as u32);
    let matrices = gpu.matrices().filter(|_| work.dtype == DType::F16)?;
    let limits = gpu.limits();
    let fits = |tiling: &Tiling| {
        tiling.workgroup_memory() <= limits.max_compute_workgroup_storage_size
            && tiling.invocations() <= limits.max_compute_invocations_per_workgroup
    };
    let of = |small| Tiling::new(work.family.name(), matrices, block, small).filter(fits);
    of(small).or_else(|| of(true))
}

/// Elements of a product from which the large tiling has enough workgroups to fill a GPU: 64 tiles of 128 x 128.
const LARGE_PRODUCT: usize = 64 * 128 * 128;

/// Default variant of an untuned product. Tuned variants must reproduce its bits. Cooperative matrices where
/// supported, except on CPU drivers, which have no hardware for them, and for small products.
pub(crate) fn default_variant(gpu: &Gpu, work: &Workload) -> Choice {
    let [m, n, _] = work.sizes;
    if tiling(gpu, work, true).is_some() && !gpu.is_software() && m * n >= 64 * 64 {
        let results = if work.family == Family::Sdd { work.nnz * work.block * work.block } else { m * n };
        return Choice { small: results < LARGE_PRODUCT, ..Variant::Coop.into() };
    }
    heuristic(gpu, work.sizes)
}

/// Default variant in f32. CPU drivers lose at every barrier; GPUs profit from workgroup memory once the product
/// fills a few workgroups.
pub(crate) fn heuristic(gpu: &Gpu, [m, n, _]: [usize; 3]) -> Choice {
    let variant = match gpu.is_software() || m * n < 64 * 64 {
        true if gpu.runs(Variant::Wave) => Variant::Wave,
        true => Variant::Lane,
        false => Variant::Tile,
    };
    variant.into()
}

/// Kernel key of a choice: the variant's file in the family's folder, and its conditionals.
pub(super) fn key_of(op: &'static str, choice: Choice) -> Key {
    Key::new(op, choice.variant.name())
        .with("small", choice.small)
        .with("wide", choice.wide)
        .with("padded", choice.padded)
}

/// Stored shape of a sparse operand.
pub(super) fn sides(matrix: &BlockMatrix) -> [usize; 2] {
    [matrix.pattern().rows(), matrix.pattern().cols()]
}
