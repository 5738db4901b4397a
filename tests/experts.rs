//! A layer of experts, forward and backward, against an f64 loop over tokens and experts that has nothing of the library.
//!
//! The layer is in the middle of a graph: the gradient it is handed is not 1, so a backward pass that ignores it cannot pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod activation;

use activation::activate;
use fretwork::Error;
use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::ops::gate::{self, Overflow};
use fretwork::ops::{self, ABSENT, Activation, ExpertsBackward, Transpose};
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::{self, BlockMatrix, Pattern, Routing, RoutingShape, Topology};

/// A layer and all that it is given, on the host.
#[derive(Debug, Clone)]
struct Layer {
    shape: RoutingShape,
    /// Tokens that an expert takes at most, the first; 0 for no limit.
    capacity: usize,
    /// Columns of the input and of the output.
    d: usize,
    activation: Activation,
    /// `[tokens, choices]`
    experts: Vec<u32>,
    /// `[tokens, choices]`
    weights: Vec<f32>,
    /// `[tokens, d]`
    x: Vec<f32>,
    /// `[hidden, d]`
    w1: Vec<f32>,
    /// `[hidden, d]`, of layers whose hidden units are gated.
    up: Option<Vec<f32>>,
    /// `[hidden, d]`
    w2: Vec<f32>,
    /// The gradient of the output, `[tokens, d]`.
    dy: Vec<f32>,
    /// The patterns of w1, up and w2, of layers whose weights are sparse.
    patterns: Option<[Topology; 3]>,
}

/// What the device makes of it.
#[derive(Debug, Clone, PartialEq)]
struct Results {
    y: Vec<f32>,
    dx: Vec<f32>,
    dweights: Vec<f32>,
    dw1: Vec<f32>,
    dup: Option<Vec<f32>>,
    dw2: Vec<f32>,
    dropped: u32,
}

fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

impl Layer {
    fn new(number: u32, widths: &[usize], block: usize, capacity: usize, gated: bool) -> Self {
        let mut walk = Key::new(5, Stream::Check(2100 + number)).walk();
        let shape = RoutingShape { tokens: 29, choices: 2, block, widths: widths.to_vec(), most: None };
        let (n, d, hidden) = (shape.assignments(), 20, shape.hidden());
        // Two different experts a token, the last one of them all for nobody, and some choices that are absent.
        let used = widths.len() as u32 - 1;
        let mut experts = Vec::new();
        for token in 0..shape.tokens {
            let first = walk.below(used);
            let second = (first + 1 + walk.below(used - 1)) % used;
            experts.extend([first, if token % 7 == 3 { ABSENT } else { second }]);
        }
        Self {
            capacity,
            d,
            activation: Activation::Gelu,
            experts,
            weights: (0..n).map(|_| 0.1 + walk.uniform()).collect(),
            x: numbers(&mut walk, shape.tokens * d, 1.0),
            w1: numbers(&mut walk, hidden * d, 0.5),
            up: gated.then(|| numbers(&mut walk, hidden * d, 0.5)),
            w2: numbers(&mut walk, hidden * d, 0.5),
            dy: numbers(&mut walk, shape.tokens * d, 1.0),
            patterns: None,
            shape,
        }
    }

    /// The same with half of the blocks of its weights, none of which has those of another.
    fn sparse(mut self) -> Self {
        let mut walk = Key::new(5, Stream::Check(2150)).walk();
        let (tokens, hidden, b) = (self.shape.tokens, self.shape.hidden(), self.shape.block);
        self.d = 3 * b;
        self.x = numbers(&mut walk, tokens * self.d, 1.0);
        self.dy = numbers(&mut walk, tokens * self.d, 1.0);
        let patterns = [0, 1, 2].map(|which| {
            let nnz = hidden / b * 3 / 2;
            sparse::random(hidden, self.d, b, nnz, Key::new(7, Stream::Pattern(which))).unwrap()
        });
        let mut draw = |which: usize| {
            let topology: &Topology = &patterns[which];
            topology.scatter(&numbers(&mut walk, topology.elements(), 0.5))
        };
        (self.w1, self.w2) = (draw(0), draw(2));
        self.up = self.up.map(|_| draw(1));
        self.patterns = Some(patterns);
        self
    }

