//! Products of sparse layers and experts.

use fretwork::gpu::{Class, Gpu, Variant};
use fretwork::ops::{self, Activation, BlockInit, Dropping, Epilogue, Transpose, ValueScore};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BlockMask, BlockMatrix, Pattern, Routing, RoutingShape, Topology, upload_mask};

use super::{ADAM, DROPOUT, Draws, INDEX, Outcome, assert_same, bits, devices, fitting, run};

pub(super) fn topology(
    block: usize,
    [row_blocks, col_blocks]: [usize; 2],
    nnz: usize,
    shuffled: bool,
) -> Topology {
    let (key, [rows, cols]) = (Key::new(8, Stream::Check(9)), [row_blocks, col_blocks].map(|n| n * block));
    let drawn = sparse::random(rows, cols, block, nnz, key).unwrap();
    let mut blocks: Vec<_> = drawn.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
    if shuffled {
        key.walk().shuffle(&mut blocks);
    }
    Topology::from_coordinates(rows, cols, block, &blocks).unwrap()
}

/// Activations are too large for a binding, and values are not.
#[test]
fn sparse_products_with_large_activations() {
    let devices = devices();
    for (variant, block) in fitting() {
        let (grid, nnz) = match block {
            8 => ([33, 40], 60),
            16 => ([20, 16], 15),
            32 => ([9, 8], 4),
            _ => ([5, 4], 1),
        };
        let topology = topology(block, grid, nnz, true);
        let [outputs, inputs] = grid.map(|blocks| blocks * block);
        let outcome = devices.each_ref().map(|gpu| {
            let gpu = &gpu.with_variant(Some(variant));
            layer(gpu, &topology, 75, [outputs, inputs], None)
        });
        assert_same(outcome, 3, &format!("{} sparse, block {block}", variant.name()));
    }
}

/// A sparse layer forward and back.
pub(super) fn layer(
    gpu: &Gpu,
    topology: &Topology,
    rows: usize,
    [outputs, inputs]: [usize; 2],
    mask: Option<&BlockMask>,
) -> Outcome {
    let mut draws = Draws::new(gpu);
    let pattern = Pattern::upload(gpu, topology).unwrap();
    let (x, dy) = (draws.tensor(&[rows, inputs]), draws.tensor(&[rows, outputs]));
    let values = draws.values(topology.elements());
    let w = BlockMatrix::upload(gpu, Class::Scratch, "w", &pattern, &values).unwrap();
    let dw = BlockMatrix::upload(gpu, Class::Scratch, "dw", &pattern, &values).unwrap();
    let (bias, step) = (draws.tensor(&[outputs]), draws.step());
    let [pre, y] = [(); 2].map(|()| draws.tensor(&[rows, outputs]));
    let [given, dx] = [(); 2].map(|()| draws.tensor(&[rows, inputs]));
    let mask = mask.map(|mask| upload_mask(gpu, mask).unwrap());
    // Draws go by the element, whatever the block.
    let dropout = (topology.block() == 16).then_some(Dropping { dropout: DROPOUT, step: &step });
    let activation = Activation::Gelu;
    let forward = Epilogue::Forward { bias: &bias, activation, dropout, pre: Some(&pre) };
    let backward = Epilogue::Backward { pre: &given, activation, dropout };
    let dispatches = run(gpu, |rec| {
        ops::dds(rec, &x, &w, &y, Transpose::NT, forward)?;
        ops::dds(rec, &dy, &w, &dx, Transpose::NN, backward)?;
        ops::sdd(rec, &dy, &x, &dw, Transpose::TN, mask.as_ref())
    });
    (dispatches, [&pre, &y, &dx, dw.values()].map(|out| bits::<f32>(gpu, out)).to_vec())
}

/// Values that are too large: the gradient has the same bits, masked or not, and so has whatever goes block by block.
#[test]
fn values_slot_by_slot() {
    let devices = devices();
    for (variant, block) in fitting() {
        let grid = [9, 13];
        let topology = topology(block, grid, 80, true);
        let [rows, cols] = grid.map(|blocks| blocks * block);
        let mask = BlockMask::random(&topology, 0.5, Key::new(1, Stream::Check(2)));
        for mask in [None, Some(&mask)] {
            let outcome = devices.each_ref().map(|gpu| {
                let gpu = &gpu.with_variant(Some(variant));
                let mut draws = Draws::new(gpu);
                let (dy, x) = (draws.tensor(&[21, rows]), draws.tensor(&[21, cols]));
                let values = draws.values(topology.elements());
                let pattern = Pattern::upload(gpu, &topology).unwrap();
                let dw = BlockMatrix::upload(gpu, Class::Scratch, "dw", &pattern, &values).unwrap();
                let mask = mask.map(|mask| upload_mask(gpu, mask).unwrap());
                let dispatches = run(gpu, |rec| ops::sdd(rec, &dy, &x, &dw, Transpose::TN, mask.as_ref()));
                (dispatches, vec![bits::<f32>(gpu, dw.values())])
            });
            let what = format!("{} sdd by slots, block {block}, mask {}", variant.name(), mask.is_some());
            assert_same(outcome, 1, &what);
        }
        if variant == Variant::Lane {
            let outcome = devices.each_ref().map(|gpu| blockwise(gpu, &topology));
            assert_same(outcome, 8, &format!("block by block, {block}"));
        }
    }
}

