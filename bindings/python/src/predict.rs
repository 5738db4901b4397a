//! Trained networks that predict.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fretwork::data::{Encoding, Features, Task};
use fretwork::gpu::{Gpu, Options};
use fretwork::train::{Checkpoint, Predictor as Network, RunFolder};
use numpy::{PyArray1, PyArray2, PyArrayMethods as _, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::device::{Owned, claim, shared};
use crate::errors::{OrRaise as _, exception};

/// A trained network with the encoding of its data.
#[pyclass(frozen, module = "fretwork._fretwork")]
pub(crate) struct Predictor {
    network: Mutex<Owned<Network>>,
    /// Settings of the run as JSON.
    #[pyo3(get)]
    settings: String,
    /// Encoding of the data as JSON, or none.
    #[pyo3(get)]
    encoding: Option<String>,
    /// Names of the classes in the order of the outputs; none for a regression.
    #[pyo3(get)]
    classes: Vec<String>,
    /// Steps done.
    #[pyo3(get)]
    steps: u64,
}

/// Name, shape, side of a block, index of the pattern and values of a parameter.
type Parameter<'py> = (String, Vec<usize>, Option<usize>, (Vec<u32>, Vec<u32>), Bound<'py, PyArray1<f32>>);

/// Rows to predict.
#[derive(FromPyObject)]
enum Rows<'py> {
    /// Bytes of a CSV file.
    #[pyo3(transparent)]
    Csv(Bound<'py, PyBytes>),
    /// Path of a file.
    #[pyo3(transparent)]
    File(PathBuf),
    /// Numbers in the units of the data, `[rows, columns]`.
    #[pyo3(transparent)]
    Numbers(PyReadonlyArray2<'py, f64>),
    /// Features as the network reads them, `[rows, width]`.
    #[pyo3(transparent)]
    Encoded(PyReadonlyArray2<'py, f32>),
}

impl Predictor {
    fn new(network: Network) -> PyResult<Self> {
        let checkpoint = network.checkpoint();
        let json = |error: serde_json::Error| exception("Error", error.to_string());
        let encoding = checkpoint.encoding.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
        let settings = serde_json::to_string(&checkpoint.settings).map_err(json)?;
        let (steps, classes) = (checkpoint.position.step, network.classes());
        Ok(Self { network: Mutex::new(Owned::new(network)), settings, encoding, classes, steps })
    }

    /// Runs `work` on the network, detached from the interpreter.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Network) -> fretwork::Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| {
            claim()?;
            let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
            work(network.get()?).or_raise()
        })
    }

    fn features(&self, py: Python<'_>, rows: Rows<'_>) -> PyResult<Features> {
        let not_contiguous =
            |_| exception("ArgumentError", "rows: should be contiguous, but are not".to_owned());
        match rows {
            Rows::Encoded(rows) => Ok(Features::Floats(rows.as_slice().map_err(not_contiguous)?.to_vec())),
            Rows::Numbers(rows) => {
                let numbers = rows.as_slice().map_err(not_contiguous)?.to_vec();
                self.with(py, |network| network.encoding()?.of_numbers(&numbers))
            }
            Rows::Csv(bytes) => {
                let bytes = bytes.as_bytes().to_vec();
                self.with(py, |network| match network.encoding()? {
                    Encoding::Table(table) => table.of_csv(&bytes),
                    Encoding::Images { .. } => Err(fretwork::Error::Config {
                        option: "rows",
                        reason: "the run is of images, but a table is given; give an array of pixels"
                            .to_owned(),
                    }),
                })
            }
            Rows::File(path) => self.with(py, |network| network.encoding()?.features(&path)),
        }
    }
}

#[pymethods]
impl Predictor {
    /// The network of a run folder, on a device of its own choice.
    #[staticmethod]
    fn open(py: Python<'_>, folder: PathBuf, adapter: Option<String>) -> PyResult<Self> {
        py.detach(|| {
            claim()?;
            let folder = RunFolder::inspect(&folder).or_raise()?;
            let gpu = match adapter {
                Some(_) => Gpu::request(Options { adapter, ..Options::default() }).or_raise()?,
                None => shared()?,
            };
            Self::new(Network::open(&gpu, &folder).or_raise()?)
        })
    }

    /// The network of a checkpoint's bytes, on the shared device.
    #[staticmethod]
    fn of_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        py.detach(|| {
            let (gpu, path) = (shared()?, PathBuf::from("of the estimator"));
            let checkpoint = Checkpoint::from_bytes(&path, bytes).or_raise()?;
            Self::new(Network::of_checkpoint(&gpu, checkpoint, &path).or_raise()?)
        })
    }

    /// Parameters of the network: name, shape with every element present, side of a block or none, index of the pattern of active blocks,
    /// and their values in row order, flat.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Vec<Parameter<'py>>> {
        let found = self.with(py, |network| {
            let (checkpoint, path) = (network.checkpoint(), PathBuf::from("of the network"));
            let mut found = Vec::new();
            for param in checkpoint.settings.model.description()?.params {
                let Some(blocks) = param.blocks else {
                    let values = checkpoint.get(&path, &param.name, &param.shape)?.to_vec();
                    found.push((param.name, param.shape, None, (Vec::new(), Vec::new()), values));
                    continue;
                };
                let (topology, values) = checkpoint.active_blocks(&path, &param)?;
                let (name, shape) = (param.name, param.shape);
                found.push((name, shape, Some(blocks.block), topology.csr(), values));
            }
            Ok(found)
        })?;
        let array =
            |(name, shape, block, index, values)| (name, shape, block, index, PyArray1::from_vec(py, values));
        Ok(found.into_iter().map(array).collect())
    }

    /// Whether values are predicted, not classes.
    #[getter]
    fn regression(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |network| Ok(network.task() == Task::Regression))
    }

    /// Probabilities `[rows, classes]`.
    fn probabilities<'py>(&self, py: Python<'py>, rows: Rows<'_>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let features = self.features(py, rows)?;
        let (rows, width) =
            self.with(py, |network| Ok((network.probabilities(features)?, network.width())))?;
        let count = rows.len();
        PyArray1::from_vec(py, rows.concat()).reshape([count, width])
    }

    /// Numbers of the likeliest classes, `[rows]`.
    fn likeliest<'py>(&self, py: Python<'py>, rows: Rows<'_>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let features = self.features(py, rows)?;
        let classes = self.with(py, |network| network.likeliest(features))?;
        Ok(PyArray1::from_vec(py, classes.into_iter().map(|class| class as i64).collect()))
    }

    /// Predicted values, `[rows]`.
    fn values<'py>(&self, py: Python<'py>, rows: Rows<'_>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let features = self.features(py, rows)?;
        Ok(PyArray1::from_vec(py, self.with(py, |network| network.values(features))?))
    }
}
