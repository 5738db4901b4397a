//! The kernels of a language model: against formulas in f64 that share nothing with them, gradients against central
//! differences in the middle of a graph, sequences that do not notice each other, and tensors larger than a binding.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Class, Gpu, Options, Recorder, Sources, Tensor, Variant};
use fretwork::ops::{self, Attention, Epilogue, HEADS, IGNORED, Step, StepValues, Transpose};
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference;
use fretwork::reference::bound::compare;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    gpu.read(tensor).unwrap().wait().unwrap()
}

/// The model's formulas in f64, as a textbook writes them.
mod formula {
    pub(super) fn gather(ids: &[u32], table: &[f64], positions: &[f64], width: usize) -> Vec<f64> {
        let mut x = Vec::new();
        for (t, &id) in ids.iter().enumerate() {
            for c in 0..width {
                let from = id as usize * width + c;
                x.push(
                    positions[(t * width + c) % positions.len()] + table.get(from).copied().unwrap_or(0.0),
                );
            }
        }
        x
    }

    pub(super) fn norm(x: &[f64], gain: &[f64], epsilon: f64) -> Vec<f64> {
        let of_row = |row: &[f64]| {
            let squares: f64 = row.iter().map(|x| x * x).sum();
            let root = (squares / row.len() as f64 + epsilon).sqrt();
            row.iter().zip(gain).map(move |(x, gain)| x / root * gain).collect::<Vec<_>>()
        };
        x.chunks(gain.len()).flat_map(of_row).collect()
    }

    /// The output, and the logarithm of the sum of exponentials.
    pub(super) fn attention(qkv: &[f64], context: usize, heads: usize, head: usize) -> [Vec<f64>; 2] {
        let width = heads * head;
        let part = |t: usize, part: usize, h: usize| {
            let at = t * 3 * width + part * width + h * head;
            &qkv[at..at + head]
        };
        let tokens = qkv.len() / (3 * width);
        let (mut out, mut lse) = (Vec::new(), Vec::new());
        for t in 0..tokens {
            for h in 0..heads {
                let keys: Vec<usize> = (t - t % context..=t).collect();
                let score = |key: &usize| {
                    let dot: f64 = part(t, 0, h).iter().zip(part(*key, 1, h)).map(|(q, k)| q * k).sum();
                    dot / (head as f64).sqrt()
                };
                let scores: Vec<f64> = keys.iter().map(score).collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
                for c in 0..head {
                    let weighed =
                        |(key, score): (&usize, &f64)| (score - most).exp() / sum * part(*key, 2, h)[c];
                    out.push(keys.iter().zip(&scores).map(weighed).sum());
                }
                lse.push(most + sum.ln());
            }
        }
        [out, lse]
    }

    /// `x * w^T`.
    pub(super) fn linear(x: &[f64], w: &[f64], inputs: usize) -> Vec<f64> {
        let of_row = |row: &[f64]| -> Vec<f64> {
            w.chunks(inputs).map(|w| w.iter().zip(row).map(|(w, x)| w * x).sum()).collect()
        };
        x.chunks(inputs).flat_map(of_row).collect()
    }
}

#[test]
fn twins_are_their_formulas() {
    const CONTEXT: usize = 9;
    const TOKENS: usize = 3 * CONTEXT;
    let mut walk = Key::new(1, Stream::Check(0)).walk();
    for magnitude in [1e-3f32, 1.0, 1e3] {
        let ids: Vec<u32> = (0..TOKENS).map(|t| if t == 4 { IGNORED } else { walk.below(6) }).collect();
        let (table, positions) =
            (numbers(&mut walk, 5 * 7, magnitude), numbers(&mut walk, CONTEXT * 7, magnitude));
        let mut found = vec![f32::NAN; TOKENS * 7];
        reference::embed_gather(&ids, &table, &positions, &mut found);
        let wanted = formula::gather(&ids, &wide(&table), &wide(&positions), 7);
        assert!(compare(&found, &wanted, |_| f64::from(magnitude) * 1e-6).is_ok());

        let (x, gain) = (numbers(&mut walk, TOKENS * 7, magnitude), numbers(&mut walk, 7, 1.0));
        let mut scale = vec![f32::NAN; TOKENS];
        reference::norm_forward(&x, &gain, &mut scale, &mut found, 1e-6);
        let wanted = formula::norm(&wide(&x), &wide(&gain), f64::from(1e-6f32));
        assert!(compare(&found, &wanted, |i| 2e-6 * wanted[i].abs()).is_ok());
    }
    for head in HEADS {
        for magnitude in [0.1, 1.0, 4.0] {
            let qkv = numbers(&mut walk, TOKENS * 3 * 2 * head, magnitude);
            let (mut out, mut lse) = (vec![f32::NAN; TOKENS * 2 * head], vec![f32::NAN; TOKENS * 2]);
            reference::attention_forward(&qkv, &mut out, &mut lse, CONTEXT, 2);
            let [wanted, levels] = formula::attention(&wide(&qkv), CONTEXT, 2, head);
            // Scores err by their own rounding: some of them are as large as 4 * 4 * 64 / 8.
            let error = 1e-6 * f64::from(magnitude * (1.0 + magnitude * magnitude * 8.0));
            assert!(compare(&out, &wanted, |_| error).is_ok(), "head {head}, magnitude {magnitude}");
            assert!(compare(&lse, &levels, |_| error + 1e-6).is_ok(), "head {head}, magnitude {magnitude}");
            // The formula objects to a context that is another.
            let shifted = formula::attention(&wide(&qkv), TOKENS, 2, head);
            assert!(compare(&out, &shifted[0], |_| error).is_err());
        }
    }
}

