//! Split-K: the contraction of a product with few tiles is cut into segments, which run side by side into partial sums. A second
//! kernel (`shaders/dense/sum.wgsl`, `shaders/sdd/sum.wgsl`) adds them in ascending order.
//!
//! The number of segments depends on the product's shape alone, never on its variant, so that all variants give the same bits.

use super::matmul::{Product, Split, SubProduct};
use super::{Epilogue, elementwise};
use crate::Result;
use crate::gpu::{Args, Class, DType, Gpu, Key, Recorder};

/// Results of a tile, for which a workgroup is counted.
const TILE: usize = 64 * 64;

/// Tiles with which a product fills a GPU well enough.
const TILES: usize = 64;

/// Least contraction indices of a segment: so many that a segment's partial sums, written and read once, are few bytes beside
/// its operands.
const LEAST: usize = 256;

/// Segments begin at multiples of it. A multiple of the K step of all variants.
const STEP: usize = 64;

impl Split {
    /// The cut of a product with `results` elements and `k` contraction indices, if it is worth one.
    fn of_shape(results: usize, k: usize) -> Option<Self> {
        let wanted = (TILES / results.div_ceil(TILE).max(1)).min(k / LEAST);
        if wanted < 2 {
            return None;
        }
        let span = k.div_ceil(wanted).next_multiple_of(STEP);
        let segments = k.div_ceil(span);
        (segments > 1).then_some(Self { span, segments })
    }

    /// The cut of a product on a device, if it splits products at all: drivers that run on the CPU have few threads, and lose a
    /// little by each further dispatch. Products with gathered rows are not split.
    pub(super) fn of(gpu: &Gpu, product: &Product<'_>) -> Option<Self> {
        let split = Self::of_shape(product.out.len(), product.sizes.k)?;
        // Only bindings of devices for tests are too small for the partial sums.
        let bytes = (product.out.len() * split.segments) as u64 * 4;
        let fits = bytes <= gpu.limits().max_storage_buffer_binding_size;
        (gpu.splits() && fits && product.gather.is_none() && !product.out.is_empty()).then_some(split)
    }
}

/// Records both passes of a split product, of which `part` is the whole. `tiles` is the number of workgroups of a segment.
pub(super) fn record(
    rec: &mut Recorder<'_>,
    product: &Product<'_>,
    key: Key,
    part: SubProduct,
    tiles: u64,
    split: Split,
) -> Result<()> {
    let op = product.op;
    let mut shape = product.out.shape().to_vec();
    shape[0] *= split.segments;
    // At most TILES tiles of f32: 1 MiB.
    let partials = rec.gpu().alloc::<f32>(Class::Scratch, "partial sums", &shape)?;
    let first = Product {
        out: &partials,
        mask: None,
        epilogue: Epilogue::None,
        split: Some((split, tiles)),
        ..*product
    };
    // The second pass applies the mask.
    let mut unmasked = key.clone();
    unmasked.flags.remove("mask");
    first.record(rec, unmasked, part, &[], tiles * split.segments as u64)?;
    let half_out = product.out.dtype() == DType::F16;
    let args = Args::new().tensor("partials", &partials).tensor("out", product.out);
    match product.sparse {
        Some((_, matrix)) => {
            let slots = matrix.pattern().nnz();
            let mut args = args
                .tensor("topology", matrix.pattern().packed())
                .size(op, "segments", split.segments)?
                .size(op, "stride", slots)?;
            if let Some(mask) = product.mask {
                args = args.tensor("mask", mask);
            }
            let block = matrix.pattern().block();
            let key = Key::new(op, "sum").block(block).with("mask", product.mask.is_some());
            rec.record(&key.with("half_out", half_out), &args, elementwise(slots * block * block / 4))
        }
        None => {
            let args = args
                .size(op, "m", part.m.count)?
                .size(op, "n", part.n.count)?
                .size(op, "k", split.segments)?
                .u32("threads", rec.gpu().threads());
            let key = Key::new(op, "sum").with("out_scalar", key.flags.contains("out_scalar"));
            let key = product.epilogue.flags(key).with("half_out", half_out);
            let quads = part.m.count * part.n.count.div_ceil(4);
            rec.record(&key, &product.epilogue.bind(op, args)?, elementwise(quads))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_contractions_of_few_tiles_are_split() {
        let of = |m: usize, n: usize, k: usize| Split::of_shape(m * n, k).map(|split| split.segments);
        // The first dense layer's gradient over a large batch, the last one's, and few rows of a wide layer.
        assert_eq!(of(1024, 1024, 65536), None);
        assert_eq!(of(10, 1024, 4096), Some(16));
        assert_eq!(of(8, 1024, 4096), Some(16));
        assert_eq!(of(64, 64, 1 << 20), Some(64));
        assert_eq!(of(128, 1024, 128), None);
        assert_eq!(of(10, 128, 511), None);
        assert_eq!(of(10, 128, 513), Some(2));
        for k in 1..5000 {
            if let Some(Split { span, segments }) = Split::of_shape(4096, k) {
                assert!(span.is_multiple_of(STEP) && (segments - 1) * span < k && k <= segments * span);
            }
        }
    }
}
