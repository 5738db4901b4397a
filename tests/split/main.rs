//! Tensors larger than a binding: worked on window by window, to the same bits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod layers;
mod runs;

use std::sync::Mutex;

use fretwork::Error;
use fretwork::check::{self, Verdict};
use fretwork::gpu::{Class, Element, Gpu, Options, Recorder, Sources, Tensor, Variant};
use fretwork::ops::{
    self, Activation, AdamW, Dropout, Dropping, Epilogue, Lamb, Lars, ParamRange, Sgd, Step, StepValues,
    Transpose,
};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{BLOCKS, BlockMask, upload_mask};

use layers::{layer, topology};

/// Largest binding of the devices that split, in bytes: one block of 64, or 4096 elements.
const SMALL: u64 = 16 << 10;

fn device(largest_binding: Option<u64>, sources: Sources) -> Gpu {
    Gpu::request(Options { default_limits: true, largest_binding, sources, ..Options::default() }).unwrap()
}

/// Each variant with blocks that fit such a binding. How a window begins does not depend on the block, and a driver on the CPU
/// compiles for long, so all blocks are the matter of the smallest kernels.
fn fitting() -> impl Iterator<Item = (Variant, usize)> {
    let fits = |block: &usize| 4 * block * block <= SMALL as usize;
    let all = Variant::ALIKE
        .into_iter()
        .flat_map(move |variant| BLOCKS.into_iter().filter(fits).map(move |block| (variant, block)));
    all.filter(|&(variant, block)| variant == Variant::Lane || block == 16)
}

/// The devices to compare: one that never splits, one that does.
fn devices() -> [Gpu; 2] {
    [None, Some(SMALL)].map(|largest| device(largest, Sources::default()))
}

/// Numbers that are the same on every device.
struct Draws<'g> {
    gpu: &'g Gpu,
    next: u32,
}

impl<'g> Draws<'g> {
    fn new(gpu: &'g Gpu) -> Self {
        Self { gpu, next: 0 }
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        self.next += 1;
        let mut walk = Key::new(3, Stream::Check(self.next)).walk();
        (0..count).map(|_| 2.0 * walk.uniform() - 1.0).collect()
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values = self.values(shape.iter().product());
        self.gpu.upload(Class::Scratch, "drawn", shape, &values).unwrap()
    }

    fn step(&self) -> Step {
        let values = StepValues {
            index: INDEX,
            learning_rate: 0.1,
            row_scale: 0.25,
            corrections: [10.0, 1000.0],
            moves: INDEX + 1,
        };
        Step::new(self.gpu, values).unwrap()
    }
}

/// Runs what is recorded and returns how many dispatches it took.
fn run(gpu: &Gpu, record: impl FnOnce(&mut Recorder<'_>) -> fretwork::Result<()>) -> usize {
    let mut rec = Recorder::new(gpu);
    record(&mut rec).unwrap();
    let plan = rec.finish().unwrap();
    gpu.run(&plan).unwrap();
    plan.labels().count()
}

fn bits<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Vec<u32> {
    bytemuck::cast_slice(&gpu.read::<T>(tensor).unwrap().wait().unwrap()).to_vec()
}

/// Outcome of a case on one device: the number of dispatches, and the bits of every result.
type Outcome = (usize, Vec<Vec<u32>>);

/// Both devices give the same bits; one in a single dispatch, the other in more.
#[track_caller]
fn assert_same([whole, split]: [Outcome; 2], dispatches: usize, what: &str) {
    assert_eq!(whole.0, dispatches, "{what}: dispatches of what fits");
    assert!(split.0 > dispatches, "{what} was not split");
    for (index, (whole, split)) in whole.1.iter().zip(&split.1).enumerate() {
        assert_eq!(whole.len(), split.len());
        if let Some(at) = (0..whole.len()).find(|&i| whole[i] != split[i]) {
            let [a, b] = [whole[at], split[at]].map(f32::from_bits);
            panic!("{what}: result {index} differs at {at}: {a:e} whole, {b:e} split");
        }
    }
}

/// The step of every draw.
const INDEX: u32 = 7;
const DROPOUT: Dropout = Dropout { rate: 0.3, key: Key([1, 2]) };
const ADAM: AdamW = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };

/// More elements than a binding holds, and not a whole number of windows.
const COUNT: usize = 9001;

