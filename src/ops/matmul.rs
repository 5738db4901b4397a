//! What the four matmul families share: `shaders/common/matmul.wgsl`.

use half::f16;

use super::windows::{Window, Windows};
use super::{Epilogue, Transpose};
use crate::gpu::{Args, Choice, Class, DType, Family, Gpu, Key, Recorder, Tensor, Tiling, Variant, Workload};
use crate::sparse::{BlockMatrix, Pattern};
use crate::{Error, Result};

/// The sizes of `op(lhs)[m, k] * op(rhs)[k, n]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Sizes {
    /// Sizes from the stored shapes of the operands.
    pub(super) fn of(op: &str, lhs: [usize; 2], rhs: [usize; 2], transpose: Transpose) -> Result<Self> {
        let [m, k] = if transpose.lhs { [lhs[1], lhs[0]] } else { lhs };
        let [inner, n] = if transpose.rhs { [rhs[1], rhs[0]] } else { rhs };
        if inner != k {
            let wanted = format!("of {k} along the contraction, like lhs {lhs:?}");
            return Err(Error::argument(op, "rhs", wanted, format!("{rhs:?}, so {inner}")));
        }
        if [m, n, k].contains(&0) {
            return Err(Error::argument(op, "lhs", "a product with no side 0", format!("{m} x {k} x {n}")));
        }
        Ok(Self { m, n, k })
    }

    /// What the speed of a product of these sizes depends on. Where rows are gathered, there are `gathered` of them to choose
    /// from. `operand` is of the type that both operands have.
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

/// A product, to be recorded whole or in parts.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) op: &'static str,
    pub(super) sizes: Sizes,
    pub(super) transpose: Transpose,
    /// Dense, or the values of a sparse matrix; so are the other two.
    pub(super) lhs: &'a Tensor,
    pub(super) rhs: &'a Tensor,
    pub(super) out: &'a Tensor,
    pub(super) sparse: Option<(Place, &'a BlockMatrix)>,
    /// Of a sparse `out`.
    pub(super) mask: Option<&'a Tensor>,
    /// For each row of the dense operand that is contracted with a sparse one, or makes rows of a sparse product, which row
    /// of what is bound it is.
    pub(super) gather: Option<&'a Tensor>,
    pub(super) epilogue: Epilogue<'a>,
}

/// Which of the three matrices is sparse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lhs,
    Rhs,
    Out,
}

/// What one dispatch computes of a product: some rows, columns, contraction indices and slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) m: Window,
    pub(super) n: Window,
    pub(super) k: Window,
    pub(super) slots: Window,
}

impl Product<'_> {
    /// All of it.
    pub(super) fn whole(&self) -> Part {
        let Sizes { m, n, k } = self.sizes;
        let slots = self.sparse.map_or(1, |(_, matrix)| matrix.pattern().nnz());
        let [m, n, k, slots] = [m, n, k, slots].map(Window::whole);
        Part { m, n, k, slots }
    }

    /// It in parts small enough for the device, in the order in which they go on from each other's sums. A matrix that is
    /// too large has windows of its rows as they are stored, or of its slots.
    pub(super) fn parts(&self, gpu: &Gpu) -> Vec<Part> {
        let whole = self.whole();
        let place = self.sparse.map(|(place, _)| place);
        // Columns are read in vectors of four.
        let along = |whole: Window| Windows::new(gpu, whole.count).by(4);
        let (mut m, mut n, mut k) = (along(whole.m), along(whole.n), along(whole.k));
        let mut slots = Windows::new(gpu, whole.slots.count);
        // The blocks of a sparse operand stand at all contraction indices, those of a sparse product in all rows and columns.
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
                    parts.extend(k.cut().into_iter().map(|k| Part { m, n, k, slots }));
                }
            }
        }
        parts
    }

    /// Records one part; `others` is what else the kernel binds.
    pub(super) fn record(
        &self,
        rec: &mut Recorder<'_>,
        key: Key,
        part: Part,
        others: &[(&'static str, &Tensor)],
        workgroups: u64,
    ) -> Result<()> {
        let op = self.op;
        let place = self.sparse.map(|(place, _)| place);
        let Part { m, n, k, slots } = part;
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
            // The shaders index with 32 bits.
            if u32::try_from(tensor.len()).is_err() {
                return Err(Error::argument(op, name, "below 2^32 elements", tensor.len()));
            }
        }

        let split = self.is_split(part);
        let over_slots = place == Some(Place::Rhs);
        let continued = k.start > 0 || over_slots && slots.start > 0;
        let last = k.is_last() && (!over_slots || slots.is_last());
        // Until the sums are whole they are stored as they are.
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
        if split {
            args = self.bind_window(args, part, [lhs_first, rhs_first, out_first])?;
        }
        let key = epilogue.flags(key).with("window", split).with("continued", continued);
        let key = key.with(gathered.0, self.gather.is_some());
        let key = key.dtype(dtype).with("half_out", self.out.dtype() == DType::F16);
        rec.record(&key, &epilogue.bind(op, args)?, workgroups)
    }

    fn is_split(&self, part: Part) -> bool {
        ![part.m, part.n, part.k, part.slots].into_iter().all(Window::is_whole)
    }

    /// How long the rows are, and where in what is bound the part begins: `lhs`, `rhs` and `out` are where its rows do.
    fn bind_window<'a>(&self, args: Args<'a>, part: Part, [lhs, rhs, out]: [usize; 3]) -> Result<Args<'a>> {
        let Sizes { m, n, k } = self.sizes;
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
            // It matters to draws, which are numbered with 32 bits; others may count past them.
            .map(|args| args.u32("out_before", (part.m.start * n - out) as u32))
    }

    fn block_area(&self) -> usize {
        self.sparse.map_or(1, |(_, matrix)| matrix.pattern().block().pow(2))
    }
}

