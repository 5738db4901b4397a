//! Gradual magnitude pruning of a module, against its definition.

use burn_core as burn;
use burn_core::module::Module;
use burn_optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn_pack::Reader;
use fretwork_burn::{Error, Pruned, Pruning, SparseLinear, SparseLinearConfig, carry_state};

use crate::{device, floats, numbers, tensor, walk};

const BLOCK: usize = 16;
const SIDES: [usize; 2] = [4 * BLOCK, 6 * BLOCK];

#[derive(Module, Debug)]
struct Net {
    layer: SparseLinear,
}

fn net() -> Net {
    let config = SparseLinearConfig::new(SIDES[1], SIDES[0]).block(BLOCK).density(1.0).seed(4);
    Net { layer: config.init(&device().autodiff()) }
}

fn train(net: Net, optimizer: &mut ModuleOptimizer, case: u32) -> Net {
    let device = net.layer.values.val().device();
    let mut walk = walk(7000 + case);
    let x = tensor(numbers(&mut walk, 9 * SIDES[1]), [9, SIDES[1]], &device);
    let dy = tensor(numbers(&mut walk, 9 * SIDES[0]), [9, SIDES[0]], &device);
    let grads = (net.layer.forward(x) * dy).sum().backward();
    let grads = GradientsParams::from_grads(grads, &net);
    optimizer.step(1e-2, net, grads)
}

/// Adam's moments of a parameter, by name.
fn moments(optimizer: &ModuleOptimizer, id: u64) -> Vec<Vec<f32>> {
    let reader = Reader::from_bytes(optimizer.to_record().into_bytes().unwrap()).unwrap();
    let parts = reader.into_tensors().unwrap().into_iter().map(|tensor| tensor.into_parts().unwrap());
    let mut found: Vec<_> = parts.filter(|part| part.3 == Some(id) && part.2.num_dims() == 3).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |bytes: &[u8]| bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    found.iter().map(|part| of(&part.4)).collect()
}

#[test]
fn blocks_of_the_smallest_magnitude_go_by_a_cube() {
    let mut net = net();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let mut pruning = Pruning::new(&net, 0.25, 2, 8, 2).unwrap();
    let mut counts = Vec::new();
    for number in 0..10 {
        net = train(net, &mut optimizer, number);
        let before = net.clone();
        net = pruning.step(net).unwrap();
        let topology = net.layer.blocks.topology().unwrap();
        counts.push(topology.nnz());
        if topology.nnz() == before.layer.blocks.topology().unwrap().nnz() {
            assert!(pruning.pruned().is_empty());
            continue;
        }
        let values = floats(before.layer.values.val());
        let blocks: Vec<&[f32]> = values.chunks(BLOCK * BLOCK).collect();
        let size = |slot: usize| blocks[slot].iter().map(|w| f64::from(w.abs())).sum::<f64>();
        let mut slots: Vec<usize> = (0..blocks.len()).collect();
        slots.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
        let mut kept = slots[..topology.nnz()].to_vec();
        kept.sort_unstable();
        let wanted =
            Pruned { before: before.layer.values.id, values: net.layer.values.id, kept: kept.clone() };
        assert_eq!(pruning.pruned(), [wanted]);
        let left: Vec<f32> = kept.iter().flat_map(|&slot| blocks[slot]).copied().collect();
        assert_eq!(floats(net.layer.values.val()), left);
        let places: Vec<_> = before.layer.blocks.topology().unwrap().coordinates().collect();
        let wanted: Vec<_> = kept.iter().map(|&slot| places[slot]).collect();
        assert_eq!(topology.coordinates().collect::<Vec<_>>(), wanted);

        // The state follows the blocks; nothing of the removed ones is left.
        let old = moments(&optimizer, before.layer.values.id.val());
        optimizer = carry_state(optimizer, pruning.pruned()).unwrap();
        assert!(moments(&optimizer, before.layer.values.id.val()).is_empty());
        let new = moments(&optimizer, net.layer.values.id.val());
        assert_eq!((old.len(), new.len()), (2, 2));
        for (old, new) in old.iter().zip(&new) {
            let area = BLOCK * BLOCK;
            let wanted: Vec<f32> =
                kept.iter().flat_map(|&slot| &old[slot * area..][..area]).copied().collect();
            assert_eq!(new, &wanted);
        }
    }
    // 24 blocks to 6 in the steps 2, 4, 6 and 8: 6 + 18 (1 - t/6)^3.
    assert_eq!(counts, [24, 24, 24, 24, 11, 11, 7, 7, 6, 6]);
    // What is left computes what its dense form does.
    let net = net.valid();
    let x = tensor(numbers(&mut walk(7100), 5 * SIDES[1]), [5, SIDES[1]], &device());
    let bias = net.layer.bias.as_ref().unwrap().val().unsqueeze();
    let wanted = floats(x.clone().matmul(net.layer.to_dense().unwrap()) + bias);
    let found = floats(net.layer.forward(x));
    assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// Without its state carried on, a pruned layer trains with a new one.
#[test]
fn state_that_is_not_carried_begins_anew() {
    let mut net = net();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let mut pruning = Pruning::new(&net, 0.5, 1, 1, 1).unwrap();
    for number in 0..4 {
        net = train(net, &mut optimizer, number);
        net = pruning.step(net).unwrap();
    }
    assert_eq!(net.layer.blocks.topology().unwrap().nnz(), 12);
}

#[test]
fn schedules_and_models_that_do_not_fit_are_refused() {
    let net = net();
    for (density, from, until, every) in [(0.0, 0, 1, 1), (1.5, 0, 1, 1), (0.5, 2, 1, 1), (0.5, 0, 1, 0)] {
        assert!(matches!(Pruning::new(&net, density, from, until, every), Err(Error::Shape { .. })));
    }
    let mut pruning = Pruning::new(&net, 0.5, 0, 0, 1).unwrap();
    assert!(matches!(pruning.step(self::net()), Err(Error::OtherModel)));
    // Denser than the layer: nothing to do.
    let mut pruning = Pruning::new(&net, 1.0, 0, 0, 1).unwrap();
    let id = net.layer.values.id;
    assert_eq!(pruning.step(net).unwrap().layer.values.id, id);
}
