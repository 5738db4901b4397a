//! Modules: parts of a network that describe themselves to a graph.

use std::fmt;

use crate::graph::{Graph, Value};
use crate::{Error, Result};

/// A part of a network, or a whole one: a description, without parameters or memory of its own. It may be built into several graphs,
/// for batches of several sizes.
pub trait Module: fmt::Debug + Send + Sync {
    /// Adds the part's parameters and nodes to a graph, and returns its outputs.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shapes of the inputs don't fit.
    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>>;

    /// Width of a row of the first input, where the module has one of its own.
    fn input_width(&self) -> Option<usize> {
        None
    }

    /// Rows of the first input, where the module reads all of them together, as the nodes of a graph. Every pass then has that number.
    fn rows(&self) -> Option<usize> {
        None
    }

    /// Adds a part of one input and one output.
    ///
    /// # Errors
    /// As [`Module::build`], and [`Error::Argument`] for another number of outputs.
    fn apply(&self, graph: &mut Graph, input: Value) -> Result<Value> {
        match self.build(graph, &[input])?[..] {
            [output] => Ok(output),
            ref outputs => Err(Error::argument(graph.name("module"), "outputs", "one", outputs.len())),
        }
    }
}

/// The one input of a module that has no more.
///
/// # Errors
/// [`Error::Argument`] for another number of inputs.
pub fn single(graph: &Graph, inputs: &[Value]) -> Result<Value> {
    match inputs {
        &[input] => Ok(input),
        _ => Err(Error::argument(graph.name("module"), "inputs", "one", inputs.len())),
    }
}
