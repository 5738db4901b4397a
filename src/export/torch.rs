//! A state dict for PyTorch's modules. It is a safetensors file, which PyTorch's users read with `safetensors.torch.load_file`: torch's
//! own format is a zip of pickles, a program rather than data.

use std::path::Path;

use super::safetensors::{dense_tensors, serialize};
use super::trained::Trained;
use crate::Result;

/// Dense weights. A plain chain of linear layers has the names of `torch.nn.Sequential`, in which an activation is a module of its
/// own: `0.weight`, `2.weight`. Other networks keep their names.
pub(super) fn state_dict(trained: &Trained, path: &Path) -> Result<Vec<u8>> {
    let tensors = dense_tensors(trained);
    let Some(places) = places(trained) else { return serialize(&tensors, path) };
    let renamed = |name: &str| {
        let (layer, part) = name.rsplit_once('.')?;
        let at = places.iter().find(|(known, _)| known == layer)?.1;
        Some(format!("{at}.{part}"))
    };
    let tensors =
        tensors.into_iter().map(|(name, tensor)| (renamed(&name).unwrap_or(name), tensor)).collect();
    serialize(&tensors, path)
}

/// Layers of a plain chain with their places in a `torch.nn.Sequential`; `None` for another network.
fn places(trained: &Trained) -> Option<Vec<(String, usize)>> {
    let description = &trained.description;
    let [input] = description.inputs.as_slice() else { return None };
    let (mut value, mut place, mut places) = (&input.value, 0, Vec::new());
    for node in &description.nodes {
        let ([from], [to]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
        if node.kind != "linear" || from != value {
            return None;
        }
        let layer = node.params.first()?.rsplit_once('.')?.0;
        places.push((layer.to_owned(), place));
        place += if node.options["activation"].is_null() { 1 } else { 2 };
        value = to;
    }
    (description.outputs.as_slice() == [value.clone()]).then_some(places)
}
