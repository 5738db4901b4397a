//! CPU twins against the f64 oracle, and the oracle against wrong results.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::ops::{Activation, BlockRange, Transpose};
use fretwork::random::{Key, Stream, Walk};
use fretwork::reference::bound::{compare, gamma};
use fretwork::reference::{self, Epilogue, oracle};
use fretwork::sparse::{self, BLOCKS, BlockMask, Topology};
use proptest::prelude::*;

fn numbers(walk: &mut Walk, count: usize, magnitude: f32) -> Vec<f32> {
    (0..count).map(|_| (2.0 * walk.uniform() - 1.0) * magnitude).collect()
}

/// Random problem for every matmul family.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    blocks: [usize; 2],
    block: usize,
    other: usize,
    share: f64,
    transpose: Transpose,
    magnitude: f32,
}

fn cases() -> impl Strategy<Value = Case> {
    (
        any::<u64>(),
        (1usize..5, 1usize..5),
        0usize..BLOCKS.len(),
        1usize..20,
        // Weighted towards empty and full patterns.
        prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64],
        (any::<bool>(), any::<bool>()),
        prop_oneof![Just(1e-3f32), Just(1.0), Just(1e3)],
    )
        .prop_map(|(seed, (rows, cols), block, other, share, (lhs, rhs), magnitude)| Case {
            seed,
            blocks: [rows, cols],
            block: BLOCKS[block],
            other,
            share,
            transpose: Transpose { lhs, rhs },
            magnitude,
        })
}

