//! Networks whose parameters another framework holds: forward and backward passes on the device, staged at the ends alone.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fretwork::gpu::{Class, Gpu, Pending, Plan, Recorder, Tensor};
use fretwork::graph::{Network as Built, Weight};
use fretwork::ops::{Step, StepValues};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};
use fretwork::{Error, Result};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods as _,
};
use pyo3::prelude::*;

use crate::device::{Owned, shared};
use crate::errors::{OrRaise as _, exception};
use crate::layers::Layers;
use crate::update::{Repeated, Updated};

/// Batch sizes whose memory and plans are kept. The last batch of an epoch, and that of an evaluation, are often of other sizes.
const PASSES: usize = 4;

/// Layers on the device.
#[pyclass(frozen, module = "fretwork._fretwork")]
pub(crate) struct Network(Mutex<Owned<State>>);

pub(crate) struct State {
    pub(crate) gpu: Gpu,
    layers: Layers,
    /// Weight and gradient of each parameter.
    pub(crate) params: Vec<[Weight; 2]>,
    pub(crate) passes: Vec<Pass>,
    /// Number of forward passes so far.
    stamp: u64,
}

/// Memory and plans for one number of rows.
pub(crate) struct Pass {
    rows: usize,
    differentiable: bool,
    pub(crate) network: Built,
    pub(crate) step: Step,
    /// Forward and backward plan outside of training, and in training; each is recorded at its first use.
    plans: [[Option<Plan>; 2]; 2],
    /// Forward pass whose activations the memory holds; 0 for none.
    pub(crate) stamp: u64,
    /// Slopes of the losses of balance at that pass, of each mixture of experts; none outside of training.
    slopes: Vec<Vec<f32>>,
}

/// Losses of balance of a mixture: auxiliary, importance, load and z, and their sum with their coefficients.
type Losses = Vec<f32>;

/// Gradients of the input, where it is differentiable, and of the parameters.
type Gradients = (Option<Vec<f32>>, Vec<Vec<f32>>);

/// [`Gradients`] as arrays.
type GradientArrays<'py> = (Option<Bound<'py, PyArray2<f32>>>, Vec<Bound<'py, PyArray1<f32>>>);

/// Draws of a pass: dropout's, in training.
#[derive(Clone, Copy)]
pub(crate) struct Draws {
    pub(crate) training: bool,
    pub(crate) index: u32,
}

impl Pass {
    fn plan(&mut self, gpu: &Gpu, training: bool, backward: bool) -> Result<&Plan> {
        let place = &mut self.plans[usize::from(training)][usize::from(backward)];
        let recorded = match place.take() {
            Some(plan) => plan,
            None => {
                let mut rec = Recorder::new(gpu);
                let step = training.then_some(&self.step);
                if backward {
                    self.network.backward(&mut rec, step)?;
                } else {
                    self.network.refresh(&mut rec, None)?;
                    self.network.forward(&mut rec, step)?;
                }
                rec.finish()?
            }
        };
        Ok(place.insert(recorded))
    }

    /// Multiplies the slopes of each mixture's losses of balance by the gradient of their sum, for the next backward pass.
    pub(crate) fn weigh_balance(&self, gpu: &Gpu, grads: &[f32]) -> Result<()> {
        let loads = self.network.loads();
        let places = loads.iter().filter_map(|load| load.slopes);
        for ((place, slopes), grad) in places.zip(&self.slopes).zip(grads) {
            let weighed: Vec<f32> = slopes.iter().map(|slope| slope * grad).collect();
            gpu.write(place, &weighed)?;
        }
        Ok(())
    }
}

impl State {
    fn new(gpu: Gpu, layers: Layers, topologies: &[Option<Topology>]) -> Result<Self> {
        let mut given = topologies.iter();
        let mut params = Vec::new();
        for param in layers.description()?.params {
            let topology = if param.blocks.is_some() { given.next().and_then(Option::as_ref) } else { None };
            let name = param.name.as_str();
            params.push(match (param.blocks, topology) {
                (None, _) => [
                    Weight::Dense(gpu.zeros::<f32>(Class::Values, name, &param.shape)?),
                    Weight::Dense(gpu.zeros::<f32>(Class::Gradients, name, &param.shape)?),
                ],
                (Some(_), Some(topology)) => {
                    let pattern = Pattern::upload(&gpu, topology)?;
                    [
                        Weight::Sparse(BlockMatrix::alloc(&gpu, Class::Values, name, &pattern)?),
                        Weight::Sparse(BlockMatrix::alloc(&gpu, Class::Gradients, name, &pattern)?),
                    ]
                }
                (Some(_), None) => {
                    let reason = format!("there is none for {name}");
                    return Err(Error::Topology { reason });
                }
            });
        }
        Ok(Self { gpu, layers, params, passes: Vec::new(), stamp: 0 })
    }

