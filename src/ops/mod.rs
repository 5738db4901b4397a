//! Kernel families, one file each: validates shapes, selects a variant, records the dispatch.
//!
//! Every function takes a [`Recorder`](crate::gpu::Recorder) and tensors that the caller has allocated. It allocates
//! only scratch, submits nothing and waits for nothing. Operands that do not fit are refused with an error that names
//! the kernel and the argument, before anything is recorded.
//!
//! Tensors larger than one binding are supported where training steps have them: the operation records one dispatch
//! per window. Functions state which operands must fit one binding; a packed topology always must.

mod activation;
mod attention;
mod basis;
pub mod bits;
mod blocks;
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
mod matmul;
mod naive;
mod norm;
mod optimizer;
mod pattern;
#[doc(hidden)]
pub mod permutations;
mod random;
mod reduce;
mod route;
mod scale;
mod score;
mod sdd;
mod sds;
mod select;
mod split;
mod ssd;
mod step;
mod windows;

pub use activation::{activation_backward, activation_forward};
pub use attention::{Attention, HEADS, attention_forward, attention_keys, attention_queries};
pub(crate) use basis::basis_scratch;
pub use basis::{BasisLayer, Directions, basis_add, basis_dot, basis_rows, basis_sum};
pub use blocks::{
    BlockInit, RemapSource, decay_blocks, remap_births, remap_blocks, renew_blocks, zero_block_padding,
    zero_inactive_blocks,
};
pub use combine::combine;
pub use convert::{Rounding, convert};
pub use dds::dds;
pub use dense::dense;
pub use dsd::{dsd, dsd_gathered};
pub use dss::dss;
pub use embed::{embed_gather, embed_scatter};
pub use epilogue::{Dropping, Epilogue};
pub use experts::{ExpertsBackward, experts_activate, experts_backward};
pub use fill::{blend, fill};
pub use finite::{activity, finite};
pub use layer_norm::{layer_norm_backward, layer_norm_forward, layer_norm_gain};
pub use layerwise::{Lamb, Lars, lamb, lars};
pub use loss::{
    Distilled, NetworkLoss, mse, network_probabilities, networks_cross_entropy, soft_cross_entropy,
    softmax_cross_entropy,
};
pub use mask::mask;
pub(crate) use matmul::{default_variant, fallback_variant, heuristic, tiling};
pub use naive::naive;
pub use norm::{norm_backward, norm_forward, norm_gain};
pub use optimizer::{AdamW, Sgd, adamw, sgd};
pub(crate) use optimizer::{Births, Parts, adamw_parts, sgd_parts};
pub use pattern::{Swap, empty_lines, fill_pattern, index_pattern, map_pattern, swap_pattern};
pub use random::{random_bits, random_uniform};
pub(crate) use reduce::column_sums_later;
pub use reduce::{column_sums, inverse_norms};
pub use route::{route, route_values};
pub(crate) use scale::watch_and_decide;
pub use scale::{LossScale, decide_scale, is_scale, scale_gradient, watch_gradient};
pub use score::{
    ColumnScales, Connect, NO_PART, score_connect, score_exclude, score_exclude_stored, score_product,
    score_routed, score_silent, score_values,
};
pub use sdd::{sdd, sdd_gathered};
pub use sds::sds;
pub use select::{SelectK, select, select_columns};
pub use ssd::ssd;
pub use step::{Step, StepValues};

use crate::gpu::{DType, Tensor};

pub use crate::terms::{
    ABSENT, Activation, BASIS_GROUP, BasisRange, BlockRange, Dropout, IGNORED, LossScaleState, Order,
    ParamRange, ProductScore, SUM_ROWS, SUM_TOKENS, SetOp, Share, SideBySide, Transpose, ValueScore,
    basis_chunk,
};

/// Float type of a kernel key, f32 or f16. The recorder refuses other types.
fn float_type(x: &Tensor) -> DType {
    if x.dtype() == DType::F16 { DType::F16 } else { DType::F32 }
}

/// Workgroups of an elementwise kernel: 64 invocations each, one per element.
fn elementwise(elements: usize) -> u64 {
    (elements as u64).div_ceil(64)
}