    fn run(&self, gpu: &Gpu) -> Results {
        let Self { shape, d, activation, .. } = self;
        let (d, activation) = (*d, *activation);
        let upload = |shape: &[usize], x: &[f32]| gpu.upload(Class::Scratch, "test", shape, x).unwrap();
        // What is never written shows.
        let poisoned = |shape: &[usize]| upload(shape, &vec![f32::NAN; shape.iter().product::<usize>()]);
        let routing = Routing::new(gpu, shape.clone()).unwrap();
        let pattern = routing.pattern();
        let matrix = || {
            let values = poisoned(&[pattern.nnz(), shape.block, shape.block]);
            BlockMatrix::adopt(pattern.clone(), values).unwrap()
        };
        let choices = [shape.tokens, shape.choices];
        let experts = gpu.upload(Class::Scratch, "test", &choices, &self.experts).unwrap();
        let weights = upload(&choices, &self.weights);
        let (x, dy) = (upload(&[shape.tokens, d], &self.x), upload(&[shape.tokens, d], &self.dy));
        let sides = [shape.hidden(), d];
        let poison = vec![f32::NAN; shape.hidden() * d];
        let weight = |which: usize, values: &[f32]| match &self.patterns {
            None => Weight::Dense(upload(&sides, values)),
            Some(patterns) => {
                let pattern = Pattern::upload(gpu, &patterns[which]).unwrap();
                let values = patterns[which].gather(values);
                Weight::Sparse(BlockMatrix::upload(gpu, Class::Scratch, "test", &pattern, &values).unwrap())
            }
        };
        let (w1, w2) = (weight(0, &self.w1), weight(2, &self.w2));
        let up_weight = self.up.as_ref().map(|up| weight(1, up));
        let (pre, hidden, grad) = (matrix(), matrix(), matrix());
        let up = up_weight.as_ref().map(|_| matrix());
        let (rows, dx_rows) = (poisoned(&[pattern.rows(), d]), poisoned(&[pattern.rows(), d]));
        let (row_weights, dots) = (poisoned(&[pattern.rows()]), poisoned(&[pattern.rows()]));
        let (y, dx) = (poisoned(x.shape()), poisoned(x.shape()));
        let (dweights, dw1, dw2) = (poisoned(&choices), weight(0, &poison), weight(2, &poison));
        let dup = up_weight.as_ref().map(|_| weight(1, &poison));

        let waits = gpu.blocking_waits();
        let mut rec = Recorder::new(gpu);
        let rec = &mut rec;
        let kept = (self.capacity > 0).then(|| {
            let quota = vec![self.capacity as u32; shape.experts()];
            let quota = gpu.upload(Class::Scratch, "test", &[1, shape.experts()], &quota).unwrap();
            let kept = gpu.alloc::<u32>(Class::Scratch, "test", &[1, shape.experts(), 1]).unwrap();
            gate::keep(rec, &experts, &weights, Overflow::Position, &quota, &kept).unwrap();
            kept
        });
        ops::route(rec, &experts, kept.as_ref(), &routing).unwrap();
        w1.forward(rec, &x, &routing, &pre);
        if let (Some(weight), Some(up)) = (&up_weight, &up) {
            weight.forward(rec, &x, &routing, up);
        }
        ops::experts_activate(rec, &pre, up.as_ref(), activation, &hidden).unwrap();
        w2.back(rec, &hidden, &rows);
        ops::combine(rec, &rows, &routing, Some(&weights), &y, false).unwrap();

        w2.forward(rec, &dy, &routing, &grad);
        ops::route_values(rec, &weights, routing.rows(), &row_weights).unwrap();
        let on = ExpertsBackward {
            grad: &grad,
            pre: &pre,
            up: up.as_ref(),
            hidden: &hidden,
            weights: &row_weights,
            dots: &dots,
        };
        ops::experts_backward(rec, on, activation).unwrap();
        ops::route_values(rec, &dots, routing.places(), &dweights).unwrap();
        dw2.gradient(rec, &hidden, &dy, &routing);
        dw1.gradient(rec, &grad, &x, &routing);
        w1.back(rec, &grad, &dx_rows);
        ops::combine(rec, &dx_rows, &routing, None, &dx, false).unwrap();
        if let (Some(weight), Some(up), Some(dup)) = (&up_weight, &up, &dup) {
            dup.gradient(rec, up, &x, &routing);
            weight.back(rec, up, &dx_rows);
            ops::combine(rec, &dx_rows, &routing, None, &dx, true).unwrap();
        }
        let plan = std::mem::replace(rec, Recorder::new(gpu)).finish().unwrap();
        gpu.run(&plan).unwrap();
        assert_eq!(gpu.blocking_waits(), waits, "the host waited");

        let read = |tensor: &Tensor| gpu.read::<f32>(tensor).unwrap().wait().unwrap();
        let dense = |weight: &Weight| match weight {
            Weight::Dense(values) => read(values),
            Weight::Sparse(matrix) => matrix.to_dense(gpu).unwrap(),
        };
        Results {
            y: read(&y),
            dx: read(&dx),
            dweights: read(&dweights),
            dw1: dense(&dw1),
            dup: dup.as_ref().map(dense),
            dw2: dense(&dw2),
            dropped: gpu.read::<u32>(routing.dropped()).unwrap().wait().unwrap().iter().sum(),
        }
    }
}

