//! Networks: a graph with its parameters and the memory of one batch on a device.

use super::arena::{self, Arena};
use super::build::Graph;
use super::layout::{Layout, StorageId, Watched};
use super::memory::Memory;
use super::node::Load;
use super::param::{Identity, Param, Weight, first_values};
use super::planner::Planner;
use super::spec::{FanIn, ParamId, ParamSpec};
use super::store::ParamStore;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::ops::{self, Step};
use crate::sparse::Topology;
use crate::{Error, Result};

/// A graph on a device: its parameters, and the memory that one batch passes through.
#[derive(Debug)]
pub struct Network {
    pub(super) graph: Graph,
    pub(super) memory: Memory,
    pub(super) store: ParamStore,
}

impl Graph {
    /// First values of each parameter as [`Network::new`] draws them: whole shapes, or blocks in slot order.
    pub(crate) fn first_values(&self, start: Start<'_>) -> Vec<Vec<f32>> {
        let streams = self.streams();
        let mut topologies = start.topologies.iter();
        let values = |(at, spec): (usize, &ParamSpec)| {
            let identity = Identity { id: ParamId(at), stream: streams[at], seed: self.seed };
            let topology =
                if spec.matrix.is_some() { topologies.next().and_then(Option::as_ref) } else { None };
            first_values(spec, identity, topology, start.fan_in)
        };
        self.params.iter().enumerate().map(values).collect()
    }
}

/// How the parameters of a network begin.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Fan-in that weights are drawn for.
    pub fan_in: FanIn,
    /// Topology of each matrix, as [`Graph::topologies`] draws them; `None` for dense ones.
    pub topologies: &'a [Option<Topology>],
    /// Whether no matrix ever gets another number of blocks. All parameters then lie in one buffer, as far as a binding reaches, and
    /// one dispatch updates them.
    pub fixed: bool,
}

impl Network {
    /// A network with drawn weights, and memory for one batch.
    ///
    /// # Errors
    /// [`Error::Argument`] for a graph that makes no network, before anything is allocated, and for topologies that don't fit;
    /// [`Error::OutOfMemory`].
    pub fn new(gpu: &Gpu, graph: Graph, start: Start<'_>) -> Result<Self> {
        let layout = Planner::plan(&graph)?;
        let streams = graph.streams();
        let matrices = graph.params.iter().filter(|param| param.matrix.is_some()).count();
        if matrices != start.topologies.len() {
            return Err(Error::argument("network", "topologies", matrices, start.topologies.len()));
        }
        let mut given = start.topologies.iter();
        let mut topology =
            |spec: &ParamSpec| if spec.matrix.is_some() { given.next()?.as_ref() } else { None };
        let topologies: Vec<Option<&Topology>> = graph.params.iter().map(&mut topology).collect();
        for (spec, topology) in graph.params.iter().zip(&topologies) {
            if topology.is_some() != spec.grid().is_some() {
                let [wanted, found] = [spec.grid().is_some(), topology.is_some()]
                    .map(|sparse| if sparse { "a topology" } else { "none" });
                return Err(Error::argument(&spec.name, "topology", wanted, found));
            }
            if let (Some(topology), Some(blocks)) = (topology, spec.blocks()) {
                let (wanted, found) = (&spec.shape, [topology.rows(), topology.cols()]);
                if found != **wanted {
                    return Err(Error::argument(
                        &spec.name,
                        "topology",
                        format!("{wanted:?}"),
                        format!("{found:?}"),
                    ));
                }
                if topology.block() != blocks.block {
                    let wanted = format!("of blocks of {}", blocks.block);
                    return Err(Error::argument(
                        &spec.name,
                        "topology",
                        wanted,
                        format!("of {}", topology.block()),
                    ));
                }
            }
        }
        let (places, extents) = arena::plan(gpu, &graph.params, &topologies, start.fixed)?;
        let arenas =
            extents.into_iter().map(|extents| Arena::new(gpu, extents)).collect::<Result<Vec<_>>>()?;
        let mut params = Vec::new();
        for (at, (spec, topology)) in graph.params.iter().zip(topologies).enumerate() {
            let identity = Identity { id: ParamId(at), stream: streams[at], seed: graph.seed };
            let shape = spec.stored_shape(topology);
            let tensors = places[at].map(|place| arenas[place.arena].tensors(place, &shape)).transpose()?;
            params.push(Param::draw(gpu, spec, identity, topology, start.fan_in, tensors)?);
        }
        Self::of(gpu, graph, layout, ParamStore::new(params, arenas, places))
    }

