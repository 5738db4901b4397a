//! Arenas: parameters one behind the other in one buffer, so that one dispatch updates them all and one transfer carries their
//! gradients.

use half::f16;

use super::spec::{ParamId, ParamSpec};
use crate::Result;
use crate::gpu::{Class, DType, Gpu, Recorder, Tensor};
use crate::ops::{self, BlockRange, ParamRange, Rounding};
use crate::sparse::Topology;

/// Elements of several parameters, one behind the other: first those with an f16 copy, then the others with weight decay, then the
/// others. Places between them are 0 and stay so.
#[derive(Debug)]
pub(super) struct Arena {
    values: Tensor,
    grads: Tensor,
    state: Vec<Tensor>,
    /// f16 copies of the first parameters.
    halves: Option<Tensor>,
    extents: Extents,
}

/// Place of a parameter in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) arena: usize,
    pub(super) offset: usize,
}

/// Sizes of an arena.
#[derive(Debug, Clone, Default)]
pub(super) struct Extents {
    elements: usize,
    /// Elements, from the first, that have an f16 copy.
    halves: usize,
    /// Elements, from the first, that weight decay applies to.
    decaying: usize,
    /// Sparse parameters with the places of their blocks.
    blocks: Vec<(ParamId, BlockRange)>,
    /// All parameters with their places, in ascending order.
    params: Vec<(ParamId, ParamRange)>,
}

/// Tensors of a parameter in an arena.
#[derive(Debug)]
pub(super) struct Tensors {
    pub(super) values: Tensor,
    pub(super) grads: Tensor,
    /// f16 copy that products read.
    pub(super) half: Option<Tensor>,
}

/// Places of parameters, `None` for those that lie in buffers of their own, and the sizes of each arena.
pub(super) type Plan = (Vec<Option<Place>>, Vec<Extents>);

/// Places of parameters in arenas: of the dense ones, and of the sparse ones where they are `fixed`, so that their number of blocks
/// never changes. Arenas are no longer than a binding, but for a parameter that alone is.
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit) for a parameter larger than any buffer of the device.
pub(super) fn plan(
    gpu: &Gpu,
    params: &[ParamSpec],
    topologies: &[Option<&Topology>],
    fixed: bool,
) -> Result<Plan> {
    let limits = gpu.limits();
    // Words of births, elements, and elements of which there are f16 copies, at offsets that can be bound.
    let offsets = limits.min_storage_buffer_offset_alignment as usize;
    let (words, alignment) = (offsets.div_ceil(4), |is_half| offsets.div_ceil(if is_half { 2 } else { 4 }));
    let most = (limits.max_storage_buffer_binding_size / 4) as usize;
    let mut arenas: Vec<Extents> = Vec::new();
    let mut places = vec![None; params.len()];
    let orders = params.iter().map(|param| (!param.has_half(), !param.decays));
    let mut sorted: Vec<_> = orders.zip(0..).collect();
    sorted.sort_unstable();
    for (_, at) in sorted {
        let (param, topology) = (&params[at], topologies[at]);
        if topology.is_some() && !fixed {
            continue;
        }
        let shape = param.stored_shape(topology);
        gpu.expect_buffer(&param.name, &shape, DType::F32)?;
        let elements = shape.iter().product::<usize>();
        let alignment = alignment(param.has_half());
        let fits = |arena: &Extents| arena.elements.next_multiple_of(alignment) + elements <= most;
        if !arenas.last().is_some_and(fits) {
            arenas.push(Extents::default());
        }
        let arena = arenas.len() - 1;
        let extents = &mut arenas[arena];
        let offset = extents.elements.next_multiple_of(alignment);
        extents.elements = offset + elements;
        if param.decays {
            extents.decaying = extents.elements;
        }
        if param.has_half() {
            extents.halves = extents.elements;
        }
        if let Some(topology) = topology {
            let word = extents.words().next_multiple_of(words);
            let range = BlockRange { first: offset, block: topology.block(), nnz: topology.nnz(), word };
            extents.blocks.push((ParamId(at), range));
        }
        extents.params.push((ParamId(at), ParamRange { first: offset, len: elements, decays: param.decays }));
        places[at] = Some(Place { arena, offset });
    }
    Ok((places, arenas))
}