const SEQUENCES: usize = 3;
/// Rows of several invocations, and one whose rows are not all there.
const CONTEXT: usize = 37;
const TOKENS: usize = SEQUENCES * CONTEXT;
const NUMBER: usize = 2;
const HEAD: usize = 8;
const WIDTH: usize = NUMBER * HEAD;
const VOCABULARY: usize = 5;
const EPSILON: f32 = 1e-5;

/// A piece of a language model, every kernel of which is in the middle: embeddings, a normalisation with a residual
/// connection around it and the attention behind it, and half the squared distance of the sum to a target.
#[derive(Clone)]
struct Piece {
    ids: Vec<u32>,
    target: Vec<f64>,
    /// The table, the positions, the gain, and the weights of queries, keys and values.
    parameters: [Vec<f64>; 4],
}

impl Piece {
    fn new() -> Self {
        let mut walk = Key::new(2, Stream::Check(0)).walk();
        // One id in the table is never met, and one that is met is not in the table.
        let mut ids: Vec<u32> = (0..TOKENS).map(|_| walk.below(VOCABULARY as u32 - 1)).collect();
        ids[CONTEXT + 2] = IGNORED;
        let mut draw = |count, magnitude| wide(&numbers(&mut walk, count, magnitude));
        let sizes =
            [(VOCABULARY * WIDTH, 1.0), (CONTEXT * WIDTH, 1.0), (WIDTH, 1.5), (3 * WIDTH * WIDTH, 0.6)];
        Self {
            ids,
            target: draw(TOKENS * WIDTH, 1.0),
            parameters: sizes.map(|(count, size)| draw(count, size)),
        }
    }

    fn loss(&self) -> f64 {
        let [table, positions, gain, weights] = &self.parameters;
        let x = formula::gather(&self.ids, table, positions, WIDTH);
        let qkv = formula::linear(&formula::norm(&x, gain, f64::from(EPSILON)), weights, WIDTH);
        let [out, _] = formula::attention(&qkv, CONTEXT, NUMBER, HEAD);
        let error = |((x, out), target): ((&f64, &f64), &f64)| (x + out - target).powi(2) / 2.0;
        x.iter().zip(&out).zip(&self.target).map(error).sum()
    }

    /// The derivative of the loss by one parameter.
    fn slope(&mut self, which: usize, element: usize) -> f64 {
        const H: f64 = 1e-5;
        let before = self.parameters[which][element];
        let mut at = |value: f64| {
            self.parameters[which][element] = value;
            self.loss()
        };
        let slope = (at(before + H) - at(before - H)) / (2.0 * H);
        self.parameters[which][element] = before;
        slope
    }

