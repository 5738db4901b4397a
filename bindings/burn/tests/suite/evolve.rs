//! Updates of topologies: RigL and SET on a module, against the definition.

use burn_core as burn;
use burn_core::module::Module;
use burn_optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn_pack::Reader;
use fretwork_burn::fretwork::methods::{Decay, Every, Rigl, Set, Updates};
use fretwork_burn::{Error, Evolution, Exchanged, SparseLinear, SparseLinearConfig, zero_state};

use crate::{device, floats, numbers, tensor, walk};

const ROWS: usize = 9;
const BLOCK: usize = 16;
/// Every second step, a quarter of the blocks, throughout.
const UPDATES: Updates =
    Updates { every: Every::Steps(2), from: 0.0, until: 1.0, fraction: 0.25, decay: Decay::Constant };

#[derive(Module, Debug)]
struct Net {
    layer: SparseLinear,
}

fn net() -> Net {
    let config = SparseLinearConfig::new(6 * BLOCK, 4 * BLOCK).block(BLOCK).density(0.5).seed(4);
    Net { layer: config.init(&device().autodiff()) }
}

/// Input, output gradient, and the places and sums of |w| of the stored blocks.
struct Step {
    x: Vec<f32>,
    dy: Vec<f32>,
}

impl Step {
    fn draw(case: u32) -> Self {
        let mut walk = walk(case);
        Self { x: numbers(&mut walk, ROWS * 6 * BLOCK), dy: numbers(&mut walk, ROWS * 4 * BLOCK) }
    }

    /// A step of an optimizer.
    fn train(&self, net: Net, optimizer: &mut ModuleOptimizer) -> Net {
        let device = net.layer.values.val().device();
        let y = net.layer.forward(tensor(self.x.clone(), [ROWS, 6 * BLOCK], &device));
        let grads = (y * tensor(self.dy.clone(), [ROWS, 4 * BLOCK], &device)).sum().backward();
        let grads = GradientsParams::from_grads(grads, &net);
        optimizer.step(1e-3, net, grads)
    }

    /// Sum of |dyᵀ·x| of a block.
    fn score(&self, [row, col]: [usize; 2]) -> f64 {
        let mut sum = 0.0;
        for i in row * BLOCK..(row + 1) * BLOCK {
            for j in col * BLOCK..(col + 1) * BLOCK {
                let product =
                    |r: usize| f64::from(self.dy[r * 4 * BLOCK + i]) * f64::from(self.x[r * 6 * BLOCK + j]);
                sum += (0..ROWS).map(product).sum::<f64>().abs();
            }
        }
        sum
    }
}

fn places(layer: &SparseLinear) -> Vec<[usize; 2]> {
    layer.blocks.topology().unwrap().coordinates().map(|(row, col)| [row, col]).collect()
}

fn blocks(layer: &SparseLinear) -> Vec<Vec<f32>> {
    floats(layer.values.val()).chunks(BLOCK * BLOCK).map(<[f32]>::to_vec).collect()
}

