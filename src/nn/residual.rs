//! Residual connection, `x + f(x)`.

use std::sync::Arc;

use super::Module;
use super::add::add;
use super::module::single;
use crate::Result;
use crate::graph::{Graph, Value};

/// A module of equal input and output shapes, with its input added to its output.
#[derive(Debug, Clone)]
pub struct Residual {
    module: Arc<dyn Module>,
}

impl Residual {
    /// A connection around this module.
    pub fn new(module: impl Module + 'static) -> Self {
        Self { module: Arc::new(module) }
    }
}

impl Module for Residual {
    fn input_width(&self) -> Option<usize> {
        self.module.input_width()
    }

    fn rows(&self) -> Option<usize> {
        self.module.rows()
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let x = single(graph, inputs)?;
        let y = self.module.apply(graph, x)?;
        Ok(vec![add(graph, x, y)?])
    }
}
