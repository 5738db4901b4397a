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
        Ok(Self { kind, momentum, weight_decay, parts: parameters.iter().map(zeros).collect::<Result<_>>()? })
    }

    /// Records one update of every parameter. `born` has the births of a layer's blocks, where they matter.
    ///
    /// # Errors
    /// As the operations.
    pub fn update(
        &self,
        rec: &mut Recorder<'_>,
        parameters: &[Parameter<'_>],
        born: &dyn Fn(usize) -> Option<Tensor>,
        step: &Step,
    ) -> Result<()> {
        for (at, (parameter, parts)) in parameters.iter().zip(&self.parts).enumerate() {
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
                    // Of a layer's two parameters, the first is its weight.
                    let born = if at % 2 == 0 { born(at / 2) } else { None };
                    ops::adamw(rec, values, grads, first, second, settings, None, born.as_ref(), step)?;
                }
                _ => unreachable!("an optimizer has one or two parts of state"),
            }
        }
        Ok(())
    }

    /// AdamW's bias corrections at a step; they do not matter to SGD.
    pub fn corrections(&self, index: u32) -> [f32; 2] {
        self.adamw().corrections(index)
    }

    /// Each parameter's parts: name and tensor.
    pub fn parts(&self) -> impl Iterator<Item = impl Iterator<Item = (&'static str, &Tensor)>> {
        self.parts.iter().map(|parts| self.kind.state_names().iter().copied().zip(parts))
    }

    /// The parts of a layer's weight. Each layer has two parameters, and the weight is the first.
    pub fn weight_parts(&self, layer: usize) -> &[Tensor] {
        &self.parts[2 * layer]
    }

    /// Puts others in their place.
    pub(super) fn replace_weight_parts(&mut self, layer: usize, parts: Vec<Tensor>) {
        self.parts[2 * layer] = parts;
    }

    fn adamw(&self) -> AdamW {
        AdamW { beta_1: self.momentum, beta_2: 0.999, epsilon: 1e-8, weight_decay: self.weight_decay }
    }
}
