//! Every operation with arguments that fit; the bench makes one of them wrong.

use fretwork::Result;
use fretwork::gpu::Recorder;
use fretwork::ops::gate::{self, Balance, Draw, Gate, Grads, Inputs, Outputs, Overflow, Results};
use fretwork::ops::{
    self, Activation, AdamW, Attention, BasisLayer, BasisRange, BlockInit, BlockRange, ColumnScales, Connect,
    Directions, Distilled, Dropout, Dropping, Epilogue, ExpertsBackward, Lamb, Lars, NetworkLoss, Order,
    ParamRange, ProductScore, RemapSource, Rounding, SelectK, SetOp, Sgd, Share, SideBySide, Swap, Transpose,
    ValueScore,
};
use fretwork::random::{Key, Stream};

use crate::bench::Bench;

/// Asks the bench for arguments, in the same order every time, and records the operation.
pub(crate) type Drive = fn(&Bench, &mut Recorder<'_>) -> Result<()>;

fn key() -> Key {
    Key::new(1, Stream::Check(0))
}

/// A base of two groups of directions, of which one is not full, over a parameter of 64 elements.
const BASE: Directions = Directions { count: 12, redraw: true };
const RANGES: [BasisRange; 1] = [BasisRange { first: 0, len: 64, key: Key([1, 2]), layer: 0 }];

/// A parameter of 64 elements.
const PARAMS: [ParamRange; 1] = [ParamRange { first: 0, len: 64, decays: true }];

/// Two networks of three, of 5 classes in 8 columns each.
const NETWORKS: SideBySide =
    SideBySide { networks: 2, begin: 0, all: 3, classes: 5, columns: 8, shared_out: false };

fn attention(b: &Bench, r: &mut Recorder<'_>, which: usize) -> Result<()> {
    let (qkv, out, lse) = (b.f(&[8, 24]), b.f(&[8, 8]), b.f(&[8, 1]));
    let attention = Attention { qkv: &qkv, out: &out, lse: &lse, context: 4 };
    if which == 0 {
        return ops::attention_forward(r, attention);
    }
    let (grad, delta, dqkv) = (b.f(&[8, 8]), b.f(&[8, 1]), b.f(&[8, 24]));
    let record = if which == 1 { ops::attention_queries } else { ops::attention_keys };
    record(r, attention, &grad, &delta, &dqkv)
}

/// A gate with noise, a bias or an expert's choice, forward, its losses and backward.
fn gates(b: &Bench, r: &mut Recorder<'_>, gate: &str, which: usize) -> Result<()> {
    let gate: Gate = gate.parse()?;
    let (tokens, experts, choices) = (4, 3, gate.assignments(3));
    let noisy = matches!(gate, Gate::NoisyTopK { .. });
    let matrix = || b.f(&[tokens, experts]);
    let (logits, valid) = (matrix(), b.u(&[tokens]));
    let (probs, per_token) = (matrix(), b.f(&[tokens, 4]));
    let (chosen, weights) = (b.u(&[tokens, choices]), b.f(&[tokens, choices]));
    let (noise, step) = (noisy.then(|| [matrix(), matrix()]), noisy.then(|| b.step()));
    let inputs = Inputs {
        logits: &logits,
        noise: noise.as_ref().map(|noise| &noise[0]),
        bias: None,
        valid: Some(&valid),
        draw: step.as_ref().map(|step| Draw { key: key(), step }),
    };
    let out = Outputs {
        probs: &probs,
        tokens: &per_token,
        experts: &chosen,
        weights: &weights,
        noisy: noise.as_ref().map(|noise| &noise[1]),
    };
    if which == 0 {
        return gate::forward(r, gate, inputs, out);
    }
    let slopes = b.f(&[4, experts]);
    if which == 1 {
        let (losses, counts) = (b.f(&[5]), b.u(&[experts]));
        let results = Results { losses: &losses, counts: &counts, slopes: &slopes };
        return gate::losses(r, gate, inputs, out, Balance::default(), results);
    }
    let (weights_grad, logits_grad) = (b.f(&[tokens, choices]), matrix());
    let noise_grad = noisy.then(matrix);
    let grads = Grads { logits: &logits_grad, noise: noise_grad.as_ref() };
    gate::backward(r, gate, inputs, out, &weights_grad, Some(&slopes), grads)
}

fn product(b: &Bench, r: &mut Recorder<'_>, what: ProductScore) -> Result<()> {
    let (lhs, rhs, scores) = (b.f(&[4, 16]), b.f(&[4, 24]), b.f(&[6]));
    let scales = (what == ProductScore::Cosine).then(|| [b.f(&[16]), b.f(&[24])]);
    let scales = scales.as_ref().map(|[lhs, rhs]| ColumnScales { lhs, rhs });
    ops::score_product(r, &lhs, &rhs, &scores, 8, what, scales)
}

/// Epilogues of a layer, forward and backward.
fn epilogues(b: &Bench, r: &mut Recorder<'_>, forward: bool) -> Result<()> {
    let (x, w, out) = (b.f(&[4, 24]), b.matrix([16, 24]), b.f(&[4, 16]));
    let (pre, step) = (b.f(&[4, 16]), b.step());
    let dropout = Some(Dropping { dropout: Dropout { rate: 0.5, key: key() }, step: &step });
    let activation = Activation::Gelu;
    if !forward {
        return ops::dds(
            r,
            &x,
            &w,
            &out,
            Transpose::NT,
            Epilogue::Backward { pre: &pre, activation, dropout },
        );
    }
    let bias = b.f(&[16]);
    let epilogue = Epilogue::Forward { bias: &bias, activation, dropout, pre: Some(&pre) };
    ops::dds(r, &x, &w, &out, Transpose::NT, epilogue)
}

/// Each under its file and name, some in several forms.
pub(crate) const ALL: &[(&str, Drive)] = &[
    ("activation::activation_forward", |b, r| {
        ops::activation_forward(r, &b.f(&[4, 8]), &b.f(&[4, 8]), Activation::Relu, None)
    }),
    ("activation::activation_backward", |b, r| {
        let (grad, pre, out, step) = (b.f(&[4, 8]), b.f(&[4, 8]), b.f(&[4, 8]), b.step());
        let dropout = Some(Dropping { dropout: Dropout { rate: 0.5, key: key() }, step: &step });
        ops::activation_backward(r, &grad, &pre, &out, Activation::Silu, dropout)
    }),
    ("attention::attention_forward", |b, r| attention(b, r, 0)),
    ("attention::attention_queries", |b, r| attention(b, r, 1)),
    ("attention::attention_keys", |b, r| attention(b, r, 2)),
    ("basis::basis_dot", |b, r| {
        let (grads, partials) = (b.f(&[64]), b.f(&[2, 16]));
        ops::basis_dot(r, &grads, &partials, &RANGES, BASE, [32, 0], &b.step())
    }),
    ("basis::basis_sum", |b, r| {
        let (partials, coordinates, step) = (b.f(&[2, 16]), b.f(&[2, 1, 16]), b.step().with_scale(b.scale()));
        let layers = [BasisLayer { rows: [0, 2], elements: 64, share: 1.0 }];
        ops::basis_sum(r, &partials, &coordinates, &layers, BASE, &step)
    }),
    ("basis::basis_add", |b, r| ops::basis_add(r, &b.f(&[64]), &b.f(&[2, 1, 16]), &RANGES, BASE, &b.step())),
    ("bits::combine", |b, r| ops::bits::combine(r, &b.u(&[2]), &b.u(&[2]), SetOp::And, &b.u(&[2]))),
    ("bits::count", |b, r| ops::bits::count(r, &b.u(&[2]), &b.u(&[1]), false)),
    ("bits::present", |b, r| ops::bits::present(r, &b.pattern([16, 24]), &b.u(&[1]))),
    ("bits::add_present", |b, r| ops::bits::add_present(r, &b.pattern([16, 24]), &b.u(&[1]))),
    ("blocks::renew_blocks", |b, r| {
        let (pattern, values, born, step) = (b.pattern([16, 24]), b.f(&[2, 8, 8]), b.u(&[2]), b.step());
        let fresh = BlockInit::Uniform { limit: 1.0, key: key() };
        ops::renew_blocks(r, &pattern, &values, &born, &fresh, &step)
    }),
    ("blocks::remap_blocks", |b, r| {
        let (values, map, out) = (b.f(&[3, 8, 8]), b.u(&[6]), b.matrix([16, 24]));
        ops::remap_blocks(r, RemapSource { values: &values, map: &map }, None, &out)
    }),
    ("blocks::remap_blocks", |b, r| {
        let (values, map, out) = (b.f(&[3, 8, 8]), b.u(&[6]), b.matrix([16, 24]));
        let (others, other_map) = (b.f(&[1, 8, 8]), b.u(&[6]));
        let other = (RemapSource { values: &others, map: &other_map }, [0.5; 2]);
        ops::remap_blocks(r, RemapSource { values: &values, map: &map }, Some(other), &out)
    }),
    ("blocks::remap_births", |b, r| {
        ops::remap_births(r, &b.u(&[3]), &b.u(&[6]), &b.pattern([16, 24]), &b.u(&[2]), 1)
    }),
    ("blocks::zero_inactive_blocks", |b, r| {
        ops::zero_inactive_blocks(r, &b.pattern([16, 24]), &b.f(&[2, 8, 8]), &b.u(&[1]))
    }),
    ("blocks::zero_block_padding", |b, r| {
        ops::zero_block_padding(r, &b.pattern([16, 24]), &b.f(&[2, 8, 8]), &b.u(&[2]))
    }),
    ("blocks::decay_blocks", |b, r| {
        ops::decay_blocks(r, &b.pattern([16, 24]), &b.f(&[2, 8, 8]), &b.u(&[1]), [0.1; 2], &b.step())
    }),
    ("ceiling::copy", |b, r| ops::ceiling::copy(r, &b.f(&[16]), &b.f(&[16]))),
    ("ceiling::fma", |b, r| ops::ceiling::fma(r, &b.f(&[16]), 1, [0.5; 2])),
    ("combine::combine", |b, r| {
        let routing = b.routing();
        let rows = routing.pattern().rows();
        ops::combine(r, &b.f(&[rows, 8]), &routing, Some(&b.f(&[4, 2])), &b.f(&[4, 8]), true)
    }),
    ("convert::convert", |b, r| {
        let (x, step, pattern) = (b.f(&[2, 8, 8]), b.step(), b.pattern([16, 24]));
        let out = b.gpu.alloc::<half::f16>(fretwork::gpu::Class::Scratch, "halves", &[2, 8, 8])?;
        ops::convert(r, &x, &out, Rounding::Stochastic { key: key(), step: &step, pattern: Some(&pattern) })
    }),
    ("dds::dds", |b, r| {
        let (x, w, out) = (b.f(&[4, 24]), b.matrix([16, 24]), b.f(&[4, 16]));
        ops::dds(r, &x, &w, &out, Transpose::NT, Epilogue::None)
    }),
    ("dds::dds", |b, r| epilogues(b, r, true)),
    ("dds::dds", |b, r| epilogues(b, r, false)),
    ("dense::dense", |b, r| {
        let (lhs, rhs, out, bias) = (b.f(&[4, 6]), b.f(&[6, 5]), b.f(&[4, 5]), b.f(&[5]));
        ops::dense(r, &lhs, &rhs, &out, Transpose::NN, Epilogue::Bias(&bias))
    }),
    ("dsd::dsd", |b, r| ops::dsd(r, &b.matrix([16, 24]), &b.f(&[24, 4]), &b.f(&[16, 4]), Transpose::NN)),
    ("dsd::dsd_gathered", |b, r| {
        ops::dsd_gathered(r, &b.matrix([16, 24]), &b.f(&[5, 4]), &b.u(&[16]), &b.f(&[24, 4]))
    }),
    ("dss::dss", |b, r| ops::dss(r, &b.matrix([16, 24]), &b.matrix([24, 8]), &b.f(&[16, 8]))),
    ("embed::embed_gather", |b, r| {
        ops::embed_gather(r, &b.u(&[8]), &b.f(&[5, 8]), &b.f(&[4, 8]), &b.f(&[8, 8]))
    }),
    ("embed::embed_scatter", |b, r| {
        ops::embed_scatter(r, &b.u(&[8]), &b.f(&[8, 8]), &b.f(&[5, 8]), &b.f(&[4, 8]))
    }),
    ("experts::experts_activate", |b, r| {
        let (pre, up, out) = (b.matrix([16, 24]), b.matrix([16, 24]), b.matrix([16, 24]));
        ops::experts_activate(r, &pre, Some(&up), Activation::Relu, &out)
    }),
    ("experts::experts_backward", |b, r| {
        let [grad, pre, up, hidden] = [(); 4].map(|()| b.matrix([16, 24]));
        let (weights, dots) = (b.f(&[16]), b.f(&[16]));
        let on = ExpertsBackward {
            grad: &grad,
            pre: &pre,
            up: Some(&up),
            hidden: &hidden,
            weights: &weights,
            dots: &dots,
        };
        ops::experts_backward(r, on, Activation::Relu)
    }),
    ("fill::fill", |b, r| ops::fill(r, &b.f(&[4, 5]), 0)),
    ("fill::blend", |b, r| ops::blend(r, &b.f(&[4, 5]), &b.f(&[4, 5]), [0.5; 2])),
    ("finite::finite", |b, r| ops::finite(r, &b.f(&[4, 5]), &b.u(&[2]), 1, 1)),
    ("finite::activity", |b, r| ops::activity(r, &b.f(&[4, 5]), &b.u(&[2]), 1)),
    ("gate::forward", |b, r| gates(b, r, "noisy-top:1", 0)),
    ("gate::forward", |b, r| gates(b, r, "expert-choice:1", 0)),
    ("losses::losses", |b, r| gates(b, r, "noisy-top:1", 1)),
    ("backward::backward", |b, r| gates(b, r, "noisy-top:1", 2)),
    ("alone::hash", |b, r| {
        gate::hash(r, &b.u(&[4]), Some(&b.u(&[4])), key(), 3, &b.u(&[4, 1]), &b.f(&[4, 1]))
    }),
    ("alone::count", |b, r| gate::count(r, &b.u(&[4, 2]), &b.u(&[3]))),
    ("alone::tally", |b, r| gate::tally(r, &b.u(&[3]), &b.u(&[3]))),
    ("alone::rebalance", |b, r| gate::rebalance(r, &b.u(&[3]), &b.f(&[3]), 0.1)),
    ("keep::keep", |b, r| {
        let (experts, weights) = (b.u(&[4, 2]), b.f(&[4, 2]));
        gate::keep(r, &experts, &weights, Overflow::Probability, &b.u(&[2, 3]), &b.u(&[2, 3, 1]))
    }),
    ("keep::keep", |b, r| {
        let (experts, weights) = (b.u(&[4, 2]), b.f(&[4, 2]));
        gate::keep(r, &experts, &weights, Overflow::Position, &b.u(&[2, 3]), &b.u(&[2, 3, 1]))
    }),
    ("keep::capacity", |b, r| gate::capacity(r, &b.f(&[4, 4]), &b.u(&[5]), &b.u(&[2, 3]))),
    ("loss::softmax_cross_entropy", |b, r| {
        let (logits, labels, report, grad) = (b.f(&[4, 5]), b.u(&[4]), b.f(&[4, 2]), b.f(&[4, 5]));
        ops::softmax_cross_entropy(r, &logits, &labels, &report, &grad, &b.step())
    }),
    ("loss::soft_cross_entropy", |b, r| {
        let (logits, wanted) = (b.f(&[4, 5]), b.f(&[4, 5]));
        ops::soft_cross_entropy(r, &logits, &wanted, &b.f(&[4, 2]), &b.f(&[4, 5]), &b.step())
    }),
    ("loss::networks_cross_entropy", |b, r| {
        let (logits, labels, report, grad) = (b.f(&[4, 16]), b.u(&[4]), b.f(&[12, 2]), b.f(&[4, 16]));
        let loss = NetworkLoss { of: NETWORKS, distilled: None };
        ops::networks_cross_entropy(r, &logits, &labels, &report, &grad, &b.step(), loss)
    }),
    ("loss::networks_cross_entropy", |b, r| {
        let (logits, labels, report, grad) = (b.f(&[4, 16]), b.u(&[4]), b.f(&[12, 2]), b.f(&[4, 16]));
        let probabilities = b.f(&[4, 16]);
        let distilled = Some(Distilled { probabilities: &probabilities, weight: 1.0 });
        let loss = NetworkLoss { of: NETWORKS, distilled };
        ops::networks_cross_entropy(r, &logits, &labels, &report, &grad, &b.step(), loss)
    }),
    ("loss::network_probabilities", |b, r| ops::network_probabilities(r, &b.f(&[4, 16]), NETWORKS)),
    ("loss::mse", |b, r| ops::mse(r, &b.f(&[4, 5]), &b.f(&[4, 5]), &b.f(&[4]), &b.f(&[4, 5]), &b.step())),
    ("mask::mask", |b, r| ops::mask(r, &b.f(&[2, 8, 8]), &b.u(&[4]))),
    ("layer_norm::layer_norm_forward", |b, r| {
        let (gain, bias, moments) = (b.f(&[8]), b.f(&[8]), b.f(&[4, 2]));
        ops::layer_norm_forward(r, &b.f(&[4, 8]), &gain, &bias, &moments, &b.f(&[4, 8]), 1e-5)
    }),
    ("layer_norm::layer_norm_backward", |b, r| {
        let (grad, x, gain, moments) = (b.f(&[4, 8]), b.f(&[4, 8]), b.f(&[8]), b.f(&[4, 2]));
        ops::layer_norm_backward(r, &grad, &x, &gain, &moments, &b.f(&[4, 8]), true)
    }),
    ("layer_norm::layer_norm_gain", |b, r| {
        ops::layer_norm_gain(r, &b.f(&[4, 8]), &b.f(&[4, 8]), &b.f(&[4, 2]), &b.f(&[8]))
    }),
    ("layerwise::lars", |b, r| {
        let [values, grads, velocity] = [(); 3].map(|()| b.f(&[64]));
        let settings = Lars { momentum: 0.9, trust: 0.001, weight_decay: 0.0 };
        ops::lars(r, &values, &grads, &velocity, settings, &PARAMS, &b.step().with_scale(b.scale()))
    }),
    ("layerwise::lamb", |b, r| {
        let [values, grads, first, second] = [(); 4].map(|()| b.f(&[64]));
        let (born, step) = (b.u(&[1]), b.step().with_scale(b.scale()));
        let settings = Lamb { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-6, weight_decay: 0.0 };
        let blocks = [BlockRange { first: 0, block: 8, nnz: 1, word: 0 }];
        let births = Some((&born, &blocks[..]));
        ops::lamb(r, &values, &grads, &first, &second, settings, &PARAMS, births, &step)
    }),
    ("norm::norm_forward", |b, r| {
        ops::norm_forward(r, &b.f(&[4, 8]), &b.f(&[8]), &b.f(&[4]), &b.f(&[4, 8]), 1e-5)
    }),
    ("norm::norm_backward", |b, r| {
        let (grad, x, gain, scale) = (b.f(&[4, 8]), b.f(&[4, 8]), b.f(&[8]), b.f(&[4]));
        ops::norm_backward(r, &grad, &x, &gain, &scale, &b.f(&[4, 8]), true)
    }),
    ("norm::norm_gain", |b, r| ops::norm_gain(r, &b.f(&[4, 8]), &b.f(&[4, 8]), &b.f(&[4]), &b.f(&[8]))),
    ("optimizer::sgd", |b, r| {
        let [values, grads, velocity] = [(); 3].map(|()| b.f(&[2, 8, 8]));
        let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
        ops::sgd(r, &values, &grads, &velocity, sgd, Some(&b.u(&[4])), &b.step())
    }),
    ("optimizer::adamw", |b, r| {
        let [values, grads, first, second] = [(); 4].map(|()| b.f(&[2, 8, 8]));
        let (born, step) = (b.u(&[2]), b.step().with_scale(b.scale()));
        let adamw = AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
        ops::adamw(r, &values, &grads, &first, &second, adamw, None, Some(&born), &step)
    }),
    ("pattern::map_pattern", |b, r| ops::map_pattern(r, &b.pattern([16, 24]), &b.u(&[6]))),
    ("pattern::empty_lines", |b, r| ops::empty_lines(r, &b.pattern([16, 24]), &b.u(&[2, 2]), 1)),
    ("pattern::swap_pattern", |b, r| {
        let (pattern, dropped, grown, map) = (b.pattern([16, 24]), b.u(&[1]), b.u(&[1]), b.u(&[6]));
        let (born, step, churn) = (b.u(&[2]), b.step(), b.u(&[2]));
        let swap =
            Swap { dropped: &dropped, grown: &grown, map: &map, born: &born, step: &step, churn: &churn };
        ops::swap_pattern(r, &pattern, swap, Some(&b.u(&[1])))
    }),
    ("pattern::fill_pattern", |b, r| ops::fill_pattern(r, &b.pattern([16, 24]), &b.u(&[1]), &b.u(&[6]))),
    ("pattern::index_pattern", |b, r| {
        ops::index_pattern(r, &b.pattern([16, 24]), &b.u(&[6]), Some(&b.u(&[1])))
    }),
    ("random::random_bits", |b, r| ops::random_bits(r, &b.u(&[5]), key(), &b.step())),
    ("random::random_uniform", |b, r| ops::random_uniform(r, &b.f(&[5]), key(), &b.step())),
    ("reduce::column_sums", |b, r| ops::column_sums(r, &b.f(&[300, 3]), &b.f(&[3]), true)),
    ("reduce::inverse_norms", |b, r| ops::inverse_norms(r, &b.f(&[4, 3]), &b.f(&[3]))),
    ("route::route", |b, r| ops::route(r, &b.u(&[4, 2]), Some(&b.u(&[1, 2, 1])), &b.routing())),
    ("route::route_values", |b, r| ops::route_values(r, &b.f(&[8]), &b.u(&[5]), &b.f(&[5]))),
    ("scale::scale_gradient", |b, r| ops::scale_gradient(r, &b.f(&[5]), &b.f(&[5]), &b.scale())),
    ("scale::watch_gradient", |b, r| ops::watch_gradient(r, &b.f(&[5]), &b.scale())),
    ("scale::decide_scale", |b, r| ops::decide_scale(r, &b.scale(), 3, true)),
    ("score::score_values", |b, r| {
        let (matrix, other, scores) = (b.matrix([16, 24]), b.f(&[2, 8, 8]), b.f(&[6]));
        ops::score_values(r, &matrix, Some(&other), &scores, ValueScore::SignedTimes)
    }),
    ("score::score_product", |b, r| product(b, r, ProductScore::Abs)),
    ("score::score_product", |b, r| product(b, r, ProductScore::Cosine)),
    ("score::score_routed", |b, r| {
        let (hidden, x, tokens) = (b.matrix([16, 24]), b.f(&[5, 8]), b.u(&[16]));
        ops::score_routed(r, &hidden, &x, &tokens, &b.f(&[3]), ProductScore::Abs)
    }),
    ("score::score_silent", |b, r| ops::score_silent(r, &b.f(&[4, 24]), 8, &b.u(&[3]))),
    ("score::score_exclude", |b, r| ops::score_exclude(r, &b.u(&[1]), &b.f(&[6]))),
    ("score::score_exclude_stored", |b, r| {
        ops::score_exclude_stored(r, &b.pattern([16, 24]), Some(&b.u(&[1])), &b.f(&[6]))
    }),
    ("score::score_connect", |b, r| {
        ops::score_connect(r, &b.f(&[6]), &b.f(&[6]), [2, 3], Connect { rate: 0.1, cost: 0.1 })
    }),
    ("sdd::sdd", |b, r| {
        let (lhs, rhs, out, mask) = (b.f(&[4, 16]), b.f(&[4, 24]), b.matrix([16, 24]), b.u(&[4]));
        ops::sdd(r, &lhs, &rhs, &out, Transpose::TN, Some(&mask))
    }),
    ("sdd::sdd_gathered", |b, r| {
        ops::sdd_gathered(r, &b.f(&[5, 4]), &b.u(&[16]), &b.f(&[24, 4]), &b.matrix([16, 24]))
    }),
    ("sds::sds", |b, r| {
        ops::sds(r, &b.f(&[5, 24]), Some(&b.u(&[16])), &b.matrix([16, 24]), &b.matrix([16, 16]))
    }),
    ("select::select", |b, r| {
        ops::select(r, &b.f(&[40]), SelectK::Count(&b.u(&[1])), Order::Largest, &b.u(&[2]))
    }),
    ("select::select_columns", |b, r| {
        ops::select_columns(r, &b.f(&[40, 3]), SelectK::Share(Share(0.5)), Order::Smallest, &b.u(&[3, 2]))
    }),
    ("ssd::ssd", |b, r| {
        ops::ssd(r, &b.matrix([16, 24]), &b.f(&[5, 8]), Some(&b.u(&[16])), &b.matrix([24, 8]))
    }),
    ("naive::naive", |b, r| ops::naive(r, &b.f(&[16, 32]), &b.f(&[32, 16]), &b.f(&[16, 16]))),
];