    /// The gradients that the kernels compute.
    fn gradients(&self, gpu: &Gpu) -> [Vec<f32>; 4] {
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let place = |shape: &[usize], values: &[f64]| {
            gpu.upload(Class::Scratch, "given", shape, &narrow(values)).unwrap()
        };
        let alloc = |shape: &[usize]| {
            let poison = vec![f32::NAN; shape.iter().product()];
            gpu.upload(Class::Scratch, "found", shape, &poison).unwrap()
        };
        let shapes: [&[usize]; 4] = [&[VOCABULARY, WIDTH], &[CONTEXT, WIDTH], &[WIDTH], &[3 * WIDTH, WIDTH]];
        let parameters: Vec<Tensor> =
            shapes.iter().zip(&self.parameters).map(|(shape, values)| place(shape, values)).collect();
        let [table, positions, gain, weights] = parameters.as_slice() else { panic!("four parameters") };
        let grads = shapes.map(alloc);
        let [dtable, dpositions, dgain, dweights] = &grads;
        let ids = gpu.upload(Class::Scratch, "ids", &[TOKENS], &self.ids).unwrap();
        let target = place(&[TOKENS, WIDTH], &self.target);
        let [x, normed, out, grad, dnormed] = [(); 5].map(|()| alloc(&[TOKENS, WIDTH]));
        let [qkv, dqkv] = [(); 2].map(|()| alloc(&[TOKENS, 3 * WIDTH]));
        let [lse, delta] = [(); 2].map(|()| alloc(&[TOKENS, NUMBER]));
        let [scale, report] = [(); 2].map(|()| alloc(&[TOKENS]));
        let step = Step::new(gpu, StepValues::backward(0, 1.0)).unwrap();
        let attention = Attention { qkv: &qkv, out: &out, lse: &lse, context: CONTEXT };

        let mut recording = Recorder::new(gpu);
        let rec = &mut recording;
        ops::embed_gather(rec, &ids, table, positions, &x).unwrap();
        ops::norm_forward(rec, &x, gain, &scale, &normed, EPSILON).unwrap();
        ops::dense(rec, &normed, weights, &qkv, Transpose::NT, Epilogue::None).unwrap();
        ops::attention_forward(rec, attention).unwrap();
        let sum = alloc(&[TOKENS, WIDTH]);
        ops::blend(rec, &x, &sum, [1.0, 0.0]).unwrap();
        ops::blend(rec, &out, &sum, [1.0, 1.0]).unwrap();
        ops::mse(rec, &sum, &target, &report, &grad, &step).unwrap();

        ops::attention_queries(rec, attention, &grad, &delta, &dqkv).unwrap();
        ops::attention_keys(rec, attention, &grad, &delta, &dqkv).unwrap();
        ops::dense(rec, &dqkv, &normed, dweights, Transpose::TN, Epilogue::None).unwrap();
        ops::dense(rec, &dqkv, weights, &dnormed, Transpose::NN, Epilogue::None).unwrap();
        ops::norm_gain(rec, &dnormed, &x, &scale, dgain).unwrap();
        // The residual connection's gradient is in `grad` already.
        ops::norm_backward(rec, &dnormed, &x, gain, &scale, &grad, true).unwrap();
        ops::embed_scatter(rec, &ids, &grad, dtable, dpositions).unwrap();
        gpu.run(&recording.finish().unwrap()).unwrap();
        grads.map(|tensor| read(gpu, &tensor))
    }

    /// The largest difference between computed and true gradients, as a share of the largest gradient of the same parameter.
    fn worst(&mut self, gpu: &Gpu) -> f64 {
        let mut worst: f64 = 0.0;
        for (which, grads) in self.gradients(gpu).iter().enumerate() {
            let largest = grads.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0, "parameter {which} has no gradient");
            for element in (0..grads.len()).step_by(grads.len().div_ceil(100)) {
                let error = (f64::from(grads[element]) - self.slope(which, element)).abs();
                // NaN is wrong, too.
                worst = if error.is_nan() { f64::MAX } else { worst.max(error / f64::from(largest)) };
            }
        }
        worst
    }
}

/// Some dozens of roundings of single precision, through sums of a hundred tokens.
const TOLERANCE: f64 = 2e-5;

#[test]
fn gradients_in_the_middle_of_a_graph() {
    let gpu = gpu();
    for variant in Variant::ALIKE {
        let worst = Piece::new().worst(&gpu.with_variant(Some(variant)));
        assert!(worst < TOLERANCE, "{variant:?}: {worst:e}");
    }
}