#[test]
fn rigl_exchanges_the_blocks_of_its_definition() {
    let net = net();
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    let mut evolution = Evolution::new(Rigl { updates: UPDATES, score_rows: None }, &net, 100, 10).unwrap();
    let mut trained = net;
    for number in 0..2 {
        trained = Step::draw(5000 + number).train(trained, &mut optimizer);
        trained = evolution.step(trained).unwrap();
        assert!(evolution.exchanged().is_empty(), "no update is due in step {number}");
    }
    let last = Step::draw(5002);
    let before = last.train(trained, &mut optimizer);
    let after = evolution.step(before.clone()).unwrap();

    // The definition: of 12 blocks, drop the 3 of the smallest sums of |w|; grow the 3 with the largest scores of those not kept.
    let (old, values) = (places(&before.layer), blocks(&before.layer));
    let mut slots: Vec<usize> = (0..old.len()).collect();
    let size = |slot: usize| values[slot].iter().map(|&w| f64::from(w.abs())).sum::<f64>();
    slots.sort_by(|&a, &b| size(a).total_cmp(&size(b)));
    let (dropped, kept) = slots.split_at(3);
    let kept: Vec<_> = kept.iter().map(|&slot| old[slot]).collect();
    let all = (0..4).flat_map(|row| (0..6).map(move |col| [row, col]));
    let mut absent: Vec<_> = all.filter(|place| !kept.contains(place)).collect();
    absent.sort_by(|&a, &b| last.score(b).total_cmp(&last.score(a)));
    let mut wanted: Vec<_> = kept.iter().chain(&absent[..3]).copied().collect();
    wanted.sort_unstable();
    let mut found = places(&after.layer);
    found.sort_unstable();
    assert_eq!(found, wanted);

    // New blocks are 0, and in the slots of dropped ones; all others are where they were.
    let (new, renewed) = (places(&after.layer), blocks(&after.layer));
    let changed: Vec<usize> = (0..old.len()).filter(|&slot| old[slot] != new[slot]).collect();
    assert!(!changed.is_empty());
    assert_eq!(evolution.exchanged(), [Exchanged { values: after.layer.values.id, slots: changed.clone() }]);
    for slot in 0..old.len() {
        if changed.contains(&slot) {
            assert!(dropped.contains(&slot) && renewed[slot].iter().all(|&w| w == 0.0));
        } else {
            assert_eq!(renewed[slot], values[slot]);
        }
    }
    // The model before the update computes what it did, and the one after it with its own blocks, also from a record.
    let x = || tensor(last.x.clone(), [ROWS, 6 * BLOCK], &device());
    let dense = |layer: &SparseLinear| {
        let bias = layer.bias.as_ref().unwrap().val().without_autodiff().unsqueeze();
        floats(x().matmul(layer.to_dense().unwrap()) + bias)
    };
    let record = after.clone().into_record().into_bytes().unwrap();
    let read = burn::store::ModuleRecord::from_bytes(record).unwrap();
    let loaded = self::net().load_record(read);
    for net in [&before, &after, &loaded] {
        let (found, wanted) = (floats(net.valid().layer.forward(x())), dense(&net.valid().layer));
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert_eq!(places(&loaded.layer), new);

    // Adam's moments of the new blocks become 0, and no others.
    let state = |optimizer: &ModuleOptimizer| -> Vec<Vec<f32>> {
        let reader = Reader::from_bytes(optimizer.to_record().into_bytes().unwrap()).unwrap();
        let parts = reader.into_tensors().unwrap().into_iter().map(|tensor| tensor.into_parts().unwrap());
        let of_values =
            parts.filter(|part| part.3 == Some(after.layer.values.id.val()) && part.2.num_dims() == 3);
        of_values
            .map(|part| part.4.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
            .collect()
    };
    let moments = state(&optimizer);
    let optimizer = zero_state(optimizer, evolution.exchanged()).unwrap();
    let zeroed = state(&optimizer);
    assert_eq!((moments.len(), zeroed.len()), (2, 2));
    for (before, after) in moments.iter().zip(&zeroed) {
        for (slot, (before, after)) in
            before.chunks(BLOCK * BLOCK).zip(after.chunks(BLOCK * BLOCK)).enumerate()
        {
            assert!(before.iter().any(|&moment| moment != 0.0));
            let wanted = if changed.contains(&slot) { vec![0.0; BLOCK * BLOCK] } else { before.to_vec() };
            assert_eq!(after, wanted, "slot {slot}");
        }
    }
    // Training goes on.
    let mut optimizer = optimizer;
    let next = Step::draw(5003).train(after.clone(), &mut optimizer);
    assert_ne!(blocks(&next.layer), blocks(&after.layer));
    assert!(evolution.step(next).is_ok());
}

#[test]
fn set_exchanges_as_many_at_random() {
    let evolve = |seed: u64| {
        let mut net = net();
        let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
        let mut evolution = Evolution::new(Set { updates: UPDATES }, &net, 100, 10).unwrap().seed(seed);
        for number in 0..3 {
            net = Step::draw(6000 + number).train(net, &mut optimizer);
            net = evolution.step(net).unwrap();
        }
        (places(&net.layer), evolution.exchanged()[0].slots.len())
    };
    let (first, exchanged) = evolve(1);
    assert!((1..=3).contains(&exchanged), "{exchanged}");
    assert_eq!(evolve(1).0, first);
    assert_ne!(evolve(2).0, first);
}

#[test]
fn updates_without_their_layers_are_refused() {
    let net = net();
    let mut evolution = Evolution::new(Rigl { updates: UPDATES, score_rows: None }, &net, 100, 10).unwrap();
    let net = (0..2).fold(net, |net, _| evolution.step(net).unwrap());
    // No backward pass since.
    assert!(matches!(evolution.step(net), Err(Error::NoSignals)));
    let none = Updates { every: Every::Steps(0), ..UPDATES };
    assert!(Evolution::new(Rigl { updates: none, score_rows: None }, &self::net(), 100, 10).is_err());
    let mut other =
        Evolution::new(Rigl { updates: UPDATES, score_rows: None }, &self::net(), 100, 10).unwrap();
    let strangers = (0..2).fold(self::net(), |net, _| other.step(net).unwrap());
    assert!(matches!(other.step(strangers), Err(Error::OtherModel)));
}