/// A weight `[hidden, d]`, or its gradient.
enum Weight {
    Dense(Tensor),
    Sparse(BlockMatrix),
}

impl Weight {
    /// Tokens to hidden units.
    fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor, routing: &Routing, out: &BlockMatrix) {
        match self {
            Self::Dense(weight) => ops::sdd_gathered(rec, x, routing.tokens(), weight, out),
            Self::Sparse(weight) => ops::sds(rec, x, Some(routing.tokens()), weight, out),
        }
        .unwrap();
    }

    /// Hidden units to rows.
    fn back(&self, rec: &mut Recorder<'_>, hidden: &BlockMatrix, out: &Tensor) {
        match self {
            Self::Dense(weight) => ops::dsd(rec, hidden, weight, out, Transpose::NN),
            Self::Sparse(weight) => ops::dss(rec, hidden, weight, out),
        }
        .unwrap();
    }

    /// Becomes the gradient.
    fn gradient(&self, rec: &mut Recorder<'_>, hidden: &BlockMatrix, x: &Tensor, routing: &Routing) {
        match self {
            Self::Dense(out) => ops::dsd_gathered(rec, hidden, x, routing.tokens(), out),
            Self::Sparse(out) => ops::ssd(rec, hidden, x, Some(routing.tokens()), out),
        }
        .unwrap();
    }
}

/// The layer in f64: for each choice that finds room, the expert's network on the token.
#[derive(Debug, Clone)]
struct Twin {
    layer: Layer,
    /// x, weights, w1, w2, up.
    values: [Vec<f64>; 5],
}

const X: usize = 0;
const WEIGHTS: usize = 1;
const W1: usize = 2;
const W2: usize = 3;
const UP: usize = 4;

impl Twin {
    fn new(layer: &Layer) -> Self {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let up = layer.up.as_deref().unwrap_or_default();
        let values = [&layer.x, &layer.weights, &layer.w1, &layer.w2, up].map(wide);
        Self { layer: layer.clone(), values }
    }

    /// Whether each choice is below the capacity: the choices of a token come before those of the next.
    fn kept(&self) -> Vec<bool> {
        let Layer { shape, capacity, experts, .. } = &self.layer;
        let mut left = vec![if *capacity == 0 { usize::MAX } else { *capacity }; shape.experts()];
        let mut kept = vec![false; experts.len()];
        for (at, kept) in kept.iter_mut().enumerate() {
            if let Some(left) = left.get_mut(experts[at] as usize)
                && *left > 0
            {
                *left -= 1;
                *kept = true;
            }
        }
        kept
    }

    fn y(&self) -> Vec<f64> {
        let Layer { shape, d, activation, experts, up, .. } = &self.layer;
        let d = *d;
        let mut y = vec![0.0; shape.tokens * d];
        for (at, kept) in self.kept().into_iter().enumerate() {
            if !kept {
                continue;
            }
            let (token, expert) = (at / shape.choices, experts[at] as usize);
            let first: usize = shape.widths[..expert].iter().sum();
            let x = &self.values[X][token * d..][..d];
            for unit in first..first + shape.widths[expert] {
                let dot = |w: usize| -> f64 {
                    self.values[w][unit * d..][..d].iter().zip(x).map(|(w, x)| w * x).sum()
                };
                let mut h = activate(*activation, dot(W1));
                if up.is_some() {
                    h *= dot(UP);
                }
                for column in 0..d {
                    y[token * d + column] +=
                        self.values[WEIGHTS][at] * h * self.values[W2][unit * d + column];
                }
            }
        }
        y
    }