/// A break of each kernel, and where it is. Gradients notice it, and so do the known answers of the kernel's family alone.
const BREAKS: [(&str, &str, &str); 10] = [
    // The place in the batch for the place in the sequence.
    ("embed/gather", "var position = first % params.context;", "var position = 0u;"),
    // The last token of an id for the sum of all, and lists of nothing but the first.
    ("embed/scatter", "sum += grad", "sum = grad"),
    ("embed/link", "next[begin + left - 1u] = head;", "next[begin + left - 1u] = END;"),
    // A norm for a root mean square.
    ("norm/forward", "sqrt(sum / f32(params.columns)", "sqrt(sum"),
    // The root taken for a constant.
    ("norm/backward", "fma(-along, x[i], grad[i] * gain[column])", "grad[i] * gain[column]"),
    // The residual connection forgotten.
    ("norm/backward", "slope = out[i] + slope;", "slope = slope * 1.0;"),
    // One scale for all rows of a chunk.
    ("norm/gain", "scale[row]", "scale[first]"),
    // What was summed before a larger score came, at its old size.
    ("attention/forward", "mean[r][c] * shrink[r]", "mean[r][c]"),
    // The softmax's sum taken for a constant.
    ("attention/queries", "p * (slope[r] - level[r])", "p * slope[r]"),
    // A key that its own query does not see.
    ("attention/keys", "left > row_of(here, r));", "left > row_of(here, r) + 1u);"),
];

#[test]
fn each_break_is_found_and_nothing_else_is_blamed() {
    let table = check::table();
    for (file, from, to) in BREAKS {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let gpu = Gpu::request(Options { sources, ..Options::default() }).unwrap();
        let family = file.split('/').next().unwrap();
        let (mut found, mut blamed) = (0, Vec::new());
        let families = ["embed", "norm", "attention"].map(|family| format!("fretwork.{family}."));
        let ours = |name: &str| families.iter().any(|family| name.starts_with(family.as_str()));
        // One width of a head is enough.
        let narrow = |name: &str| !name.contains("attention") || name.contains(".b8");
        for check in table.iter().filter(|check| ours(&check.name) && narrow(&check.name)) {
            match check.run(&gpu).unwrap() {
                Verdict::Wrong(_) if check.name.contains(&format!(".{family}.")) => found += 1,
                Verdict::Wrong(why) => blamed.push(format!("{}: {why}", check.name)),
                Verdict::Right(_) => {}
            }
        }
        assert!(found > 0, "{file}: {from:?} became {to:?}, and no known answer noticed");
        assert!(blamed.is_empty(), "{file} is broken, but others are blamed: {blamed:?}");
        let worst = Piece::new().worst(&gpu);
        assert!(worst > TOLERANCE, "{file}: {from:?} became {to:?}, and gradients are off by {worst:e} only");
    }
}

/// What attention and its backward passes make of some sequences, all of `context` tokens: every result, sequence by
/// sequence.
fn attend(gpu: &Gpu, sequences: &[(&[f32], &[f32])], context: usize) -> (usize, Vec<Vec<u32>>) {
    let tokens = sequences.len() * context;
    let (qkvs, grads): (Vec<&[f32]>, Vec<&[f32]>) = sequences.iter().copied().unzip();
    let (qkv_values, grad_values) = (qkvs.concat(), grads.concat());
    let place =
        |width, values: &[f32]| gpu.upload(Class::Scratch, "given", &[tokens, width], values).unwrap();
    let alloc = |width| gpu.alloc::<f32>(Class::Scratch, "found", &[tokens, width]).unwrap();
    let (qkv, grad) = (place(3 * WIDTH, &qkv_values), place(WIDTH, &grad_values));
    let (out, dqkv, [lse, delta]) = (alloc(WIDTH), alloc(3 * WIDTH), [(); 2].map(|()| alloc(NUMBER)));
    let attention = Attention { qkv: &qkv, out: &out, lse: &lse, context };
    let mut rec = Recorder::new(gpu);
    ops::attention_forward(&mut rec, attention).unwrap();
    ops::attention_queries(&mut rec, attention, &grad, &delta, &dqkv).unwrap();
    ops::attention_keys(&mut rec, attention, &grad, &delta, &dqkv).unwrap();
    let dispatches = rec.len();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let mut results = vec![Vec::new(); sequences.len()];
    for tensor in [&out, &lse, &delta, &dqkv] {
        let values = read(gpu, tensor);
        for (result, values) in results.iter_mut().zip(values.chunks(values.len() / sequences.len())) {
            result.extend(values.iter().map(|x| x.to_bits()));
        }
    }
    (dispatches, results)
}

/// Operands of a sequence: queries, keys and values; gradients of what comes out.
fn sequence(number: u32, context: usize) -> (Vec<f32>, Vec<f32>) {
    let mut walk = Key::new(3, Stream::Check(number)).walk();
    (numbers(&mut walk, context * 3 * WIDTH, 1.0), numbers(&mut walk, context * WIDTH, 1.0))
}

