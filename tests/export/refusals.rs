//! Files that are not what they should be are refused by name, before anything is dispatched.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// A tensor of a file: type, shape, bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

fn floats(shape: &[usize], value: f32) -> Tensor {
    let bytes = value.to_le_bytes().repeat(shape.iter().product());
    (Dtype::F32, shape.to_vec(), bytes)
}

fn words(words: &[i32]) -> Tensor {
    (Dtype::I32, vec![words.len()], words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

/// A good file for 64-16-10 in blocks of 16, block-sparse, with changes.
fn file(changes: &[(&str, Option<Tensor>)]) -> Vec<u8> {
    let mut tensors = BTreeMap::from([
        ("layers.0.weight.crow_indices", words(&[0, 2])),
        ("layers.0.weight.col_indices", words(&[1, 3])),
        ("layers.0.weight.values", floats(&[2, 16, 16], 0.5)),
        ("layers.0.bias", floats(&[16], 0.0)),
        ("layers.1.weight", floats(&[10, 16], 0.1)),
        ("layers.1.bias", floats(&[10], 0.0)),
    ]);
    for (name, tensor) in changes {
        match tensor {
            Some(tensor) => tensors.insert(name, tensor.clone()),
            None => tensors.remove(name),
        };
    }
    let view = |(name, (dtype, shape, bytes)): (&&'static str, &'static Tensor)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    };
    let tensors: &'static BTreeMap<&'static str, Tensor> = Box::leak(Box::new(
        tensors.into_iter().map(|(name, tensor)| (&*name.to_owned().leak(), tensor)).collect(),
    ));
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

/// The message with which a run from this file is refused, if it is; no dispatch precedes it.
fn refusal(gpu: &Gpu, bytes: &[u8]) -> Option<String> {
    let weights = match Weights::from_bytes(Path::new("file"), bytes) {
        Ok(weights) => weights,
        Err(error) => return Some(error.to_string()),
    };
    begun(gpu, settings(mlp(&[16], Some(0.5))), digits(), &weights).err().map(|error| error.to_string())
}

#[test]
fn weights_of_another_network() {
    let gpu = gpu();
    assert_eq!(refusal(&gpu, &file(&[])), None);
    // A device on which nothing is allocated.
    let gpu = self::gpu();
    let nan = floats(&[10], f32::NAN);
    let doubles = (Dtype::F64, vec![1], vec![0; 8]);
    for (changes, wanted) in [
        (vec![("layers.1.bias", None)], "file: has no tensor layers.1.bias"),
        (
            vec![("layers.1.weight", Some(floats(&[10, 32], 0.0)))],
            "layers.1.weight has shape [10, 32], should have [10, 16]",
        ),
        (vec![("layers.2.bias", Some(floats(&[1], 0.0)))], "has layers.2.bias, which is no parameter"),
        (vec![("layers.1.bias", Some(nan))], "layers.1.bias has NaN at element 0"),
        (vec![("layers.1.bias", Some(doubles))], "layers.1.bias is of type F64"),
        (vec![("layers.1.bias", Some(words(&[0; 10])))], "layers.1.bias holds indices"),
        (
            vec![("layers.0.weight.values", Some(floats(&[8, 8, 8], 0.0)))],
            "layers.0.weight.values has shape [8, 8, 8], should have [2, 16, 16]",
        ),
        (vec![("layers.0.weight.values", None)], "has no tensor layers.0.weight.values"),
        (vec![("layers.0.weight.col_indices", Some(words(&[1, 4])))], "outside 1 x 4 blocks"),
        (vec![("layers.0.weight.col_indices", Some(words(&[3, 1])))], "do not ascend: 3 is followed by 1"),
        (vec![("layers.0.weight.col_indices", Some(words(&[1, 1])))], "do not ascend: 1 is followed by 1"),
        (vec![("layers.0.weight.col_indices", Some(words(&[-1, 1])))], "has the index -1"),
        (vec![("layers.0.weight.crow_indices", Some(words(&[0, 1])))], "end with 1, but there are 2"),
        (vec![("layers.0.weight.crow_indices", Some(words(&[0, 1, 2])))], "3 row pointers"),
        (
            vec![("layers.0.weight.shape", Some(words(&[16, 60])))],
            "layers.0.weight is of shape [16, 60], should be of [16, 64]",
        ),
    ] {
        let before = gpu.peak_bytes();
        let said = refusal(&gpu, &file(&changes)).unwrap_or_else(|| panic!("{wanted}: not refused"));
        assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
        assert_eq!(gpu.peak_bytes(), before, "{wanted}");
    }
    let said = refusal(&gpu, b"no safetensors").unwrap();
    assert!(said.contains("file: is no whole safetensors file"), "{said}");
    let checkpoint = Trainer::new(&gpu, settings(mlp(&[16], None)), digits()).unwrap().checkpoint().unwrap();
    let said = refusal(&gpu, &checkpoint.to_bytes(Path::new(PATH)).unwrap()).unwrap();
    assert!(said.contains("is a checkpoint; export its weights"), "{said}");
}

/// Methods that begin with other blocks than a pattern's are refused with it.
#[test]
fn patterns_that_a_run_cannot_begin_with() {
    let gpu = gpu();
    let pattern = Weights::from_bytes(Path::new("file"), &file(&[])).unwrap();
    let refused = |kind: Kind, hidden: &[usize], pattern: &Weights| {
        let mut settings = settings(mlp(hidden, Some(0.5)));
        settings.method = MethodConfig::new(kind);
        let start = StartFrom { weights: None, pattern: Some(pattern.clone()) };
        if let Err(error) = settings.start_from(&start) {
            return error.to_string();
        }
        let parts = Parts { start, ..settings.parts() };
        Trainer::with_parts(&gpu, settings, digits(), parts).unwrap_err().to_string()
    };
    for kind in [Kind::Magnitude, Kind::TopKast] {
        let said = refused(kind, &[16], &pattern);
        assert!(said.contains("has 2 blocks, but the run begins with 4 there"), "{kind}: {said}");
    }
    let said = refused(Kind::Static, &[16, 16], &pattern);
    assert!(said.contains("has no pattern layers.1.weight.crow_indices"), "{said}");
    let stray = [
        ("layers.1.weight.crow_indices", Some(words(&[0, 1]))),
        ("layers.1.weight.col_indices", Some(words(&[0]))),
    ];
    let stray = Weights::from_bytes(Path::new("file"), &file(&stray)).unwrap();
    let said = refused(Kind::Static, &[16], &stray);
    assert!(said.contains("has a pattern of layers.1.weight; sparse are layers.0.weight"), "{said}");
}

#[test]
fn layers_that_are_not_there() {
    for (name, wanted) in [
        ("layers.7", "keep-dense: layers.7 is no sparse layer; there are layers.0, layers.1"),
        ("layers.2", "keep-dense: layers.2 is no sparse layer"),
    ] {
        let mut config = mlp(&[16, 16], Some(0.5));
        config.layers.keep_dense = vec![name.to_owned()];
        let said = settings(config).validate().unwrap_err().to_string();
        assert!(said.starts_with(wanted), "{said}");
    }
    let mut config = mlp(&[16], Some(0.5));
    config.layers.keep_dense = vec!["layers.0".to_owned()];
    let said = settings(config).validate().unwrap_err().to_string();
    assert!(said.contains("no layer is left sparse"), "{said}");
}

/// Settings and files must be of each other.
#[test]
fn files_that_the_settings_do_not_name() {
    let gpu = gpu();
    let weights = Weights::from_bytes(Path::new("file"), &file(&[])).unwrap();
    let settings = settings(mlp(&[16], Some(0.5)));
    let start = StartFrom { weights: Some(weights), pattern: None };
    let parts = Parts { start, ..settings.parts() };
    let said = Trainer::with_parts(&gpu, settings, digits(), parts).unwrap_err().to_string();
    assert!(said.starts_with("init-from: the settings are of no file"), "{said}");
}