    /// What the output is worth, to whoever handed down `dy`.
    fn loss(&self) -> f64 {
        self.y().iter().zip(&self.layer.dy).map(|(y, &dy)| y * f64::from(dy)).sum()
    }

    /// The derivative of the loss by one element.
    fn slope(&mut self, what: usize, element: usize) -> f64 {
        const H: f64 = 1e-5;
        let before = self.values[what][element];
        let mut at = |offset: f64| {
            self.values[what][element] = before + offset;
            self.loss()
        };
        let slope = (at(H) - at(-H)) / (2.0 * H);
        self.values[what][element] = before;
        slope
    }

    /// The largest error of the output and of the gradients, each as a share of its tensor's largest element.
    fn worst(&mut self, results: &Results) -> f64 {
        let worst = |found: &[f32], wanted: &mut dyn FnMut(usize) -> Option<f64>| {
            let largest = found.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(largest > 0.0, "a tensor of zeros");
            (0..found.len())
                .step_by(found.len().div_ceil(24))
                .filter_map(|i| Some((f64::from(found[i]) - wanted(i)?).abs() / f64::from(largest)))
                // A NaN is worse than anything.
                .fold(0.0, |a: f64, b| if a >= b { a } else { b })
        };
        let y = self.y();
        let mut errors = vec![worst(&results.y, &mut |i| Some(y[i]))];
        let sparse = self.layer.patterns.is_some();
        // Elements of absent blocks have no gradient here, though the twin's would.
        let mut of = |found: &[f32], what: usize| {
            errors.push(worst(found, &mut |i| {
                let absent = sparse && what >= W1 && self.values[what][i] == 0.0;
                (!absent).then(|| self.slope(what, i))
            }));
        };
        of(&results.dx, X);
        of(&results.dweights, WEIGHTS);
        of(&results.dw1, W1);
        of(&results.dw2, W2);
        if let Some(dup) = &results.dup {
            of(dup, UP);
        }
        errors.into_iter().fold(0.0, |a: f64, b| if a >= b { a } else { b })
    }
}

/// Some forty roundings of single precision.
const TOLERANCE: f64 = 2e-5;

#[test]
fn layers_and_their_gradients() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let activations = [Activation::Relu, Activation::Gelu, Activation::Silu];
    for (number, variant) in Variant::ALIKE.into_iter().enumerate() {
        let gpu = gpu.with_variant(Some(variant));
        for (block, widths) in [
            (8, vec![16, 8, 24, 8, 8]),
            (16, vec![32, 16, 16, 48]),
            (32, vec![32, 64, 32]),
            (64, vec![64, 64, 64]),
        ] {
            for gated in [false, true] {
                for capacity in [0, 9] {
                    let layer = Layer {
                        activation: activations[(number + block / 8 + capacity) % 3],
                        ..Layer::new(number as u32, &widths, block, capacity, gated)
                    };
                    let results = layer.run(&gpu);
                    assert_eq!(results.dropped > 0, capacity > 0, "block {block}: none dropped, or some");
                    let worst = Twin::new(&layer).worst(&results);
                    let what = format!("{variant:?}, {block}, gated {gated}, capacity {capacity}");
                    assert!(worst < TOLERANCE, "{what}, {}: {worst:e}", layer.activation);
                }
            }
        }
    }
}

