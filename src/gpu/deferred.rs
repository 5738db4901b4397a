//! Sums that are recorded later than asked for, together with others in one dispatch.

use super::args::Args;
use super::kernel::Kernel;
use super::plan::Mark;
use super::reflect::Access;
use super::tensor::Tensor;

/// Column sums of a matrix, into a vector or added to it.
#[derive(Debug, Clone)]
pub(crate) struct Deferred {
    pub(crate) x: Tensor,
    pub(crate) out: Tensor,
    pub(crate) add: bool,
}

/// Sums that are not recorded yet, and the marks behind them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) sums: Vec<Deferred>,
    pub(super) marks: Vec<Mark>,
}

impl Queue {
    /// Whether a dispatch with these arguments touches what a sum still has to write, or writes what one still has to read.
    pub(super) fn blocks(&self, kernel: &Kernel, args: &Args<'_>) -> bool {
        let writes = |name: &str| {
            let mut bindings = kernel.reflection.bindings.iter();
            bindings.any(|binding| binding.name == name && binding.access == Access::Write)
        };
        self.sums.iter().any(|sum| {
            args.tensors.iter().any(|operand| {
                operand.tensor.overlaps(&sum.out) || operand.tensor.overlaps(&sum.x) && writes(operand.name)
            })
        })
    }

    /// Whether one of the sums must come before this one.
    pub(super) fn precedes(&self, sum: &Deferred) -> bool {
        self.sums.iter().any(|other| {
            other.out.overlaps(&sum.out) || other.out.overlaps(&sum.x) || other.x.overlaps(&sum.out)
        })
    }

    /// Whether one of the sums still has to write the tensor of a mark.
    pub(super) fn writes(&self, mark: &Mark) -> bool {
        mark.tensor.as_ref().is_some_and(|tensor| self.sums.iter().any(|sum| sum.out.overlaps(tensor)))
    }
}
