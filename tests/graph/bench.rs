//! Gradients of a network on the device against central differences of its own forward pass.

use fretwork::gpu::{DType, Gpu, Options, Plan, Recorder, Tensor};
use fretwork::graph::{FanIn, Graph, Network, Start, Value};
use fretwork::random::{Key, Stream, Walk};
use fretwork::sparse::BlockMatrix;
use fretwork::wgpu::{BufferDescriptor, BufferUsages};

pub(crate) fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

pub(crate) fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    gpu.read::<f32>(tensor).unwrap().wait().unwrap()
}

/// Numbers in `[-1, 1)`.
pub(crate) fn numbers(walk: &mut Walk, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * walk.uniform() - 1.0).collect()
}

/// The network of a graph, with drawn topologies.
pub(crate) fn network(gpu: &Gpu, graph: Graph) -> Network {
    let topologies = graph.topologies(None).unwrap();
    Network::new(gpu, graph, Start { fan_in: FanIn::Present, topologies: &topologies, fixed: true }).unwrap()
}

/// A graph with these outputs.
pub(crate) fn finish(mut graph: Graph, outputs: &[Value]) -> Graph {
    outputs.iter().for_each(|&output| graph.output(output).unwrap());
    graph
}

/// A network of f32 whose loss is the sum of its outputs, each element times a weight of its own.
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    pub(crate) network: Network,
    /// Weights of each output's elements in the loss.
    weights: Vec<Vec<f32>>,
    forward: Plan,
    both: Plan,
}

/// Half the distance of a difference, and of one that confirms it. Sums of some hundred roundings of outputs near 1 are 1e-5 of it,
/// and third derivatives of smooth activations, times its square, 1e-4 of a slope.
const H: [f32; 2] = [1.0 / 128.0, 1.0 / 256.0];

/// Largest error of a right gradient, as a share of the largest of its tensor: ten times the errors of [`H`]. A gradient with a
/// term too few or too many errs by a share of that term.
pub(crate) const TOLERANCE: f64 = 1e-3;

impl Bench {
    pub(crate) fn new(gpu: &Gpu, graph: Graph) -> Self {
        let network = network(gpu, graph);
        let mut walk = Key::new(3, Stream::Check(31)).walk();
        for param in network.parameters() {
            let mut values = read(gpu, param.values());
            if param.is_matrix() {
                values
                    .iter_mut()
                    .zip(numbers(&mut walk, param.values().len()))
                    .for_each(|(x, y)| *x += 0.2 * y);
            } else {
                // Far from 0 on both sides: few differences cross the kink of a ReLU.
                values.iter_mut().zip(numbers(&mut walk, param.values().len())).for_each(|(x, y)| {
                    *x += (3.0 + y.abs()).copysign(y);
                });
            }
            gpu.write(param.values(), &values).unwrap();
        }
        for (_, input) in network.inputs() {
            gpu.write(input, &numbers(&mut walk, input.len())).unwrap();
        }
        let weights: Vec<_> =
            network.outputs().iter().map(|output| numbers(&mut walk, output.len())).collect();
        for (grad, weights) in network.output_grads().into_iter().zip(&weights) {
            gpu.write(grad, weights).unwrap();
        }
        let plan = |backward: bool| {
            let mut rec = Recorder::new(gpu);
            network.forward(&mut rec, None).unwrap();
            if backward {
                network.backward(&mut rec, None).unwrap();
            }
            rec.finish().unwrap()
        };
        let (forward, both) = (plan(false), plan(true));
        Self { gpu: gpu.clone(), network, weights, forward, both }
    }

