//! Attention of sequences: independent of each other in a batch, causal, and in windows where a tensor exceeds a binding.

use std::ops::Range;

use fretwork::gpu::{Class, Gpu, Options, Recorder, Variant};
use fretwork::ops::{self, Attention};
use fretwork::random::{Key, Stream};

use super::{CONTEXT, EPSILON, HEADS, WIDTH, gpu, numbers, read};

/// Attention, forward and backward, on a batch of sequences of `context` tokens: the number of dispatches, and the bits of all results
/// of each sequence.
fn attend(gpu: &Gpu, sequences: &[(&[f32], &[f32])], context: usize) -> (usize, Vec<Vec<u32>>) {
    attend_by([gpu, gpu], sequences, context)
}

/// [`attend`] with the forward pass of one variant and the backward pass of another.
fn attend_by(
    [gpu, backward]: [&Gpu; 2],
    sequences: &[(&[f32], &[f32])],
    context: usize,
) -> (usize, Vec<Vec<u32>>) {
    let tokens = sequences.len() * context;
    let (qkvs, grads): (Vec<&[f32]>, Vec<&[f32]>) = sequences.iter().copied().unzip();
    let (qkv_values, grad_values) = (qkvs.concat(), grads.concat());
    let place =
        |width, values: &[f32]| gpu.upload(Class::Scratch, "given", &[tokens, width], values).unwrap();
    let alloc = |width| gpu.alloc::<f32>(Class::Scratch, "found", &[tokens, width]).unwrap();
    let (qkv, grad) = (place(3 * WIDTH, &qkv_values), place(WIDTH, &grad_values));
    let (out, dqkv, [lse, delta]) = (alloc(WIDTH), alloc(3 * WIDTH), [(); 2].map(|()| alloc(HEADS)));
    let attention = Attention { qkv: &qkv, out: &out, lse: &lse, context };
    let mut rec = Recorder::new(gpu);
    ops::attention_forward(&mut rec, attention).unwrap();
    let mut dispatches = rec.len();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let mut rec = Recorder::new(backward);
    ops::attention_queries(&mut rec, attention, &grad, &delta, &dqkv).unwrap();
    ops::attention_keys(&mut rec, attention, &grad, &delta, &dqkv).unwrap();
    dispatches += rec.len();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let mut results = vec![Vec::new(); sequences.len()];
    for tensor in [&out, &lse, &delta, &dqkv] {
        let values = read(gpu, tensor);
        for (result, values) in results.iter_mut().zip(values.chunks(values.len() / sequences.len())) {
            result.extend(values.iter().map(|x| x.to_bits()));
        }
    }
    (dispatches, results)
}

/// Operands of a sequence: queries, keys and values `[context, 3 * width]`, and the gradient of the output `[context, width]`.
fn sequence(number: u32, context: usize) -> (Vec<f32>, Vec<f32>) {
    let mut walk = Key::new(3, Stream::Check(number)).walk();
    (numbers(&mut walk, context * 3 * WIDTH, 1.0), numbers(&mut walk, context * WIDTH, 1.0))
}

/// Results of a sequence have the same bits alone and at each position in a batch. Both variants have the same gradients of
/// the same forward pass; their forward passes rescale running sums at other keys, and differ by rounding errors.
#[test]
fn sequences_are_independent() {
    let gpu = gpu();
    let [lane, tile] = [Variant::Lane, Variant::Tile].map(|variant| gpu.with_variant(Some(variant)));
    for context in [1, 5, CONTEXT, 130] {
        let given: Vec<_> = (0..4).map(|number| sequence(number, context)).collect();
        let of = |gpus: [&Gpu; 2], order: &[usize]| {
            let picked: Vec<(&[f32], &[f32])> =
                order.iter().map(|&i| (given[i].0.as_slice(), given[i].1.as_slice())).collect();
            attend_by(gpus, &picked, context).1
        };
        let everything = of([&lane, &lane], &[0, 1, 2, 3]);
        assert_eq!(everything, of([&lane, &tile], &[0, 1, 2, 3]), "context {context}: gradients differ");
        for (found, wanted) in of([&tile, &tile], &[0, 1, 2, 3]).iter().zip(&everything) {
            let near = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs() < 1e-5;
            assert!(found.iter().zip(wanted).all(near), "context {context}: variants differ");
        }
        for gpus in [[&lane, &lane], [&tile, &tile]] {
            let all = of(gpus, &[0, 1, 2, 3]);
            assert_ne!(all[0], all[1]);
            for (number, alone) in all.iter().enumerate() {
                assert_eq!(&of(gpus, &[number])[0], alone, "context {context}: sequence {number} alone");
            }
            let [third, first] = of(gpus, &[2, 0]).try_into().unwrap();
            let wanted = (all[2].clone(), all[0].clone());
            assert_eq!((third, first), wanted, "context {context}: in another order");
        }
    }
}

