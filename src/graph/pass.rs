//! Passes: the tensors that a node reads and writes in one forward or backward pass.

use super::hook::{BackwardHook, GradientReady, Signals};
use super::layout::{NodeLayout, Target, WeightGrad};
use super::memory::Memory;
use super::param::{Param, Weight};
use super::store::ParamStore;
use super::wiring::{Fused, PRE, Wiring};
use crate::gpu::{Recorder, Tensor};
use crate::ops::{Dropping, Epilogue, Step};
use crate::{Error, Result};

/// A node's forward pass.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    pub(super) name: &'a str,
    pub(super) wiring: &'a Wiring,
    pub(super) layout: &'a NodeLayout,
    pub(super) memory: &'a Memory,
    pub(super) store: &'a ParamStore,
    pub(super) step: Option<&'a Step>,
}

impl<'a> Forward<'a> {
    /// Input number `index`, as the node asked for it.
    pub fn input(&self, index: usize) -> &'a Tensor {
        self.memory.tensor(self.layout.inputs[index])
    }

    /// Number of inputs.
    pub fn input_count(&self) -> usize {
        self.layout.inputs.len()
    }

    /// Output number `index`.
    pub fn output(&self, index: usize) -> &'a Tensor {
        self.memory.tensor(self.layout.outputs[index])
    }

    /// Whether output 0 has the place of this input.
    pub fn is_in_place(&self, input: usize) -> bool {
        self.layout.outputs.first() == self.layout.inputs.get(input)
    }

    /// A buffer of the node's.
    ///
    /// # Errors
    /// [`Error::Argument`] if the node has none of that name.
    pub fn buffer(&self, name: &'static str) -> Result<&'a Tensor> {
        self.optional_buffer(name).ok_or_else(|| {
            let names: Vec<_> = self.wiring.buffers.iter().map(|buffer| buffer.name).collect();
            Error::argument(self.name, "buffer", format!("one of {names:?}"), name)
        })
    }

    /// A buffer of the node's, if it has one of that name.
    pub fn optional_buffer(&self, name: &'static str) -> Option<&'a Tensor> {
        let at = self.wiring.buffers.iter().position(|buffer| buffer.name == name)?;
        Some(self.memory.tensor(self.layout.buffers[at]))
    }

    /// Parameter number `index` of the node's.
    pub fn param(&self, index: usize) -> &'a Param {
        self.store.get(self.wiring.params[index])
    }

    /// The step of a training pass; `None` in tests, where nothing is drawn.
    pub fn step(&self) -> Option<&'a Step> {
        self.step
    }

    /// The epilogue of a product whose output has this fused activation.
    pub fn epilogue(&self, bias: &'a Tensor, fused: Option<&Fused>) -> Epilogue<'a> {
        let Some(fused) = fused else { return Epilogue::Bias(bias) };
        Epilogue::Forward {
            bias,
            activation: fused.activation,
            dropout: dropping(fused, self.step),
            pre: self.optional_buffer(PRE),
        }
    }
}

/// Dropout of a fused activation, in training.
pub(super) fn dropping<'a>(fused: &Fused, step: Option<&'a Step>) -> Option<Dropping<'a>> {
    Some(Dropping { dropout: fused.dropout?, step: step? })
}

/// Place of an input's gradient.
#[derive(Debug, Clone, Copy)]
pub struct GradTarget<'a> {
    /// Tensor of the gradient, of the input's shape.
    pub tensor: &'a Tensor,
    /// Whether the gradient is added to what the tensor holds; only for inputs that [accumulate](super::Input::accumulates).
    pub add: bool,
    /// Epilogue of the product that writes the gradient: the derivative of the activation that made the input, or nothing; only for
    /// inputs that [fuse](super::Input::fuses_activation).
    pub epilogue: Epilogue<'a>,
}

/// A node's backward pass.
pub struct Backward<'a> {
    pub(super) forward: Forward<'a>,
    pub(super) grads: &'a [Option<Weight>],
    pub(super) hook: &'a mut BackwardHook<'a>,
}

impl std::fmt::Debug for Backward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backward").field("node", &self.forward.name).finish_non_exhaustive()
    }
}

impl<'a> Backward<'a> {
    /// Input number `index`, as the forward pass read it; only where it is [kept](super::Input::kept).
    pub fn input(&self, index: usize) -> &'a Tensor {
        self.forward.input(index)
    }

    /// Output number `index`; only where it is [kept](super::Output::kept) or shown.
    pub fn output(&self, index: usize) -> &'a Tensor {
        self.forward.output(index)
    }

    /// A buffer of the node's.
    ///
    /// # Errors
    /// [`Error::Argument`] if the node has none of that name.
    pub fn buffer(&self, name: &'static str) -> Result<&'a Tensor> {
        self.forward.buffer(name)
    }

    /// The forward pass that this is the way back of.
    pub fn forward(&self) -> &Forward<'a> {
        &self.forward
    }

    /// Parameter number `index` of the node's.
    pub fn param(&self, index: usize) -> &'a Param {
        self.forward.param(index)
    }

    /// The step of a training pass.
    pub fn step(&self) -> Option<&'a Step> {
        self.forward.step
    }

    /// Whether gradients of parameters are wanted in this pass; always, but for a node that [splits](super::Node::splits_backward).
    pub fn wants_weight_grads(&self) -> bool {
        !self.forward.layout.weight_grads.is_empty()
    }

    /// Tensor that the gradient of parameter number `index` is written to.
    pub fn weight_grad(&self, index: usize) -> &'a Weight {
        match self.forward.layout.weight_grads[index] {
            WeightGrad::Only => self.param(index).weight_grad(),
            WeightGrad::Part => self.grads[index].as_ref().expect("a part should have a tensor of its own"),
        }
    }

    /// Gradient of output number `index`: before its fused activation, if it has one, and times the scale of the loss where there
    /// is one.
    pub fn output_grad(&self, index: usize) -> &'a Tensor {
        self.forward.memory.tensor(self.forward.layout.output_grads[index])
    }

    /// Place of the gradient of input number `index`; `None` where the gradient isn't wanted.
    pub fn input_grad(&self, index: usize) -> Option<GradTarget<'a>> {
        let Forward { layout, memory, step, .. } = self.forward;
        let Target { storage, add, through } = layout.input_grads[index]?;
        let epilogue = through.map_or(Epilogue::None, |through| Epilogue::Backward {
            pre: memory.tensor(through.at),
            activation: through.fused.activation,
            dropout: dropping(&through.fused, step),
        });
        Some(GradTarget { tensor: memory.tensor(storage), add, epilogue })
    }

    /// Reports that the gradient of parameter number `index` is recorded. `signals` are its factors, for methods that score absent
    /// blocks by them.
    ///
    /// # Errors
    /// As what a method records here.
    pub fn done(&mut self, rec: &mut Recorder<'_>, index: usize, signals: Option<Signals<'_>>) -> Result<()> {
        let param = self.param(index);
        // The gradient of a parameter that nodes share is complete once those of all of them are added up, which is later.
        if self.forward.memory.layout.is_shared(param.id()) {
            return Ok(());
        }
        (self.hook)(rec, GradientReady { param: param.id(), signals })
    }
}
