//! Kernels of a language model: CPU twins against formulas in f64, gradients against central differences in the middle of a graph,
//! independence of sequences, and tensors larger than a binding.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod formula;
mod gradients;
mod refusals;
mod sequences;

use fretwork::gpu::{Gpu, Options, Tensor};
use fretwork::ops::HEADS as HEAD_WIDTHS;
use fretwork::ops::IGNORED;
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference;
use fretwork::reference::bound::compare;

/// Tokens of a sequence: several row tiles of the attention kernels, the last of them partial.
const CONTEXT: usize = 37;
const HEADS: usize = 2;
/// Width of a head.
const HEAD: usize = 8;
const WIDTH: usize = HEADS * HEAD;
const EPSILON: f32 = 1e-5;

fn gpu() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

/// Uniform draws within `magnitude` of 0.
fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn read(gpu: &Gpu, tensor: &Tensor) -> Vec<f32> {
    gpu.read(tensor).unwrap().wait().unwrap()
}

#[test]
fn cpu_twins_agree_with_the_formulas() {
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
    for head in HEAD_WIDTHS {
        for magnitude in [0.1, 1.0, 4.0] {
            let qkv = numbers(&mut walk, TOKENS * 3 * 2 * head, magnitude);
            let (mut out, mut lse) = (vec![f32::NAN; TOKENS * 2 * head], vec![f32::NAN; TOKENS * 2]);
            reference::attention_forward(&qkv, &mut out, &mut lse, CONTEXT, 2);
            let [wanted, levels] = formula::attention(&wide(&qkv), CONTEXT, 2, head);
            // Rounding errors grow with the scores, the largest of which are 4 * 4 * 64 / 8.
            let error = 1e-6 * f64::from(magnitude * (1.0 + magnitude * magnitude * 8.0));
            assert!(compare(&out, &wanted, |_| error).is_ok(), "head {head}, magnitude {magnitude}");
            assert!(compare(&lse, &levels, |_| error + 1e-6).is_ok(), "head {head}, magnitude {magnitude}");
            // Attention over a longer context has another output.
            let shifted = formula::attention(&wide(&qkv), TOKENS, 2, head);
            assert!(compare(&out, &shifted[0], |_| error).is_err());
        }
    }
}
