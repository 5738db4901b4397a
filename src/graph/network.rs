//! Networks: a graph with its parameters and the memory of one batch on a device.

use super::arena::{self, Arena};
use super::build::Graph;
use super::hook::{BackwardHook, GradientReady};
use super::layout::{Action, Layout, StorageId, Watched, WeightGrad};
use super::memory::Memory;
use super::node::Load;
use super::param::{Identity, Param, Weight, first_values};
use super::pass::{Backward, Forward, dropping};
use super::planner::Planner;
use super::spec::{FanIn, ParamId, ParamSpec};
use super::store::ParamStore;
use crate::gpu::{Gpu, Mark, Recorder, Tensor};
use crate::ops::{self, Rounding, Step};
use crate::sparse::Topology;
use crate::{Error, Result};

/// A graph on a device: its parameters, and the memory that one batch passes through.
#[derive(Debug)]
pub struct Network {
    graph: Graph,
    memory: Memory,
    store: ParamStore,
}

/// Kind of the [marks](Mark) where a parameter's gradient is complete.
pub const GRADIENT: &str = "gradient";

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

    fn tensor(&self, storage: StorageId) -> &Tensor {
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

    /// Number of parts that are trained one after the other, each by a loss of its own: 1 for a graph without [heads](Graph::head).
    pub fn parts(&self) -> usize {
        self.memory.layout.parts.len()
    }

    /// Outputs that the loss of a part reads: its head, or, of the last part, the [outputs](Network::outputs).
    pub fn part_outputs(&self, part: usize) -> Vec<&Tensor> {
        match self.memory.layout.heads.get(part) {
            Some(&[output, _]) => vec![self.tensor(output)],
            None => self.outputs(),
        }
    }

    /// Gradients of [those](Network::part_outputs), which the loss of the part writes between its passes.
    pub fn part_output_grads(&self, part: usize) -> Vec<&Tensor> {
        match self.memory.layout.heads.get(part) {
            Some(&[_, grad]) => vec![self.tensor(grad)],
            None => self.output_grads(),
        }
    }

    /// Records the forward pass, with weights as of the last [refresh](Network::refresh), without heads. A `step` means training:
    /// dropout and gates draw for that step.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        (0..self.parts()).try_for_each(|part| self.predict_part(rec, part, step))
    }

    /// Records the forward pass of a part and its head, for the part's loss. Parts follow each other, each with its backward pass,
    /// since the next one takes the memory of its values.
    ///
    /// # Errors
    /// As the operations.
    pub fn forward_part(&self, rec: &mut Recorder<'_>, part: usize, step: Option<&Step>) -> Result<()> {
        self.record_forward(rec, part, step, true)
    }

    /// Records the forward pass of a part without its head. The values of the part are there until the next part is recorded.
    ///
    /// # Errors
    /// As the operations.
    pub(crate) fn predict_part(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
    ) -> Result<()> {
        self.record_forward(rec, part, step, false)
    }

    fn record_forward(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
        heads: bool,
    ) -> Result<()> {
        let layout = &self.memory.layout;
        for action in &layout.parts[part].forward {
            match action {
                Action::Node(node) if layout.head_nodes[*node] && !heads => {}
                Action::Node(node) => {
                    let mut pass = self.pass(*node, step);
                    if let Some(first) = &layout.first[*node] {
                        pass.layout = first;
                    }
                    self.graph.nodes[*node].node.forward(rec, &pass)?;
                }
                other => self.record(rec, other, step)?,
            }
        }
        Ok(())
    }

    /// Records the backward pass, from the gradients of the outputs to those of all parameters and of inputs whose gradient was
    /// asked for. With a `step`, through the draws of the forward pass.
    ///
    /// # Errors
    /// [`Error::Argument`] for a network of several [parts](Network::parts), and as the operations.
    pub fn backward(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.backward_with(rec, step, &mut |_, _| Ok(()))
    }

    /// Records the backward pass, and what `hook` records where a parameter's gradient is complete: the factors of the gradient
    /// are still there, and nothing later in the pass reads the parameter.
    ///
    /// # Errors
    /// The errors of [`Network::backward`], and those of `hook`.
    pub fn backward_with(
        &self,
        rec: &mut Recorder<'_>,
        step: Option<&Step>,
        hook: &mut BackwardHook<'_>,
    ) -> Result<()> {
        self.expect_one_part("backward")?;
        self.backward_part_with(rec, 0, step, hook)
    }

    /// Refuses a pass of the whole network at once, where there are several parts.
    fn expect_one_part(&self, pass: &'static str) -> Result<()> {
        match self.parts() {
            1 => Ok(()),
            parts => {
                let wanted = "a network of one part; others are trained part by part, by forward_part and backward_part";
                Err(Error::argument("network", pass, wanted, format!("{parts} parts")))
            }
        }
    }

    /// Records the backward pass of a part, behind its forward pass and its loss: gradients that no loss of a later part reaches.
    ///
    /// # Errors
    /// As the operations.
    pub fn backward_part(&self, rec: &mut Recorder<'_>, part: usize, step: Option<&Step>) -> Result<()> {
        self.backward_part_with(rec, part, step, &mut |_, _| Ok(()))
    }

    /// Records [`Network::backward_part`], and calls `hook` for each gradient as [`Network::backward_with`] does.
    ///
    /// # Errors
    /// As the operations, and as `hook`.
    pub fn backward_part_with(
        &self,
        rec: &mut Recorder<'_>,
        part: usize,
        step: Option<&Step>,
        hook: &mut BackwardHook<'_>,
    ) -> Result<()> {
        let layout = &self.memory.layout;
        let mut left: Vec<usize> = vec![0; self.store.len()];
        for action in layout.parts[part..].iter().flat_map(|part| &part.backward) {
            if let Action::Node(node) = action {
                let params = &self.graph.nodes[*node].wiring.params;
                params.iter().for_each(|param| left[param.index()] += 1);
            }
        }
        for action in &layout.parts[part].backward {
            let &Action::Node(node) = action else {
                self.record(rec, action, step)?;
                continue;
            };
            let params = &self.graph.nodes[node].wiring.params;
            let places = &layout.nodes[node].weight_grads;
            let part = |(&param, place): (&ParamId, &WeightGrad)| {
                let weight = self.store.get(param).weight();
                (*place == WeightGrad::Part).then(|| weight.grad(rec.gpu(), "part of a gradient")).transpose()
            };
            let parts = params.iter().zip(places).map(part).collect::<Result<Vec<_>>>()?;
            let forward = self.pass(node, step);
            let mut mark = |rec: &mut Recorder<'_>, ready: GradientReady<'_>| {
                let param = self.store.get(ready.param);
                hook(rec, ready)?;
                rec.mark(Mark {
                    kind: GRADIENT,
                    name: param.name().to_owned(),
                    tensor: Some(param.grads().clone()),
                })
            };
            let mut pass = Backward { forward, grads: &parts, hook: &mut mark };
            self.graph.nodes[node].node.backward(rec, &mut pass)?;
            for (&param, part) in params.iter().zip(&parts).filter(|(param, _)| layout.is_shared(**param)) {
                if let Some(part) = part {
                    ops::blend(rec, part.values(), self.store.get(param).grads(), [1.0, 1.0])?;
                }
                left[param.index()] -= 1;
                if left[param.index()] == 0 {
                    mark(rec, GradientReady { param, signals: None })?;
                }
            }
        }
        Ok(())
    }

    /// Records the gradients of a node's inputs alone.
    fn record_inputs(&self, rec: &mut Recorder<'_>, node: usize, step: Option<&Step>) -> Result<()> {
        let Some(layout) = &self.memory.layout.flows[node] else { return Ok(()) };
        let forward = Forward { layout, ..self.pass(node, step) };
        let mut pass = Backward { forward, grads: &[], hook: &mut |_, _| Ok(()) };
        self.graph.nodes[node].node.backward(rec, &mut pass)
    }

    /// The pass of a node.
    fn pass<'a>(&'a self, node: usize, step: Option<&'a Step>) -> Forward<'a> {
        let entry = &self.graph.nodes[node];
        Forward {
            name: &entry.name,
            wiring: &entry.wiring,
            layout: &self.memory.layout.nodes[node],
            memory: &self.memory,
            store: &self.store,
            step,
        }
    }

    fn record(&self, rec: &mut Recorder<'_>, action: &Action, step: Option<&Step>) -> Result<()> {
        match *action {
            Action::Node(_) | Action::Loss { .. } => Ok(()),
            Action::Inputs(node) => self.record_inputs(rec, node, step),
            Action::Again(node) => self.graph.nodes[node].node.forward(rec, &self.pass(node, step)),
            Action::Cast { from, to } => {
                ops::convert(rec, self.tensor(from), self.tensor(to), Rounding::Nearest)
            }
            Action::Root { from, to } => {
                let (from, to) = (self.tensor(from), self.tensor(to));
                match step.and_then(Step::scale) {
                    Some(scale) => ops::scale_gradient(rec, from, to, scale),
                    None if from.dtype() == to.dtype() => ops::blend(rec, from, to, [1.0, 0.0]),
                    None => ops::convert(rec, from, to, Rounding::Nearest),
                }
            }
            Action::Add { from, to } => ops::blend(rec, self.tensor(from), self.tensor(to), [1.0, 1.0]),
            Action::Copy { from, to } => ops::blend(rec, self.tensor(from), self.tensor(to), [1.0, 0.0]),
            Action::Zero(storage) => ops::fill(rec, self.tensor(storage), 0),
            Action::Activation { through, from, to } => ops::activation_backward(
                rec,
                self.tensor(from),
                self.tensor(through.at),
                self.tensor(to),
                through.fused.activation,
                dropping(&through.fused, step),
            ),
        }
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
