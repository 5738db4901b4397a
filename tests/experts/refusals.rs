//! Refusals of operations on experts: mismatched shapes.

use fretwork::Error;
use fretwork::gpu::{Class, Gpu, Options, Recorder};
use fretwork::ops::{self, Activation, ExpertsBackward};
use fretwork::sparse::{BlockMatrix, Pattern, Topology};

#[test]
fn mismatched_shapes_are_refused_by_name() {
    let gpu = Gpu::request(Options::default()).unwrap();
    let tensor = |shape: &[usize]| gpu.zeros::<f32>(Class::Scratch, "test", shape).unwrap();
    let matrix = |rows: usize, cols: usize, block: usize| {
        let pattern = Pattern::upload(&gpu, &Topology::full(rows, cols, block).unwrap()).unwrap();
        BlockMatrix::alloc(&gpu, Class::Scratch, "test", &pattern).unwrap()
    };
    let rows = gpu.zeros::<u32>(Class::Scratch, "test", &[32]).unwrap();
    let few = gpu.zeros::<u32>(Class::Scratch, "test", &[31]).unwrap();
    // 32 rows of assignments, 48 hidden units, 16 columns, 5 tokens.
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
        // `pre` is read and written by one dispatch.
        (good, "pre"),
    ] {
        refused(ops::experts_backward(rec, wrong, Activation::Relu), argument);
    }
    assert!(rec.is_empty());
}
