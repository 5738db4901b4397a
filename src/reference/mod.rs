//! CPU twin of every kernel: same names, same argument order, plain scalar loops.
//!
//! A twin accumulates in its kernel's order: ascending contraction index, one fused multiply-add per step. Twins are
//! tested against [`oracle`], which works in f64 on densified operands and shares no code with them.

mod activation;
mod attention;
mod basis;
pub mod bits;
mod blocks;
pub mod bound;
pub mod ceiling;
mod combine;
mod convert;
mod dds;
mod dense;
mod dsd;
mod dss;
mod embed;
mod epilogue;
mod experts;
mod fill;
mod finite;
pub mod gate;
mod layer_norm;
mod layerwise;
mod loss;
mod mask;
mod norm;
mod optimizer;
pub mod oracle;
mod pattern;
mod random;
mod reduce;
mod route;
mod scale;
mod score;
mod sdd;
mod sds;
mod select;
mod ssd;

pub use activation::{activation_backward, activation_forward};
pub use attention::{attention_forward, attention_keys, attention_queries};
pub use basis::{basis_add, basis_dot, basis_sign, basis_sum};
pub use blocks::{
    decay_blocks, remap_births, remap_blocks, renew_blocks, zero_block_padding, zero_inactive_blocks,
};
pub use combine::combine;
pub use convert::{to_f16, to_f32};
pub use dds::dds;
pub use dense::dense;
pub use dsd::dsd;
pub use dss::dss;
pub use embed::{embed_gather, embed_scatter};
pub use epilogue::Epilogue;
pub use experts::{ExpertsBackward, experts_activate, experts_backward};
pub use fill::{blend, fill};
pub use finite::{activity, finite};
pub use layer_norm::{layer_norm_backward, layer_norm_forward, layer_norm_gain};
pub use layerwise::{lamb, lars};
pub use loss::{
    mse, network_probabilities, networks_cross_entropy, soft_cross_entropy, softmax_cross_entropy,
};
pub use mask::mask;
pub use norm::{norm_backward, norm_forward, norm_gain};
pub use optimizer::{Births, adamw, sgd};
pub use pattern::{empty_lines, fill_pattern, swap_pattern};
pub use random::{random_bits, random_uniform};
pub use reduce::{column_sums, inverse_norms};
pub use route::{Routes, route, route_values};
pub use scale::{decide_scale, scale_gradient};
pub use score::{
    score_connect, score_exclude, score_exclude_stored, score_product, score_routed, score_silent,
    score_values,
};
pub use sdd::sdd;
pub use sds::sds;
pub use select::{select, select_columns};
pub use ssd::ssd;

use crate::terms::Transpose;

impl Transpose {
    /// Element (i, k) of `op(lhs)[m, k]`.
    fn lhs(self, lhs: &[f32], [m, k]: [usize; 2], i: usize, kk: usize) -> f32 {
        if self.lhs { lhs[kk * m + i] } else { lhs[i * k + kk] }
    }

    /// Element (k, j) of `op(rhs)[k, n]`.
    fn rhs(self, rhs: &[f32], [k, n]: [usize; 2], kk: usize, j: usize) -> f32 {
        if self.rhs { rhs[j * k + kk] } else { rhs[kk * n + j] }
    }
}
