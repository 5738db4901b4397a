//! Layers as files of fretwork's.

use std::path::PathBuf;

use burn_core::tensor::Tensor;
use fretwork_burn::{SparseLinear, SparseLinearConfig, save_safetensors};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{device, floats};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("fretwork-burn-{}-{name}.safetensors", std::process::id()))
}

#[test]
fn layers_return_from_their_file() {
    let device = device();
    let layer = |seed, bias| SparseLinearConfig::new(64, 48).density(0.4).bias(bias).seed(seed).init(&device);
    let [first, second] = [layer(1, true), layer(2, false)];
    let path = path("layers");
    save_safetensors(&path, &[("layers.0", &first), ("layers.1", &second)]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    let parts = ["col_indices", "crow_indices", "shape", "values"];
    let weights = ["layers.0", "layers.1"].map(|layer| parts.map(|part| format!("{layer}.weight.{part}")));
    let mut wanted: Vec<String> = weights.into_iter().flatten().chain(["layers.0.bias".to_owned()]).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for (name, layer) in [("layers.0", &first), ("layers.1", &second)] {
        let loaded = SparseLinear::load_safetensors(&path, name, &device).unwrap();
        assert_eq!(floats(loaded.to_dense().unwrap()), floats(layer.to_dense().unwrap()));
        assert_eq!(
            loaded.bias.map(|bias| floats(bias.val())),
            layer.bias.as_ref().map(|bias| floats(bias.val()))
        );
    }
    std::fs::remove_file(path).unwrap();
}

/// A file of fretwork's whose widths the block does not divide: 20 outputs of 24 inputs, in blocks of 16.
#[test]
fn widths_of_other_sizes_are_padded() {
    let path = path("padded");
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let values: Vec<u8> = (0..512).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let bias: Vec<u8> = (0..20).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let (crow, col, shape) = (words(&[0, 1, 2]), words(&[1, 0]), words(&[20, 24]));
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [
        ("net.weight.crow_indices", view(Dtype::I32, &[3], &crow)),
        ("net.weight.col_indices", view(Dtype::I32, &[2], &col)),
        ("net.weight.shape", view(Dtype::I32, &[2], &shape)),
        ("net.weight.values", view(Dtype::F32, &[2, 16, 16], &values)),
        ("net.bias", view(Dtype::F32, &[20], &bias)),
        ("dense.weight", view(Dtype::F32, &[20], &bias)),
    ];
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let layer = SparseLinear::load_safetensors(&path, "net", &device()).unwrap();
    assert_eq!(layer.blocks.sides(), [32, 32]);
    let y = floats(layer.forward(Tensor::<2>::ones([1, 32], &device())));
    // The first row of blocks is the first block, in the columns 16 to 31.
    let wanted = |row: usize| {
        (0..16).map(|col| (row * 16 + col) as f32).sum::<f32>() + if row < 20 { row as f32 } else { 0.0 }
    };
    assert!((0..32).all(|row| (y[row] - wanted(row)).abs() < 1e-2), "{y:?}");

    let says = |name: &str, words: &str| {
        let message = SparseLinear::load_safetensors(&path, name, &device()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    says("dense", "dense is dense: load it into Burn's Linear");
    says("other", "other.weight.values");
    std::fs::write(&path, b"no such file").unwrap();
    says("net", "padded.safetensors");
    std::fs::remove_file(&path).unwrap();
    says("net", "padded.safetensors");
}