    /// A network of parameters that exist already: one weight and gradient for each parameter of the graph, in order. They may be
    /// a caller's.
    ///
    /// # Errors
    /// As [`Network::new`], and [`Error::Argument`] for tensors of another shape, or another number of them.
    pub fn with_params(gpu: &Gpu, graph: Graph, weights: Vec<[Weight; 2]>) -> Result<Self> {
        if weights.len() != graph.params.len() {
            return Err(Error::argument("network", "weights", graph.params.len(), weights.len()));
        }
        let layout = Planner::plan(&graph)?;
        let streams = graph.streams();
        let mut params = Vec::new();
        for (at, (spec, [weight, grad])) in graph.params.iter().zip(weights).enumerate() {
            let shape = match &weight {
                Weight::Dense(values) => values.shape().to_vec(),
                Weight::Sparse(matrix) => vec![matrix.pattern().rows(), matrix.pattern().cols()],
            };
            if shape != spec.shape || weight.sparse().is_some() != spec.grid().is_some() {
                let wanted =
                    format!("{:?}, {}", spec.shape, if spec.grid().is_some() { "sparse" } else { "dense" });
                return Err(Error::argument(&spec.name, "weight", wanted, format!("{shape:?}")));
            }
            grad.values().expect_shape(&spec.name, "gradient", weight.values().shape())?;
            let identity = Identity { id: ParamId(at), stream: streams[at], seed: graph.seed };
            params.push(Param::of(gpu, spec, identity, [weight, grad], None)?);
        }
        let places = vec![None; params.len()];
        Self::of(gpu, graph, layout, ParamStore::new(params, Vec::new(), places))
    }

    fn of(gpu: &Gpu, mut graph: Graph, layout: Layout, mut store: ParamStore) -> Result<Self> {
        store.round(graph.precision, graph.seed);
        let memory = Memory::new(gpu, layout)?;
        for node in &mut graph.nodes {
            node.node.bind(gpu)?;
        }
        Ok(Self { graph, memory, store })
    }

