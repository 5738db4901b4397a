//! Layers as safetensors files with the names and parts of fretwork's exports.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use burn_core::tensor::Device;
use fretwork::sparse::Topology;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::dense::floats;
use crate::linear::SparseLinear;
use crate::{Error, Result};

impl SparseLinear {
    /// The layer of this name in a file as `fretwork export --to safetensors-bsr` and [`save_safetensors`] write it: `layers.0` is
    /// made of `layers.0.weight.values`, `.crow_indices`, `.col_indices` and `.shape`, and of `layers.0.bias` if there is one. A
    /// width that the block does not divide is padded with zeros.
    ///
    /// # Errors
    /// [`Error::File`] for a file without such a layer, with what is missing or wrong; those of [`SparseLinear::from_parts`].
    pub fn load_safetensors(path: impl AsRef<Path>, name: &str, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let bad = |reason: String| Error::File { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
        let words = |part: &str| -> Result<Vec<u32>> {
            let name = format!("{name}.weight.{part}");
            let tensor = file.tensor(&name).map_err(|error| bad(format!("{name}: {error}")))?;
            numbers(&tensor, Dtype::I32, i32::from_le_bytes)
                .map(|words| words.into_iter().map(u32::try_from).collect::<std::result::Result<_, _>>())
                .and_then(std::result::Result::ok)
                .ok_or_else(|| bad(format!("{name} should be i32 and not negative")))
        };
        let floats = |name: &str, tensor: &TensorView<'_>| {
            numbers(tensor, Dtype::F32, f32::from_le_bytes)
                .ok_or_else(|| bad(format!("{name} is of {:?}, but should be f32", tensor.dtype())))
        };
        let weight = format!("{name}.weight.values");
        let dense = file.tensor(&format!("{name}.weight")).is_ok();
        let values = file.tensor(&weight).map_err(|error| match dense {
            true => {
                bad(format!("{name} is dense: load it into Burn's Linear, and see SparseLinear::from_dense"))
            }
            false => bad(format!("{weight}: {error}")),
        })?;
        let &[_, block, width] = values.shape() else {
            return Err(bad(format!("{weight} should have three dimensions")));
        };
        let shape = words("shape")?;
        if block != width || block == 0 || shape.len() != 2 {
            return Err(bad(format!("{weight} should be square blocks of a matrix")));
        }
        let [outputs, inputs] = [shape[0], shape[1]].map(|side| side as usize);
        let [rows, cols] = [outputs, inputs].map(|side| side.next_multiple_of(block));
        let topology =
            Topology::from_csr(rows, cols, block, &words("crow_indices")?, &words("col_indices")?)?;
        let bias = format!("{name}.bias");
        let bias = match file.tensor(&bias) {
            Ok(tensor) => {
                let mut bias = floats(&bias, &tensor)?;
                if bias.len() != outputs {
                    return Err(bad(format!("{name}.bias has {} elements, not {outputs}", bias.len())));
                }
                bias.resize(rows, 0.0);
                Some(bias)
            }
            Err(_) => None,
        };
        Self::from_parts(topology, floats(&weight, &values)?, bias, device)
    }
}

/// Elements of a tensor of this type.
fn numbers<T>(tensor: &TensorView<'_>, dtype: Dtype, of: fn([u8; 4]) -> T) -> Option<Vec<T>> {
    let chunks = (tensor.dtype() == dtype).then(|| tensor.data().as_chunks::<4>().0)?;
    Some(chunks.iter().map(|&bytes| of(bytes)).collect())
}

/// Writes layers under names such as `layers.0`, as `fretwork export --to safetensors-bsr` does: `fretwork train --init-from` starts
/// from such a file. It is written beside an older one and renamed. Waits for the device.
///
/// # Errors
/// [`Error::File`] where it cannot be written; [`Error::DType`] for values that are not f32.
pub fn save_safetensors(path: impl AsRef<Path>, layers: &[(&str, &SparseLinear)]) -> Result<()> {
    let path = path.as_ref();
    let bad = |reason: String| Error::File { path: path.to_owned(), reason };
    let mut tensors = BTreeMap::new();
    for (name, layer) in layers {
        let topology = layer.blocks.topology()?;
        let block = topology.block();
        let (crow, col) = topology.csr();
        let words =
            |words: Vec<u32>| (Dtype::I32, vec![words.len()], bytes(&words, |word| word.to_le_bytes()));
        let [rows, cols] = layer.blocks.sides().map(|side| side as u32);
        let values = topology.in_row_order(&floats(layer.values.val())?);
        let values =
            (Dtype::F32, vec![topology.nnz(), block, block], bytes(&values, |value| value.to_le_bytes()));
        tensors.insert(format!("{name}.weight.crow_indices"), words(crow));
        tensors.insert(format!("{name}.weight.col_indices"), words(col));
        tensors.insert(format!("{name}.weight.shape"), words(vec![rows, cols]));
        tensors.insert(format!("{name}.weight.values"), values);
        if let Some(bias) = &layer.bias {
            let bias = floats(bias.val())?;
            let of = (Dtype::F32, vec![bias.len()], bytes(&bias, |value| value.to_le_bytes()));
            tensors.insert(format!("{name}.bias"), of);
        }
    }
    let mut views = Vec::new();
    for (name, (dtype, shape, bytes)) in &tensors {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| bad(error.to_string()))?;
        views.push((name, view));
    }
    let header = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(header)).map_err(|error| bad(error.to_string()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| bad(error.to_string()))
}

fn bytes<T: Copy>(elements: &[T], of: fn(T) -> [u8; 4]) -> Vec<u8> {
    elements.iter().flat_map(|&element| of(element)).collect()
}
