//! Parameters of a network, by id and by name.

use super::Precision;
use super::arena::{Arena, Place, Span};
use super::param::Param;
use super::spec::ParamId;
use crate::gpu::{Class, Gpu, Recorder, Tensor};
use crate::ops::Step;
use crate::{Error, Result};

/// Everything that is trained. Optimizers, methods, checkpoints and scans ask the store; nobody counts positions.
#[derive(Debug, Default)]
pub struct ParamStore {
    params: Vec<Param>,
    arenas: Vec<Arena>,
    /// Place of each parameter in an arena, where it lies in one.
    places: Vec<Option<Place>>,
}

impl ParamStore {
    pub(super) fn new(params: Vec<Param>, arenas: Vec<Arena>, places: Vec<Option<Place>>) -> Self {
        Self { params, arenas, places }
    }

    /// Everything that an optimizer updates, each element once: arenas, and the parameters outside of them.
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        let alone = self.params.iter().zip(&self.places).filter(|(_, place)| place.is_none());
        self.arenas.iter().map(Arena::span).chain(alone.map(|(param, _)| param.span()))
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

    /// Rounds f16 copies as the precision says, with draws of this seed.
    pub(super) fn round(&mut self, precision: Precision, seed: u64) {
        self.params.iter_mut().for_each(|param| param.round(precision, seed));
    }

    /// Records the f16 copies that products read; see [`Param::refresh`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a device without half precision.
    pub fn refresh(&self, rec: &mut Recorder<'_>, step: Option<&Step>) -> Result<()> {
        if step.is_some() && self.params.iter().any(Param::rounds_by_chance) {
            return self.params.iter().try_for_each(|param| param.refresh(rec, step));
        }
        self.arenas.iter().try_for_each(|arena| arena.refresh(rec))?;
        let alone = self.params.iter().zip(&self.places).filter(|(_, place)| place.is_none());
        alone.map(|(param, _)| param).try_for_each(|param| param.refresh(rec, step))
    }

    /// Gradients of the parameters that `takes` takes, those that lie one behind the other in one tensor.
    ///
    /// # Errors
    /// Those of taking a part of a tensor.
    pub(crate) fn gradients(&self, takes: impl Fn(&Param) -> bool) -> Result<Vec<Tensor>> {
        let placed = self.params.iter().zip(&self.places);
        let mut inside: Vec<_> =
            placed.clone().filter_map(|(param, place)| Some(((*place)?, param))).collect();
        inside.sort_unstable_by_key(|(place, _)| (place.arena, place.offset));
        // Arena, first element and the one behind the last.
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        let mut before = None;
        for (Place { arena, offset }, param) in inside {
            let end = offset + param.grads().len();
            match runs.last_mut() {
                Some(run) if takes(param) && before == Some(arena) => run.2 = end,
                _ if takes(param) => runs.push((arena, offset, end)),
                _ => {}
            }
            before = takes(param).then_some(arena);
        }
        let mut gradients = runs
            .into_iter()
            .map(|(arena, from, to)| self.arenas[arena].gradients(from, to))
            .collect::<Result<Vec<_>>>()?;
        let alone = placed.filter(|(param, place)| place.is_none() && takes(param));
        gradients.extend(alone.map(|(param, _)| param.grads().clone()));
        Ok(gradients)
    }

    /// Gives every parameter optimizer state of zeros, a tensor for each name.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(super) fn allocate_state(&mut self, gpu: &Gpu, names: &[&str]) -> Result<()> {
        self.arenas.iter_mut().try_for_each(|arena| arena.allocate_state(gpu, names))?;
        for (param, place) in self.params.iter_mut().zip(&self.places) {
            let shape = param.values().shape().to_vec();
            param.set_state(match place {
                Some(place) => self.arenas[place.arena].state(*place, &shape)?,
                None => {
                    let zeros = names.iter().map(|name| gpu.zeros::<f32>(Class::Optimizer, name, &shape));
                    zeros.collect::<Result<Vec<Tensor>>>()?
                }
            });
        }
        Ok(())
    }
}
