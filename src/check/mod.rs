//! The known-answer check of every kernel: run on the device at hand, held against the CPU twin.
//!
//! `fretwork doctor` runs [`table`] and so do the tests. A result may differ from its twin by what the rounding of either
//! can explain and by no more; see [`reference::bound`](crate::reference::bound). What must be exact is compared exactly.

mod ceiling;
mod crew;
mod dynamic;
mod elementwise;
mod gate;
mod half_precision;
mod language;
mod matmul;
mod pairs;
mod quick;
mod route;

use std::fmt;

use half::f16;

pub use crew::{by_kernel, share_out};
pub use quick::{compile_time, quick};

use crate::Result;
use crate::gpu::{Class, DType, Element, Gpu, Plan, Recorder, Tensor, Variant};
use crate::ops;
use crate::random::{Key, Stream, Walk};
use crate::reference::bound::{self, Mismatch};

/// One row of the table: a permutation of a kernel with the shape it is checked at.
pub struct Check {
    /// What is checked, in the words of the kernel's label.
    pub name: String,
    /// The variant it is about, where the kernel has several.
    variant: Option<Variant>,
    /// Whether it is about half precision.
    half: bool,
    run: Box<Run>,
}

type Run = dyn Fn(&Gpu) -> Result<Verdict> + Send + Sync;

/// How a check ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Right; the largest error as a share of what rounding may cause, 0 where bits must be equal.
    Right(f64),
    /// Wrong: what, and where it shows.
    Wrong(String),
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Check {
    fn new(name: impl Into<String>, run: impl Fn(&Gpu) -> Result<Verdict> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), variant: None, half: false, run: Box::new(run) }
    }

    fn of(self, variant: Variant) -> Self {
        Self { variant: Some(variant), ..self }
    }

    fn of_half(self, half: bool) -> Self {
        Self { half, ..self }
    }

    /// Whether the device can run what is checked. Where it cannot, nothing else uses it either.
    pub fn applies_to(&self, gpu: &Gpu) -> bool {
        self.variant.is_none_or(|variant| gpu.runs(variant)) && (!self.half || gpu.has_f16())
    }

    /// Whether the device takes the kernel by itself, or because it was told to, where operands are f32.
    pub(crate) fn is_usual(&self, gpu: &Gpu) -> bool {
        // Of a product too small for a GPU, and of one that is not.
        let by_size = [1, 4096].map(|side| ops::heuristic(gpu, [side; 3]).variant);
        let usual = |variant| match gpu.forced_variant() {
            Some(forced) => variant == ops::fallback_variant(gpu, forced),
            None => by_size.contains(&variant),
        };
        !self.half && self.variant.is_none_or(usual)
    }

    /// Whether operands are f16.
    pub(crate) fn is_half(&self) -> bool {
        self.half
    }

    /// Runs the kernel three times and holds the result against the twin.
    ///
    /// # Errors
    /// Whatever keeps the kernel from running at all.
    pub fn run(&self, gpu: &Gpu) -> Result<Verdict> {
        (self.run)(gpu)
    }
}

/// Every check there is.
pub fn table() -> Vec<Check> {
    let mut table = matmul::table();
    table.extend(ceiling::table());
    table.extend(elementwise::table());
    table.extend(half_precision::table());
    table.extend(language::table());
    table.extend(dynamic::table());
    table.extend(route::table());
    table.extend(gate::table());
    table.extend(pairs::table());
    table
}

/// What a case draws its operands from: the same on every machine.
fn operands(case: u32) -> Walk {
    Key::new(0x0F8E, Stream::Check(case)).walk()
}

/// Numbers in `[-magnitude, magnitude)`.
fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

/// Runs a plan that is made afresh three times and returns what `read` gives, or where the runs differ.
fn thrice<T: Element + PartialEq>(
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

/// A verdict on floats.
fn judge(found: &[f32], wanted: &[f32], bound: impl Fn(usize) -> f64) -> Verdict {
    let wanted: Vec<f64> = wanted.iter().map(|&x| f64::from(x)).collect();
    match bound::compare(found, &wanted, bound) {
        Ok(share) => Verdict::Right(share),
        Err(Mismatch { index, found, wanted, bound }) => {
            Verdict::Wrong(format!("element {index} is {found:e}, should be {wanted:e} within {bound:.1e}"))
        }
    }
}

/// A verdict on what must be exact.
fn judge_exact<T: PartialEq + fmt::Debug>(found: &[T], wanted: &[T]) -> Verdict {
    match found.iter().zip(wanted).position(|(found, wanted)| found != wanted) {
        None if found.len() == wanted.len() => Verdict::Right(0.0),
        None => Verdict::Wrong(format!("{} elements, should be {}", found.len(), wanted.len())),
        Some(at) => Verdict::Wrong(format!("element {at} is {:?}, should be {:?}", found[at], wanted[at])),
    }
}

/// Floats on the device.
fn place(gpu: &Gpu, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    gpu.upload(Class::Scratch, "check", shape, values)
}

/// An output that holds a poison, so that an element that is never written shows.
fn poisoned(gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
    place(gpu, shape, &vec![f32::NAN; shape.iter().product()])
}

/// What a tensor of the type holds when these are put there. What f16 has no normal number for becomes 0: a driver may flush
/// it, and whether this one does is not what is checked.
fn storable(dtype: DType, values: Vec<f32>) -> Vec<f32> {
    if dtype != DType::F16 {
        return values;
    }
    let normal = |x: f16| if x.is_normal() { x.to_f32() } else { 0.0 };
    values.into_iter().map(|x| normal(f16::from_f32(x))).collect()
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().copied().map(f16::from_f32).collect()
}

/// Numbers on the device, as the type.
fn place_as(gpu: &Gpu, dtype: DType, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    if dtype != DType::F16 {
        return place(gpu, shape, values);
    }
    gpu.upload(Class::Scratch, "check", shape, &halves(values))
}

/// An output of the type that holds a poison.
fn poisoned_as(gpu: &Gpu, dtype: DType, shape: &[usize]) -> Result<Tensor> {
    place_as(gpu, dtype, shape, &vec![f32::NAN; shape.iter().product()])
}

/// [`thrice`], of an output of the type.
fn thrice_as(
    gpu: &Gpu,
    dtype: DType,
    record: impl FnMut(&mut Recorder<'_>) -> Result<Tensor>,
) -> Result<Result<Vec<f32>, Verdict>> {
    if dtype != DType::F16 {
        return thrice(gpu, record);
    }
    Ok(thrice::<f16>(gpu, record)?.map(|found| found.iter().map(|x| x.to_f32()).collect()))
}

fn read_as(gpu: &Gpu, dtype: DType, tensor: &Tensor) -> Result<Vec<f32>> {
    if dtype != DType::F16 {
        return gpu.read(tensor)?.wait();
    }
    Ok(gpu.read::<f16>(tensor)?.wait()?.iter().map(|x| x.to_f32()).collect())
}

/// How far what is stored as the type may be from `wanted`, where what it was rounded from is within `bound` of it: half a
/// unit in the last place more, or, where f16 has no normal number, anything between it and 0, which it may be flushed to.
fn stored_bound(dtype: DType, wanted: f32, bound: f64) -> f64 {
    if dtype != DType::F16 {
        return bound;
    }
    let size = f64::from(wanted).abs() + bound;
    if size < 2f64.powi(-14) { size + 2f64.powi(-25) } else { bound + size * 2f64.powi(-11) }
}
