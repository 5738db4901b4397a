//! State of Burn's optimizers.
//!
//! Burn gives access to an optimizer's state by its record alone, so all of it goes to the host and back, onto Burn's default
//! device; the next step moves it to each parameter's own.

use burn_core::module::ParamId;
use burn_core::store::RecordError;
use burn_core::tensor::{Bytes, Shape};
use burn_optim::{ModuleOptimizer, OptimizerRecord};
use burn_pack::{Reader, Tensor, Writer};

use crate::evolve::Exchanged;
use crate::prune::Pruned;

/// The optimizer with zeroed state of new blocks: moments and velocities of other blocks were in their slots.
///
/// # Errors
/// Burn's, where the record cannot be read.
pub fn zero_state(
    optimizer: ModuleOptimizer,
    exchanged: &[Exchanged],
) -> Result<ModuleOptimizer, RecordError> {
    let change = |layer: &Exchanged| {
        let slots = layer.slots.clone();
        let zero = move |bytes: &mut Vec<u8>, size: usize| {
            slots.iter().for_each(|slot| bytes[slot * size..][..size].fill(0));
        };
        Change { from: layer.values, to: layer.values, edit: Box::new(zero) }
    };
    let changed = exchanged.iter().filter(|layer| !layer.slots.is_empty());
    rewrite(optimizer, &changed.map(change).collect::<Vec<_>>())
}

/// The optimizer with the state of pruned layers, of the blocks that are left. Without it their state starts anew.
///
/// # Errors
/// Burn's, where the record cannot be read.
pub fn carry_state(optimizer: ModuleOptimizer, pruned: &[Pruned]) -> Result<ModuleOptimizer, RecordError> {
    let change = |layer: &Pruned| {
        let kept = layer.kept.clone();
        let keep = move |bytes: &mut Vec<u8>, size: usize| {
            *bytes = kept.iter().flat_map(|slot| &bytes[slot * size..][..size]).copied().collect();
        };
        Change { from: layer.before, to: layer.values, edit: Box::new(keep) }
    };
    rewrite(optimizer, &pruned.iter().map(change).collect::<Vec<_>>())
}

/// Change of the state of one parameter.
struct Change {
    from: ParamId,
    to: ParamId,
    /// Changes a tensor in the layout of the values, given the bytes of a block.
    edit: Box<dyn Fn(&mut Vec<u8>, usize)>,
}

impl Change {
    /// A name of the record, which begins with the parameter's number.
    fn renamed(changes: &[Self], name: &str) -> String {
        let (id, rest) = name.find('.').map_or((name, ""), |dot| name.split_at(dot));
        let of = |change: &&Self| change.from.val().to_string() == id;
        changes.iter().find(of).map_or(name.to_owned(), |change| format!("{}{rest}", change.to.val()))
    }
}

fn rewrite(optimizer: ModuleOptimizer, changes: &[Change]) -> Result<ModuleOptimizer, RecordError> {
    if changes.is_empty() {
        return Ok(optimizer);
    }
    let reader = Reader::from_bytes(optimizer.to_record().into_bytes()?)?;
    let (scalars, paths) = (reader.scalars().clone(), reader.metadata().clone());
    let mut tensors = Vec::new();
    for tensor in reader.into_tensors()? {
        let (name, dtype, shape, id, bytes) = tensor.into_parts()?;
        let name = Change::renamed(changes, &name);
        tensors.push(match changes.iter().find(|change| id == Some(change.from.val())) {
            // State in the layout of the values: a slot is a row of the first dimension.
            Some(change) if shape.num_dims() == 3 => {
                let size = bytes.len() / shape[0];
                let mut bytes = bytes.to_vec();
                (change.edit)(&mut bytes, size);
                let shape = Shape::from([bytes.len() / size, shape[1], shape[2]]);
                Tensor::new(name, dtype, shape, Some(change.to.val()), Bytes::from_bytes_vec(bytes))
            }
            Some(change) => Tensor::new(name, dtype, shape, Some(change.to.val()), bytes),
            None => Tensor::new(name, dtype, shape, id, bytes),
        });
    }
    let mut writer = Writer::new(tensors);
    for (key, value) in &scalars {
        writer = writer.with_scalar(&Change::renamed(changes, key), *value);
    }
    for (key, value) in &paths {
        writer = writer.with_metadata(&Change::renamed(changes, key), value);
    }
    Ok(optimizer.load_record(OptimizerRecord::from_bytes(writer.into_bytes()?)?))
}
