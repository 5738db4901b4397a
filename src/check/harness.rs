//! A check, its verdict, and helpers to run kernels and to judge their results.

use std::fmt;

use half::f16;

use crate::Result;
use crate::gpu::{Class, DType, Element, Gpu, Plan, Recorder, Tensor, Variant};
use crate::ops;
use crate::random::{Key, Stream, Walk};
use crate::reference::bound::{self, Mismatch};

/// One row of the table: a permutation of a kernel with the shape it is checked at.
pub struct Check {
    /// The kernel's label, and the shape of the case.
    pub name: String,
    /// The variant under check, if the kernel has several.
    pub(super) variant: Option<Variant>,
    /// Whether the check is of half precision.
    half: bool,
    run: Box<Run>,
}

type Run = dyn Fn(&Gpu) -> Result<Verdict> + Send + Sync;

/// Result of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Right; the largest error as a share of what rounding may cause, 0 where bits must be equal.
    Right(f64),
    /// Wrong: the first difference.
    Wrong(String),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Check {
    /// A check of a kernel that every device can run; `run` returns its verdict.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&Gpu) -> Result<Verdict> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), variant: None, half: false, run: Box::new(run) }
    }

    pub(super) fn of(self, variant: Variant) -> Self {
        Self { variant: Some(variant), ..self }
    }

    pub(super) fn of_half(self, half: bool) -> Self {
        Self { half, ..self }
    }

    /// Whether the device can run the kernel. Nothing uses the kernel on a device that cannot.
    pub fn applies_to(&self, gpu: &Gpu) -> bool {
        self.variant.is_none_or(|variant| gpu.runs(variant)) && (!self.half || gpu.has_f16())
    }

    /// Whether the device uses the kernel for f32 operands, by default or because its variant is forced.
    pub(crate) fn is_default(&self, gpu: &Gpu) -> bool {
        // The defaults of a product too small for a GPU, and of a large one.
        let by_size = [1, 4096].map(|side| ops::heuristic(gpu, [side; 3]).variant);
        let default = |variant| match gpu.forced_variant() {
            Some(forced) => variant == ops::fallback_variant(gpu, forced),
            None => by_size.contains(&variant),
        };
        !self.half && self.variant.is_none_or(default)
    }

    /// Whether operands are f16.
    pub(crate) fn is_half(&self) -> bool {
        self.half
    }

    /// Runs the kernel three times and compares the result with the twin.
    ///
    /// # Errors
    /// Any error that keeps the kernel from running.
    pub fn run(&self, gpu: &Gpu) -> Result<Verdict> {
        (self.run)(gpu)
    }
}

/// Random numbers of a case, the same on every machine.
pub(super) fn operands(case: u32) -> Walk {
    Key::new(0x0F8E, Stream::Check(case)).walk()
}

/// Numbers in `[-magnitude, magnitude)`.
pub(super) fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

/// Records and runs a plan three times, and returns the elements of the tensor that `record` returns; [`Verdict::Wrong`] if the
/// bits of two runs differ.
///
/// # Errors
/// Those of `record`, and as [`Recorder::finish`], [`Gpu::run`] and [`Gpu::read`].
pub fn thrice<T: Element + PartialEq>(
    gpu: &Gpu,
    mut record: impl FnMut(&mut Recorder<'_>) -> Result<Tensor>,
) -> Result<Result<Vec<T>, Verdict>> {
    let mut run = || -> Result<Vec<T>> {
        let mut rec = Recorder::new(gpu);
        let out = record(&mut rec)?;
        let plan: Plan = rec.finish()?;
        gpu.run(&plan)?;
        gpu.read(&out)?.wait()
    };
    let first = run()?;
    for _ in 0..2 {
        let again = run()?;
        let same = bytemuck::cast_slice::<T, u8>(&first) == bytemuck::cast_slice::<T, u8>(&again);
        if !same {
            return Ok(Err(Verdict::Wrong("two runs gave different bits".to_owned())));
        }
    }
    Ok(Ok(first))
}

/// The verdict on floats, each of which may be off by `bound` of its index.
pub fn judge(found: &[f32], wanted: &[f32], bound: impl Fn(usize) -> f64) -> Verdict {
    let wanted: Vec<f64> = wanted.iter().map(|&x| f64::from(x)).collect();
    match bound::compare(found, &wanted, bound) {
        Ok(share) => Verdict::Right(share),
        Err(Mismatch { index, found, wanted, bound }) => {
            Verdict::Wrong(format!("element {index} is {found:e}, should be {wanted:e} within {bound:.1e}"))
        }
    }
}

/// The verdict on elements that must be equal.
pub fn judge_exact<T: PartialEq + fmt::Debug>(found: &[T], wanted: &[T]) -> Verdict {
    match found.iter().zip(wanted).position(|(found, wanted)| found != wanted) {
        None if found.len() == wanted.len() => Verdict::Right(0.0),
        None => Verdict::Wrong(format!("{} elements, should be {}", found.len(), wanted.len())),
        Some(at) => Verdict::Wrong(format!("element {at} is {:?}, should be {:?}", found[at], wanted[at])),
    }
}

/// Floats on the device.
pub(super) fn place(gpu: &Gpu, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", shape, values)
}

/// An output that holds a poison, so that an element that is never written shows.
pub(super) fn poisoned(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
    place(gpu, shape, &vec![f32::NAN; shape.iter().product()])
}

/// The values as a tensor of the type holds them. Subnormal numbers of f16 become 0, since drivers may flush them.
pub(super) fn storable(dtype: DType, values: Vec<f32>) -> Vec<f32> {
    if dtype != DType::F16 {
        return values;
    }
    let normal = |x: f16| if x.is_normal() { x.to_f32() } else { 0.0 };
    values.into_iter().map(|x| normal(f16::from_f32(x))).collect()
}

pub(super) fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().copied().map(f16::from_f32).collect()
}

