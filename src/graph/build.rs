//! A graph under construction: values, parameters and nodes in the order in which they are computed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Precision;
use super::node::Node;
use super::recompute::Recompute;
use super::spec::{ParamId, ParamSpec};
use super::value::{Origin, Units, Value};
use super::wiring::{Input, Output, Wiring};
use crate::gpu::DType;
use crate::sparse::Density;
use crate::{Error, Result};

/// A value's description.
#[derive(Debug, Clone)]
pub(super) struct ValueInfo {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) units: Units,
    pub(super) origin: Origin,
    /// Description of the output it is, where a node makes it.
    pub(super) output: Option<Output>,
    /// Name under which the value is scanned for NaN and infinity.
    pub(super) watched: Option<String>,
}

/// A node with its place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: Box<dyn Node>,
    pub(super) name: String,
    pub(super) wiring: Wiring,
    pub(super) outputs: Vec<usize>,
}

/// A network's description, for batches of one size: no device, no memory, no values. A node reads values that exist already, so a
/// graph has no cycle.
#[derive(Debug)]
pub struct Graph {
    pub(super) id: u64,
    pub(super) seed: u64,
    pub(super) precision: Precision,
    pub(super) values: Vec<ValueInfo>,
    pub(super) params: Vec<ParamSpec>,
    pub(super) nodes: Vec<Entry>,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
    /// Outputs of all parts but the last, in order, where the graph is trained part by part.
    pub(super) heads: Vec<usize>,
    /// How blocks are shared out among matrices without a density of their own, and the share that is absent.
    pub(super) allotment: Option<(Density, f64)>,
    /// Layers whose sparsity is their own, and all that are sparse without that.
    pub(super) own: super::LayerSparsity,
    pub(super) sparse_layers: Vec<String>,
    /// What the backward pass computes once more; nothing for `None`.
    pub(super) recompute: Option<Recompute>,
    scope: Vec<String>,
    matrices: u32,
    /// Names of the parameters.
    names: HashSet<String>,
}

/// Number of graphs that were made by this process.
static GRAPHS: AtomicU64 = AtomicU64::new(0);

impl Graph {
    /// An empty graph. Patterns, weights and dropout are drawn from the seed; products read operands of the precision.
    pub fn new(seed: u64, precision: Precision) -> Self {
        Self {
            id: GRAPHS.fetch_add(1, Ordering::Relaxed),
            seed,
            precision,
            values: Vec::new(),
            params: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            heads: Vec::new(),
            allotment: None,
            own: super::LayerSparsity::default(),
            sparse_layers: Vec::new(),
            recompute: None,
            scope: Vec::new(),
            matrices: 0,
            names: HashSet::new(),
        }
    }

    /// Shares out the blocks of all sparse matrices without a [density](super::Blocks::density) of their own, of which the share
    /// `sparsity` is absent.
    pub fn allot(&mut self, density: Density, sparsity: f64) {
        self.allotment = Some((density, sparsity));
    }

    /// Keeps the values of the forward pass, or computes some once more in the backward pass, with the same bits in less memory.
    /// Mixtures of experts are kept, since their routing counts; values that are computed once more are not scanned.
    pub fn recompute(&mut self, recompute: Option<Recompute>) {
        self.recompute = recompute;
    }

    /// Seed of everything that is drawn.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of matrices declared so far: the ordinal of the next one's draws.
    pub fn matrix_count(&self) -> u32 {
        self.matrices
    }

    /// Precision of activations and operands.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Type of the operands of products.
    pub fn operand(&self) -> DType {
        self.precision.dtype()
    }

    /// Describes a part of the network under a name, which precedes those of its parameters: `blocks.0`.
    ///
    /// # Errors
    /// As `describe`.
    pub fn scope<T>(
        &mut self,
        name: impl Into<String>,
        describe: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.scope.push(name.into());
        let result = describe(self);
        self.scope.pop();
        result
    }

