//! Refusals of the operations of a language model: mismatched shapes.

use fretwork::gpu::{Class, Recorder, Tensor};
use fretwork::ops::{self, Attention};

use super::gpu;

#[test]
fn mismatched_shapes_are_refused_by_name() {
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
        "embed.gather: table should be of at least one row of 8 columns, but is of shape [5, 9]",
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
    assert!(rec.is_empty(), "a refused operation was recorded");
}
