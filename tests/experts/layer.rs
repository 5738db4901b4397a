//! Layer of experts on the device: random operands, forward and backward pass.

use fretwork::gpu::{Class, Gpu, Recorder, Tensor};
use fretwork::ops::gate::{self, Overflow};
use fretwork::ops::{self, ABSENT, Activation, ExpertsBackward, Transpose};
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::{self, BlockMatrix, Pattern, Routing, RoutingShape, Topology};

/// Shape, assignments and operands of a layer of experts, on the host.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) shape: RoutingShape,
    /// Capacity of each expert in assignments, kept in order of position; 0 for no limit.
    pub(crate) capacity: usize,
    /// Width of tokens, the columns of the input and of the output.
    pub(crate) d: usize,
    pub(crate) activation: Activation,
    /// Assigned experts, `[tokens, choices]`; `ABSENT` where there is none.
    pub(crate) experts: Vec<u32>,
    /// Weights of the assignments, `[tokens, choices]`.
    pub(crate) weights: Vec<f32>,
    /// Input, `[tokens, d]`.
    pub(crate) x: Vec<f32>,
    /// Weight from tokens to hidden units, `[hidden, d]`.
    pub(crate) w1: Vec<f32>,
    /// Weight of the linear factor of gated hidden units, `[hidden, d]`.
    pub(crate) up: Option<Vec<f32>>,
    /// Weight from hidden units to tokens, stored transposed, `[hidden, d]`.
    pub(crate) w2: Vec<f32>,
    /// Gradient of the output, `[tokens, d]`.
    pub(crate) dy: Vec<f32>,
    /// Topologies of w1, up and w2 of a layer with sparse weights.
    pub(crate) patterns: Option<[Topology; 3]>,
}

/// Output, gradients and the number of dropped assignments from the device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Results {
    pub(crate) y: Vec<f32>,
    pub(crate) dx: Vec<f32>,
    pub(crate) dweights: Vec<f32>,
    pub(crate) dw1: Vec<f32>,
    pub(crate) dup: Option<Vec<f32>>,
    pub(crate) dw2: Vec<f32>,
    pub(crate) dropped: u32,
}

fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

impl Layer {
    /// Dense layer of experts with these widths and random operands; the number selects the random stream.
    pub(crate) fn new(number: u32, widths: &[usize], block: usize, capacity: usize, gated: bool) -> Self {
        let mut walk = Key::new(5, Stream::Check(2100 + number)).walk();
        let shape = RoutingShape { tokens: 29, choices: 2, block, widths: widths.to_vec(), most: None };
        let (n, d, hidden) = (shape.assignments(), 20, shape.hidden());
        // Two different experts per token, never the last expert; every seventh token has one assignment only.
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

    /// Layer of the same routing with half of the blocks of each weight, at random places of its own.
    pub(crate) fn sparse(mut self) -> Self {
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

    /// Forward and backward pass on the device, without a blocking wait.
    pub(crate) fn run(&self, gpu: &Gpu) -> Results {
        let Self { shape, d, activation, .. } = self;
        let (d, activation) = (*d, *activation);
        let upload = |shape: &[usize], x: &[f32]| gpu.upload(Class::Scratch, "test", shape, x).unwrap();
        // Elements that no kernel writes stay NaN.
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
            let capacities = vec![self.capacity as u32; shape.experts()];
            let capacities = gpu.upload(Class::Scratch, "test", &[1, shape.experts()], &capacities).unwrap();
            let kept = gpu.alloc::<u32>(Class::Scratch, "test", &[1, shape.experts(), 1]).unwrap();
            gate::keep(rec, &experts, &weights, Overflow::Position, &capacities, &kept).unwrap();
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

/// Weight `[hidden, d]`, or its gradient.
enum Weight {
    Dense(Tensor),
    Sparse(BlockMatrix),
}

impl Weight {
    /// Product `x * W^T` on the assigned tokens of each expert.
    fn forward(&self, rec: &mut Recorder<'_>, x: &Tensor, routing: &Routing, out: &BlockMatrix) {
        match self {
            Self::Dense(weight) => ops::sdd_gathered(rec, x, routing.tokens(), weight, out),
            Self::Sparse(weight) => ops::sds(rec, x, Some(routing.tokens()), weight, out),
        }
        .unwrap();
    }

    /// Product `hidden * W`, a row per assignment.
    fn back(&self, rec: &mut Recorder<'_>, hidden: &BlockMatrix, out: &Tensor) {
        match self {
            Self::Dense(weight) => ops::dsd(rec, hidden, weight, out, Transpose::NN),
            Self::Sparse(weight) => ops::dss(rec, hidden, weight, out),
        }
        .unwrap();
    }

    /// Gradient `hidden^T * x` of the weight, written to `self`.
    fn gradient(&self, rec: &mut Recorder<'_>, hidden: &BlockMatrix, x: &Tensor, routing: &Routing) {
        match self {
            Self::Dense(out) => ops::dsd_gathered(rec, hidden, x, routing.tokens(), out),
            Self::Sparse(out) => ops::ssd(rec, hidden, x, Some(routing.tokens()), out),
        }
        .unwrap();
    }
}