/// Some windows lie partly past the last slot, and some wholly.
#[test]
fn gathered_products_slot_by_slot() {
    let devices = devices();
    for (variant, block) in fitting() {
        let widths = vec![2 * block, block, 3 * block];
        let shape = RoutingShape { tokens: 150, choices: 2, block, widths, most: None };
        let outcome = devices.each_ref().map(|gpu| {
            let gpu = &gpu.with_variant(Some(variant));
            let mut draws = Draws::new(gpu);
            let (x, w) = (draws.tensor(&[150, 8]), draws.tensor(&[shape.hidden(), 8]));
            let experts: Vec<u32> = (0..300).map(|i| [1, 3, 0, 1][i % 4]).collect();
            let experts = gpu.upload(Class::Scratch, "experts", &[150, 2], &experts).unwrap();
            let routing = Routing::new(gpu, shape.clone()).unwrap();
            run(gpu, |rec| ops::route(rec, &experts, None, &routing));
            let pattern = routing.pattern();
            let values = draws.values(pattern.elements());
            let h = BlockMatrix::upload(gpu, Class::Scratch, "h", pattern, &values).unwrap();
            let dispatches = run(gpu, |rec| ops::sdd_gathered(rec, &x, routing.tokens(), &w, &h));
            (dispatches, vec![bits::<f32>(gpu, h.values())])
        });
        assert_same(outcome, 1, &format!("{} gathered sdd, block {block}", variant.name()));
    }
}

fn blockwise(gpu: &Gpu, topology: &Topology) -> Outcome {
    let mut draws = Draws::new(gpu);
    let pattern = Pattern::upload(gpu, topology).unwrap();
    let mut matrix = || {
        let values = draws.values(topology.elements());
        BlockMatrix::upload(gpu, Class::Scratch, "values", &pattern, &values).unwrap()
    };
    let [a, b, zeroed, drawn, masked, rested, decayed, trained, first, second] = [(); 10].map(|()| matrix());
    let mask = BlockMask::random(topology, 0.5, Key::new(1, Stream::Check(2)));
    let mask = upload_mask(gpu, &mask).unwrap();
    let scores = [(); 2].map(|()| draws.tensor(&[pattern.places()]));
    // A third of the blocks come with the next step, a third came with one before.
    let born: Vec<u32> = (0..pattern.nnz()).map(|slot| [0, INDEX + 1, INDEX - 1][slot % 3]).collect();
    let born = gpu.upload(Class::Scratch, "born", &[pattern.nnz()], &born).unwrap();
    let older: Vec<u32> = (0..pattern.nnz()).map(|slot| [0, INDEX][slot % 2]).collect();
    let older = gpu.upload(Class::Scratch, "born", &[pattern.nnz()], &older).unwrap();
    let awake = vec![0x5A5A_5A5A_u32; pattern.places().div_ceil(32)];
    let awake = gpu.upload(Class::Scratch, "awake", &[awake.len()], &awake).unwrap();
    let squares: Vec<f32> = draws.values(topology.elements()).iter().map(|x| x * x).collect();
    gpu.write(second.values(), &squares).unwrap();
    let step = draws.step();
    let dispatches = run(gpu, |rec| {
        ops::score_values(rec, &a, None, &scores[0], ValueScore::Largest)?;
        ops::score_values(rec, &a, Some(b.values()), &scores[1], ValueScore::Times)?;
        ops::mask(rec, masked.values(), &mask)?;
        ops::renew_blocks(rec, &pattern, zeroed.values(), &born, &BlockInit::Zero, &step)?;
        let uniform = BlockInit::Uniform { limit: 0.5, key: Key([3, 4]) };
        ops::renew_blocks(rec, &pattern, drawn.values(), &born, &uniform, &step)?;
        ops::zero_inactive_blocks(rec, &pattern, rested.values(), &awake)?;
        ops::decay_blocks(rec, &pattern, decayed.values(), &awake, [0.5, 2.0], &step)?;
        let (first, second) = (first.values(), second.values());
        ops::adamw(rec, trained.values(), a.values(), first, second, ADAM, None, Some(&older), &step)
    });
    let matrices = [masked, zeroed, drawn, rested, decayed, trained];
    let results = scores.iter().chain(matrices.iter().map(BlockMatrix::values));
    (dispatches, results.map(|out| bits::<f32>(gpu, out)).collect())
}

/// Values brought to a denser pattern, which alone is too large.
#[test]
fn values_brought_to_a_larger_pattern() {
    let devices = devices();
    for (block, few, many) in [(8, 50, 110), (16, 12, 70), (32, 4, 60), (64, 1, 9)] {
        let outcome = devices.each_ref().map(|gpu| {
            let mut draws = Draws::new(gpu);
            let (old, new) = (topology(block, [9, 13], few, false), topology(block, [9, 13], many, true));
            let [old, new] = [old, new].map(|topology| Pattern::upload(gpu, &topology).unwrap());
            let values = [(); 2].map(|()| draws.tensor(&[few, block, block]));
            let outs = [(); 2].map(|()| BlockMatrix::alloc(gpu, Class::Scratch, "out", &new).unwrap());
            let map = gpu.zeros::<u32>(Class::Scratch, "map", &[old.places()]).unwrap();
            let [a, b] = values.each_ref().map(|values| ops::RemapSource { values, map: &map });
            let dispatches = run(gpu, |rec| {
                ops::map_pattern(rec, &old, &map)?;
                ops::remap_blocks(rec, a, None, &outs[0])?;
                ops::remap_blocks(rec, a, Some((b, [0.7, 0.4])), &outs[1])
            });
            (dispatches, outs.map(|out| bits::<f32>(gpu, out.values())).to_vec())
        });
        assert_same(outcome, 4, &format!("remap, block {block}"));
    }
}