/// Outputs do not depend on later tokens, and a token behind the last gradient that is not 0 has a gradient of 0.
#[test]
fn attention_is_causal() {
    let gpu = gpu();
    let (qkv, grad) = sequence(9, CONTEXT);
    let (mut other, cut) = (qkv.clone(), 20);
    other[cut * 3 * WIDTH..].iter_mut().for_each(|x| *x = -*x);
    let (before, after) =
        (attend(&gpu, &[(&qkv, &grad)], CONTEXT).1, attend(&gpu, &[(&other, &grad)], CONTEXT).1);
    let out =
        |result: &[Vec<u32>], range: Range<usize>| result[0][range.start * WIDTH..range.end * WIDTH].to_vec();
    assert_eq!(out(&before, 0..cut), out(&after, 0..cut));
    assert_ne!(out(&before, cut..cut + 1), out(&after, cut..cut + 1));
    // Outputs from the cut on have a gradient of 0, and so have queries, keys and values from there on.
    let mut zeroed = grad.clone();
    zeroed[cut * WIDTH..].fill(0.0);
    let result = attend(&gpu, &[(&qkv, &zeroed)], CONTEXT).1;
    let dqkv = &result[0][CONTEXT * (WIDTH + 2 * HEADS)..];
    assert!(dqkv[cut * 3 * WIDTH..].iter().all(|&bits| f32::from_bits(bits) == 0.0));
    assert!(dqkv[..cut * 3 * WIDTH].iter().all(|&bits| f32::from_bits(bits).is_finite()));
}

/// Tensors larger than a binding, worked on in windows, have the bits of tensors within one binding.
#[test]
fn tensors_larger_than_a_binding_have_the_same_bits() {
    let device = |largest_binding| {
        Gpu::request(Options { default_limits: true, largest_binding, ..Options::default() }).unwrap()
    };
    let [whole, split] = [None, Some(16 << 10)].map(device);

    let given: Vec<_> = (0..12).map(|number| sequence(number, 32)).collect();
    let given: Vec<(&[f32], &[f32])> =
        given.iter().map(|(qkv, grad)| (qkv.as_slice(), grad.as_slice())).collect();
    let [(dispatches, wanted), (more, found)] = [&whole, &split].map(|gpu| attend(gpu, &given, 32));
    assert!(dispatches == 3 && more > 3, "{dispatches} and {more} dispatches");
    assert_eq!(found, wanted, "attention");

    const TOKENS: usize = 2520;
    const CONTEXT: usize = 20;
    const COLUMNS: usize = 4;
    let outcome = |gpu: &Gpu| {
        let mut walk = Key::new(4, Stream::Check(0)).walk();
        let ids: Vec<u32> = (0..TOKENS).map(|_| walk.below(9)).collect();
        let ids = gpu.upload(Class::Scratch, "ids", &[TOKENS], &ids).unwrap();
        let mut given = |shape: &[usize]| {
            let values = numbers(&mut walk, shape.iter().product(), 1.0);
            gpu.upload(Class::Scratch, "given", shape, &values).unwrap()
        };
        let (table, positions, gain) = (given(&[9, COLUMNS]), given(&[CONTEXT, COLUMNS]), given(&[COLUMNS]));
        let (grad, slope) = (given(&[TOKENS, COLUMNS]), given(&[TOKENS, COLUMNS]));
        let alloc = |shape: &[usize]| gpu.alloc::<f32>(Class::Scratch, "found", shape).unwrap();
        let (x, normed, scale) = (alloc(&[TOKENS, COLUMNS]), alloc(&[TOKENS, COLUMNS]), alloc(&[TOKENS]));
        let (dtable, dpositions, dgain) =
            (alloc(&[9, COLUMNS]), alloc(&[CONTEXT, COLUMNS]), alloc(&[COLUMNS]));
        let mut rec = Recorder::new(gpu);
        ops::embed_gather(&mut rec, &ids, &table, &positions, &x).unwrap();
        ops::norm_forward(&mut rec, &x, &gain, &scale, &normed, EPSILON).unwrap();
        ops::norm_gain(&mut rec, &grad, &x, &scale, &dgain).unwrap();
        ops::norm_backward(&mut rec, &grad, &x, &gain, &scale, &slope, true).unwrap();
        ops::embed_scatter(&mut rec, &ids, &slope, &dtable, &dpositions).unwrap();
        let dispatches = rec.len();
        gpu.run(&rec.finish().unwrap()).unwrap();
        let results = [x, normed, scale, slope, dtable, dpositions, dgain];
        (dispatches, results.map(|tensor| read(gpu, &tensor).iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
    };
    let [(dispatches, wanted), (more, found)] = [outcome(&whole), outcome(&split)];
    assert!(more > dispatches + 5, "{dispatches} and {more} dispatches");
    assert_eq!(found, wanted);
}