/// Experts whose weights are block-sparse, each with blocks of its own.
#[test]
fn sparse_experts_and_their_gradients() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for (number, (block, widths)) in [
        (8, vec![16, 8, 24, 8, 8]),
        (16, vec![32, 16, 16, 48]),
        (32, vec![32, 64, 32]),
        (64, vec![64, 64, 64]),
    ]
    .into_iter()
    .enumerate()
    {
        for gated in [false, true] {
            let capacity = if gated { 9 } else { 0 };
            let layer = Layer::new(20 + number as u32, &widths, block, capacity, gated).sparse();
            let results = layer.run(&gpu);
            assert_eq!(results.dropped > 0, capacity > 0, "block {block}: none dropped, or some");
            let worst = Twin::new(&layer).worst(&results);
            assert!(worst < TOLERANCE, "{block}, gated {gated}: {worst:e}");
            // The dense operations on the same weights give the same but for the order of their sums, which the zeros
            // of absent blocks are part of.
            let dense = Layer { patterns: None, ..layer.clone() }.run(&gpu);
            assert_eq!((&dense.y, &dense.dx), (&results.y, &results.dx), "{block}, gated {gated}");
            assert_eq!(dense.dweights, results.dweights);
            // Another pattern is seen.
            let mut other = layer;
            other.w1.rotate_left(block);
            assert!(Twin::new(&other).worst(&results) > TOLERANCE);
        }
    }
}