    /// Place of the pass for so many rows, which is made at its first use.
    pub(crate) fn pass(&mut self, rows: usize, differentiable: bool) -> Result<usize> {
        let fits = |pass: &Pass| (pass.rows, pass.differentiable) == (rows, differentiable);
        if let Some(place) = self.passes.iter().position(fits) {
            let pass = self.passes.remove(place);
            self.passes.push(pass);
        } else {
            if self.passes.len() == PASSES {
                self.passes.remove(0);
            }
            self.passes.push(self.build(rows, differentiable)?);
        }
        Ok(self.passes.len() - 1)
    }

    fn build(&self, rows: usize, differentiable: bool) -> Result<Pass> {
        let gpu = &self.gpu;
        let graph = self.layers.graph(rows, differentiable)?;
        let network = Built::with_params(gpu, graph, self.params.clone())?;
        let step = Step::new(gpu, StepValues::backward(0, 1.0))?;
        Ok(Pass {
            rows,
            differentiable,
            plans: Default::default(),
            network,
            step,
            stamp: 0,
            slopes: Vec::new(),
        })
    }

    /// Runs the forward pass, and returns its place and stamp, and in training the losses of balance of each mixture.
    pub(crate) fn forward(
        &mut self,
        x: &[f32],
        rows: usize,
        differentiable: bool,
        draws: Draws,
    ) -> Result<(usize, u64, Vec<Losses>)> {
        let place = self.pass(rows, differentiable)?;
        self.stamp += 1;
        let (gpu, pass) = (&self.gpu, &mut self.passes[place]);
        gpu.write(pass.network.input(), x)?;
        pass.step.write(gpu, StepValues::backward(draws.index, 1.0))?;
        gpu.run(pass.plan(gpu, draws.training, false)?)?;
        let loads = if draws.training { pass.network.loads() } else { Vec::new() };
        let balance = loads.iter().filter_map(|load| load.losses.zip(load.slopes));
        let reads = balance.map(|(losses, slopes)| -> Result<_> {
            Ok([gpu.read::<f32>(losses)?, gpu.read::<f32>(slopes)?])
        });
        let mut losses = Vec::new();
        pass.slopes.clear();
        for [of, slopes] in reads.collect::<Result<Vec<_>>>()? {
            losses.push(of.wait()?);
            pass.slopes.push(slopes.wait()?);
        }
        pass.stamp = self.stamp;
        Ok((place, self.stamp, losses))
    }

    /// Runs the backward pass of the forward pass with this stamp, which is repeated where its activations are gone. `balance` has the
    /// gradient of each mixture's losses of balance, in training. Returns the gradients of the input and of the parameters.
    fn backward(
        &mut self,
        stamp: u64,
        [x, dy]: [&[f32]; 2],
        rows: usize,
        differentiable: bool,
        draws: Draws,
        balance: &[f32],
    ) -> Result<Gradients> {
        let mut place = self.pass(rows, differentiable)?;
        if self.passes[place].stamp != stamp {
            (place, ..) = self.forward(x, rows, differentiable, draws)?;
        }
        let (gpu, pass) = (&self.gpu, &mut self.passes[place]);
        pass.weigh_balance(gpu, balance)?;
        gpu.write(pass.network.output_grads()[0], dy)?;
        gpu.run(pass.plan(gpu, draws.training, true)?)?;
        // The backward pass may have reused the memory of activations.
        pass.stamp = 0;
        let read = |tensor: &Tensor| gpu.read::<f32>(tensor);
        let dx = pass.network.input_grad(0).map(read).transpose()?;
        let grads = self.params.iter().map(|[_, grad]| read(grad.values())).collect::<Result<Vec<_>>>()?;
        let dx = dx.map(Pending::wait).transpose()?;
        Ok((dx, grads.into_iter().map(Pending::wait).collect::<Result<_>>()?))
    }
}