#[test]
fn element_by_element() {
    let devices = devices();
    let optimizers = |gpu: &Gpu, masked: bool, adam: bool| {
        let mut draws = Draws::new(gpu);
        let [x, g, first, mut second] = [(); 4].map(|()| draws.values(COUNT));
        second.iter_mut().for_each(|x| *x = x.abs());
        let place = |values: &[f32]| gpu.upload(Class::Scratch, "state", &[COUNT], values).unwrap();
        let [x, g, first, second] = [x, g, first, second].map(|values| place(&values));
        let mut walk = Key::new(4, Stream::Check(0)).walk();
        let words = (0..COUNT.div_ceil(32)).map(|_| walk.bits()).collect();
        let mask = upload_mask(gpu, &BlockMask::from_words(words, COUNT).unwrap()).unwrap();
        let (mask, step) = (masked.then_some(&mask), draws.step());
        let dispatches = run(gpu, |rec| {
            if adam {
                return ops::adamw(rec, &x, &g, &first, &second, ADAM, mask, None, &step);
            }
            let settings = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
            ops::sgd(rec, &x, &g, &first, settings, mask, &step)
        });
        (dispatches, [x, first, second].map(|tensor| bits::<f32>(gpu, &tensor)).to_vec())
    };
    for masked in [false, true] {
        for adam in [false, true] {
            let what = format!("an optimizer, adam {adam}, masked {masked}");
            assert_same(devices.each_ref().map(|gpu| optimizers(gpu, masked, adam)), 1, &what);
        }
    }

    let layerwise = |gpu: &Gpu, lamb: bool| {
        let mut draws = Draws::new(gpu);
        let [x, g, first, mut second] = [(); 4].map(|()| draws.values(COUNT));
        second.iter_mut().for_each(|x| *x = x.abs());
        let place = |values: &[f32]| gpu.upload(Class::Scratch, "state", &[COUNT], values).unwrap();
        let [x, g, first, second] = [x, g, first, second].map(|values| place(&values));
        let (params, step) = ([ParamRange { first: 0, len: COUNT, decays: true }], draws.step());
        let dispatches = run(gpu, |rec| {
            if lamb {
                let AdamW { beta_1, beta_2, epsilon, weight_decay } = ADAM;
                let settings = Lamb { beta_1, beta_2, epsilon, weight_decay };
                return ops::lamb(rec, &x, &g, &first, &second, settings, &params, None, &step);
            }
            let settings = Lars { momentum: 0.9, trust: 0.1, weight_decay: 0.1 };
            ops::lars(rec, &x, &g, &first, settings, &params, &step)
        });
        (dispatches, [x, first, second].map(|tensor| bits::<f32>(gpu, &tensor)).to_vec())
    };
    for lamb in [false, true] {
        let what = format!("norms of a parameter, lamb {lamb}");
        assert_same(devices.each_ref().map(|gpu| layerwise(gpu, lamb)), 3, &what);
    }

    let activations = devices.each_ref().map(|gpu| {
        let mut draws = Draws::new(gpu);
        let (x, g, step) = (draws.tensor(&[COUNT]), draws.tensor(&[COUNT]), draws.step());
        let outs = [(); 4].map(|()| draws.tensor(&[COUNT]));
        let dropping = Some(Dropping { dropout: DROPOUT, step: &step });
        let dispatches = run(gpu, |rec| {
            ops::activation_forward(rec, &x, &outs[0], Activation::Gelu, dropping)?;
            ops::activation_forward(rec, &x, &outs[1], Activation::Relu, None)?;
            ops::activation_backward(rec, &g, &x, &outs[2], Activation::Silu, dropping)?;
            ops::activation_backward(rec, &g, &x, &outs[3], Activation::Gelu, None)
        });
        (dispatches, outs.map(|out| bits::<f32>(gpu, &out)).to_vec())
    });
    assert_same(activations, 4, "activations");

    let others = devices.each_ref().map(|gpu| {
        let mut draws = Draws::new(gpu);
        let (filled, uniform, step) = (draws.tensor(&[COUNT]), draws.tensor(&[COUNT]), draws.step());
        let random = gpu.zeros::<u32>(Class::Scratch, "random", &[COUNT]).unwrap();
        let status = gpu.zeros::<u32>(Class::Scratch, "status", &[3]).unwrap();
        let mut bad = draws.values(COUNT);
        bad[COUNT - 1] = f32::NAN;
        let bad = gpu.upload(Class::Scratch, "bad", &[COUNT], &bad).unwrap();
        let good = draws.tensor(&[COUNT]);
        let dispatches = run(gpu, |rec| {
            ops::fill(rec, &filled, 0x3F80_0000)?;
            ops::random_bits(rec, &random, Key([5, 6]), &step)?;
            ops::random_uniform(rec, &uniform, Key([5, 6]), &step)?;
            ops::finite(rec, &bad, &status, 1, 4)?;
            ops::finite(rec, &good, &status, 2, 4)
        });
        assert_eq!(bits::<u32>(gpu, &status), [0, 4, 0]);
        (dispatches, vec![bits::<f32>(gpu, &filled), bits::<u32>(gpu, &random), bits::<f32>(gpu, &uniform)])
    });
    assert_same(others, 5, "fills and scans");
}

