//! Programs: a step as plans to replay and, between them, exchanges of tensors with other processes.

use std::fmt;

use crate::Result;
use crate::gpu::{Gpu, Mark, Plan, Submission};

/// Kind of the [mark](Mark) between the backward pass and the optimizer: all gradients are complete.
pub const GRADIENTS: &str = "gradients";

/// An exchange of tensors with other processes, in the middle of a step.
///
/// A step passes a mark of the kind [`GRADIENT`](crate::graph::GRADIENT) where a parameter's gradient is complete, inside the backward
/// pass, so that the exchange can overlap what follows; one of the kind [`GRADIENTS`] before the optimizer; and one of the kind
/// [`SCORES`](crate::methods::SCORES) between the scores of a layer's blocks and the selection by them. Where gradients are scaled,
/// as in half precision, they are times the scale of the loss.
pub trait Exchange: fmt::Debug + Send {
    /// Whether the step stops at a mark. The answer is asked for once, when the step is recorded.
    fn wants(&self, mark: &Mark) -> bool;

    /// Exchanges the mark's tensor: what was submitted before writes it, and what is submitted afterwards reads it.
    ///
    /// # Errors
    /// As the exchange; the run ends with it.
    fn exchange(&mut self, gpu: &Gpu, mark: &Mark) -> Result<()>;
}

/// A recorded step: one plan, where nothing is exchanged.
#[derive(Debug)]
pub(super) struct Program {
    first: Plan,
    rest: Vec<(Mark, Plan)>,
}

impl Program {
    /// The program of a plan, which stops where the exchange wants it to.
    pub(super) fn new(plan: Plan, exchange: Option<&dyn Exchange>) -> Self {
        let (first, rest) = match exchange {
            None => (plan, Vec::new()),
            Some(exchange) => plan.cut(&|mark| exchange.wants(mark)),
        };
        Self { first, rest }
    }

    /// The plan up to the first exchange: all of it, where there is none.
    pub(super) fn first(&self) -> &Plan {
        &self.first
    }

    /// The plans, in order.
    pub(super) fn plans(&self) -> impl Iterator<Item = &Plan> {
        std::iter::once(&self.first).chain(self.rest.iter().map(|(_, plan)| plan))
    }

    /// Submits the plans, with the exchanges between them.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        mut exchange: Option<&mut (dyn Exchange + 'static)>,
    ) -> Result<Submission> {
        let mut last = gpu.run(&self.first)?;
        for (mark, plan) in &self.rest {
            if let Some(exchange) = &mut exchange {
                exchange.exchange(gpu, mark)?;
            }
            last = gpu.run(plan)?;
        }
        Ok(last)
    }
}