/// Index arrays of a block-CSR topology: `crow_indices` and `col_indices`.
pub(crate) type Index<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>);

/// The topology of an index.
pub(crate) fn topology(
    [rows, cols]: [usize; 2],
    block: usize,
    (crow, col): &Index<'_>,
) -> PyResult<Topology> {
    let words = |name: &'static str, index: &PyReadonlyArray1<'_, i64>| -> PyResult<Vec<u32>> {
        let index = index.as_array();
        let word = |&index: &i64| u32::try_from(index);
        let words: std::result::Result<Vec<u32>, _> = index.iter().map(word).collect();
        words.map_err(|_| {
            exception("TopologyError", format!("topology: {name} has an index below 0 or beyond 2^32"))
        })
    };
    Topology::from_csr(rows, cols, block, &words("crow_indices", crow)?, &words("col_indices", col)?)
        .or_raise()
}

/// The numbers of a contiguous array.
pub(crate) fn contiguous<'a, D: numpy::ndarray::Dimension>(
    name: &str,
    array: &'a numpy::PyReadonlyArray<'_, f32, D>,
) -> PyResult<&'a [f32]> {
    array
        .as_slice()
        .map_err(|_| exception("ArgumentError", format!("{name}: should be contiguous, but is not")))
}

impl Network {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            work(state.get()?).or_raise()
        })
    }
}

#[pymethods]
impl Network {
    /// Layers from their JSON, with a topology for each sparse matrix in order. Parameters are zeros until they are written.
    #[new]
    fn new(py: Python<'_>, layers: &str, topologies: Vec<Index<'_>>) -> PyResult<Self> {
        let layers = Layers::of_json(layers).or_raise()?;
        let description = layers.description().or_raise()?;
        let sparse = description.params.iter().filter_map(|param| Some((param, param.blocks?.block)));
        let given: PyResult<Vec<_>> = sparse
            .zip(&topologies)
            .map(|((param, block), index)| topology([param.shape[0], param.shape[1]], block, index).map(Some))
            .collect();
        let given = given?;
        let gpu = py.detach(shared)?;
        let state = py.detach(|| State::new(gpu, layers, &given)).or_raise()?;
        Ok(Self(Mutex::new(Owned::new(state))))
    }

    /// Writes the values of parameter number `index`, in row order of the blocks.
    fn write(&self, py: Python<'_>, index: usize, values: PyReadonlyArray1<'_, f32>) -> PyResult<()> {
        let values = contiguous("values", &values)?;
        self.with(py, |state| state.gpu.write(state.params[index][0].values(), values))
    }

    /// Replaces the topology of parameter number `index` by one of as many blocks.
    fn set_topology(&self, py: Python<'_>, index: usize, of: Index<'_>) -> PyResult<()> {
        let sides = self.with(py, |state| {
            let pattern = state.params[index][0].sparse().map(BlockMatrix::pattern);
            Ok(pattern.map(|pattern| ([pattern.rows(), pattern.cols()], pattern.block())))
        })?;
        let Some((sides, block)) = sides else {
            return Err(exception("ArgumentError", "the parameter is dense and has no topology".to_owned()));
        };
        let topology = topology(sides, block, &of)?;
        self.with(py, |state| match state.params[index][0].sparse() {
            Some(matrix) => matrix.pattern().replace(&state.gpu, &topology),
            None => Ok(()),
        })
    }

