//! How fast things are, as ratios from one run: what `fretwork bench` prints.
//!
//! Things are checked before they are timed. Then they take turns, round after round, so that what slows the machine down
//! for a while slows all of them down; the median of the rounds counts. A control row times the first baseline again and says
//! how far the ratios can be trusted. Products take turns with two kernels that do nothing but compute and nothing but copy:
//! what the device can do at most is measured, too, and in the same run.

mod contest;
mod findings;
mod kernels;
mod matmul;
pub mod moe;
mod page;
mod plot;
mod report;
mod sizes;
mod sparse;
mod step;
mod update;

use std::collections::BTreeSet;
use std::time::Duration;

use half::f16;

pub use contest::{Ceilings, Entry, Part, Row, Table, contest};
pub use findings::{Cell, Crossover, Curve, Findings, Grid};
pub use report::Report;
pub use sizes::Sizes;

use crate::check::{self, Verdict};
use crate::gpu::{Class, Clock, DType, Gpu, Plan, Recorder, Tensor, Timer};
use crate::nn::Precision;
use crate::random::{Key, Stream};
use crate::{Error, Result, ops};

/// What can be timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Dense products against the textbook's kernel.
    Matmul,
    /// A layer's three products, block-sparse against dense, over densities and blocks.
    Sparse,
    /// A training step, sparse against dense, and what it costs the host.
    Step,
    /// What it costs to change topologies, and what a changed one costs.
    Update,
    /// A mixture of experts against dense layers.
    Moe,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Matmul, Self::Sparse, Self::Step, Self::Update, Self::Moe];

    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matmul => "matmul",
            Self::Sparse => "sparse",
            Self::Step => "step",
            Self::Update => "update",
            Self::Moe => "moe",
        }
    }

    /// The families of kernels whose checks must hold before anything is timed. A mixture is checked whole.
    const fn families(self) -> &'static [&'static str] {
        match self {
            Self::Matmul => &["ceiling", "textbook", "dense"],
            Self::Sparse => &["ceiling", "dense", "dds", "sdd"],
            Self::Step | Self::Update => &["dense", "dds", "sdd", "loss", "optimizer", "reduce"],
            Self::Moe => &["dense"],
        }
    }
}

/// What records something to be timed.
type Op<'a> = dyn Fn(&mut Recorder<'_>) -> Result<()> + 'a;

/// A device that is timed.
#[derive(Debug)]
pub struct Bench {
    gpu: Gpu,
    timer: Timer,
    sizes: Sizes,
    /// Families whose kernels have been checked.
    trusted: BTreeSet<&'static str>,
}