#[test]
fn losses_row_by_row() {
    const ROWS: usize = 37;
    const COLUMNS: usize = 1024;
    let outcome = devices().each_ref().map(|gpu| {
        let mut draws = Draws::new(gpu);
        let [x, wanted, grad, other_grad] = [(); 4].map(|()| draws.tensor(&[ROWS, COLUMNS]));
        let (report, other_report, step) = (draws.tensor(&[ROWS, 2]), draws.tensor(&[ROWS]), draws.step());
        let labels: Vec<u32> = (0..ROWS as u32).map(|row| row * 31).collect();
        let labels = gpu.upload(Class::Scratch, "labels", &[ROWS], &labels).unwrap();
        let dispatches = run(gpu, |rec| {
            ops::softmax_cross_entropy(rec, &x, &labels, &report, &grad, &step)?;
            ops::mse(rec, &x, &wanted, &other_report, &other_grad, &step)
        });
        (dispatches, [report, grad, other_report, other_grad].map(|out| bits::<f32>(gpu, &out)).to_vec())
    });
    assert_same(outcome, 2, "losses");
}

#[test]
fn sums_of_columns() {
    let devices = devices();
    // Windows of whole chunks; of parts of a chunk; the same with several chunks, and a last one that is not full.
    for [rows, columns, rounds] in [[2000, 5, 2], [100, 64, 1], [700, 64, 2], [300, 100, 2]] {
        for add in [false, true] {
            let outcome = devices.each_ref().map(|gpu| {
                let mut draws = Draws::new(gpu);
                let (x, out) = (draws.tensor(&[rows, columns]), draws.tensor(&[columns]));
                let dispatches = run(gpu, |rec| ops::column_sums(rec, &x, &out, add));
                (dispatches, vec![bits::<f32>(gpu, &out)])
            });
            assert_same(outcome, rounds, &format!("sums of {rows} x {columns}, add {add}"));
        }
    }
}

/// A layer's products, as a training step has them, of which every matrix is too large, and of others that are not.
#[test]
fn dense_products() {
    let devices = devices();
    for variant in Variant::ALIKE {
        // Rows, outputs and inputs: a layer, a last layer with few outputs, and one with sides that four does not divide. The
        // first drops, and all variants do it: a driver on the CPU compiles for long.
        for (case, [rows, outputs, inputs]) in
            [[100, 68, 72], [37, 10, 1024], [61, 132, 65], [45, 99, 130], [130, 1024, 7]]
                .into_iter()
                .enumerate()
                .filter(|&(case, _)| variant == Variant::Lane || case == 0)
        {
            let outcome = devices.each_ref().map(|gpu| {
                let gpu = &gpu.with_variant(Some(variant));
                let mut draws = Draws::new(gpu);
                let (x, w) = (draws.tensor(&[rows, inputs]), draws.tensor(&[outputs, inputs]));
                let (bias, dy) = (draws.tensor(&[outputs]), draws.tensor(&[rows, outputs]));
                let [pre, y] = [(); 2].map(|()| draws.tensor(&[rows, outputs]));
                let (given, dx, dw) = (
                    draws.tensor(&[rows, inputs]),
                    draws.tensor(&[rows, inputs]),
                    draws.tensor(&[outputs, inputs]),
                );
                let step = draws.step();
                let activation = Activation::Gelu;
                let dropout = (case == 0).then_some(Dropping { dropout: DROPOUT, step: &step });
                let forward = Epilogue::Forward { bias: &bias, activation, dropout, pre: Some(&pre) };
                let backward = Epilogue::Backward { pre: &given, activation, dropout };
                let dispatches = run(gpu, |rec| {
                    ops::dense(rec, &x, &w, &y, Transpose::NT, forward)?;
                    ops::dense(rec, &dy, &w, &dx, Transpose::NN, backward)?;
                    ops::dense(rec, &dy, &x, &dw, Transpose::TN, Epilogue::None)
                });
                (dispatches, [pre, y, dx, dw].map(|out| bits::<f32>(gpu, &out)).to_vec())
            });
            let what = format!("{} dense {rows} x {outputs} x {inputs}", variant.name());
            assert_same(outcome, 3, &what);
        }
    }
}