/// A sequence's results have the same bits alone, anywhere in a batch, and whichever kernel computes them.
#[test]
fn sequences_do_not_notice_each_other() {
    let gpu = gpu();
    for context in [1, 5, CONTEXT, 130] {
        let given: Vec<_> = (0..4).map(|number| sequence(number, context)).collect();
        let of = |gpu: &Gpu, order: &[usize]| {
            let picked: Vec<(&[f32], &[f32])> =
                order.iter().map(|&i| (given[i].0.as_slice(), given[i].1.as_slice())).collect();
            attend(gpu, &picked, context).1
        };
        let [lane, tile] = [Variant::Lane, Variant::Tile].map(|variant| gpu.with_variant(Some(variant)));
        let all = of(&lane, &[0, 1, 2, 3]);
        assert_ne!(all[0], all[1]);
        assert_eq!(all, of(&tile, &[0, 1, 2, 3]), "context {context}: variants differ");
        for (number, alone) in all.iter().enumerate() {
            assert_eq!(&of(&lane, &[number])[0], alone, "context {context}: sequence {number} alone");
        }
        let [third, first] = of(&lane, &[2, 0]).try_into().unwrap();
        assert_eq!((third, first), (all[2].clone(), all[0].clone()), "context {context}: in another order");
    }
}

/// No token has a part in what comes before it: neither in an output nor, of a gradient, in what comes after it.
#[test]
fn attention_is_causal() {
    let gpu = gpu();
    let (qkv, grad) = sequence(9, CONTEXT);
    let (mut other, cut) = (qkv.clone(), 20);
    other[cut * 3 * WIDTH..].iter_mut().for_each(|x| *x = -*x);
    let (before, after) =
        (attend(&gpu, &[(&qkv, &grad)], CONTEXT).1, attend(&gpu, &[(&other, &grad)], CONTEXT).1);
    let out = |result: &[Vec<u32>], range: std::ops::Range<usize>| {
        result[0][range.start * WIDTH..range.end * WIDTH].to_vec()
    };
    assert_eq!(out(&before, 0..cut), out(&after, 0..cut));
    assert_ne!(out(&before, cut..cut + 1), out(&after, cut..cut + 1));
    // Without a gradient from the cut on, what is there gets none.
    let mut silent = grad.clone();
    silent[cut * WIDTH..].fill(0.0);
    let result = attend(&gpu, &[(&qkv, &silent)], CONTEXT).1;
    let dqkv = &result[0][CONTEXT * (WIDTH + 2 * NUMBER)..];
    assert!(dqkv[cut * 3 * WIDTH..].iter().all(|&bits| f32::from_bits(bits) == 0.0));
    assert!(dqkv[..cut * 3 * WIDTH].iter().all(|&bits| f32::from_bits(bits).is_finite()));
}