impl Case {
    fn topology(&self) -> Topology {
        let [rows, cols] = self.blocks.map(|blocks| blocks * self.block);
        let nnz = (self.share * (self.blocks[0] * self.blocks[1]) as f64) as usize;
        sparse::random(rows, cols, self.block, nnz, Key::new(self.seed, Stream::Pattern(0))).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn dds_is_the_product(case in cases()) {
        let topology = case.topology();
        let mut walk = Key::new(case.seed, Stream::Check(0)).walk();
        let [k, n] = if case.transpose.rhs { [topology.cols(), topology.rows()] } else { [topology.rows(), topology.cols()] };
        let m = case.other;
        let lhs = numbers(&mut walk, m * k, case.magnitude);
        let values = numbers(&mut walk, topology.elements(), case.magnitude);
        let mut found = vec![f32::NAN; m * n];
        reference::dds(&lhs, &topology, &values, &mut found, m, case.transpose, Epilogue::None);
        let truth = oracle::product(&lhs, &topology.scatter(&values), [m, n, k], case.transpose);
        prop_assert!(compare(&found, &truth.values, |i| truth.bound(i)).is_ok());
    }

    #[test]
    fn dsd_is_the_product(case in cases()) {
        let topology = case.topology();
        let mut walk = Key::new(case.seed, Stream::Check(1)).walk();
        let [m, k] = if case.transpose.lhs { [topology.cols(), topology.rows()] } else { [topology.rows(), topology.cols()] };
        let n = case.other;
        let rhs = numbers(&mut walk, k * n, case.magnitude);
        let values = numbers(&mut walk, topology.elements(), case.magnitude);
        let mut found = vec![f32::NAN; m * n];
        reference::dsd(&topology, &values, &rhs, &mut found, n, case.transpose);
        let truth = oracle::product(&topology.scatter(&values), &rhs, [m, n, k], case.transpose);
        prop_assert!(compare(&found, &truth.values, |i| truth.bound(i)).is_ok());
    }

    #[test]
    fn sdd_is_the_product_on_its_blocks(case in cases()) {
        let topology = case.topology();
        let mut walk = Key::new(case.seed, Stream::Check(2)).walk();
        let [m, n, k] = [topology.rows(), topology.cols(), case.other];
        let (lhs, rhs) = (numbers(&mut walk, m * k, case.magnitude), numbers(&mut walk, k * n, case.magnitude));
        let mask = BlockMask::random(&topology, 0.5, Key::new(case.seed, Stream::Check(3)));
        let truth = oracle::product(&lhs, &rhs, [m, n, k], case.transpose);
        for mask in [None, Some(&mask)] {
            let mut found = vec![f32::NAN; topology.elements()];
            reference::sdd(&lhs, &rhs, &topology, &mut found, k, case.transpose, mask);
            let b = topology.block();
            for (slot, (row, col)) in topology.coordinates().enumerate() {
                for within in 0..b * b {
                    let at = (row * b + within / b) * n + col * b + within % b;
                    let element = slot * b * b + within;
                    let present = mask.is_none_or(|mask| mask.get(element));
                    let wanted = if present { truth.values[at] } else { 0.0 };
                    prop_assert!(compare(&[found[element]], &[wanted], |_| truth.bound(at)).is_ok());
                }
            }
        }
    }

    #[test]
    fn two_sparse_matrices_are_the_product(case in cases()) {
        // Left operand `[tokens, hidden]` and a weight, both block-sparse.
        let hidden = case.topology();
        let (b, k) = (hidden.block(), hidden.cols());
        let (tokens, n) = (hidden.rows(), b * (1 + case.other % 5));
        let nnz = ((1.0 - case.share) * (k / b * (n / b)) as f64) as usize;
        let weight = sparse::random(k, n, b, nnz, Key::new(case.seed, Stream::Pattern(1))).unwrap();
        let mut walk = Key::new(case.seed, Stream::Check(6)).walk();
        let (h, w) = (numbers(&mut walk, hidden.elements(), case.magnitude), numbers(&mut walk, weight.elements(), 1.0));
        let x = numbers(&mut walk, tokens * n, case.magnitude);
        let (dense_h, dense_w) = (hidden.scatter(&h), weight.scatter(&w));

        let mut found = vec![f32::NAN; tokens * n];
        reference::dss(&hidden, &h, &weight, &w, &mut found);
        let truth = oracle::product(&dense_h, &dense_w, [tokens, n, k], Transpose::NN);
        prop_assert!(compare(&found, &truth.values, |i| truth.bound(i)).is_ok());

        // For sparse products, only elements in stored blocks.
        let among = |topology: &Topology, found: &[f32], truth: &oracle::Product| {
            let (b, n) = (topology.block(), topology.cols());
            let at = topology.coordinates().flat_map(|(row, col)| (0..b * b).map(move |w| (row * b + w / b) * n + col * b + w % b));
            found.iter().zip(at).all(|(&found, at)| compare(&[found], &[truth.values[at]], |_| truth.bound(at)).is_ok())
        };
        let mut found = vec![f32::NAN; hidden.elements()];
        reference::sds(&x, &weight, &w, &hidden, &mut found);
        prop_assert!(among(&hidden, &found, &oracle::product(&x, &dense_w, [tokens, k, n], Transpose::NT)));
        let mut found = vec![f32::NAN; weight.elements()];
        reference::ssd(&hidden, &h, &x, &weight, &mut found);
        prop_assert!(among(&weight, &found, &oracle::product(&dense_h, &x, [k, n, tokens], Transpose::TN)));
        // The bound detects an error larger than rounding.
        if let Some(first) = found.first_mut() {
            *first += 0.1 * case.magnitude * case.magnitude;
            prop_assert!(!among(&weight, &found, &oracle::product(&dense_h, &x, [k, n, tokens], Transpose::TN)));
        }
    }

    #[test]
    fn dense_is_the_product(
        seed: u64, m in 1usize..40, n in 1usize..40, k in 1usize..40, lhs: bool, rhs: bool, bias: bool,
    ) {
        let mut walk = Key::new(seed, Stream::Check(4)).walk();
        let (a, b, c) = (numbers(&mut walk, m * k, 1.0), numbers(&mut walk, k * n, 1.0), numbers(&mut walk, n, 1.0));
        let transpose = Transpose { lhs, rhs };
        let mut found = vec![f32::NAN; m * n];
        let epilogue = if bias { Epilogue::Bias(&c) } else { Epilogue::None };
        reference::dense(&a, &b, &mut found, [m, n, k], transpose, epilogue);
        let truth = oracle::product(&a, &b, [m, n, k], transpose);
        let added = |i: usize| if bias { f64::from(c[i % n]) } else { 0.0 };
        let wanted: Vec<f64> = truth.values.iter().enumerate().map(|(i, x)| x + added(i)).collect();
        prop_assert!(compare(&found, &wanted, |i| gamma(k + 1) * (truth.magnitudes[i] + added(i).abs())).is_ok());
    }

    /// Derivatives agree with central differences away from kinks.
    #[test]
    fn derivatives_are_slopes(x in -6.0f32..6.0) {
        prop_assume!(x.abs() > 0.01);
        for activation in [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::AllRelu { slope: -0.6 }] {
            let h = 1e-2f32;
            let slope = f64::from(activation.apply(x + h) - activation.apply(x - h)) / f64::from((x + h) - (x - h));
            // Third derivatives are below 2 away from kinks, which bounds the truncation error.
            if x.abs() > h {
                let error = (slope - f64::from(activation.derivative(x))).abs();
                prop_assert!(error < 4e-4, "{activation} at {x}: {error:e}");
            }
        }
    }
}

/// The oracle rejects results with typical kernel errors, injected by hand.
#[test]
fn the_oracle_objects() {
    let topology = sparse::random(64, 96, 16, 9, Key::new(1, Stream::Pattern(0))).unwrap();
    let mut walk = Key::new(1, Stream::Check(5)).walk();
    let lhs = numbers(&mut walk, 20 * 64, 1.0);
    let values = numbers(&mut walk, topology.elements(), 1.0);
    let truth = oracle::product(&lhs, &topology.scatter(&values), [20, 96, 64], Transpose::NN);
    let verdict = |values: &[f32], topology: &Topology| {
        let mut found = vec![0.0; 20 * 96];
        reference::dds(&lhs, topology, values, &mut found, 20, Transpose::NN, Epilogue::None);
        compare(&found, &truth.values, |i| truth.bound(i))
    };
    assert!(verdict(&values, &topology).is_ok());

    // A dropped block: zeros.
    let mut dropped = values.clone();
    dropped[3 * 256..4 * 256].fill(0.0);
    assert!(verdict(&dropped, &topology).is_err());
    // Two swapped slots.
    let mut swapped = values.clone();
    let (a, b) = swapped.split_at_mut(256);
    a.swap_with_slice(&mut b[..256]);
    assert!(verdict(&swapped, &topology).is_err());
    // One value with an error slightly above the bound.
    let mut off = values.clone();
    off[7] += 1e-4;
    assert!(verdict(&off, &topology).is_err());
    // A stale buffer: the previous step's result.
    let stale: Vec<f32> = truth.values.iter().map(|x| (x * 1.001) as f32).collect();
    assert!(compare(&stale, &truth.values, |i| truth.bound(i)).is_err());
    // Another topology's pattern.
    let other = sparse::random(64, 96, 16, 9, Key::new(2, Stream::Pattern(0))).unwrap();
    assert!(verdict(&values, &other).is_err());
}

/// Three steps of each optimizer agree with PyTorch's documented formulas in f64.
#[test]
fn optimizers_are_their_formulas() {
    let grads = [0.5f32, -2.0, 0.25];
    let (rate, decay) = (0.1f32, 0.01f32);
    for nesterov in [false, true] {
        let (mut value, mut velocity) = ([1.0f32], [0.0f32]);
        let (mut w, mut v) = (1.0f64, 0.0f64);
        for g in grads {
            reference::sgd(&mut value, &[g], &mut velocity, [0.9, decay], 1, nesterov, None, rate);
            v = f64::from(0.9f32) * v + f64::from(g);
            let direction = if nesterov { f64::from(g) + f64::from(0.9f32) * v } else { v };
            w = w * (1.0 - f64::from(rate) * f64::from(decay)) - f64::from(rate) * direction;
        }
        assert!((f64::from(value[0]) - w).abs() < 1e-6, "nesterov {nesterov}: {} is not {w}", value[0]);
    }

    let betas = [0.9f32, 0.999];
    // An initial block, and one whose first update is the sixth and has the corrections of a first update.
    let blocks = [BlockRange { first: 0, block: 1, nnz: 1, word: 0 }];
    for (births, first_step) in [(None, 0), (Some([6u32]), 5)] {
        let (mut value, mut first, mut second) = ([1.0f32], [0.0f32], [0.0f32]);
        let (mut w, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        for (t, g) in grads.into_iter().enumerate() {
            let index = first_step + t as u32;
            let corrections = betas.map(|beta| (1.0 / (1.0 - f64::from(beta).powi(index as i32 + 1))) as f32);
            let births =
                births.as_ref().map(|born| reference::Births { born, blocks: &blocks, moves: index + 1 });
            let settings = [betas[0], betas[1], 1e-8, decay];
            reference::adamw(
                &mut value,
                &[g],
                &mut first,
                &mut second,
                settings,
                1,
                None,
                births,
                rate,
                corrections,
            );
            let [b1, b2] = betas.map(f64::from);
            let g = f64::from(g);
            (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
            let age = t as i32 + 1;
            let direction = m / (1.0 - b1.powi(age)) / ((v / (1.0 - b2.powi(age))).sqrt() + 1e-8);
            w = w * (1.0 - f64::from(rate) * f64::from(decay)) - f64::from(rate) * direction;
        }
        assert!((f64::from(value[0]) - w).abs() < 1e-5, "born {births:?}: {} is not {w}", value[0]);
    }
}

#[test]
fn the_small_twins_do_what_they_say() {
    let (mut report, mut grad) = ([0.0f32; 2], [0.0f32; 4]);
    reference::mse(&[1.0, 2.0, 3.0, 4.0], &[0.0, 2.0, 1.0, 5.0], &mut report, &mut grad, 0.5);
    assert_eq!((report, grad), ([0.5, 2.5], [0.5, 0.0, 1.0, -0.5]));
    let (mut report, mut grad) = ([9.0f32; 1], [9.0f32; 4]);
    reference::mse(&[1.0, 2.0, 3.0, 4.0], &[0.0, 2.0, 1.0, 5.0], &mut report, &mut grad, 1.0);
    assert_eq!((report, grad), ([1.5], [0.5, 0.0, 1.0, -0.5]));
    reference::mse(&[1.0, 2.0, 3.0, 4.0], &[f32::NAN, 2.0, 1.0, 5.0], &mut report, &mut grad, 1.0);
    assert_eq!((report, grad), ([0.0], [0.0; 4]));

    // One-hot targets are labels.
    let x = [0.5, -1.0, 2.0, 0.25, 0.25, -3.0];
    let (mut hard, mut hard_grad, mut soft, mut soft_grad) = ([9.0; 4], [9.0; 6], [9.0; 4], [9.0; 6]);
    reference::softmax_cross_entropy(&x, &[2, 1], &mut hard, &mut hard_grad, 0.5);
    let wanted = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    reference::soft_cross_entropy(&x, &wanted, &mut soft, &mut soft_grad, 0.5);
    assert!(
        hard.iter().chain(&hard_grad).zip(soft.iter().chain(&soft_grad)).all(|(a, b)| (a - b).abs() < 1e-6)
    );
    // A row that pads counts for nothing.
    reference::soft_cross_entropy(&x, &[f32::NAN, 0.0, 1.0, 0.0, 1.0, 0.0], &mut soft, &mut soft_grad, 0.5);
    assert_eq!((&soft[..2], &soft_grad[..3]), (&[0.0; 2][..], &[0.0; 3][..]));

    let mut sums = [10.0, 20.0];
    reference::column_sums(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut sums, true);
    assert_eq!(sums, [19.0, 32.0]);
    let mut norms = [9.0; 3];
    reference::inverse_norms(&[3.0, 0.0, 1.0, 4.0, 0.0, 0.0], &mut norms);
    assert_eq!(norms, [0.2, 0.0, 1.0]);

    let mut values = [1.0, 2.0, 3.0];
    reference::mask(&mut values, &BlockMask::from_words(vec![0b101], 3).unwrap());
    assert_eq!(values, [1.0, 0.0, 3.0]);

    let mut status = [0, 8];
    reference::finite(&[1.0, f32::MAX], &mut status, 1, 1);
    assert_eq!(status, [0, 8]);
    reference::finite(&[1.0, f32::NEG_INFINITY], &mut status, 1, 1);
    assert_eq!(status, [0, 9]);

    // Both derivatives at a kink are those of the left side.
    for (activation, left) in [(Activation::Relu, 0.0), (Activation::AllRelu { slope: -0.6 }, -0.6)] {
        assert_eq!([activation.derivative(0.0), activation.derivative(-0.0)], [left; 2]);
        assert_eq!(activation.derivative(f32::MIN_POSITIVE), 1.0);
    }
}

/// Hidden units of experts and the weighted combine, against independent formulas in f64.
#[test]
fn experts_are_their_formulas() {
    let topology = sparse::random(32, 48, 8, 11, Key::new(3, Stream::Pattern(0))).unwrap();
    let mut walk = Key::new(3, Stream::Check(7)).walk();
    let n = topology.elements();
    let [x, u, g] = [(); 3].map(|()| numbers(&mut walk, n, 2.0));
    let weights = numbers(&mut walk, 32, 1.0);
    let close = |found: f32, wanted: f64, why: &str| {
        assert!(
            (f64::from(found) - wanted).abs() < 1e-5 * wanted.abs().max(1.0),
            "{why}: {found} is not {wanted}"
        );
    };
    for gated in [false, true] {
        // SiLU and its derivative via tanh.
        let silu = |x: f32| 0.5 * f64::from(x) * (1.0 + (0.5 * f64::from(x)).tanh());
        let slope = |x: f32| (silu(x + 1e-3) - silu(x - 1e-3)) / (f64::from(x + 1e-3) - f64::from(x - 1e-3));
        let factor = |i: usize| if gated { f64::from(u[i]) } else { 1.0 };
        let mut h = vec![f32::NAN; n];
        reference::experts_activate(&x, gated.then_some(u.as_slice()), &mut h, Activation::Silu);
        let (mut grad, mut up, mut hidden) = (g.clone(), u.clone(), vec![f32::NAN; n]);
        let mut dots = vec![0.0; 32];
        let on = reference::ExpertsBackward {
            grad: &mut grad,
            pre: &x,
            up: gated.then_some(up.as_mut_slice()),
            hidden: &mut hidden,
            weights: &weights,
            dots: &mut dots,
        };
        reference::experts_backward(&topology, on, Activation::Silu);
        let mut wanted_dots = [0.0f64; 32];
        for (slot, (row, _)) in topology.coordinates().enumerate() {
            for within in 0..64 {
                let (i, row) = (slot * 64 + within, row * 8 + within / 8);
                let (weight, g) = (f64::from(weights[row]), f64::from(g[i]));
                close(h[i], silu(x[i]) * factor(i), "activate");
                close(hidden[i], weight * silu(x[i]) * factor(i), "hidden");
                close(grad[i], weight * g * slope(x[i]) * factor(i), "grad");
                close(up[i], if gated { weight * g * silu(x[i]) } else { f64::from(u[i]) }, "up");
                wanted_dots[row] += g * silu(x[i]) * factor(i);
            }
        }
        dots.iter().zip(wanted_dots).for_each(|(&found, wanted)| close(found, wanted, "dots"));
    }

    let x = [1.0, 2.0, 30.0, 40.0, 500.0, 600.0];
    let places = [2, u32::MAX, 0, 1];
    let mut y = [7.0; 4];
    reference::combine(&x, &places, Some(&[0.5, 9.0, 2.0, 3.0]), &mut y, [2, 2], false);
    assert_eq!(y, [250.0, 300.0, 92.0, 124.0]);
    reference::combine(&x, &places, None, &mut y, [2, 2], true);
    assert_eq!(y, [750.0, 900.0, 123.0, 166.0]);
    let mut out = [7.0; 3];
    reference::route_values(&x, &[5, u32::MAX, 1], &mut out);
    assert_eq!(out, [600.0, 0.0, 2.0]);
}
