//! Half precision: what is refused, what overflows, how far results are from f64, and windows of large tensors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod halves;

use fretwork::Error;
use fretwork::gpu::{Class, DType, Element, Gpu, Options, Recorder, Tensor, Variant};
use fretwork::ops::{self, Activation, Epilogue, Rounding, Step, StepValues, Transpose};
use fretwork::random::{Key, Stream};
use fretwork::reference::{self, bound::compare, bound::gamma, oracle};
use fretwork::sparse::{self, BlockMatrix, Pattern, Topology};
use half::f16;
use halves::gpu;

/// Random numbers, none of them too small for a driver that flushes what is not normal.
fn halves(case: u32, count: usize, magnitude: f32) -> Vec<f16> {
    let mut walk = Key::new(31, Stream::Check(case)).walk();
    let drawn = (0..count).map(|_| f16::from_f32((2.0 * walk.uniform() - 1.0) * magnitude));
    drawn.map(|x| if x.is_normal() { x } else { f16::ZERO }).collect()
}

fn floats(x: &[f16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

fn place<T: Element>(gpu: &Gpu, shape: &[usize], values: &[T]) -> Tensor {
    gpu.upload(Class::Scratch, "test", shape, values).unwrap()
}

fn zeros<T: Element>(gpu: &Gpu, shape: &[usize]) -> Tensor {
    gpu.zeros::<T>(Class::Scratch, "test", shape).unwrap()
}

fn run<T: Element>(gpu: &Gpu, out: &Tensor, record: impl FnOnce(&mut Recorder<'_>)) -> Vec<T> {
    let mut rec = Recorder::new(gpu);
    record(&mut rec);
    gpu.run(&rec.finish().unwrap()).unwrap();
    gpu.read(out).unwrap().wait().unwrap()
}

#[track_caller]
fn assert_says(result: fretwork::Result<()>, wanted: &str) {
    let said = result.expect_err(wanted).to_string();
    assert!(said.contains(wanted), "{said:?} should say {wanted:?}");
}

/// A device without half precision names it, itself and the kernel, and records nothing.
#[test]
fn a_device_without_f16_refuses_it_by_name() {
    let gpu = Gpu::request(Options { without_f16: true, ..Options::default() }).unwrap();
    assert!(!gpu.has_f16());
    let rec = &mut Recorder::new(&gpu);
    let (a, b) = (zeros::<f16>(&gpu, &[8, 8]), zeros::<f16>(&gpu, &[8, 8]));
    let (float, half) = (zeros::<f32>(&gpu, &[8, 8]), zeros::<f16>(&gpu, &[8, 8]));
    let error = ops::dense(rec, &a, &b, &float, Transpose::NN, Epilogue::None).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let said = error.to_string();
    for word in ["fretwork.dense.", ".f16", "SHADER_F16", &gpu.info().name] {
        assert!(said.contains(word), "{said:?} should say {word:?}");
    }
    // A result alone is enough, and so is a conversion.
    assert_says(
        ops::dense(rec, &float, &float.clone(), &half, Transpose::NN, Epilogue::None),
        "half_out: needs half precision",
    );
    assert_says(ops::convert(rec, &float, &half, Rounding::Nearest), "fretwork.convert.to_f16");
    assert_says(ops::finite(rec, &a, &zeros::<u32>(&gpu, &[1]), 0, 1), "fretwork.finite.scan.f16");
    assert!(rec.is_empty());
}

#[test]
fn types_that_do_not_fit_are_refused_by_name() {
    let Some(gpu) = gpu() else { return };
    let rec = &mut Recorder::new(&gpu);
    let (float, half) = (zeros::<f32>(&gpu, &[16, 16]), zeros::<f16>(&gpu, &[16, 16]));
    let out = zeros::<f16>(&gpu, &[16, 16]);
    let nn = Transpose::NN;
    assert_says(
        ops::dense(rec, &half, &float, &out, nn, Epilogue::None),
        "dense: rhs should be of F16, like lhs, but is of F32",
    );
    let pattern = Pattern::upload(&gpu, &Topology::full(16, 16, 16).unwrap()).unwrap();
    let weight = BlockMatrix::alloc(&gpu, Class::Scratch, "w", &pattern).unwrap();
    assert_says(
        ops::dds(rec, &half, &weight, &out, nn, Epilogue::None),
        "dds: rhs should be of F16, like lhs, but is of F32",
    );
    let (bias, pre) = (zeros::<f32>(&gpu, &[16]), zeros::<f32>(&gpu, &[16, 16]));
    let forward =
        Epilogue::Forward { bias: &bias, activation: Activation::Relu, dropout: None, pre: Some(&pre) };
    assert_says(
        ops::dense(rec, &half, &half.clone(), &out, nn, forward),
        "pre should be of F16, but is of F32",
    );
    assert_says(
        ops::convert(rec, &float, &zeros::<f32>(&gpu, &[16, 16]), Rounding::Nearest),
        "convert: out should be of F16 from F32, or of F32 from F16, but is of F32, from F32",
    );
    assert_says(
        ops::convert(rec, &float, &zeros::<f16>(&gpu, &[256]), Rounding::Nearest),
        "out should be of shape [16, 16]",
    );
    assert_says(
        ops::activation_forward(rec, &half, &float, Activation::Relu, None),
        "out should be of F16, but is of F32",
    );
    assert!(rec.is_empty());
}

/// Products of two block-sparse matrices read halves, too, and have the bits of their twins on the same numbers.
#[test]
fn two_sparse_matrices_of_halves() {
    let Some(gpu) = gpu() else { return };
    let draw = |rows, cols, nnz, pattern| {
        sparse::random(rows, cols, 8, nnz, Key::new(7, Stream::Pattern(pattern))).unwrap()
    };
    let (hidden, weight) = (draw(16, 32, 5, 0), draw(32, 24, 7, 1));
    let matrix = |case, topology: &Topology| {
        let values = halves(case, topology.elements(), 1.0);
        let pattern = Pattern::upload(&gpu, topology).unwrap();
        let tensor = place(&gpu, &[topology.nnz(), 8, 8], &values);
        (floats(&values), BlockMatrix::adopt(pattern, tensor).unwrap())
    };
    let ((h, hidden_matrix), (w, weight_matrix)) = (matrix(60, &hidden), matrix(61, &weight));

    let out = zeros::<f32>(&gpu, &[16, 24]);
    let mut wanted = vec![f32::NAN; 16 * 24];
    reference::dss(&hidden, &h, &weight, &w, &mut wanted);
    let found: Vec<f32> = run(&gpu, &out, |rec| ops::dss(rec, &hidden_matrix, &weight_matrix, &out).unwrap());
    assert_eq!(wanted, found);

    // The blocks that a [16, 32] matrix has of x[16, 24] * W^T.
    let x = halves(62, 16 * 24, 1.0);
    let dense = place(&gpu, &[16, 24], &x);
    let pattern = hidden_matrix.pattern().clone();
    let out = BlockMatrix::alloc(&gpu, Class::Scratch, "out", &pattern).unwrap();
    let mut wanted = vec![f32::NAN; hidden.elements()];
    reference::sds(&floats(&x), &weight, &w, &hidden, &mut wanted);
    let found: Vec<f32> =
        run(&gpu, out.values(), |rec| ops::sds(rec, &dense, None, &weight_matrix, &out).unwrap());
    assert_eq!(wanted, found);

    // Those that W has of hidden^T * x, rounded to halves.
    let pattern = weight_matrix.pattern().clone();
    let out = BlockMatrix::alloc_of::<f16>(&gpu, Class::Scratch, "out", &pattern).unwrap();
    let mut wanted = vec![f32::NAN; weight.elements()];
    reference::ssd(&hidden, &h, &floats(&x), &weight, &mut wanted);
    let found: Vec<f16> =
        run(&gpu, out.values(), |rec| ops::ssd(rec, &hidden_matrix, &dense, None, &out).unwrap());
    assert_eq!(wanted.iter().map(|&sum| f16::from_f32(sum)).collect::<Vec<_>>(), found);
}

/// An odd number of halves is written and read as it is, and what lies behind a view of some stays what it was.
#[test]
fn odd_numbers_of_halves() {
    let Some(gpu) = gpu() else { return };
    let values = halves(1, 7, 1.0);
    let tensor = place(&gpu, &[7], &values);
    assert_eq!(gpu.read::<f16>(&tensor).unwrap().wait().unwrap(), values);
    assert_says(
        gpu.write(&tensor.rows(0, 3).unwrap(), &values[..3]),
        "tensor should be of a multiple of 4 bytes",
    );
    assert_says(gpu.write(&tensor.rows(1, 2).unwrap(), &values[..2]), "at such an offset");
    gpu.write(&tensor.rows(4, 3).unwrap(), &values[..3]).unwrap();
    let found = gpu.read::<f16>(&tensor).unwrap().wait().unwrap();
    assert_eq!((&found[..4], &found[4..]), (&values[..4], &values[..3]));
    let out = zeros::<f32>(&gpu, &[1, 1]);
    let (row, column) = (place(&gpu, &[1, 3], &values[..3]), place(&gpu, &[3, 1], &[f16::ONE; 3]));
    let found: Vec<f32> = run(&gpu, &out, |rec| {
        ops::dense(rec, &row, &column, &out, Transpose::NN, Epilogue::None).unwrap();
    });
    assert_eq!(found[0], floats(&values[..3]).into_iter().fold(0.0, |sum, x| sum + x));
}

/// Sums are f32 in every variant; their rounding to f16 overflows to infinity and keeps NaN.
#[test]
fn overflow_is_an_infinity_and_nan_stays() {
    let Some(gpu) = gpu() else { return };
    for variant in Variant::ALL {
        let gpu = gpu.with_variant(Some(variant));
        // 1 * base + step * count, so that sums are exact.
        let sums: [(f32, f32); 8] = [
            (65_504.0, 15.0),
            (65_504.0, 16.0),
            (65_504.0, 4096.0),
            (-65_504.0, -16.0),
            (f32::INFINITY, 1.0),
            (f32::NAN, 1.0),
            (2048.0, 1.0),
            (2048.0, 3.0),
        ];
        let wanted: Vec<f16> = sums.iter().map(|(a, b)| f16::from_f32(a + b)).collect();
        assert_eq!(wanted[0].to_f32(), 65_504.0);
        assert_eq!(wanted[1], f16::INFINITY);
        let lhs: Vec<f16> = sums.iter().flat_map(|&(a, b)| [a, b, 0.0, 0.0].map(f16::from_f32)).collect();
        let (lhs, rhs) = (place(&gpu, &[8, 4], &lhs), place(&gpu, &[4, 8], &[f16::ONE; 32]));
        let out = zeros::<f16>(&gpu, &[8, 8]);
        let found: Vec<f16> = run(&gpu, &out, |rec| {
            ops::dense(rec, &lhs, &rhs, &out, Transpose::NN, Epilogue::None).unwrap();
        });
        for (row, wanted) in wanted.iter().enumerate() {
            let found = found[row * 8 + 3];
            assert!(
                found == *wanted || found.is_nan() && wanted.is_nan(),
                "{variant:?}: {:?} gave {found}, should be {wanted}",
                sums[row]
            );
        }
        // The scan sees it, and not before.
        let status = zeros::<u32>(&gpu, &[2]);
        let flags: Vec<u32> = run(&gpu, &status, |rec| {
            ops::finite(rec, &out, &status, 0, 1).unwrap();
            ops::finite(rec, &rhs, &status, 1, 1).unwrap();
        });
        assert_eq!(flags, [1, 0]);
    }
}

/// Numbers below 2^-14 keep their bits here, or the test says that the driver flushes them; nothing else happens to them.
#[test]
fn subnormals_are_kept_or_flushed() {
    let Some(gpu) = gpu() else { return };
    let x: Vec<f32> = (0..1024).map(|i| i as f32 / 16_777_216.0).collect();
    let (from, half) = (place(&gpu, &[1024], &x), zeros::<f16>(&gpu, &[1024]));
    let stored: Vec<f16> = run(&gpu, &half, |rec| {
        ops::convert(rec, &from, &half, Rounding::Nearest).unwrap();
    });
    let back = zeros::<f32>(&gpu, &[1024]);
    let found: Vec<f32> = run(&gpu, &back, |rec| {
        ops::convert(rec, &half, &back, Rounding::Nearest).unwrap();
    });
    let flushed = [stored.iter().map(|x| x.to_f32()).collect::<Vec<_>>(), found].map(|found| {
        let kept = found == x;
        assert!(kept || found.iter().all(|&x| x == 0.0), "{found:?}");
        !kept
    });
    println!(
        "{}: subnormals flushed when stored {}, when loaded {}",
        gpu.info().name,
        flushed[0],
        flushed[1]
    );
}

/// The mean of what is rounded by chance is the number itself.
#[test]
fn stochastic_rounding_is_even_handed() {
    let Some(gpu) = gpu() else { return };
    const COUNT: usize = 100_000;
    // A third of the way from 1 to the next f16.
    let x = 1.0 + 1.0 / 3072.0;
    let step = Step::new(&gpu, StepValues::forward(3)).unwrap();
    let (from, out) = (place(&gpu, &[COUNT], &vec![x; COUNT]), zeros::<f16>(&gpu, &[COUNT]));
    let key = Key::new(1, Stream::Check(2));
    let found: Vec<f16> = run(&gpu, &out, |rec| {
        ops::convert(rec, &from, &out, Rounding::Stochastic { key, step: &step, pattern: None }).unwrap();
    });
    let up = found.iter().filter(|x| x.to_f32() > 1.0).count();
    assert!(found.iter().all(|x| [0x3C00, 0x3C01].contains(&x.to_bits())));
    // 33,333 expected, standard deviation 149: six of them.
    assert!(up.abs_diff(33_333) < 900, "{up}");
}

/// Against f64, at several magnitudes, with results that have every exponent of f16.
#[test]
fn products_are_within_the_bound_of_f64() {
    let Some(gpu) = gpu() else { return };
    let [m, n, k] = [40, 64, 96];
    for variant in Variant::ALL {
        let gpu = gpu.with_variant(Some(variant));
        for (case, magnitude) in [0.01f32, 1.0, 20.0].into_iter().enumerate() {
            let topology = sparse::random(n, k, 16, 13, Key::new(5, Stream::Check(case as u32))).unwrap();
            let lhs = halves(10 + case as u32, m * k, magnitude);
            let values = halves(20 + case as u32, topology.elements(), magnitude);
            let truth =
                oracle::product(&floats(&lhs), &topology.scatter(&floats(&values)), [m, n, k], Transpose::NT);
            let pattern = Pattern::upload(&gpu, &topology).unwrap();
            let weight = BlockMatrix::upload(&gpu, Class::Scratch, "w", &pattern, &values).unwrap();
            let (lhs, out) = (place(&gpu, &[m, k], &lhs), zeros::<f16>(&gpu, &[m, n]));
            let found = floats(&run(&gpu, &out, |rec| {
                ops::dds(rec, &lhs, &weight, &out, Transpose::NT, Epilogue::None).unwrap();
            }));
            // Subnormal f16 results may be flushed to zero when they are stored.
            let bound = |i: usize| {
                let sum = gamma(k) * truth.magnitudes[i];
                let size = truth.values[i].abs() + sum;
                sum + if size < 2f64.powi(-14) { size } else { size * 2f64.powi(-11) }
            };
            let verdict = compare(&found, &truth.values, bound);
            assert!(verdict.is_ok(), "{variant:?} at {magnitude}: {verdict:?}");
            // A value that is off by one unit in the last place of a typical result is more than rounding explains.
            let mut wrong = found.clone();
            let largest =
                (0..wrong.len()).max_by(|&a, &b| found[a].abs().total_cmp(&found[b].abs())).unwrap();
            wrong[largest] *= 1.0 + 2.0 / 1024.0;
            assert!(compare(&wrong, &truth.values, bound).is_err());
        }
    }
}

/// Bits are as if everything fitted one binding, in every variant.
#[test]
fn windows_change_no_bits() {
    let Some(whole) = gpu() else { return };
    let small = Gpu::request(Options { largest_binding: Some(4096), ..Options::default() }).unwrap();
    let [m, n, k] = [70, 36, 44];
    let (lhs, rhs) = (halves(40, m * k, 1.0), halves(41, n * k, 1.0));
    let x: Vec<f32> = floats(&halves(42, 5001, 3.0)).iter().map(|x| x * 1.000_3).collect();
    for variant in Variant::ALL {
        let results: Vec<_> = [&whole, &small]
            .into_iter()
            .map(|gpu| {
                let gpu = &gpu.with_variant(Some(variant));
                let step = Step::new(gpu, StepValues::forward(3)).unwrap();
                let (a, b) = (place(gpu, &[m, k], &lhs), place(gpu, &[n, k], &rhs));
                let out = zeros::<f16>(gpu, &[m, n]);
                let product: Vec<f16> = run(gpu, &out, |rec| {
                    ops::dense(rec, &a, &b, &out, Transpose::NT, Epilogue::None).unwrap();
                    if gpu.limits().max_storage_buffer_binding_size == 4096 {
                        assert!(rec.len() > 1, "it should be split");
                    }
                });
                let (from, narrow) = (place(gpu, &[5001], &x), zeros::<f16>(gpu, &[5001]));
                let key = Key::new(1, Stream::Check(2));
                let narrow: Vec<f16> = run(gpu, &narrow, |rec| {
                    let rounding = Rounding::Stochastic { key, step: &step, pattern: None };
                    ops::convert(rec, &from, &narrow, rounding).unwrap();
                });
                let sums = zeros::<f32>(gpu, &[k]);
                let sums: Vec<f32> = run(gpu, &sums, |rec| ops::column_sums(rec, &a, &sums, false).unwrap());
                (product, narrow, sums)
            })
            .collect();
        assert!(results[0] == results[1], "{variant:?}");
    }
}

/// Sums that go on from window to window: along the rows of a batch, and over the slots of a weight.
#[test]
fn sums_go_on_in_the_next_window() {
    let Some(gpu) = gpu() else { return };
    let small = Gpu::request(Options { largest_binding: Some(8192), ..Options::default() }).unwrap();
    let topology = sparse::random(64, 96, 16, 20, Key::new(5, Stream::Check(60))).unwrap();
    let [m, n] = [topology.rows(), topology.cols()];
    let rows = 100;
    let (dy, x) = (halves(61, rows * m, 1.0), halves(62, rows * n, 1.0));
    let values = halves(63, topology.elements(), 1.0);
    let mut grad = vec![0.0; topology.elements()];
    reference::sdd(&floats(&dy), &floats(&x), &topology, &mut grad, rows, Transpose::TN, None);
    let mut dx = vec![0.0; rows * n];
    let none = reference::Epilogue::None;
    reference::dds(&floats(&dy), &topology, &floats(&values), &mut dx, rows, Transpose::NN, none);
    let wanted = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    for gpu in [gpu, small] {
        for variant in Variant::ALL {
            let gpu = gpu.with_variant(Some(variant));
            let pattern = Pattern::upload(&gpu, &topology).unwrap();
            let weight = BlockMatrix::upload(&gpu, Class::Scratch, "w", &pattern, &values).unwrap();
            let (dy, x) = (place(&gpu, &[rows, m], &dy), place(&gpu, &[rows, n], &x));
            let out = BlockMatrix::alloc(&gpu, Class::Scratch, "grad", &pattern).unwrap();
            let split = gpu.limits().max_storage_buffer_binding_size == 8192;
            let found: Vec<f32> = run(&gpu, out.values(), |rec| {
                ops::sdd(rec, &dy, &x, &out, Transpose::TN, None).unwrap();
                assert_eq!(rec.len() > 1, split);
            });
            // Sums of products of at most 1, in some order.
            let bound = 2.0 * gamma(rows) * rows as f64;
            let verdict = compare(&found, &wanted(&grad), |_| bound);
            assert!(verdict.is_ok(), "{variant:?}, split {split}: {verdict:?}");
            let out = zeros::<f32>(&gpu, &[rows, n]);
            let found: Vec<f32> = run(&gpu, &out, |rec| {
                ops::dds(rec, &dy, &weight, &out, Transpose::NN, Epilogue::None).unwrap();
                assert_eq!(rec.len() > 1, split);
            });
            let verdict = compare(&found, &wanted(&dx), |_| bound);
            assert!(verdict.is_ok(), "{variant:?}, split {split}: {verdict:?}");
        }
    }
}

/// Experts on f16: tokens gathered, forward and for the gradient of the weights.
#[test]
fn gathered_products() {
    let Some(gpu) = gpu() else { return };
    let [there, k] = [21, 24];
    let topology = sparse::random(48, 80, 16, 9, Key::new(5, Stream::Check(50))).unwrap();
    let [m, n] = [topology.rows(), topology.cols()];
    let mut walk = Key::new(5, Stream::Check(51)).walk();
    let rows: Vec<u32> = (0..m).map(|_| walk.below(there as u32)).collect();
    let (x, w) = (halves(52, there * k, 1.0), halves(53, n * k, 1.0));
    let gathered: Vec<f32> = rows.iter().flat_map(|&row| floats(&x[row as usize * k..][..k])).collect();
    let mut hidden = vec![0.0; topology.elements()];
    reference::sdd(&gathered, &floats(&w), &topology, &mut hidden, k, Transpose::NT, None);
    let hidden: Vec<f16> = hidden.into_iter().map(f16::from_f32).collect();
    let mut grad = vec![0.0; n * k];
    reference::dsd(&topology, &floats(&hidden), &gathered, &mut grad, k, Transpose::TN);

    let pattern = Pattern::upload(&gpu, &topology).unwrap();
    let (x, w) = (place(&gpu, &[there, k], &x), place(&gpu, &[n, k], &w));
    let rows = place(&gpu, &[m], &rows);
    for variant in Variant::ALL {
        let gpu = gpu.with_variant(Some(variant));
        let out = BlockMatrix::alloc_of::<f16>(&gpu, Class::Scratch, "hidden", &pattern).unwrap();
        let found: Vec<f16> = run(&gpu, out.values(), |rec| {
            ops::sdd_gathered(rec, &x, &rows, &w, &out).unwrap();
        });
        let near = |i: usize| f64::from(hidden[i].to_f32()).abs() * 2f64.powi(-10) + 1e-4;
        let wanted: Vec<f64> = hidden.iter().map(|x| x.to_f64()).collect();
        assert!(compare(&floats(&found), &wanted, near).is_ok(), "{variant:?}");

        let matrix = BlockMatrix::upload(&gpu, Class::Scratch, "hidden", &pattern, &hidden).unwrap();
        let out = zeros::<f32>(&gpu, &[n, k]);
        let found: Vec<f32> = run(&gpu, &out, |rec| {
            ops::dsd_gathered(rec, &matrix, &x, &rows, &out).unwrap();
        });
        let wanted: Vec<f64> = grad.iter().map(|&x| f64::from(x)).collect();
        assert!(compare(&found, &wanted, |_| 1e-4).is_ok(), "{variant:?}");
    }
}

/// The type is part of a kernel's name.
#[test]
fn labels_tell_the_type() {
    use fretwork::gpu;
    let key =
        gpu::Key::new("dds", "lane").block(16).with("rhs_t", true).dtype(DType::F16).with("half_out", true);
    assert_eq!(key.label(), "fretwork.dds.lane.f16.b16.half_out.rhs_t");
    assert_eq!(gpu::Key::new("dds", "lane").block(16).label(), "fretwork.dds.lane.f32.b16");
}