/// Tensors of several bindings, to the bits of one.
#[test]
fn large_tensors_are_worked_on_in_windows() {
    let device = |largest_binding| {
        Gpu::request(Options { default_limits: true, largest_binding, ..Options::default() }).unwrap()
    };
    let [whole, split] = [None, Some(16 << 10)].map(device);

    let given: Vec<_> = (0..12).map(|number| sequence(number, 32)).collect();
    let given: Vec<(&[f32], &[f32])> =
        given.iter().map(|(qkv, grad)| (qkv.as_slice(), grad.as_slice())).collect();
    let [(dispatches, wanted), (more, found)] = [&whole, &split].map(|gpu| attend(gpu, &given, 32));
    assert!(dispatches == 3 && more > 3, "{dispatches} and {more} dispatches");
    assert_eq!(found, wanted, "attention");

    const TOKENS: usize = 2520;
    const CONTEXT: usize = 20;
    const COLUMNS: usize = 4;
    let outcome = |gpu: &Gpu| {
        let mut walk = Key::new(4, Stream::Check(0)).walk();
        let ids: Vec<u32> = (0..TOKENS).map(|_| walk.below(9)).collect();
        let ids = gpu.upload(Class::Scratch, "ids", &[TOKENS], &ids).unwrap();
        let mut given = |shape: &[usize]| {
            let values = numbers(&mut walk, shape.iter().product(), 1.0);
            gpu.upload(Class::Scratch, "given", shape, &values).unwrap()
        };
        let (table, positions, gain) = (given(&[9, COLUMNS]), given(&[CONTEXT, COLUMNS]), given(&[COLUMNS]));
        let (grad, slope) = (given(&[TOKENS, COLUMNS]), given(&[TOKENS, COLUMNS]));
        let alloc = |shape: &[usize]| gpu.alloc::<f32>(Class::Scratch, "found", shape).unwrap();
        let (x, normed, scale) = (alloc(&[TOKENS, COLUMNS]), alloc(&[TOKENS, COLUMNS]), alloc(&[TOKENS]));
        let (dtable, dpositions, dgain) =
            (alloc(&[9, COLUMNS]), alloc(&[CONTEXT, COLUMNS]), alloc(&[COLUMNS]));
        let mut rec = Recorder::new(gpu);
        ops::embed_gather(&mut rec, &ids, &table, &positions, &x).unwrap();
        ops::norm_forward(&mut rec, &x, &gain, &scale, &normed, EPSILON).unwrap();
        ops::norm_gain(&mut rec, &grad, &x, &scale, &dgain).unwrap();
        ops::norm_backward(&mut rec, &grad, &x, &gain, &scale, &slope, true).unwrap();
        ops::embed_scatter(&mut rec, &ids, &slope, &dtable, &dpositions).unwrap();
        let dispatches = rec.len();
        gpu.run(&rec.finish().unwrap()).unwrap();
        let results = [x, normed, scale, slope, dtable, dpositions, dgain];
        (dispatches, results.map(|tensor| read(gpu, &tensor).iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
    };
    let [(dispatches, wanted), (more, found)] = [outcome(&whole), outcome(&split)];
    assert!(more > dispatches + 5, "{dispatches} and {more} dispatches");
    assert_eq!(found, wanted);
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let gpu = gpu();
    let rec = &mut Recorder::new(&gpu);
    let zeros = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap();
    #[track_caller]
    fn assert_says(result: fretwork::Result<()>, wanted: &str) {
        let said = result.expect_err(wanted).to_string();
        assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
    }
    let ids = gpu.zeros::<u32>(Class::Scratch, "test", &[12]).unwrap();
    let (x, table, positions) = (zeros(&[12, 8]), zeros(&[5, 8]), zeros(&[4, 8]));
    assert_says(
        ops::embed_gather(rec, &ids, &zeros(&[5, 9]), &positions, &x),
        "embed.gather: table should be of at least one row of 8, but is of shape [5, 9]",
    );
    assert_says(
        ops::embed_gather(rec, &ids, &table, &zeros(&[5, 8]), &x),
        "embed.gather: tokens should be a positive multiple of the context, 5, but is 12",
    );
    assert_says(ops::embed_gather(rec, &ids, &zeros(&[0, 8]), &positions, &x), "at least one row");
    assert_says(ops::embed_gather(rec, &zeros(&[12]), &table, &positions, &x), "ids should be of U32");
    assert_says(
        ops::embed_scatter(rec, &ids, &zeros(&[16, 8]), &table, &positions),
        "embed.scatter: ids should be of shape [16]",
    );
    assert_says(
        ops::norm_forward(rec, &x, &zeros(&[9]), &zeros(&[12]), &x, 1e-5),
        "norm.forward: gain should be of shape [8]",
    );
    assert_says(
        ops::norm_gain(rec, &x, &x, &zeros(&[8]), &zeros(&[8])),
        "norm.gain: scale should be of shape [12]",
    );
    let attention = |qkv: &Tensor, out: &Tensor, lse: &Tensor, context| {
        ops::attention_forward(&mut Recorder::new(&gpu), Attention { qkv, out, lse, context })
    };
    let (qkv, out, lse) = (zeros(&[12, 48]), zeros(&[12, 16]), zeros(&[12, 2]));
    attention(&qkv, &out, &lse, 4).unwrap();
    assert_says(attention(&out, &out, &lse, 4), "attention.forward: qkv should be of shape [12, 48]");
    assert_says(
        attention(&qkv, &out, &lse, 5),
        "tokens should be a positive multiple of the context, 5, but is 12",
    );
    assert_says(attention(&qkv, &out, &lse, 0), "tokens should be a positive multiple of the context, 0");
    assert_says(
        attention(&qkv, &out, &zeros(&[12, 4]), 4),
        "width should be 4 heads of one of [8, 16, 32, 64] columns, but is 16 columns",
    );
    assert_says(attention(&qkv, &out, &zeros(&[12, 0]), 4), "0 heads");
    let given = Attention { qkv: &qkv, out: &out, lse: &lse, context: 4 };
    assert_says(
        ops::attention_keys(rec, given, &out, &out, &qkv),
        "attention.keys: delta should be of shape [12, 2]",
    );
    assert!(rec.is_empty(), "something was recorded all the same");
}
