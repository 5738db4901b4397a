//! An optimizer and its state for every parameter of a network.

use std::fmt;
use std::str::FromStr;

use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::nn::Parameter;
use crate::ops::{self, AdamW, Sgd, Step};
use crate::{Error, Result};

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl OptimizerKind {
    /// What the parts of its state are called.
    pub fn state_names(self) -> &'static [&'static str] {
        match self {
            Self::Sgd => &["velocity"],
            Self::AdamW => &["first", "second"],
        }
    }
}

impl FromStr for OptimizerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adamw" => Ok(Self::AdamW),
            other => Err(Error::Config {
                option: "optimizer",
                reason: format!("{other:?} is neither sgd nor adamw"),
            }),
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
        })
    }
}

/// What an optimizer remembers of each parameter, parameter by parameter in the network's order. Each part has the
/// parameter's own shape: a sparse weight has a sparse state.
#[derive(Debug)]
pub struct OptimizerState {
    kind: OptimizerKind,
    momentum: f32,
    weight_decay: f32,
    parts: Vec<Vec<Tensor>>,
    /// Names of the parameters.
    names: Vec<String>,
    /// Of each parameter, the number of the layer whose weight it is, if it is one's.
    weight_of: Vec<Option<usize>>,
}

impl OptimizerState {
    /// A state of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        kind: OptimizerKind,
        momentum: f32,
        weight_decay: f32,
        parameters: &[Parameter<'_>],
    ) -> Result<Self> {
        let zeros = |parameter: &Parameter<'_>| {
            let part = |name: &&str| gpu.zeros::<f32>(Class::Optimizer, name, parameter.values.shape());
            kind.state_names().iter().map(part).collect::<Result<_>>()
        };
        let parts = parameters.iter().map(zeros).collect::<Result<_>>()?;
        let weight_of = parameters.iter().map(|parameter| parameter.weight_of).collect();
        let names = parameters.iter().map(|parameter| parameter.name.clone()).collect();
        Ok(Self { kind, momentum, weight_decay, parts, names, weight_of })
    }

    /// Records one update of every parameter. `born` has the births of a layer's blocks, where they matter.
    ///
    /// # Errors
    /// [`Error::Argument`] if these are not the parameters that it keeps state of, in their order; and as the operations.
    pub fn update(
        &self,
        rec: &mut Recorder<'_>,
        parameters: &[Parameter<'_>],
        born: &dyn Fn(usize) -> Option<Tensor>,
        step: &Step,
    ) -> Result<()> {
        let found: Vec<_> = parameters.iter().map(|parameter| &parameter.name).collect();
        if !found.iter().copied().eq(&self.names) {
            let wanted = format!("those that it keeps state of, {:?}", self.names);
            return Err(Error::argument("optimizer", "parameters", wanted, format!("{found:?}")));
        }
        for (parameter, parts) in parameters.iter().zip(&self.parts) {
            let weight_decay = if parameter.decays { self.weight_decay } else { 0.0 };
            let (values, grads) = (parameter.values, parameter.grads);
            match parts.as_slice() {
                [velocity] => {
                    let settings =
                        Sgd { momentum: self.momentum, nesterov: self.momentum > 0.0, weight_decay };
                    ops::sgd(rec, values, grads, velocity, settings, None, step)?;
                }
                [first, second] => {
                    let settings = AdamW { weight_decay, ..self.adamw() };
                    let born = parameter.weight_of.and_then(born);
                    ops::adamw(rec, values, grads, first, second, settings, None, born.as_ref(), step)?;
                }
                _ => unreachable!("an optimizer has one or two parts of state"),
            }
        }
        Ok(())
    }

    /// AdamW's bias corrections after `before` steps that moved weights; they do not matter to SGD.
    pub fn corrections(&self, before: u32) -> [f32; 2] {
        self.adamw().corrections(before)
    }

    /// Each parameter's parts: name and tensor.
    pub fn parts(&self) -> impl Iterator<Item = impl Iterator<Item = (&'static str, &Tensor)>> {
        self.parts.iter().map(|parts| self.kind.state_names().iter().copied().zip(parts))
    }

    /// The parts of a layer's weight; none if there is no such layer.
    pub fn weight_parts(&self, layer: usize) -> &[Tensor] {
        let at = self.weight_of.iter().position(|&of| of == Some(layer));
        at.map_or(&[], |at| &self.parts[at])
    }

    /// Puts others in their place.
    pub(super) fn replace_weight_parts(&mut self, layer: usize, parts: Vec<Tensor>) {
        let weights = self.parts.iter_mut().zip(&self.weight_of);
        weights.filter(|(_, of)| **of == Some(layer)).for_each(|(old, _)| old.clone_from(&parts));
    }

    fn adamw(&self) -> AdamW {
        AdamW { beta_1: self.momentum, beta_2: 0.999, epsilon: 1e-8, weight_decay: self.weight_decay }
    }
}