    /// A name within the scope at hand.
    pub fn name(&self, name: &str) -> String {
        let scope = self.scope.iter().map(String::as_str);
        scope.chain([name]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// An input of the network, `[rows, width]` or `[rows]`, which the host or a caller fills.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that exists, or a shape without elements.
    pub fn input(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<Value> {
        self.any_input(name, shape, dtype, false)
    }

    /// An f32 input whose gradient the backward pass computes.
    ///
    /// # Errors
    /// As [`Graph::input`].
    pub fn differentiable_input(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        self.any_input(name, shape, DType::F32, true)
    }

    fn any_input(&mut self, name: &str, shape: &[usize], dtype: DType, gradient: bool) -> Result<Value> {
        let named = |&&index: &&usize| self.values[index].name == name;
        if self.inputs.iter().find(named).is_some() {
            return Err(Error::argument("graph", "input", "a name of its own", name));
        }
        let output = Output::new(name, shape).of(dtype);
        let value = self.value(output, Origin::Input { gradient })?;
        self.inputs.push(value.index);
        Ok(value)
    }

    fn value(&mut self, output: Output, origin: Origin) -> Result<Value> {
        let elements = output.shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side));
        if output.shape.is_empty() || elements.is_none_or(|elements| elements == 0 || elements > MOST) {
            let wanted = format!("1 to {MOST} elements");
            return Err(Error::argument(&output.name, "shape", wanted, format!("{:?}", output.shape)));
        }
        let made = matches!(origin, Origin::Node { .. });
        self.values.push(ValueInfo {
            name: output.name.clone(),
            shape: output.shape.clone(),
            dtype: output.dtype,
            units: output.units,
            origin,
            output: made.then_some(output),
            watched: None,
        });
        Ok(Value { graph: self.id, index: self.values.len() - 1 })
    }

    /// The elements of a value, through which no gradient passes back.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn stop_gradient(&mut self, value: Value) -> Result<Value> {
        let of = self.expect("stop_gradient", value)?;
        let info = &self.values[of];
        let output =
            Output::new(info.name.clone(), &info.shape.clone()).of(info.dtype).units(Units::Of(value));
        self.value(output, Origin::Detached(of))
    }

    /// The elements of a value, through which a gradient passes back to the parameters of the node that made it, and not to what that
    /// node reads: neighbouring parts that share a layer.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph, and for one that no node made whose gradients of inputs and of parameters can
    /// be [computed apart](Node::splits_backward).
    pub fn stop_gradient_behind(&mut self, value: Value) -> Result<Value> {
        let of = self.expect("stop_gradient_behind", value)?;
        let info = &self.values[of];
        let splits = match info.origin {
            Origin::Node { node, .. } => self.nodes[node].node.splits_backward(),
            _ => false,
        };
        if !splits {
            let wanted = "the output of a linear layer";
            return Err(Error::argument("stop_gradient_behind", "value", wanted, info.name.clone()));
        }
        let output =
            Output::new(info.name.clone(), &info.shape.clone()).of(info.dtype).units(Units::Of(value));
        self.value(output, Origin::Shallow(of))
    }

    /// Declares a parameter. Its name is relative to the scope.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that another parameter has, a shape without elements, or a block that doesn't divide the sides.
    pub fn param(&mut self, mut spec: ParamSpec) -> Result<ParamId> {
        spec.name = self.name(&spec.name);
        spec.validate()?;
        self.apply_own(&mut spec);
        spec.validate()?;
        if !self.names.insert(spec.name.clone()) {
            return Err(Error::argument("graph", "parameter", "a name of its own", spec.name));
        }
        self.matrices += u32::from(spec.matrix.is_some());
        self.params.push(spec);
        Ok(ParamId(self.params.len() - 1))
    }

    /// Adds a node, and returns its outputs.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value or parameter of another graph, a parameter that is named twice, or a buffer whose name is.
    pub fn add(&mut self, node: impl Node + 'static, wiring: Wiring) -> Result<Vec<Value>> {
        let name = self.name("");
        let kind = node.kind();
        let op = if name.is_empty() { kind.to_owned() } else { format!("{name} ({kind})") };
        for input in &wiring.inputs {
            self.expect(&op, input.value)?;
        }
        for (at, param) in wiring.params.iter().enumerate() {
            if param.0 >= self.params.len() || wiring.params[..at].contains(param) {
                return Err(Error::argument(
                    op,
                    "params",
                    "parameters of this graph, once each",
                    format!("{param:?}"),
                ));
            }
        }
        for (at, buffer) in wiring.buffers.iter().enumerate() {
            if wiring.buffers[..at].iter().any(|other| other.name == buffer.name) {
                return Err(Error::argument(op, "buffers", "names of their own", buffer.name));
            }
        }
        let at = self.nodes.len();
        let mut values = Vec::new();
        for (output, description) in wiring.outputs.iter().enumerate() {
            values.push(self.value(description.clone(), Origin::Node { node: at, output })?);
        }
        let outputs = values.iter().map(|value| value.index).collect();
        self.nodes.push(Entry { node: Box::new(node), name: op, wiring, outputs });
        Ok(values)
    }