/// Numbers on the device, as the type.
pub(super) fn place_as(gpu: &Gpu, dtype: DType, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    if dtype != DType::F16 {
        return place(gpu, shape, values);
    }
    gpu.upload(Class::Scratch, "check", shape, &halves(values))
}

/// An output of the type that holds a poison.
pub(super) fn poisoned_as(gpu: &Gpu, dtype: DType, shape: &[usize]) -> Result<Tensor> {
    place_as(gpu, dtype, shape, &vec![f32::NAN; shape.iter().product()])
}

/// [`thrice`], of an output of the type.
pub(super) fn thrice_as(
    gpu: &Gpu,
    dtype: DType,
    record: impl FnMut(&mut Recorder<'_>) -> Result<Tensor>,
) -> Result<Result<Vec<f32>, Verdict>> {
    if dtype != DType::F16 {
        return thrice(gpu, record);
    }
    Ok(thrice::<f16>(gpu, record)?.map(|found| found.iter().map(|x| x.to_f32()).collect()))
}

pub(super) fn read_as(gpu: &Gpu, dtype: DType, tensor: &Tensor) -> Result<Vec<f32>> {
    if dtype != DType::F16 {
        return gpu.read(tensor)?.wait();
    }
    Ok(gpu.read::<f16>(tensor)?.wait()?.iter().map(|x| x.to_f32()).collect())
}

/// Error bound of a value stored as the type, where the value before rounding is within `bound` of `wanted`: half a unit in the
/// last place more, or the distance to 0 for subnormal numbers of f16, which may be flushed.
pub(super) fn stored_bound(dtype: DType, wanted: f32, bound: f64) -> f64 {
    if dtype != DType::F16 {
        return bound;
    }
    let size = f64::from(wanted).abs() + bound;
    if size < 2f64.powi(-14) { size + 2f64.powi(-25) } else { bound + size * 2f64.powi(-11) }
}

/// Output of a kernel, its expected values, and their error bounds.
pub(super) struct Output<'a> {
    pub(super) name: &'static str,
    pub(super) shape: &'a [usize],
    pub(super) wanted: &'a [f32],
    pub(super) bound: Box<dyn Fn(usize) -> f64 + 'a>,
}

/// Runs the kernel three times for each of its outputs and judges all of them.
pub(super) fn judge_all(
    gpu: &Gpu,
    outputs: &[Output<'_>],
    record: impl Fn(&mut Recorder<'_>, &[Tensor]) -> Result<()>,
) -> Result<Verdict> {
    let mut largest: f64 = 0.0;
    for (index, output) in outputs.iter().enumerate() {
        let found = thrice::<f32>(gpu, |rec| {
            let tensors =
                outputs.iter().map(|output| poisoned(gpu, output.shape)).collect::<Result<Vec<_>>>()?;
            record(rec, &tensors)?;
            Ok(tensors[index].clone())
        })?;
        match found.map_or_else(|verdict| verdict, |found| judge(&found, output.wanted, &output.bound)) {
            Verdict::Right(share) => largest = largest.max(share),
            Verdict::Wrong(why) => return Ok(Verdict::Wrong(format!("{}: {why}", output.name))),
        }
    }
    Ok(Verdict::Right(largest))
}
