//! Modules one behind the other that learn in parts.

use super::local::add_heads;
use super::module::single;
use super::{Linear, Local, Module, Sequential};
use crate::graph::{Graph, Value};
use crate::{Error, Result};

/// Modules as in a [`Sequential`](super::Sequential), cut into [parts](Local) that learn from losses of their own. Each module but the
/// last is a hidden layer, `[rows, width]`; the last one makes the output, `[rows, columns]`, and belongs to the last part.
///
/// ```no_run
/// use fretwork::prelude::*;
///
/// # fn main() -> fretwork::Result<()> {
/// let gpu = Gpu::request(Options::default())?;
/// let net = LocalParts::new(Local::Greedy, 10)
///     .add(Linear::new(64, 256).sparse(blocks(16).density(0.2)).relu())
///     .add(Linear::new(256, 256).sparse(blocks(16).density(0.2)).relu())
///     .add(Linear::new(256, 10));
/// let mut trainer = Trainer::builder(&gpu, net).data(Dataset::load(&Source::Digits, 1, 0)?).build()?;
/// trainer.run(None, &mut |_| Flow::Continue)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LocalParts {
    local: Local,
    columns: usize,
    modules: Sequential,
}

impl LocalParts {
    /// No modules yet, of a network with so many columns of outputs: classes, or 1.
    pub fn new(local: Local, columns: usize) -> Self {
        Self { local, columns, modules: Sequential::new() }
    }

    /// The modules, and one more behind them.
    #[expect(clippy::should_implement_trait, reason = "a builder's step, which no one will take for a sum")]
    #[must_use]
    pub fn add(mut self, module: impl Module + 'static) -> Self {
        self.modules = self.modules.add(module);
        self
    }
}

impl Module for LocalParts {
    fn input_width(&self) -> Option<usize> {
        self.modules.input_width()
    }

    fn rows(&self) -> Option<usize> {
        self.modules.rows()
    }

    fn build(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Vec<Value>> {
        let mut x = single(graph, inputs)?;
        let parts = self.local.parts(self.modules.len().saturating_sub(1))?;
        let mut ends = Vec::new();
        for place in 0..self.modules.len() {
            if parts[1..].iter().any(|part| part.start == place) {
                ends.push(x);
                x = self.local.cut(graph, x)?;
            }
            x = self.modules.build_one(graph, place, x)?;
        }
        let [_, columns] = graph.matrix("local", x)?;
        if columns != self.columns {
            let found = format!("{columns} of the last module");
            return Err(Error::argument(graph.name("local"), "columns", self.columns, found));
        }
        add_heads(graph, &ends, |_, width| Linear::new(width, self.columns))?;
        Ok(vec![x])
    }
}
