//! Modules one behind the other.

use std::sync::Arc;

use super::Module;
use super::module::single;
use crate::Result;
use crate::graph::{Graph, Value};

/// Modules of one input and one output, each of which reads what the one before gives. Parameters are named by the place, as in
/// PyTorch: `0.weight`.
#[derive(Debug, Clone, Default)]
pub struct Sequential {
    modules: Vec<Arc<dyn Module>>,
}

impl Sequential {
    /// No modules yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The modules, and one more behind them.
    #[expect(clippy::should_implement_trait, reason = "a builder's step, which no one will take for a sum")]
    #[must_use]
    pub fn add(mut self, module: impl Module + 'static) -> Self {
        self.modules.push(Arc::new(module));
        self
    }

    pub(super) fn len(&self) -> usize {
        self.modules.len()
    }

    /// Adds the module of this place to the graph, within a scope of the place's name.
    pub(super) fn build_one(&self, graph: &mut Graph, place: usize, x: Value) -> Result<Value> {
        graph.scope(place.to_string(), |graph| {
            let y = self.modules[place].apply(graph, x)?;
            graph.watch(y, &graph.name(""))?;
            Ok(y)
        })
    }
}

impl Module for Sequential {
    fn input_width(&self) -> Option<usize> {
        self.modules.first()?.input_width()
    }

    fn rows(&self) -> Option<usize> {
        self.modules.iter().find_map(|module| module.rows())
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let mut x = single(graph, inputs)?;
        for place in 0..self.len() {
            x = self.build_one(graph, place, x)?;
        }
        Ok(vec![x])
    }
}
