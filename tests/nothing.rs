//! Products with nothing: a topology without blocks gives zeros, or no blocks, and a layer of one is its bias.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::gpu::{Class, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::graph::{Graph, Network, Precision, Start};
use fretwork::nn::{FanIn, Linear, Module, blocks};
use fretwork::ops::{self, Activation, AdamW, Epilogue, Step, StepValues, Transpose};
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference;
use fretwork::sparse::{BlockMask, BlockMatrix, Pattern, Topology, upload_mask};

const ROWS: usize = 5;

fn none(rows: usize, cols: usize) -> Topology {
    Topology::from_coordinates(rows, cols, 8, &[]).unwrap()
}

fn full(rows: usize, cols: usize) -> Topology {
    Topology::full(rows, cols, 8).unwrap()
}

/// A device, and numbers for it.
struct Bench {
    gpu: Gpu,
    walk: Walk,
}

impl Bench {
    fn new() -> Self {
        Self { gpu: Gpu::request(Options::default()).unwrap(), walk: Key::new(1, Stream::Check(2500)).walk() }
    }

    fn numbers(&mut self, shape: &[usize]) -> (Vec<f32>, Tensor) {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.walk.uniform() - 0.5).collect();
        let tensor = self.gpu.upload(Class::Scratch, "numbers", shape, &values).unwrap();
        (values, tensor)
    }

    /// A block matrix, and its values.
    fn matrix(&mut self, topology: &Topology) -> (Vec<f32>, BlockMatrix) {
        let pattern = Pattern::upload(&self.gpu, topology).unwrap();
        let (values, tensor) = self.numbers(&[topology.nnz(), 8, 8]);
        (values, BlockMatrix::adopt(pattern, tensor).unwrap())
    }

    /// A tensor filled with NaN, which stays where a kernel does not write.
    fn poison(&self, shape: &[usize]) -> Tensor {
        let values = vec![f32::NAN; shape.iter().product()];
        self.gpu.upload(Class::Scratch, "out", shape, &values).unwrap()
    }

    fn read(&self, tensor: &Tensor) -> Vec<f32> {
        self.gpu.read(tensor).unwrap().wait().unwrap()
    }

    /// Runs what is recorded; says how many dispatches it is.
    fn run(&self, record: impl FnOnce(&mut Recorder<'_>) -> fretwork::Result<()>) -> usize {
        let mut rec = Recorder::new(&self.gpu);
        record(&mut rec).unwrap();
        let plan = rec.finish().unwrap();
        self.gpu.run(&plan).unwrap();
        plan.len()
    }
}

#[test]
fn dense_times_nothing() {
    let mut bench = Bench::new();
    let topology = none(16, 24);
    let (_, w) = bench.matrix(&topology);
    for transpose in Transpose::ALL {
        let [k, n] = if transpose.rhs { [24, 16] } else { [16, 24] };
        let shape = if transpose.lhs { [k, ROWS] } else { [ROWS, k] };
        let ((x, lhs), out) = (bench.numbers(&shape), bench.poison(&[ROWS, n]));
        let mut wanted = vec![f32::NAN; ROWS * n];
        reference::dds(&x, &topology, &[], &mut wanted, ROWS, transpose, reference::Epilogue::None);
        assert!(wanted.iter().all(|&value| value == 0.0));
        bench.run(|rec| ops::dds(rec, &lhs, &w, &out, transpose, Epilogue::None));
        assert_eq!(bench.read(&out), wanted, "{transpose:?}");
    }
}

#[test]
fn what_follows_a_product_with_nothing() {
    let mut bench = Bench::new();
    let topology = none(16, 24);
    let (_, w) = bench.matrix(&topology);
    let (x, lhs) = bench.numbers(&[ROWS, 24]);
    let (b, bias) = bench.numbers(&[16]);
    let activation = Activation::Relu;
    for variant in [None, Some(Variant::Lane), Some(Variant::Tile)] {
        let bench =
            Bench { gpu: bench.gpu.with_variant(variant), walk: Key::new(1, Stream::Check(0)).walk() };
        let [out, pre] = [(); 2].map(|()| bench.poison(&[ROWS, 16]));
        let mut before = vec![f32::NAN; ROWS * 16];
        let mut wanted = before.clone();
        let epilogue = reference::Epilogue::Forward { bias: &b, activation, dropout: None, pre: &mut before };
        reference::dds(&x, &topology, &[], &mut wanted, ROWS, Transpose::NT, epilogue);
        assert!(wanted.iter().zip(b.iter().cycle()).all(|(value, b)| *value == b.max(0.0)));
        let epilogue = Epilogue::Forward { bias: &bias, activation, dropout: None, pre: Some(&pre) };
        bench.run(|rec| ops::dds(rec, &lhs, &w, &out, Transpose::NT, epilogue));
        assert_eq!((bench.read(&out), bench.read(&pre)), (wanted, before), "{variant:?}");
    }
    let out = bench.poison(&[ROWS, 16]);
    bench.run(|rec| ops::dds(rec, &lhs, &w, &out, Transpose::NT, Epilogue::Bias(&bias)));
    assert_eq!(bench.read(&out), b.repeat(ROWS));
    let (_, pre) = bench.numbers(&[ROWS, 16]);
    let epilogue = Epilogue::Backward { pre: &pre, activation, dropout: None };
    bench.run(|rec| ops::dds(rec, &lhs, &w, &out, Transpose::NT, epilogue));
    assert_eq!(bench.read(&out), [0.0; ROWS * 16]);
}

