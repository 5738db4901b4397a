//! Benches: speed as ratios measured in one run, printed by `fretwork bench`.
//!
//! Kernels are checked before they are timed. Baselines and candidates are timed in interleaved rounds, so that a temporary
//! slowdown of the machine hits all of them; the median round counts. A control times the first baseline again, and its ratio
//! shows the noise. The rounds of products include two kernels that measure the device's ceilings: multiply-adds in registers
//! and a copy.

mod basis;
mod findings;
mod kernels;
mod matmul;
mod moe;
mod report;
mod rounds;
mod sizes;
mod sparse;
mod step;
mod update;

use std::collections::BTreeSet;
use std::time::Duration;

use half::f16;

pub use findings::{Cell, Crossover, Curve, Findings, Grid};
pub use moe::MoeSizes;
pub use report::Report;
pub use rounds::{Ceilings, Entry, Role, Row, Timings, interleave};
pub use sizes::Sizes;

use crate::check::{self, Verdict};
use crate::gpu::{Class, Clock, DType, Gpu, Plan, Recorder, Tensor, Timer};
use crate::nn::Precision;
use crate::random::{Key, Stream};
use crate::{Error, Result, ops};

/// Subject of a bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Dense products compared with the naive (shared-memory) tile.
    Matmul,
    /// The three products of a layer, block-sparse compared with dense, over densities and block sides.
    Sparse,
    /// Training step, sparse compared with dense, and its cost on the host.
    Step,
    /// Topology updates, and the steps between them.
    Update,
    /// Random bases, whose directions are generated where they are used, compared with their arithmetic.
    Basis,
    /// Mixture of experts compared with dense layers.
    Moe,
}

impl Subject {
    /// All subjects.
    pub const ALL: [Self; 6] = [Self::Matmul, Self::Sparse, Self::Step, Self::Update, Self::Basis, Self::Moe];

    /// Name in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matmul => "matmul",
            Self::Sparse => "sparse",
            Self::Step => "step",
            Self::Update => "update",
            Self::Basis => "basis",
            Self::Moe => "moe",
        }
    }

    /// Kernel families that are checked before the subject is timed. A mixture is checked as a whole layer.
    const fn families(self) -> &'static [&'static str] {
        match self {
            Self::Matmul => &["ceiling", "naive", "dense"],
            Self::Sparse => &["ceiling", "dense", "dds", "sdd"],
            Self::Step | Self::Update => &["dense", "dds", "sdd", "loss", "optimizer", "reduce"],
            Self::Basis => &["ceiling", "basis"],
            Self::Moe => &["dense"],
        }
    }
}

/// Function that records the work to be timed.
type Op<'a> = dyn Fn(&mut Recorder<'_>) -> Result<()> + 'a;

/// Bench of a device.
#[derive(Debug)]
pub struct Bench {
    gpu: Gpu,
    timer: Timer,
    sizes: Sizes,
    /// Kernel families that passed their checks.
    trusted: BTreeSet<&'static str>,
}

impl Bench {
    /// Bench of `gpu` at these sizes.
    ///
    /// # Errors
    /// Those of [`Timer::new`].
    pub fn new(gpu: &Gpu, sizes: Sizes) -> Result<Self> {
        Ok(Self { gpu: gpu.clone(), timer: Timer::new(gpu)?, sizes, trusted: BTreeSet::new() })
    }

    /// Mutable access to the sizes.
    pub fn sizes_mut(&mut self) -> &mut Sizes {
        &mut self.sizes
    }

    /// Clock that times products. Training steps are timed by the host's clock.
    pub fn clock(&self) -> Clock {
        self.timer.clock()
    }

    /// Checks the kernels of a subject that are not checked yet, and times it.
    ///
    /// # Errors
    /// [`Error::Wrong`] naming a wrong kernel, [`Error::OutOfMemory`], and those of operations that refuse the sizes.
    pub fn run(&mut self, subject: Subject) -> Result<Findings> {
        self.trust(subject)?;
        match subject {
            Subject::Matmul => matmul::run(self),
            Subject::Sparse => sparse::run(self),
            Subject::Step => step::run(self),
            Subject::Update => update::run(self),
            Subject::Basis => basis::run(self),
            Subject::Moe => moe::run(self),
        }
    }

    /// Checks the kernels that the subject runs on this device.
    ///
    /// # Errors
    /// [`Error::Wrong`] naming a wrong kernel.
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

    /// Plan in which `op` is recorded `times` times.
    fn plan(&self, times: usize, op: &Op<'_>) -> Result<Plan> {
        let mut rec = Recorder::new(&self.gpu);
        (0..times).try_for_each(|_| op(&mut rec))?;
        rec.finish()
    }

    /// Function that runs and times a plan.
    fn timed<'a>(&'a self, plan: &'a Plan) -> Box<dyn FnMut() -> Result<Duration> + 'a> {
        Box::new(move || self.timer.time(plan))
    }

    /// Operand of random numbers in [-0.5, 0.5), since zeros can be faster than the values of a network.
    fn numbers(&self, case: u32, shape: &[usize]) -> Result<Tensor> {
        self.numbers_in(self.sizes.precision, case, shape)
    }

    /// Operand of random numbers in a given precision.
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

    /// Element type of the operands.
    fn dtype(&self) -> DType {
        self.sizes.precision.dtype()
    }

    /// Whether the operands are f16.
    fn is_half(&self) -> bool {
        self.dtype() == DType::F16
    }

    /// Plans of the kernels that measure the device's ceilings.
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
            // The sums converge to 1, which keeps them from overflowing and from becoming denormal.
            fma: self.plan(1, &|rec| ops::ceiling::fma(rec, &sums, rounds, [0.5, 0.5]))?,
            operations: 2.0 * invocations as f64 * f64::from(rounds) * ops::ceiling::MULTIPLY_ADDS as f64,
        })
    }
}

/// Plans that measure the ceilings: a copy with its bytes, and multiply-adds with their operations.
struct CeilingPlans {
    copy: Plan,
    bytes: f64,
    fma: Plan,
    operations: f64,
}

impl CeilingPlans {
    fn entries<'a>(&'a self, bench: &'a Bench) -> [Entry<'a>; 2] {
        let entry = |name: &str, role, operations, bytes, plan| Entry {
            name: name.to_owned(),
            role,
            operations,
            bytes,
            times: 1,
            run: bench.timed(plan),
        };
        [
            entry("multiply-adds in registers", Role::Arithmetic, self.operations, None, &self.fma),
            entry("copy", Role::Memory, 0.0, Some(self.bytes), &self.copy),
        ]
    }
}