    /// The description that the network was made from.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The parameters.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// Gives every parameter optimizer state of zeros, a tensor for each name. Plans that were recorded before keep the old state.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn allocate_state(&mut self, gpu: &Gpu, names: &[&str]) -> Result<()> {
        self.store.allocate_state(gpu, names)
    }

    /// The parameters, to be changed.
    pub(crate) fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.store
    }

    /// Matrices of products, in the order in which signals pass them.
    pub fn layers(&self) -> Vec<&Param> {
        self.store.matrices().collect()
    }

    /// All parameters.
    pub fn parameters(&self) -> Vec<&Param> {
        self.store.iter().collect()
    }

    /// Stored elements of all parameters, but for those of heads.
    pub fn params_present(&self) -> usize {
        let params = self.store.iter().zip(self.graph.head_params()).filter(|(_, of_heads)| !of_heads);
        params.map(|(param, _)| param.values().len()).sum()
    }

    pub(super) fn tensor(&self, storage: StorageId) -> &Tensor {
        self.memory.tensor(storage)
    }

    /// Inputs by name, in the order in which they were declared.
    pub fn inputs(&self) -> Vec<(&str, &Tensor)> {
        let input = |&index: &usize| {
            (self.graph.values[index].name.as_str(), self.tensor(self.memory.layout.values[index]))
        };
        self.graph.inputs.iter().map(input).collect()
    }

    /// The first input: `[rows, features]`, or `[rows]` of indices.
    pub fn input(&self) -> &Tensor {
        self.tensor(self.memory.layout.values[self.graph.inputs[0]])
    }

    /// Gradient of an input, by its number, as the last backward pass left it; `None` where none was asked for. Where the step
    /// has a [scale](Step::scale), the gradient is times that.
    pub fn input_grad(&self, number: usize) -> Option<&Tensor> {
        self.memory.layout.input_grads.get(number).copied().flatten().map(|storage| self.tensor(storage))
    }

    /// Outputs, in order.
    pub fn outputs(&self) -> Vec<&Tensor> {
        self.graph.outputs.iter().map(|&index| self.tensor(self.memory.layout.values[index])).collect()
    }

    /// Gradients of the outputs, in order, f32: whoever knows the loss writes them before the backward pass.
    pub fn output_grads(&self) -> Vec<&Tensor> {
        self.memory.layout.output_grads.iter().map(|&storage| self.tensor(storage)).collect()
    }

    /// Shapes of the outputs, in order.
    pub fn output_shapes(&self) -> Vec<Vec<usize>> {
        self.outputs().into_iter().map(|output| output.shape().to_vec()).collect()
    }

    /// The first output, `[rows, classes]` of a classifier.
    pub fn logits(&self) -> &Tensor {
        self.tensor(self.memory.layout.values[self.graph.outputs[0]])
    }

    /// Gradient of the first output.
    pub fn logits_grad(&self) -> &Tensor {
        self.tensor(self.memory.layout.output_grads[0])
    }

    /// State that steps change besides parameters, by name. A checkpoint keeps it.
    pub fn state(&self) -> Vec<(String, &Tensor)> {
        self.graph.nodes.iter().flat_map(|node| node.node.state()).collect()
    }

    /// Loads of the mixtures of experts.
    pub fn loads(&self) -> Vec<Load<'_>> {
        self.graph.nodes.iter().filter_map(|node| node.node.load()).collect()
    }

    /// Kinds of the nodes, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.graph.nodes.iter().map(|node| node.node.kind()).collect()
    }

    /// Records the f16 copies of weights that products read: after any change of weights, and before the first pass.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device without half precision.
    pub fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.store.refresh(rec, step)
    }

    /// Watched values behind an activation, and the outputs, by name: tests look whether any of them carries no signal. The outputs
    /// come last.
    pub fn activations(&self) -> Vec<(String, &Tensor)> {
        self.activations_by_part().into_iter().map(|(_, name, tensor)| (name, tensor)).collect()
    }

    /// The [activations](Network::activations), each with the part whose forward pass computes it.
    pub(crate) fn activations_by_part(&self) -> Vec<(usize, String, &Tensor)> {
        let mut activations = Vec::new();
        for &Watched { value: index, part, .. } in &self.memory.layout.watched {
            let value = &self.graph.values[index];
            let fused = value.output.as_ref().is_some_and(|output| output.fused.is_some());
            if let (Some(name), true, false) = (&value.watched, fused, self.graph.is_output(index)) {
                activations.push((part, name.clone(), self.tensor(self.memory.layout.values[index])));
            }
        }
        let last = self.parts() - 1;
        let output = |&index: &usize| {
            (last, self.graph.values[index].name.clone(), self.tensor(self.memory.layout.values[index]))
        };
        activations.extend(self.graph.outputs.iter().map(output));
        activations
    }

    /// Names of what [`Network::scan`] looks at: the watched values, then the layers.
    pub fn stages(&self) -> Vec<String> {
        let watched = self.memory.layout.watched.iter();
        let watched = watched.filter_map(|watched| self.graph.values[watched.value].watched.clone());
        watched.chain(self.store.matrices().map(|param| param.layer().to_owned())).collect()
    }

    /// Records scans for NaN and infinity, a word of `status` for each of the [stages](Network::stages): bit 0 for a watched value,
    /// bit 1 for the gradient of a layer's weight. Gradients aren't scanned in half precision, where one that is too large costs a
    /// step and is no failure.
    ///
    /// # Errors
    /// [`Error::Argument`] if `status` has fewer words than there are stages, and for a network of several [parts](Network::parts).
    pub fn scan(&self, rec: &mut Recorder<'_>, status: &Tensor) -> Result<()> {
        self.expect_one_part("scan")?;
        self.scan_part(rec, 0, status)
    }

    /// Records the scans of a part behind its passes, and, behind the last part, those of the gradients.
    ///
    /// # Errors
    /// [`Error::Argument`] if `status` has fewer words than there are stages.
    pub(crate) fn scan_part(&self, rec: &mut Recorder<'_>, part: usize, status: &Tensor) -> Result<()> {
        let watched = &self.memory.layout.watched;
        for (word, of) in watched.iter().enumerate().filter(|(_, of)| of.part == part) {
            ops::finite(rec, self.tensor(of.storage), status, word, 1)?;
        }
        if self.graph.precision.half().is_none() && part + 1 == self.parts() {
            for (at, param) in self.store.matrices().enumerate() {
                ops::finite(rec, param.grads(), status, watched.len() + at, 2)?;
            }
        }
        Ok(())
    }
}