    /// The loss, summed in f64.
    fn loss(&self) -> f64 {
        self.gpu.run(&self.forward).unwrap();
        let outputs = self.network.outputs().into_iter().zip(&self.weights);
        let of = |(output, weights): (&Tensor, &Vec<f32>)| -> f64 {
            read(&self.gpu, output).iter().zip(weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        };
        outputs.map(of).sum()
    }

    /// Everything that has a gradient, by name: values and gradient.
    fn places(&self) -> Vec<(String, &Tensor, &Tensor)> {
        let params = self.network.parameters().into_iter();
        let mut places: Vec<_> =
            params.map(|param| (param.name().to_owned(), param.values(), param.grads())).collect();
        for (number, (name, input)) in self.network.inputs().into_iter().enumerate() {
            if let Some(grad) = self.network.input_grad(number) {
                places.push((name.to_owned(), input, grad));
            }
        }
        places
    }

    /// Gradients that one backward pass computes, by name. Gradients hold NaN before it.
    pub(crate) fn gradients(&self) -> Vec<(String, Vec<f32>)> {
        for (_, _, grad) in self.places() {
            self.gpu.write(grad, &vec![f32::NAN; grad.len()]).unwrap();
        }
        self.gpu.run(&self.both).unwrap();
        self.places().into_iter().map(|(name, _, grad)| (name, read(&self.gpu, grad))).collect()
    }

    /// The largest error of a gradient as a share of the largest of its tensor, over some elements of every tensor, and its place.
    pub(crate) fn worst(&self) -> (f64, String) {
        let gradients = self.gradients();
        let (mut worst, mut kinks, mut seen) = ((0.0, String::new()), 0, 0);
        for ((name, values, _), (_, grads)) in self.places().into_iter().zip(gradients) {
            let before = read(&self.gpu, values);
            let mut slopes = Vec::new();
            for element in (0..grads.len()).step_by(grads.len().div_ceil(10)) {
                let at = |by: f32| {
                    let mut moved = before.clone();
                    moved[element] += by;
                    self.gpu.write(values, &moved).unwrap();
                    (self.loss(), f64::from(moved[element]))
                };
                let [wanted, other] = H.map(|h| {
                    let ((up, above), (down, below)) = (at(h), at(-h));
                    (up - down) / (above - below)
                });
                slopes.push((element, wanted, other));
            }
            let found = grads.iter().map(|&g| f64::from(g).abs());
            let largest = found.chain(slopes.iter().map(|(_, wanted, _)| wanted.abs())).fold(0.0, f64::max);
            for (element, wanted, other) in slopes {
                seen += 1;
                // The kink of a ReLU is in between, where the slope depends on the distance.
                if (wanted - other).abs() > TOLERANCE / 2.0 * largest {
                    kinks += 1;
                    continue;
                }
                let found = f64::from(grads[element]);
                let error = (found - wanted).abs() / largest;
                if error.is_nan() || error > worst.0 {
                    worst = (error, format!("{name}[{element}]: {found}, and by differences {wanted}"));
                }
            }
            self.gpu.write(values, &before).unwrap();
        }
        assert!(kinks * 10 <= seen, "{kinks} of {seen} differences tell nothing");
        worst
    }
}

/// Refuses a graph whose gradients are none.
#[track_caller]
pub(crate) fn assert_right(gpu: &Gpu, name: &str, graph: Graph) {
    let bench = Bench::new(gpu, graph);
    assert!(!bench.places().is_empty());
    let (worst, place) = bench.worst();
    assert!(worst < TOLERANCE, "{name}: {worst:e} at {place}");
}

/// A tensor of a caller's own buffer with these values, from an offset on that suits every device.
pub(crate) fn foreign(gpu: &Gpu, values: &[f32], shape: &[usize]) -> Tensor {
    const OFFSET: u64 = 256;
    let buffer = gpu.device().create_buffer(&BufferDescriptor {
        label: Some("a caller's"),
        size: OFFSET + (4 * values.len() as u64).next_multiple_of(16),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let tensor = Tensor::view(gpu, &buffer, OFFSET, shape, DType::F32).unwrap();
    gpu.write(&tensor, values).unwrap();
    tensor
}

/// A block matrix of the pattern of another, in a caller's buffer.
pub(crate) fn foreign_blocks(gpu: &Gpu, matrix: &BlockMatrix) -> BlockMatrix {
    let values = foreign(gpu, &read(gpu, matrix.values()), matrix.values().shape());
    BlockMatrix::adopt(matrix.pattern().clone(), values).unwrap()
}