    /// Forward pass of `x` `[rows, width]`: the output, a stamp for [`Network::backward`], and in `training` the losses of balance of each
    /// mixture. In `training`, dropout draws for step `index`.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'_, f32>,
        differentiable: bool,
        training: bool,
        index: u32,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, u64, Vec<Losses>)> {
        let (rows, draws) = (x.shape()[0], Draws { training, index });
        let x = contiguous("input", &x)?;
        let (y, width, stamp, losses) = self.with(py, |state| {
            let (place, stamp, losses) = state.forward(x, rows, differentiable, draws)?;
            let y = state.passes[place].network.logits();
            Ok((state.gpu.read::<f32>(y)?.wait()?, y.shape()[1], stamp, losses))
        })?;
        Ok((PyArray1::from_vec(py, y).reshape([rows, width])?, stamp, losses))
    }

    /// Backward pass: gradients of the input, if it is differentiable, and of the parameters, flat. `balance` has the gradients of the
    /// mixtures' losses.
    #[expect(clippy::too_many_arguments, reason = "a pass, its input and its gradients")]
    fn backward<'py>(
        &self,
        py: Python<'py>,
        stamp: u64,
        x: PyReadonlyArray2<'_, f32>,
        dy: PyReadonlyArray2<'_, f32>,
        differentiable: bool,
        training: bool,
        index: u32,
        balance: Vec<f32>,
    ) -> PyResult<GradientArrays<'py>> {
        let ([rows, width], draws) = ([x.shape()[0], x.shape()[1]], Draws { training, index });
        let (x, dy) = (contiguous("input", &x)?, contiguous("gradient", &dy)?);
        let (dx, grads) =
            self.with(py, |state| state.backward(stamp, [x, dy], rows, differentiable, draws, &balance))?;
        let dx = dx.map(|dx| PyArray1::from_vec(py, dx).reshape([rows, width])).transpose()?;
        Ok((dx, grads.into_iter().map(|grad| PyArray1::from_vec(py, grad)).collect()))
    }

    /// Seconds of a forward and a backward pass of `rows` rows on the device, without staging: the mean of `count`, behind one that
    /// compiles.
    fn seconds(&self, py: Python<'_>, rows: usize, differentiable: bool, count: u32) -> PyResult<f64> {
        self.with(py, |state| {
            let place = state.pass(rows, differentiable)?;
            let (gpu, pass) = (&state.gpu, &mut state.passes[place]);
            pass.stamp = 0;
            let mut run = || {
                gpu.run(pass.plan(gpu, false, false)?)?;
                gpu.run(pass.plan(gpu, false, true)?)?;
                gpu.finish()
            };
            run()?;
            let began = Instant::now();
            (0..count).try_for_each(|_| run())?;
            Ok(began.elapsed().as_secs_f64() / f64::from(count.max(1)))
        })
    }

    /// Repeats the passes of a step with the gradient `dy` of its output, and exchanges a share of the blocks of parameter number `index`
    /// by the method `name`. Returns topology, values and the optimizer's state, which came as `state`.
    #[expect(clippy::too_many_arguments, reason = "a step, its layer and the method")]
    fn update(
        &self,
        py: Python<'_>,
        name: &str,
        index: usize,
        x: PyReadonlyArray2<'_, f32>,
        dy: PyReadonlyArray2<'_, f32>,
        training: bool,
        draw: u32,
        balance: Vec<f32>,
        share: f64,
        state: Vec<PyReadonlyArray1<'_, f32>>,
        step: u64,
        seed: u64,
    ) -> PyResult<Updated> {
        let (rows, draws) = (x.shape()[0], Draws { training, index: draw });
        let (x, dy) = (contiguous("input", &x)?, contiguous("gradient", &dy)?);
        let state = state.iter().map(|part| contiguous("state", part)).collect::<PyResult<Vec<_>>>()?;
        self.with(py, |network| {
            let pass = Repeated { x, dy, rows, draws, balance: &balance };
            network.update(name, index, pass, share, &state, [step, seed])
        })
    }
}

/// Name, shape and side of a block of a parameter.
type Parameter = (String, Vec<usize>, Option<usize>);

/// Parameters of layers: name, shape with every element present, and the side of a block or none.
#[pyfunction]
pub(crate) fn parameters(layers: &str) -> PyResult<Vec<Parameter>> {
    let description = Layers::of_json(layers).or_raise()?.description().or_raise()?;
    Ok(description
        .params
        .into_iter()
        .map(|p| (p.name, p.shape, p.blocks.map(|blocks| blocks.block)))
        .collect())
}

/// Random topologies of the sparse matrices of layers: `crow_indices` and `col_indices` of each.
#[pyfunction]
pub(crate) fn topologies(py: Python<'_>, layers: &str) -> PyResult<Vec<(Vec<u32>, Vec<u32>)>> {
    let layers = Layers::of_json(layers).or_raise()?;
    let drawn = py.detach(|| layers.topologies()).or_raise()?;
    Ok(drawn.iter().flatten().map(Topology::csr).collect())
}