/// An expert that nobody chose has no gradient, and not that of whatever was there before.
#[test]
fn an_expert_without_tokens_learns_nothing() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let layer = Layer::new(9, &[16, 8, 24, 16], 8, 0, true);
    let results = layer.run(&gpu);
    let last = 48 * layer.d;
    for grads in [&results.dw1, &results.dw2, results.dup.as_ref().unwrap()] {
        assert!(grads[last..].iter().all(|&x| x == 0.0));
        assert!(grads[..last].iter().any(|&x| x != 0.0));
    }
    // And so does everyone where no token has an expert.
    let nobody = Layer { experts: vec![ABSENT; layer.experts.len()], ..layer };
    let results = nobody.run(&gpu);
    for zeros in [&results.y, &results.dx, &results.dweights, &results.dw1, &results.dw2] {
        assert!(zeros.iter().all(|&x| x == 0.0));
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// What a token gets does not depend on where in the batch it stands, nor on the variant; and three runs agree to the bit.
#[test]
fn a_token_gets_the_same_bits_anywhere() {
    let gpu = Gpu::request(Options::default()).unwrap();
    for gated in [false, true] {
        let layer = Layer::new(10, &[32, 16, 48, 16], 16, 0, gated);
        let results = layer.run(&gpu);
        for variant in Variant::ALIKE {
            assert_eq!(layer.run(&gpu.with_variant(Some(variant))), results, "{variant:?}");
        }
        let (tokens, d, k) = (layer.shape.tokens, layer.d, layer.shape.choices);
        let mut order: Vec<usize> = (0..tokens).collect();
        Key::new(6, Stream::Check(2110)).walk().shuffle(&mut order);
        fn moved<T: Copy>(order: &[usize], x: &[T], row: usize) -> Vec<T> {
            order.iter().flat_map(|&token| x[token * row..][..row].to_vec()).collect()
        }
        let shuffled = Layer {
            experts: moved(&order, &layer.experts, k),
            weights: moved(&order, &layer.weights, k),
            x: moved(&order, &layer.x, d),
            dy: moved(&order, &layer.dy, d),
            ..layer
        }
        .run(&gpu);
        assert_eq!(bits(&shuffled.y), bits(&moved(&order, &results.y, d)));
        assert_eq!(bits(&shuffled.dx), bits(&moved(&order, &results.dx, d)));
        assert_eq!(bits(&shuffled.dweights), bits(&moved(&order, &results.dweights, k)));
        assert_ne!(bits(&shuffled.y), bits(&results.y));
    }
}

/// The check itself objects to results that are wrong in the ways that these go wrong.
#[test]
fn wrong_layers_are_seen() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let layer = Layer::new(11, &[16, 8, 24, 8], 8, 9, true);
    let right = layer.run(&gpu);
    let mut twin = Twin::new(&layer);
    assert!(twin.worst(&right) < TOLERANCE);
    let mut objects = |why: &str, spoil: &dyn Fn(&mut Results)| {
        let mut wrong = right.clone();
        spoil(&mut wrong);
        // As a comparison of bits would be too easy: the twin must see it.
        assert!(twin.worst(&wrong) > TOLERANCE, "{why}");
    };
    objects("tokens in each other's place", &|wrong| wrong.y.rotate_right(20));
    objects("an incoming gradient that was ignored", &|wrong| {
        wrong.dx.iter_mut().for_each(|x| *x = x.signum());
    });
    objects("a gradient of dropped choices", &|wrong| {
        wrong.dweights.iter_mut().filter(|x| **x == 0.0).for_each(|x| *x = 0.1);
    });
    objects("weights that were left out", &|wrong| {
        let weights = &layer.weights;
        wrong.dw1.iter_mut().enumerate().for_each(|(i, x)| *x /= weights[i % weights.len()]);
    });
    objects("one matrix's gradient for the other's", &|wrong| std::mem::swap(&mut wrong.dw1, &mut wrong.dw2));
    // The same layer, dropless, is another.
    let dropless = Layer { capacity: 0, ..layer.clone() };
    assert!(Twin::new(&dropless).worst(&right) > TOLERANCE);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let tensor = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap();
    let matrix = |rows: usize, cols: usize, block: usize| {
        let pattern = Pattern::upload(&gpu, &Topology::full(rows, cols, block).unwrap()).unwrap();
        BlockMatrix::alloc(&gpu, Class::Scratch, "test", &pattern).unwrap()
    };
    let rows = gpu.zeros::<u32>(Class::Scratch, "test", &[32]).unwrap();
    let few = gpu.zeros::<u32>(Class::Scratch, "test", &[31]).unwrap();
    // 32 rows of tokens, 48 hidden units, 16 columns, 5 tokens.
    let (h, w, x, y) = (matrix(32, 48, 8), matrix(48, 16, 8), tensor(&[5, 16]), tensor(&[32, 16]));
    let dense = tensor(&[48, 16]);
    let mut rec = Recorder::new(&gpu);
    let refused = |result: fretwork::Result<()>, argument: &str| match result {
        Err(Error::Argument { argument: found, .. }) => assert_eq!(found, argument),
        other => panic!("{argument}: {other:?}"),
    };
    let rec = &mut rec;
    refused(ops::sdd_gathered(rec, &x, &few, &dense, &h), "rows");
    refused(ops::sdd_gathered(rec, &tensor(&[5, 12]), &rows, &dense, &h), "rhs");
    refused(ops::sdd_gathered(rec, &tensor(&[0, 16]), &rows, &dense, &h), "lhs");
    refused(ops::sdd_gathered(rec, &x, &rows, &tensor(&[40, 16]), &h), "out");
    refused(ops::sdd_gathered(rec, &x, &y, &dense, &h), "rows");
    refused(ops::dsd_gathered(rec, &h, &x, &few, &dense), "rows");
    refused(ops::dsd_gathered(rec, &h, &x, &rows, &y), "out");
    refused(ops::sds(rec, &x, Some(&few), &w, &h), "rows");
    refused(ops::sds(rec, &x, None, &w, &h), "out");
    refused(ops::sds(rec, &x, Some(&rows), &matrix(48, 16, 16), &h), "weight");
    refused(ops::dss(rec, &h, &w, &x), "out");
    refused(ops::dss(rec, &h, &matrix(48, 16, 16), &y), "weight");
    refused(ops::dss(rec, &h, &matrix(40, 16, 8), &y), "rhs");
    refused(ops::ssd(rec, &h, &x, Some(&few), &w), "rows");
    refused(ops::ssd(rec, &h, &x, None, &w), "rhs");
    refused(ops::ssd(rec, &h, &x, Some(&rows), &matrix(48, 24, 8)), "out");
    refused(ops::ssd(rec, &h, &x, Some(&rows), &matrix(48, 16, 16)), "weight");
    refused(ops::experts_activate(rec, &h, Some(&w), Activation::Relu, &h), "up");
    refused(ops::experts_activate(rec, &h, None, Activation::Relu, &w), "out");
    let (weights, dots) = (tensor(&[32]), tensor(&[32]));
    let good = ExpertsBackward { grad: &h, pre: &h, up: None, hidden: &h, weights: &weights, dots: &dots };
    for (wrong, argument) in [
        (ExpertsBackward { grad: &w, ..good }, "grad"),
        (ExpertsBackward { hidden: &w, ..good }, "hidden"),
        (ExpertsBackward { up: Some(&w), ..good }, "up"),
        (ExpertsBackward { weights: &x, ..good }, "weights"),
        (ExpertsBackward { dots: &x, ..good }, "dots"),
        // One buffer for what is read and what is written.
        (good, "pre"),
    ] {
        refused(ops::experts_backward(rec, wrong, Activation::Relu), argument);
    }
    assert!(rec.is_empty());
}