/// Known answers are right on a device that splits. This covers DDS with values in several windows, whose sums are in
/// another order, and shows what is refused: operands that are stored crosswise, sources of a remap, selections, and what experts activate.
#[test]
fn known_answers() {
    let mut table = check::table();
    table.retain(|check| {
        // The other products are compared bit by bit above.
        let above = ["dense", "sdd", "dsd", "score.lane", "score.wave", "score.tile"];
        // A result in f16 is rounded once more at the end of each window, as docs/half.md says.
        let rounded = check.name.contains("half_out") && check.name.contains("dds");
        // How a window begins does not depend on the block, nor on the variant what f16 has to do with it, and each takes a
        // while to compile.
        let large = check.name.contains("dds")
            && (["b32", "b64", "b128"].iter().any(|b| check.name.contains(b))
                || check.name.contains(".f16") && !check.name.contains("dds.lane"));
        !rounded && !large && !above.iter().any(|op| check.name.contains(op))
    });
    let split = table.iter().filter(|check| check.name.contains("dds")).count();
    let (wrong, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let open = || Ok(device(Some(SMALL), Sources::default()));
    let any = device(None, Sources::default());
    check::parallel_for_each(
        &check::by_kernel(&table),
        any.compilers(),
        open,
        |gpu, checks| -> fretwork::Result<()> {
            for check in checks.iter().filter(|check| check.applies_to(gpu)) {
                match check.run(gpu) {
                    Ok(Verdict::Right(_)) => {}
                    Ok(Verdict::Wrong(why)) => wrong.lock().unwrap().push(format!("{}: {why}", check.name)),
                    Err(Error::Limit { .. }) => refused.lock().unwrap().push(check.name.clone()),
                    Err(error) => wrong.lock().unwrap().push(format!("{}: {error}", check.name)),
                }
            }
            Ok(())
        },
    )
    .unwrap();
    let (wrong, mut refused) = (wrong.into_inner().unwrap(), refused.into_inner().unwrap());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(split > 50);
    refused.retain(|name| {
        let crosswise = name.contains("dds") && (name.contains(".tn") || name.contains(".tt"));
        // Operands of these kernels must fit one binding, or a whole sequence of them must.
        let whole = [
            "remap",
            "select",
            "experts",
            "combine",
            ".gate.",
            "attention",
            "embed.scatter",
            "norm.gain",
            ".sds.",
            ".dss.",
            ".ssd.",
            "score.routed",
            "ceiling.copy",
        ];
        let whole = whole.iter().any(|op| name.contains(op));
        // A binding has not the room for one such block.
        let vast = name.contains("b128");
        !(crosswise || whole || vast)
    });
    assert!(refused.is_empty(), "refused: {refused:?}");
}

/// A window that begins in the wrong place shows.
#[test]
fn wrong_offsets_are_noticed() {
    let grid = [20, 16];
    let topology = topology(16, grid, 60, true);
    let outcome = |gpu: &Gpu| layer(gpu, &topology, 75, grid.map(|blocks| blocks * 16), None);
    let right = outcome(&device(Some(SMALL), Sources::default()));
    for (file, from, to, results) in [
        ("common/epilogue", "return params.out_before;", "return 0u;", &[1, 2][..]),
        ("sdd/blocks", "return params.first_slot + slot;", "return slot;", &[3]),
        ("dds/blocks", "slot >= params.first_slot", "slot > params.first_slot", &[0, 1, 2]),
    ] {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let wrong = outcome(&device(Some(SMALL), sources));
        for &result in results {
            assert!(right.1[result] != wrong.1[result], "{file}: {to} makes no difference to {result}");
        }
    }
}
