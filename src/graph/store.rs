//! Parameters of a network, by id and by name.

use super::param::Param;
use super::spec::ParamId;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::Step;
use crate::{Error, Result};

/// Everything that is trained. Optimizers, methods, checkpoints and scans ask the store; nobody counts positions.
#[derive(Debug, Default)]
pub struct ParamStore {
    params: Vec<Param>,
}

impl ParamStore {
    pub(super) fn new(params: Vec<Param>) -> Self {
        Self { params }
    }

    /// A parameter of this store's network.
    ///
    /// # Panics
    /// For an id of another network.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// A parameter, to be changed.
    pub(crate) fn get_mut(&mut self, id: ParamId) -> &mut Param {
        &mut self.params[id.0]
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// [`Error::Argument`] with the names that there are.
    pub fn by_name(&self, name: &str) -> Result<&Param> {
        self.params.iter().find(|param| param.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.params.iter().map(Param::name).collect();
            Error::argument("parameters", "name", format!("one of {names:?}"), name)
        })
    }

    /// All parameters, in the order in which they were declared.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Param> + Clone {
        self.params.iter()
    }

    /// Matrices of products, in the order in which they were declared.
    pub fn matrices(&self) -> impl Iterator<Item = &Param> + Clone {
        self.params.iter().filter(|param| param.is_matrix())
    }

    /// Block-sparse matrices.
    pub fn sparse(&self) -> impl Iterator<Item = &Param> + Clone {
        self.params.iter().filter(|param| param.weight().sparse().is_some())
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Stored elements of all parameters.
    pub fn params_present(&self) -> usize {
        self.params.iter().map(|param| param.values().len()).sum()
    }

    /// Records the f16 copies that products read; see [`Param::refresh`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device without half precision.
    pub fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        self.params.iter().try_for_each(|param| param.refresh(rec, step))
    }

    /// Gives every parameter optimizer state of zeros, a tensor for each name.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn allocate_state(&mut self, gpu: &Gpu, names: &[&str]) -> Result<()> {
        for param in &mut self.params {
            let shape = param.values().shape().to_vec();
            let state = names.iter().map(|name| gpu.zeros::<f32>(Class::Optimizer, name, &shape));
            param.set_state(state.collect::<Result<Vec<Tensor>>>()?);
        }
        Ok(())
    }
}
