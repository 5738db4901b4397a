//! Split-K: a product of few tiles and a long contraction is the sum, in ascending order, of the products of its segments.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::gpu::{Choice, Class, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::ops::{self, Epilogue, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::sparse::{self, BlockMatrix, Pattern};

const M: usize = 48;
const N: usize = 64;
/// Segments of 320, 320 and 160 indices.
const K: usize = 800;
const SEGMENTS: [(usize, usize); 3] = [(0, 320), (320, 320), (640, 160)];

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

/// Uniform draws in [-1, 1), `[rows, columns]`.
fn numbers(number: u32, rows: usize, columns: usize) -> Vec<f32> {
    let mut walk = Key::new(12, Stream::Check(number)).walk();
    (0..rows * columns).map(|_| 2.0 * walk.uniform() - 1.0).collect()
}

fn place(gpu: &Gpu, shape: &[usize], values: &[f32]) -> Tensor {
    gpu.upload(Class::Scratch, "given", shape, values).unwrap()
}

/// Number of dispatches, and the result.
fn run(
    gpu: &Gpu,
    out: &Tensor,
    record: impl FnOnce(&mut Recorder<'_>) -> fretwork::Result<()>,
) -> (usize, Vec<f32>) {
    let mut rec = Recorder::new(gpu);
    record(&mut rec).unwrap();
    let dispatches = rec.len();
    gpu.run(&rec.finish().unwrap()).unwrap();
    (dispatches, gpu.read(out).unwrap().wait().unwrap())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// `lhs^T * rhs` over some rows of both, which are the contraction: dense, or the blocks of a pattern.
fn product(gpu: &Gpu, first: usize, rows: usize, pattern: Option<&Pattern>) -> (usize, Vec<f32>) {
    let part = |number, columns| {
        let values = numbers(number, K, columns);
        place(gpu, &[rows, columns], &values[first * columns..][..rows * columns])
    };
    let (lhs, rhs) = (part(0, M), part(1, N));
    match pattern {
        None => {
            let out = place(gpu, &[M, N], &[f32::NAN; M * N]);
            run(gpu, &out, |rec| ops::dense(rec, &lhs, &rhs, &out, Transpose::TN, Epilogue::None))
        }
        Some(pattern) => {
            let values = vec![f32::NAN; pattern.nnz() * 256];
            let out = place(gpu, &[pattern.nnz(), 16, 16], &values);
            let matrix = BlockMatrix::adopt(pattern.clone(), out.clone()).unwrap();
            run(gpu, &out, |rec| ops::sdd(rec, &lhs, &rhs, &matrix, Transpose::TN, None))
        }
    }
}

#[test]
fn segments_are_summed_in_order_by_every_variant() {
    let plain = gpu();
    let topology = sparse::random(M, N, 16, 7, Key::new(5, Stream::Check(2))).unwrap();
    let pattern = Pattern::upload(&plain, &topology).unwrap();
    for pattern in [None, Some(&pattern)] {
        let unsplit = plain.with_variant(Some(Variant::Lane)).with_splits(false);
        let mut wanted: Vec<f32> = Vec::new();
        for (first, rows) in SEGMENTS {
            let (_, part) = product(&unsplit, first, rows, pattern);
            wanted = match wanted.is_empty() {
                true => part,
                false => wanted.iter().zip(part).map(|(sum, part)| sum + part).collect(),
            };
        }
        let (dispatches, whole) = product(&unsplit, 0, K, pattern);
        assert_eq!(dispatches, 1);
        // The order differs, so the test can tell both apart.
        assert_ne!(bits(&whole), bits(&wanted));
        let choices = Choice::ALL.into_iter().filter(|choice| choice.variant != Variant::Coop);
        for choice in choices.filter(|choice| plain.runs(choice.variant)) {
            let (dispatches, found) =
                product(&plain.with_choice(Some(choice)).with_splits(true), 0, K, pattern);
            assert_eq!(dispatches, 2, "{choice:?}");
            assert_eq!(bits(&found), bits(&wanted), "{choice:?}");
        }
    }
}

/// Drivers on the CPU do not split unless asked to, products of many tiles or of short contractions are never split.
#[test]
fn what_is_split() {
    let gpu = gpu();
    assert_eq!(gpu.splits(), !gpu.is_software());
    let dispatches = |gpu: &Gpu, [m, n, k]: [usize; 3]| {
        let room = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "operand", shape).unwrap();
        let (lhs, rhs, out) = (room(&[m, k]), room(&[k, n]), room(&[m, n]));
        let mut rec = Recorder::new(gpu);
        ops::dense(&mut rec, &lhs, &rhs, &out, Transpose::NN, Epilogue::None).unwrap();
        rec.len()
    };
    let on = gpu.with_splits(true);
    assert_eq!(dispatches(&on, [10, 128, 4096]), 2);
    assert_eq!(dispatches(&on.with_splits(false), [10, 128, 4096]), 1);
    assert_eq!(dispatches(&on, [10, 128, 511]), 1);
    assert_eq!(dispatches(&on, [512, 512, 4096]), 1);
}