/// The tensor, or one vector in the place of the values of a matrix without blocks: no binding is empty. Kernels walk along the
/// blocks of the topology, so none reads it.
fn bindable(gpu: &Gpu, values: Tensor) -> Result<Tensor> {
    match values.dtype() {
        DType::F32 if values.is_empty() => gpu.alloc::<f32>(Class::Scratch, "no blocks", &[4]),
        DType::F16 if values.is_empty() => gpu.alloc::<f16>(Class::Scratch, "no blocks", &[4]),
        _ => Ok(values),
    }
}

/// What both operands are stored as: f16 if both are, else f32, and the recorder refuses what is neither.
fn operand_type(op: &str, lhs: &Tensor, rhs: &Tensor) -> Result<DType> {
    let [left, right] = [lhs, rhs].map(Tensor::dtype);
    match [left, right].map(|dtype| dtype == DType::F16) {
        [true, true] => Ok(DType::F16),
        [false, false] => Ok(DType::F32),
        _ => Err(Error::argument(op, "rhs", format!("of {left:?}, like lhs"), format!("of {right:?}"))),
    }
}

/// The key with the transposes, and with scalar loads for operands whose rows four does not divide.
pub(super) fn operand_flags(key: Key, transpose: Transpose, scalar: Scalar) -> Key {
    key.with("lhs_t", transpose.lhs)
        .with("rhs_t", transpose.rhs)
        .with("lhs_scalar", scalar.lhs)
        .with("rhs_scalar", scalar.rhs)
        .with("out_scalar", scalar.out)
        .with("k_tail", scalar.k)
}

/// Which rows four does not divide.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scalar {
    pub(super) lhs: bool,
    pub(super) rhs: bool,
    pub(super) out: bool,
    pub(super) k: bool,
}

impl Scalar {
    /// The rows of a stored operand are `k` long, or `m` (or `n`) where it is transposed (or not).
    pub(super) fn of(sizes: Sizes, transpose: Transpose) -> Self {
        let ragged = |length: usize| !length.is_multiple_of(4);
        Self {
            lhs: ragged(if transpose.lhs { sizes.m } else { sizes.k }),
            rhs: ragged(if transpose.rhs { sizes.k } else { sizes.n }),
            out: ragged(sizes.n),
            k: ragged(sizes.k),
        }
    }
}

/// What runs: what the device was told to use, or else what was measured to be fastest for such a shape, or else what usually
/// does. With it, how the product is cut for cooperative matrices, if they are what runs.
pub(super) fn choose(gpu: &Gpu, work: &Workload) -> (Choice, Option<Tiling>) {
    let tiling = tiling(gpu, work);
    let runs = |choice: &Choice| gpu.runs(choice.variant);
    let choice = match (gpu.forced(), tiling) {
        (Some(forced @ Choice { variant: Variant::Coop, .. }), Some(_)) => forced,
        (Some(forced), _) => match stand_in(gpu, forced.variant) {
            variant if variant == forced.variant => forced,
            other => other.into(),
        },
        // Without blocks there is nothing to measure.
        (None, _) if work.block > 0 && work.nnz == 0 => usual(gpu, work),
        (None, _) => {
            let usual = usual(gpu, work);
            // A class of shapes may have some on either side of where cooperative matrices begin.
            let measured = gpu.chosen_for(work).filter(|choice| runs(choice) && usual.is_alike(*choice));
            measured.unwrap_or(usual)
        }
    };
    (choice, tiling.filter(|_| choice.variant == Variant::Coop))
}

/// What runs on f32 where a variant is forced: itself, or what stands in where the device or f32 has no such thing.
pub(crate) fn stand_in(gpu: &Gpu, forced: Variant) -> Variant {
    match forced {
        Variant::Coop if !gpu.is_software() => Variant::Tile,
        Variant::Coop => Variant::Lane,
        forced if gpu.runs(forced) => forced,
        _ => Variant::Lane,
    }
}

/// How a product is cut for cooperative matrices, where the device has them and they can be what multiplies it.
fn tiling(gpu: &Gpu, work: &Workload) -> Option<Tiling> {
    let block = (work.block > 0).then_some(work.block as u32);
    let matrices = gpu.matrices().filter(|_| work.dtype == DType::F16)?;
    Tiling::new(work.family.name(), matrices, block)
}

/// What runs for a product that nobody has measured, and whose bits whatever is measured must have: cooperative matrices, where
/// they can be. A driver that runs on the CPU has no hardware for them, and a small product has no use for it.
pub(crate) fn usual(gpu: &Gpu, work: &Workload) -> Choice {
    let [m, n, _] = work.sizes;
    if tiling(gpu, work).is_some() && !gpu.is_software() && m * n >= 64 * 64 {
        return Variant::Coop.into();
    }
    heuristic(gpu, work.sizes)
}

/// The same of f32: drivers that run on the CPU lose at every barrier; GPUs win by
/// workgroup memory once the product fills a few workgroups.
pub(crate) fn heuristic(gpu: &Gpu, [m, n, _]: [usize; 3]) -> Choice {
    let variant = match gpu.is_software() || m * n < 64 * 64 {
        true if gpu.runs(Variant::Wave) => Variant::Wave,
        true => Variant::Lane,
        false => Variant::Tile,
    };
    variant.into()
}

/// The choice's file in the family's folder, and its conditionals.
pub(super) fn key_of(op: &'static str, choice: Choice) -> Key {
    Key::new(op, choice.variant.name()).with("small", choice.small).with("padded", choice.padded)
}

/// The stored sides of a sparse operand.
pub(super) fn sides(matrix: &BlockMatrix) -> [usize; 2] {
    [matrix.pattern().rows(), matrix.pattern().cols()]
}