#[test]
fn nothing_times_dense() {
    let mut bench = Bench::new();
    let topology = none(16, 24);
    let (_, w) = bench.matrix(&topology);
    for transpose in Transpose::ALL {
        let [m, k] = if transpose.lhs { [24, 16] } else { [16, 24] };
        let shape = if transpose.rhs { [ROWS, k] } else { [k, ROWS] };
        let ((y, rhs), out) = (bench.numbers(&shape), bench.poison(&[m, ROWS]));
        let mut wanted = vec![f32::NAN; m * ROWS];
        reference::dsd(&topology, &[], &y, &mut wanted, ROWS, transpose);
        bench.run(|rec| ops::dsd(rec, &w, &rhs, &out, transpose));
        assert_eq!(bench.read(&out), wanted, "{transpose:?}");
        assert!(wanted.iter().all(|&value| value == 0.0));
    }
}

/// A product of which no block is wanted is no work.
#[test]
fn no_block_of_a_product() {
    let mut bench = Bench::new();
    let topology = none(16, 24);
    let (_, out) = bench.matrix(&topology);
    let mask = BlockMask::from_words(vec![], 0).unwrap();
    let mask = upload_mask(&bench.gpu, &mask).unwrap();
    for transpose in Transpose::ALL {
        let lhs = bench.numbers(&if transpose.lhs { [ROWS, 16] } else { [16, ROWS] }).1;
        let rhs = bench.numbers(&if transpose.rhs { [24, ROWS] } else { [ROWS, 24] }).1;
        for mask in [None, Some(&mask)] {
            assert_eq!(bench.run(|rec| ops::sdd(rec, &lhs, &rhs, &out, transpose, mask)), 0);
        }
        let mut wanted = Vec::new();
        let (lhs, rhs) = (bench.read(&lhs), bench.read(&rhs));
        reference::sdd(&lhs, &rhs, &topology, &mut wanted, ROWS, transpose, None);
    }
    assert!(bench.read(out.values()).is_empty());
    assert_eq!(out.to_dense(&bench.gpu).unwrap(), [0.0; 16 * 24]);
}

#[test]
fn two_sparse_matrices_with_nothing() {
    let mut bench = Bench::new();
    for [left, right] in
        [[none(16, 24), full(24, 8)], [full(16, 24), none(24, 8)], [none(16, 24), none(24, 8)]]
    {
        // Dense = sparse x sparse.
        let ((h, lhs), (w, rhs)) = (bench.matrix(&left), bench.matrix(&right));
        let out = bench.poison(&[16, 8]);
        let mut wanted = vec![f32::NAN; 16 * 8];
        reference::dss(&left, &h, &right, &w, &mut wanted);
        bench.run(|rec| ops::dss(rec, &lhs, &rhs, &out));
        assert_eq!(bench.read(&out), wanted);
        assert!(wanted.iter().all(|&value| value == 0.0));

        // Sparse = dense x sparse: a [16, 8] matrix of x[16, 24] and the weight's transpose.
        let weight = if right.nnz() == 0 { none(8, 24) } else { full(8, 24) };
        let product = if left.nnz() == 0 { none(16, 8) } else { full(16, 8) };
        let ((x, dense), (w, sparse)) = (bench.numbers(&[16, 24]), bench.matrix(&weight));
        let values = bench.poison(&[product.nnz(), 8, 8]);
        let pattern = Pattern::upload(&bench.gpu, &product).unwrap();
        let out = BlockMatrix::adopt(pattern, values).unwrap();
        let mut wanted = vec![f32::NAN; product.elements()];
        reference::sds(&x, &weight, &w, &product, &mut wanted);
        let count = bench.run(|rec| ops::sds(rec, &dense, None, &sparse, &out));
        assert_eq!((bench.read(out.values()), count), (wanted, usize::from(product.nnz() > 0)));

        // Sparse = sparse x dense: the gradient of the weight, [24, 8], of hidden[16, 24] and dy[16, 8].
        let gradient = if right.nnz() == 0 { none(24, 8) } else { full(24, 8) };
        let (y, dense) = bench.numbers(&[16, 8]);
        let values = bench.poison(&[gradient.nnz(), 8, 8]);
        let pattern = Pattern::upload(&bench.gpu, &gradient).unwrap();
        let out = BlockMatrix::adopt(pattern, values).unwrap();
        let mut wanted = vec![f32::NAN; gradient.elements()];
        reference::ssd(&left, &h, &y, &gradient, &mut wanted);
        let count = bench.run(|rec| ops::ssd(rec, &lhs, &dense, None, &out));
        assert_eq!((bench.read(out.values()), count), (wanted, usize::from(gradient.nnz() > 0)));
    }
}