impl Extents {
    /// Words for one number per block.
    fn words(&self) -> usize {
        self.blocks.last().map_or(0, |(_, range)| range.word + range.nnz)
    }
}

impl Arena {
    pub(super) fn new(gpu: &Gpu, extents: Extents) -> Result<Self> {
        // Whole vectors, as buffers have them.
        let shape = [extents.elements.next_multiple_of(4)];
        Ok(Self {
            values: gpu.zeros::<f32>(Class::Values, "parameters", &shape)?,
            grads: gpu.zeros::<f32>(Class::Gradients, "parameters", &shape)?,
            state: Vec::new(),
            halves: match extents.halves {
                0 => None,
                halves => Some(gpu.zeros::<f16>(Class::Values, "f16 copies", &[halves])?),
            },
            extents,
        })
    }

    /// Gives the arena optimizer state of zeros, a tensor for each name.
    pub(super) fn allocate_state(&mut self, gpu: &Gpu, names: &[&str]) -> Result<()> {
        let zeros = |name: &&str| gpu.zeros::<f32>(Class::Optimizer, name, self.values.shape());
        self.state = names.iter().map(zeros).collect::<Result<_>>()?;
        Ok(())
    }

    /// Tensors of a parameter.
    pub(super) fn tensors(&self, place: Place, shape: &[usize]) -> Result<Tensors> {
        let half = self.halves.as_ref().filter(|_| place.offset < self.extents.halves);
        Ok(Tensors {
            values: view(&self.values, place, shape)?,
            grads: view(&self.grads, place, shape)?,
            half: half.map(|half| view(half, place, shape)).transpose()?,
        })
    }

    /// Gradients of the elements from one place to another.
    pub(super) fn gradients(&self, from: usize, to: usize) -> Result<Tensor> {
        self.grads.rows(from, to - from)
    }

    /// Records the f16 copies, rounded to the nearest.
    pub(super) fn refresh(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let Some(halves) = &self.halves else { return Ok(()) };
        ops::convert(rec, &self.values.rows(0, halves.len())?, halves, Rounding::Nearest)
    }

    /// Optimizer state of a parameter.
    pub(super) fn state(&self, place: Place, shape: &[usize]) -> Result<Vec<Tensor>> {
        self.state.iter().map(|state| view(state, place, shape)).collect()
    }

    /// The arena as an optimizer updates it.
    pub(super) fn span(&self) -> Span<'_> {
        let Self { values, grads, state, extents: Extents { decaying, blocks, params, .. }, .. } = self;
        Span { name: "parameters", values, grads, state, decaying: *decaying, blocks, params, param: None }
    }
}

fn view(arena: &Tensor, place: Place, shape: &[usize]) -> Result<Tensor> {
    arena.rows(place.offset, shape.iter().product())?.reshape(shape)
}

/// Elements that an optimizer updates in one go: many parameters, one behind the other, or one.
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
    /// Number of elements, from the first, that weight decay applies to.
    pub decaying: usize,
    /// Block-sparse matrices among the elements, in ascending order.
    pub blocks: &'a [(ParamId, BlockRange)],
    /// Parameters among the elements, in ascending order. Elements between them are 0 and stay so.
    pub params: &'a [(ParamId, ParamRange)],
    /// The parameter, where the span is one.
    pub param: Option<ParamId>,
}

impl Span<'_> {
    /// Allocates a word of 0 per block of the span, for the first update of each block; `None` without blocks.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub(crate) fn births(&self, gpu: &Gpu) -> Result<Option<Tensor>> {
        let words = self.blocks.last().map(|(_, range)| range.word + range.nnz);
        words.map(|words| gpu.zeros::<u32>(Class::Scratch, "births", &[words])).transpose()
    }
}
