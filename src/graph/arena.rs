//! Arenas: dense parameters of one kind in one buffer, so that one dispatch updates them all and one transfer carries their
//! gradients.

use super::spec::ParamSpec;
use crate::Result;
use crate::gpu::{Class, DType, Gpu, Tensor};

/// Elements of several dense parameters, one behind the other. Places between them are 0 and stay so.
#[derive(Debug)]
pub(super) struct Arena {
    values: Tensor,
    grads: Tensor,
    state: Vec<Tensor>,
    decays: bool,
}

/// Place of a parameter in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) arena: usize,
    pub(super) offset: usize,
}

/// Places of parameters, `None` for sparse ones, and the length and weight decay of each arena.
pub(super) type Plan = (Vec<Option<Place>>, Vec<(usize, bool)>);

/// Places of the dense parameters among these, and the length and weight decay of each arena. Arenas are no longer than a
/// binding, but for a parameter that alone is.
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit) for a parameter larger than any buffer of the device.
pub(super) fn plan(gpu: &Gpu, params: &[ParamSpec]) -> Result<Plan> {
    let limits = gpu.limits();
    let alignment = (limits.min_storage_buffer_offset_alignment as usize).div_ceil(4);
    let most = (limits.max_storage_buffer_binding_size / 4) as usize;
    let mut arenas: Vec<(usize, bool)> = Vec::new();
    let mut place = |param: &ParamSpec| -> Result<Option<Place>> {
        if param.grid().is_some() {
            return Ok(None);
        }
        gpu.expect_buffer(&param.name, &param.shape, DType::F32)?;
        let elements = param.shape.iter().product::<usize>();
        let last = arenas.iter().rposition(|&(_, decays)| decays == param.decays);
        let fits = |&at: &usize| arenas[at].0.next_multiple_of(alignment) + elements <= most;
        let arena = last.filter(fits).unwrap_or_else(|| {
            arenas.push((0, param.decays));
            arenas.len() - 1
        });
        let offset = arenas[arena].0.next_multiple_of(alignment);
        arenas[arena].0 = offset + elements;
        Ok(Some(Place { arena, offset }))
    };
    let places = params.iter().map(&mut place).collect::<Result<_>>()?;
    Ok((places, arenas))
}

impl Arena {
    pub(super) fn new(gpu: &Gpu, elements: usize, decays: bool) -> Result<Self> {
        Ok(Self {
            values: gpu.zeros::<f32>(Class::Values, "dense parameters", &[elements])?,
            grads: gpu.zeros::<f32>(Class::Gradients, "dense parameters", &[elements])?,
            state: Vec::new(),
            decays,
        })
    }

    /// Gives the arena optimizer state of zeros, a tensor for each name.
    pub(super) fn allocate_state(&mut self, gpu: &Gpu, names: &[&str]) -> Result<()> {
        let zeros = |name: &&str| gpu.zeros::<f32>(Class::Optimizer, name, self.values.shape());
        self.state = names.iter().map(zeros).collect::<Result<_>>()?;
        Ok(())
    }

    /// Values and gradient of a parameter.
    pub(super) fn tensors(&self, place: Place, shape: &[usize]) -> Result<[Tensor; 2]> {
        Ok([view(&self.values, place, shape)?, view(&self.grads, place, shape)?])
    }

    /// Optimizer state of a parameter.
    pub(super) fn state(&self, place: Place, shape: &[usize]) -> Result<Vec<Tensor>> {
        self.state.iter().map(|state| view(state, place, shape)).collect()
    }

    /// The arena as an optimizer updates it.
    pub(super) fn span(&self) -> Span<'_> {
        let Self { values, grads, state, decays } = self;
        Span { name: "dense parameters", values, grads, state, decays: *decays, param: None }
    }
}

fn view(arena: &Tensor, place: Place, shape: &[usize]) -> Result<Tensor> {
    arena.rows(place.offset, shape.iter().product())?.reshape(shape)
}

/// Elements that an optimizer updates in one go: all dense parameters of one kind, or a block-sparse matrix.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Name, for errors.
    pub name: &'a str,
    /// Values.
    pub values: &'a Tensor,
    /// Their gradient, of the same shape.
    pub grads: &'a Tensor,
    /// Parts of the optimizer's state, each of the same shape.
    pub state: &'a [Tensor],
    /// Whether weight decay applies.
    pub decays: bool,
    /// The parameter, where the span is one.
    pub param: Option<super::ParamId>,
}