#[test]
fn nothing_in_half_precision() {
    let mut bench = Bench::new();
    if !bench.gpu.has_f16() {
        println!("SKIPPED: this device has no half precision");
        return;
    }
    let pattern = Pattern::upload(&bench.gpu, &none(16, 24)).unwrap();
    let w = BlockMatrix::alloc_of::<half::f16>(&bench.gpu, Class::Scratch, "w", &pattern).unwrap();
    let x = bench.gpu.zeros::<half::f16>(Class::Scratch, "x", &[ROWS, 24]).unwrap();
    let ((b, bias), out) = (bench.numbers(&[16]), bench.poison(&[ROWS, 16]));
    bench.run(|rec| ops::dds(rec, &x, &w, &out, Transpose::NT, Epilogue::Bias(&bias)));
    assert_eq!(bench.read(&out), b.repeat(ROWS));
}

/// A layer without blocks, forward, backward and updated: what is left of it is its bias.
#[test]
fn a_layer_of_nothing() {
    let mut bench = Bench::new();
    let gpu = bench.gpu.clone();
    let linear = Linear::new(24, 16).sparse(blocks(8));
    let network = |linear: Linear| {
        let mut graph = Graph::new(1, Precision::F32);
        let x = graph.differentiable_input("x", &[ROWS, 24]).unwrap();
        let y = linear.apply(&mut graph, x).unwrap();
        graph.output(y).unwrap();
        let start = Start { fan_in: FanIn::Present, topologies: &[Some(none(16, 24))], fixed: true };
        Network::new(&gpu, graph, start).unwrap()
    };
    let (plain, activated) = (network(linear.clone()), network(linear.relu()));
    let ((b, _), (x, _), (dy, _)) =
        (bench.numbers(&[16]), bench.numbers(&[ROWS, 24]), bench.numbers(&[ROWS, 16]));
    for network in [&plain, &activated] {
        let poison = |tensor: &Tensor| gpu.write(tensor, &vec![f32::NAN; tensor.len()]).unwrap();
        poison(network.logits());
        poison(network.input_grad(0).unwrap());
        gpu.write(network.store().by_name("bias").unwrap().values(), &b).unwrap();
        gpu.write(network.input(), &x).unwrap();
        gpu.write(network.logits_grad(), &dy).unwrap();
        bench.run(|rec| {
            network.forward(rec, None)?;
            network.backward(rec, None)
        });
        assert_eq!(bench.read(network.input_grad(0).unwrap()), [0.0; ROWS * 24]);
    }
    assert_eq!(bench.read(plain.logits()), b.repeat(ROWS));
    let shown = b.iter().map(|b| b.max(0.0)).collect::<Vec<_>>().repeat(ROWS);
    assert_eq!(bench.read(activated.logits()), shown);
    let mut sums = vec![0.0; 16];
    reference::column_sums(&dy, &mut sums, false);
    let [weight, bias] = plain.parameters()[..] else { panic!("a weight and a bias") };
    assert_eq!(bench.read(bias.grads()), sums);

    let step = Step::new(&gpu, StepValues { learning_rate: 0.1, ..StepValues::forward(0) }).unwrap();
    let adamw = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let [first, second] = [(); 2].map(|()| bench.poison(weight.values().shape()));
    let update = |rec: &mut Recorder<'_>| {
        ops::adamw(rec, weight.values(), weight.grads(), &first, &second, adamw, None, None, &step)
    };
    assert_eq!(bench.run(update), 0);
}

#[test]
fn sums_of_no_rows() {
    let mut bench = Bench::new();
    let [x, scale] = [&[0, 6][..], &[0]].map(|shape| bench.numbers(shape).1);
    let out = bench.poison(&[6]);
    bench.run(|rec| ops::column_sums(rec, &x, &out, false));
    assert_eq!(bench.read(&out), [0.0; 6]);
    let out = bench.poison(&[6]);
    bench.run(|rec| ops::inverse_norms(rec, &x, &out));
    assert_eq!(bench.read(&out), [0.0; 6]);
    let out = bench.poison(&[6]);
    bench.run(|rec| ops::norm_gain(rec, &x, &x, &scale, &out));
    assert_eq!(bench.read(&out), [0.0; 6]);
    let (before, out) = bench.numbers(&[6]);
    bench.run(|rec| ops::column_sums(rec, &x, &out, true));
    assert_eq!(bench.read(&out), before);
}
