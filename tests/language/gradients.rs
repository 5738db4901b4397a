//! Gradients of the kernels in the middle of a graph, against central differences of the formulas, and the faults that they find.

use fretwork::check::{self, Verdict};
use fretwork::gpu::{Class, Gpu, Options, Recorder, Sources, Tensor, Variant};
use fretwork::ops::IGNORED;
use fretwork::ops::{self, Attention, Epilogue, Step, StepValues, Transpose};
use fretwork::random::{Key, Stream};

use super::{CONTEXT, EPSILON, HEAD, HEADS, WIDTH, formula, gpu, numbers, read, wide};

/// Tokens of three sequences.
const TOKENS: usize = 3 * CONTEXT;
const VOCABULARY: usize = 5;

/// Part of a language model with each kernel in the middle of the graph: embeddings `x`, then `x + attention(norm(x))`, and half the
/// mean squared error of the sum against a target.
#[derive(Clone)]
struct Piece {
    ids: Vec<u32>,
    target: Vec<f64>,
    /// Embedding table, positions, gain, and the weights of queries, keys and values.
    parameters: [Vec<f64>; 4],
}

impl Piece {
    fn new() -> Self {
        let mut walk = Key::new(2, Stream::Check(0)).walk();
        // The last id of the table does not occur, and one id that occurs is beyond the table.
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

    /// Loss in f64.
    fn loss(&self) -> f64 {
        let [table, positions, gain, weights] = &self.parameters;
        let x = formula::gather(&self.ids, table, positions, WIDTH);
        let qkv = formula::linear(&formula::norm(&x, gain, f64::from(EPSILON)), weights, WIDTH);
        let [out, _] = formula::attention(&qkv, CONTEXT, HEADS, HEAD);
        let error = |((x, out), target): ((&f64, &f64), &f64)| (x + out - target).powi(2) / WIDTH as f64;
        x.iter().zip(&out).zip(&self.target).map(error).sum()
    }

    /// Derivative of the loss by one element of a parameter: a central difference.
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

    /// Gradients of the parameters, from the kernels.
    fn gradients(&self, gpu: &Gpu) -> [Vec<f32>; 4] {
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let place = |shape: &[usize], values: &[f64]| {
            gpu.upload(Class::Scratch, "given", shape, &single(values)).unwrap()
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
        let [lse, delta] = [(); 2].map(|()| alloc(&[TOKENS, HEADS]));
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
        // `grad` already has the gradient along the residual connection, to which the backward pass adds.
        ops::norm_backward(rec, &dnormed, &x, gain, &scale, &grad, true).unwrap();
        ops::embed_scatter(rec, &ids, &grad, dtable, dpositions).unwrap();
        gpu.run(&recording.finish().unwrap()).unwrap();
        grads.map(|tensor| read(gpu, &tensor))
    }

    /// Largest error of the kernels' gradients, relative to the largest element of the parameter's gradient.
    fn worst(&mut self, gpu: &Gpu) -> f64 {
        let mut worst: f64 = 0.0;
        for (which, grads) in self.gradients(gpu).iter().enumerate() {
            let largest = grads.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0, "parameter {which} has no gradient");
            for element in (0..grads.len()).step_by(grads.len().div_ceil(100)) {
                let error = (f64::from(grads[element]) - self.slope(which, element)).abs();
                // A NaN counts as the largest error.
                worst = if error.is_nan() { f64::MAX } else { worst.max(error / f64::from(largest)) };
            }
        }
        worst
    }
}

/// Bound of relative errors: 335 times the unit roundoff of f32, three times the worst case of a sum of 111 tokens.
const TOLERANCE: f64 = 2e-5;

#[test]
fn gradients_in_the_middle_of_a_graph() {
    let gpu = gpu();
    for variant in Variant::ALIKE {
        let worst = Piece::new().worst(&gpu.with_variant(Some(variant)));
        assert!(worst < TOLERANCE, "{variant:?}: {worst:e}");
    }
}

/// Faults: a shader, a text in it, and the text that replaces it. Gradients are wrong with each fault, and known-answer checks fail in
/// the shader's family and in no other.
const FAULTS: [(&str, &str, &str); 14] = [
    // Positions: each token has the first position.
    ("embed/gather", "var position = first % params.context;", "var position = 0u;"),
    // Gradient of the table: the last token of an id alone, and lists that end at their first token.
    ("embed/scatter", "sum += grad", "sum = grad"),
    ("embed/link", "next[begin + left - 1u] = head;", "next[begin + left - 1u] = END;"),
    // Root of the sum of squares instead of their mean.
    ("norm/forward", "sqrt(sum / f32(params.columns)", "sqrt(sum"),
    // Derivative of the root left out.
    ("norm/backward", "fma(-along, x[i], grad[i] * gain[column])", "grad[i] * gain[column]"),
    // Gradient along the residual connection left out.
    ("norm/backward", "slope = out[i] + slope;", "slope = slope * 1.0;"),
    // Scale of the first row of a chunk for all its rows.
    ("norm/gain", "scale[row]", "scale[first]"),
    // Partial sums not rescaled to a larger maximum.
    ("attention/forward", "mean[r][c] * shrink[r]", "mean[r][c]"),
    ("attention/forward_tile", "mean[i][c] *= shrink[i]", "mean[i][c] *= 1.0"),
    // Sum of probabilities not rescaled.
    ("attention/forward_tile", "fma(sum, shrink, add_weighted", "fma(sum, vec4<f32>(1.0), add_weighted"),
    // Derivative of the softmax's denominator left out.
    ("attention/queries", "p * (slope[r] - level[r])", "p * slope[r]"),
    ("attention/queries_tile", "p * (slope[s] - level)", "p * slope[s]"),
    // Causal mask that excludes the query's own key.
    ("attention/keys", "left > row_of(here, r));", "left > row_of(here, r) + 1u);"),
    ("attention/keys_tile", "(vec4<u32>(query) >= rows)", "(vec4<u32>(query) > rows)"),
];

#[test]
fn each_fault_is_found_in_its_family_alone() {
    let table = check::table();
    for (file, from, to) in FAULTS {
        let mut sources = Sources::default();
        sources.patch(file, from, to).unwrap();
        let gpu = Gpu::request(Options { sources, ..Options::default() }).unwrap();
        let family = file.split('/').next().unwrap();
        let (mut found, mut blamed) = (0, Vec::new());
        let families = ["embed", "norm", "attention"].map(|family| format!("fretwork.{family}."));
        let ours = |name: &str| families.iter().any(|family| name.starts_with(family.as_str()));
        // One width of a head is checked, to save time.
        let selected = |name: &str| !name.contains("attention") || name.contains(".b8");
        for check in table.iter().filter(|check| ours(&check.name) && selected(&check.name)) {
            match check.run(&gpu).unwrap() {
                Verdict::Wrong(_) if check.name.contains(&format!(".{family}.")) => found += 1,
                Verdict::Wrong(why) => blamed.push(format!("{}: {why}", check.name)),
                Verdict::Right(_) => {}
            }
        }
        assert!(found > 0, "{file}: {from:?} became {to:?}, and no known answer is wrong");
        assert!(blamed.is_empty(), "{file} has a fault, but checks of other families fail: {blamed:?}");
        let variant = file.ends_with("_tile").then_some(Variant::Tile);
        let worst = Piece::new().worst(&gpu.with_variant(variant));
        assert!(
            worst > TOLERANCE,
            "{file}: {from:?} became {to:?}, and gradients have an error of {worst:e} only"
        );
    }
}
