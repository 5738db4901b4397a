//! State of Burn's optimizers.

use burn_core::store::RecordError;
use burn_core::tensor::DType;
use burn_optim::{ModuleOptimizer, OptimizerRecord};
use burn_pack::{Reader, Tensor, Writer};

use crate::evolve::Exchanged;

/// The optimizer with zeroed state of new blocks: moments and velocities of other blocks were in their slots. Burn gives access to
/// an optimizer's state by its record alone, so all of it goes to the host and back, onto Burn's default device.
///
/// # Errors
/// Burn's, where the record cannot be read.
pub fn zero_state(
    optimizer: ModuleOptimizer,
    exchanged: &[Exchanged],
) -> Result<ModuleOptimizer, RecordError> {
    if exchanged.iter().all(|layer| layer.slots.is_empty()) {
        return Ok(optimizer);
    }
    let reader = Reader::from_bytes(optimizer.to_record().into_bytes()?)?;
    let (scalars, paths) = (reader.scalars().clone(), reader.metadata().clone());
    let mut tensors = Vec::new();
    for tensor in reader.into_tensors()? {
        let (name, dtype, shape, id, bytes) = tensor.into_parts()?;
        let layer = exchanged.iter().find(|layer| id == Some(layer.values.val()));
        let bytes = match layer {
            // State in the layout of the values: a slot is a row of the first dimension.
            Some(layer) if dtype == DType::F32 && shape.num_dims() == 3 => {
                let size = bytes.len() / shape[0];
                let mut bytes = bytes.to_vec();
                layer.slots.iter().for_each(|slot| bytes[slot * size..][..size].fill(0));
                burn_core::tensor::Bytes::from_bytes_vec(bytes)
            }
            _ => bytes,
        };
        tensors.push(Tensor::new(name, dtype, shape, id, bytes));
    }
    let mut writer = Writer::new(tensors);
    for (key, value) in &scalars {
        writer = writer.with_scalar(key, *value);
    }
    for (key, value) in &paths {
        writer = writer.with_metadata(key, value);
    }
    Ok(optimizer.load_record(OptimizerRecord::from_bytes(writer.into_bytes()?)?))
}
