//! Layers as Burn modules: records, copies, conversion from and to dense layers.

use burn_core as burn;
use burn_core::config::Config as _;
use burn_core::module::{Module, Param};
use burn_core::store::ModuleRecord;
use burn_core::tensor::Tensor;
use fretwork_burn::{SparseLinear, SparseLinearConfig};

use crate::{device, floats, numbers, tensor, walk};

#[derive(Module, Debug)]
struct Pair {
    first: SparseLinear,
    second: SparseLinear,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let layer = |inputs, outputs, seed| {
            SparseLinearConfig::new(inputs, outputs).density(0.3).seed(seed).init(&device())
        };
        Self { first: layer(64, 96, seed), second: layer(96, 32, seed + 1) }
    }

    fn output(&self) -> Vec<f32> {
        let x = Tensor::<2>::ones([3, 64], &self.first.values.val().device());
        floats(self.second.forward(self.first.forward(x)))
    }
}

/// A record holds the blocks' places: a module with others takes them over.
#[test]
fn records_hold_topologies() {
    let (model, other) = (Pair::new(1), Pair::new(7));
    let places = |pair: &Pair| pair.first.blocks.topology().unwrap().places().collect::<Vec<_>>();
    assert_ne!(places(&model), places(&other));
    assert_ne!(model.output(), other.output());
    let bytes = model.clone().into_record().into_bytes().unwrap();
    let other = other.load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_eq!(places(&model), places(&other));
    assert_eq!(model.output(), other.output());
    // A run went on from `other`, and returns to the record.
    let back = Pair::new(9).load_record(other.into_record());
    assert_eq!(model.output(), back.output());
}

/// Coordinates out of the grid, and a block given twice, are refused when the topology is read.
#[test]
fn records_with_invalid_topologies_are_refused() {
    let model = Pair::new(1);
    for wrong in [[0, 99], [-1, 0], [0, 0]] {
        struct Spoil([i32; 2]);
        impl burn::module::ModuleMapper for Spoil {
            fn map_int<const D: usize>(
                &mut self,
                param: Param<Tensor<D, burn::tensor::Int>>,
            ) -> Param<Tensor<D, burn::tensor::Int>> {
                param.map(|tensor| {
                    let data = tensor.clone().into_data();
                    let mut words: Vec<i32> = data.iter::<i32>().collect();
                    let pairs = words.len() / 2;
                    words[..2].copy_from_slice(&self.0);
                    words[2 * (pairs - 1)..].copy_from_slice(&self.0);
                    Tensor::from_data(
                        burn::tensor::TensorData::new(words, data.shape().clone()),
                        &tensor.device(),
                    )
                })
            }
        }
        let spoilt = model.clone().map(&mut Spoil(wrong));
        assert!(spoilt.first.blocks.topology().is_err(), "{wrong:?}");
        let x = Tensor::<2>::ones([3, 64], &device());
        assert!(spoilt.first.try_forward(x).is_err());
    }
}

#[test]
fn copies_for_validation_and_for_other_graphs_compute_the_same() {
    let model = Pair::new(2).fork(&device().autodiff());
    let wanted = model.output();
    assert_eq!(model.valid().output(), wanted);
    assert_eq!(model.valid().train().output(), wanted);
    assert_eq!(model.clone().to_device(&device()).output(), wanted);
    assert_eq!(model.first.num_params(), model.first.values.val().shape().num_elements() + 96);
}

#[test]
fn settings_survive_their_file() {
    let folder = std::env::temp_dir().join(format!("fretwork-burn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = SparseLinearConfig::new(64, 32).block(8).density(0.25).bias(false).seed(5);
    config.save(folder.join("layer.json")).unwrap();
    assert_eq!(SparseLinearConfig::load(folder.join("layer.json")).unwrap(), config);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A dense layer keeps its largest blocks; at density 1 nothing is lost either way.
#[test]
fn dense_layers_become_sparse_and_dense_again() {
    let device = device();
    let mut walk = walk(4000);
    let (weight, bias) = (numbers(&mut walk, 32 * 48), numbers(&mut walk, 48));
    let linear = |weight: &[f32]| Param::from_tensor(tensor(weight.to_vec(), [32, 48], &device));
    let biases = Param::from_tensor(tensor(bias.clone(), [48], &device));
    let whole = SparseLinear::from_dense(&linear(&weight), Some(&biases), 16, 1.0).unwrap();
    assert_eq!(floats(whole.to_dense().unwrap()), weight);
    assert_eq!(floats(whole.bias.as_ref().unwrap().val()), bias);

    // One of the six blocks is larger than all others: inputs 16..32 and outputs 32..48.
    let mut marked = weight.clone();
    for (at, value) in marked.iter_mut().enumerate() {
        *value *= if at / 48 >= 16 && at % 48 >= 32 { 5.0 } else { 1.0 };
    }
    let one = SparseLinear::from_dense(&linear(&marked), None, 16, 1.0 / 6.0).unwrap();
    assert_eq!(one.blocks.topology().unwrap().coordinates().collect::<Vec<_>>(), [(2, 1)]);
    let dense = floats(one.to_dense().unwrap());
    let kept = |at: usize| if at / 48 >= 16 && at % 48 >= 32 { marked[at] } else { 0.0 };
    assert_eq!(dense, (0..32 * 48).map(kept).collect::<Vec<_>>());
}
