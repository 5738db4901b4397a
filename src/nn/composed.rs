//! Networks that a program composes of modules.

use std::fmt;
use std::sync::Arc;

use super::Module;
use crate::gpu::DType;
use crate::graph::{Graph, Precision};
use crate::{Error, Result};

/// Rows that a composed network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// Features of a table, `[batch, features]`.
    Features(usize),
    /// Ids of the bytes of a window of text, `[batch * context]`.
    Window(usize),
}

/// A network of modules, with its seed. A checkpoint holds the description of its graph; to resume, a program composes it again.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Composed {
    seed: u64,
    row: Row,
    /// Name of the objective that the network is trained on.
    objective: String,
    sparsity: Option<f64>,
    /// [`Graph::describe`] of the network.
    graph: serde_json::Value,
    #[serde(skip)]
    module: Option<Arc<dyn Module>>,
}

impl PartialEq for Composed {
    fn eq(&self, other: &Self) -> bool {
        (self.seed, self.row, &self.objective, &self.graph)
            == (other.seed, other.row, &other.objective, &other.graph)
    }
}

/// Whether a description says nothing that `whole` does not say: one of an older version may lack options.
fn is_part(part: &serde_json::Value, whole: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|whole| is_part(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
        }
        _ => part == whole,
    }
}

impl Composed {
    /// A network of this module, for rows of this kind, to be trained on the objective of this name.
    ///
    /// # Errors
    /// [`Error::Argument`] where the shapes of the modules don't fit each other or the rows.
    pub fn new(module: impl Module + 'static, row: Row, seed: u64, objective: &str) -> Result<Self> {
        let (graph, module) = (serde_json::Value::Null, Some(Arc::new(module) as Arc<dyn Module>));
        let objective = objective.to_owned();
        let mut composed = Self { seed, row, objective, sparsity: None, graph, module };
        let graph = composed.smallest_graph(Precision::F32)?;
        (composed.sparsity, composed.graph) = (graph.sparsity()?, graph.describe());
        Ok(composed)
    }

    /// Rows of every pass, where the network reads all rows together.
    pub fn rows(&self) -> Option<usize> {
        self.module.as_ref()?.rows()
    }

    /// Rows that the network reads.
    pub fn row(&self) -> Row {
        self.row
    }

    /// [`Graph::describe`] of the network.
    pub(super) fn describe(&self) -> &serde_json::Value {
        &self.graph
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn sparsity(&self) -> Option<f64> {
        self.sparsity
    }

    pub(super) fn context(&self) -> usize {
        match self.row {
            Row::Features(_) => 0,
            Row::Window(context) => context,
        }
    }

    /// Elements of all parameters if every block were present, by the description.
    pub(super) fn params_dense(&self) -> usize {
        let params = self.graph["params"].as_array().into_iter().flatten();
        let sides = |param: &serde_json::Value| -> Option<usize> {
            param["shape"].as_array()?.iter().map(|side| side.as_u64().map(|side| side as usize)).product()
        };
        params.filter_map(sides).sum()
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.smallest_graph(Precision::F32)?.counts(None).map(|_| ())
    }

    /// The network as a graph for the fewest rows that it takes.
    pub(super) fn smallest_graph(&self, precision: Precision) -> Result<Graph> {
        self.graph(self.rows().unwrap_or(1), precision)
    }

    /// The network as a graph for `batch` rows.
    pub(super) fn graph(&self, batch: usize, precision: Precision) -> Result<Graph> {
        let Some(module) = &self.module else {
            let reason = "the network was composed by a program, which has to compose it again to resume or to predict";
            return Err(Error::Config { option: "model", reason: reason.to_owned() });
        };
        let mut graph = Graph::new(self.seed, precision);
        let input = match self.row {
            Row::Features(width) => graph.input("input", &[batch, width], graph.operand())?,
            Row::Window(context) => graph.input("input", &[batch.saturating_mul(context)], DType::U32)?,
        };
        for output in module.build(&mut graph, &[input])? {
            graph.output(output)?;
            if !graph.is_watched(output)? {
                graph.watch(output, "output")?;
            }
        }
        Ok(graph)
    }

    /// Takes the modules of another description of the same network, as after a checkpoint was read.
    ///
    /// # Errors
    /// [`Error::Config`] where the two are not the same network.
    pub fn adopt(&mut self, other: &Self) -> Result<()> {
        let [kept, given] = [&*self, other].map(|of| (of.seed, of.row, &of.objective));
        if kept != given || !is_part(&self.graph, &other.graph) {
            let reason = "the network that was composed differs from the checkpoint's in its graph, rows, objective or seed";
            return Err(Error::Config { option: "model", reason: reason.to_owned() });
        }
        self.module.clone_from(&other.module);
        Ok(())
    }
}

/// Number of nodes and parameters.
impl fmt::Display for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |key: &str| self.graph[key].as_array().map_or(0, Vec::len);
        write!(f, "composed of {} nodes with {} parameters", count("nodes"), count("params"))
    }
}