impl Bench {
    /// A bench for things of these sizes.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub fn new(gpu: &Gpu, sizes: Sizes) -> Result<Self> {
        Ok(Self { gpu: gpu.clone(), timer: Timer::new(gpu)?, sizes, trusted: BTreeSet::new() })
    }

    /// The sizes, to be changed.
    pub fn sizes_mut(&mut self) -> &mut Sizes {
        &mut self.sizes
    }

    /// Whose clock times products; training steps are always timed by the host's.
    pub fn clock(&self) -> Clock {
        self.timer.clock()
    }

    /// Checks the kernels of a subject, those that have not been, and times it.
    ///
    /// # Errors
    /// [`Error::Wrong`] naming what is wrong, [`Error::OutOfMemory`], and what operations have to object to its sizes.
    pub fn run(&mut self, subject: Subject) -> Result<Findings> {
        self.trust(subject)?;
        match subject {
            Subject::Matmul => matmul::run(self),
            Subject::Sparse => sparse::run(self),
            Subject::Step => step::run(self),
            Subject::Update => update::run(self),
            Subject::Moe => moe::run(self),
        }
    }

    /// A wrong kernel is not worth timing, and one that will not run need not be right.
    fn trust(&mut self, subject: Subject) -> Result<()> {
        let new = |family: &&str| !self.trusted.contains(family);
        let families: Vec<_> = subject.families().iter().copied().filter(new).collect();
        let of = |name: &str| name.split('.').nth(1).is_some_and(|word| families.contains(&word));
        for check in check::table() {
            if of(&check.name)
                && check.applies_to(&self.gpu)
                && (check.is_default(&self.gpu) || self.is_half() && check.is_half())
                && let Verdict::Wrong(reason) = check.run(&self.gpu)?
            {
                return Err(Error::Wrong { label: check.name, reason });
            }
        }
        self.trusted.extend(families);
        Ok(())
    }

    /// A plan of what `op` records so many times.
    fn plan(&self, times: usize, op: &Op<'_>) -> Result<Plan> {
        let mut rec = Recorder::new(&self.gpu);
        (0..times).try_for_each(|_| op(&mut rec))?;
        rec.finish()
    }

    /// What times a plan.
    fn timed<'a>(&'a self, plan: &'a Plan) -> Box<dyn FnMut() -> Result<Duration> + 'a> {
        Box::new(move || self.timer.time(plan))
    }

    /// An operand of numbers around zero: zeros can be faster than what networks compute with.
    fn numbers(&self, case: u32, shape: &[usize]) -> Result<Tensor> {
        self.numbers_in(self.sizes.precision, case, shape)
    }

    /// The same, stored in a precision that need not be what is timed.
    fn numbers_in(&self, precision: Precision, case: u32, shape: &[usize]) -> Result<Tensor> {
        let mut walk = Key::new(1, Stream::Check(case)).walk();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| walk.uniform() - 0.5).collect();
        match precision {
            Precision::F32 => self.gpu.upload(Class::Activations, "operand", shape, &values),
            Precision::F16(_) => {
                let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
                self.gpu.upload(Class::Activations, "operand", shape, &values)
            }
        }
    }

    /// What operands are.
    fn dtype(&self) -> DType {
        self.sizes.precision.dtype()
    }

    /// Whether they are f16.
    fn is_half(&self) -> bool {
        self.dtype() == DType::F16
    }

    /// What the device can do at most, to be timed with the rest.
    fn ceilings(&self) -> Result<CeilingPlans> {
        let gpu = &self.gpu;
        let Sizes { copied, multiply_adds: [invocations, rounds], .. } = self.sizes;
        let [from, to] = [0, 1].map(|_| gpu.zeros::<f32>(Class::Scratch, "ceiling", &[copied]));
        let (from, to) = (from?, to?);
        let sums = gpu.alloc::<f32>(Class::Scratch, "ceiling", &[invocations])?;
        let rounds =
            u32::try_from(rounds).map_err(|_| Error::argument("bench", "rounds", "below 2^32", rounds))?;
        Ok(CeilingPlans {
            copy: self.plan(1, &|rec| ops::ceiling::copy(rec, &from, &to))?,
            bytes: (from.bytes() + to.bytes()) as f64,
            // The sums come to rest at 1, so nothing overflows and nothing is denormal.
            fma: self.plan(1, &|rec| ops::ceiling::fma(rec, &sums, rounds, [0.5, 0.5]))?,
            operations: 2.0 * invocations as f64 * f64::from(rounds) * ops::ceiling::MULTIPLY_ADDS as f64,
        })
    }
}

/// Plans that do nothing but copy and nothing but compute, with what they do.
struct CeilingPlans {
    copy: Plan,
    bytes: f64,
    fma: Plan,
    operations: f64,
}

impl CeilingPlans {
    fn entries<'a>(&'a self, bench: &'a Bench) -> [Entry<'a>; 2] {
        let entry = |name: &str, part, operations, bytes, plan| Entry {
            name: name.to_owned(),
            part,
            operations,
            bytes,
            times: 1,
            run: bench.timed(plan),
        };
        [
            entry("multiply-adds in registers", Part::Arithmetic, self.operations, None, &self.fma),
            entry("copy", Part::Memory, 0.0, Some(self.bytes), &self.copy),
        ]
    }
}