    /// Adds a node with one output.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_one(&mut self, node: impl Node + 'static, wiring: Wiring) -> Result<Value> {
        match self.add(node, wiring)?[..] {
            [value] => Ok(value),
            ref values => Err(Error::argument("graph", "outputs", "one", values.len())),
        }
    }

    /// Makes a value an output of the network.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph, one that is an output already, or one that no node makes.
    pub fn output(&mut self, value: Value) -> Result<()> {
        let index = self.expect("output", value)?;
        let info = &self.values[index];
        if self.is_output(index) || info.output.is_none() {
            let wanted = "a node's output, once";
            return Err(Error::argument("graph", "output", wanted, info.name.clone()));
        }
        self.outputs.push(index);
        Ok(())
    }

    /// Makes a value the output of a part that is trained by a loss of its own: its head. Training goes part by part, in the order of
    /// their heads: the forward pass to the head, the loss there, and the backward pass of every node whose gradient is complete then.
    /// The outputs of the network end the last part. Predictions leave heads out.
    ///
    /// # Errors
    /// As [`Graph::output`].
    pub fn head(&mut self, value: Value) -> Result<()> {
        let index = self.expect("head", value)?;
        let info = &self.values[index];
        if self.is_output(index) || info.output.is_none() {
            return Err(Error::argument("graph", "head", "a node's output, once", info.name.clone()));
        }
        self.heads.push(index);
        Ok(())
    }

    /// Number of parts, each of which is trained by a loss of its own: 1 without [heads](Graph::head).
    pub fn parts(&self) -> usize {
        self.heads.len() + 1
    }

    /// Whether a loss is computed of the value.
    pub(super) fn is_output(&self, value: usize) -> bool {
        self.outputs.contains(&value) || self.heads.contains(&value)
    }

    /// Scans a value for NaN and infinity in reported steps, under this name; where the value stands behind a fused activation,
    /// tests also look whether all of it is 0.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn watch(&mut self, value: Value, name: &str) -> Result<()> {
        let index = self.expect("watch", value)?;
        self.values[index].watched = Some(name.to_owned());
        Ok(())
    }

    /// Whether a value is [watched](Graph::watch).
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn is_watched(&self, value: Value) -> Result<bool> {
        Ok(self.values[self.expect("is_watched", value)?].watched.is_some())
    }

    /// Shape of a value.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn shape(&self, value: Value) -> Result<&[usize]> {
        Ok(&self.values[self.expect("shape", value)?].shape)
    }

    /// Rows and columns of a value.
    ///
    /// # Errors
    /// [`Error::Argument`] in the name of `op` for a value of another graph, or of another rank.
    pub fn matrix(&self, op: &str, value: Value) -> Result<[usize; 2]> {
        let info = &self.values[self.expect(op, value)?];
        <[usize; 2]>::try_from(info.shape.as_slice()).map_err(|_| {
            let found = format!("{} of shape {:?}", info.name, info.shape);
            Error::argument(op, "input", "a matrix [rows, width]", found)
        })
    }

    /// Type that a value is stored as.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value of another graph.
    pub fn dtype(&self, value: Value) -> Result<DType> {
        Ok(self.values[self.expect("dtype", value)?].dtype)
    }

    pub(super) fn expect(&self, op: &str, value: Value) -> Result<usize> {
        if value.graph == self.id && value.index < self.values.len() {
            return Ok(value.index);
        }
        Err(Error::argument(op, "value", "of this graph", "of another"))
    }

    /// The value whose elements these are: itself, or what it was detached from.
    pub(super) fn stored(&self, mut index: usize) -> usize {
        while let Origin::Detached(of) | Origin::Shallow(of) = self.values[index].origin {
            index = of;
        }
        index
    }

    /// For each value the nodes that read its elements, and the number of the input.
    pub(super) fn readers(&self) -> Vec<Vec<(usize, usize)>> {
        let mut readers = vec![Vec::new(); self.values.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            for (number, Input { value, .. }) in node.wiring.inputs.iter().enumerate() {
                readers[self.stored(value.index)].push((at, number));
            }
        }
        readers
    }

    /// Whether any matrix is block-sparse.
    pub fn is_sparse(&self) -> bool {
        self.params.iter().any(|param| param.grid().is_some())
    }
}

/// Most elements of a value: sums of a few sizes don't overflow, and no device has room for it.
const MOST: usize = 1 << 44;
