//! Every public function of `sparse` that has to do with a device.

use fretwork::gpu::{Class, Gpu};
use fretwork::random;
use fretwork::sparse::{self, BlockMask, BlockMatrix, Pattern, Routing, RoutingShape, Topology};

use crate::bench::{Bench, adopt};
use crate::calls::{Call, refused, said};
use crate::memory::{all_kinds, question};

/// A topology without blocks, one with all of them, and one whose blocks rest.
fn topologies() -> [Topology; 3] {
    let full = Topology::full(16, 24, 8).unwrap();
    let places: Vec<_> = full.coordinates().map(|(row, col)| (row as u32, col as u32)).collect();
    let inactive = Topology::with_inactive(16, 24, 8, &places, |_| true).unwrap();
    [Topology::from_coordinates(16, 24, 8, &[]).unwrap(), full, inactive]
}

fn patterns(b: &Bench) {
    for topology in topologies() {
        for (gpu, other) in [(&b.gpu, &b.other), (&b.other, &b.gpu)] {
            let Some(pattern) = said(Pattern::upload(gpu, &topology)) else { continue };
            let _ = (pattern.rows(), pattern.cols(), pattern.row_blocks(), pattern.col_blocks());
            let _ = (pattern.places(), pattern.block(), pattern.nnz(), pattern.elements());
            said(pattern.topology(gpu));
            refused(pattern.topology(other));
            for nnz in [0, 1, 6, 7, usize::MAX] {
                let sized = said(pattern.sized_like(gpu, nnz));
                assert!(sized.is_none_or(|sized| sized.nnz() <= 6));
            }
            for tensor in all_kinds(b) {
                said(adopt(&topology, tensor));
            }
            for topology in topologies() {
                said(pattern.replace(gpu, &topology));
                refused(pattern.replace(other, &topology));
            }
            matrices(gpu, other, &pattern);
        }
    }
    for (rows, cols, block, most) in [
        (0, 0, 0, 0),
        (8, 8, 8, 0),
        (8, 8, 8, usize::MAX),
        (usize::MAX, 8, 8, 1),
        (8 * ((1 << 28) - 1), 8, 8, 1),
        (8 * ((1 << 28) - 1), 8 * ((1 << 28) - 1), 8, (1 << 26) - 1),
    ] {
        said(Pattern::bounded(&b.gpu, rows, cols, block, most)).map(|pattern| said(pattern.topology(&b.gpu)));
    }
}

fn matrices(gpu: &Gpu, other: &Gpu, pattern: &Pattern) {
    let class = Class::Scratch;
    let values = vec![1.0f32; pattern.elements()];
    for matrix in [
        said(BlockMatrix::upload(gpu, class, "test", pattern, &values)),
        said(BlockMatrix::alloc(gpu, class, "test", pattern)),
        said(BlockMatrix::alloc_of::<u32>(gpu, class, "test", pattern)),
        said(BlockMatrix::alloc_of::<half::f16>(gpu, class, "test", pattern)),
    ]
    .into_iter()
    .flatten()
    {
        said(matrix.to_dense(gpu));
        refused(matrix.to_dense(other));
        said(BlockMatrix::adopt(matrix.pattern().clone(), matrix.values().clone()));
    }
    refused(BlockMatrix::upload::<f32>(gpu, class, "test", pattern, &[1.0; 3]));
    refused(BlockMatrix::upload(other, class, "test", pattern, &values));
    refused(BlockMatrix::alloc(other, class, "test", pattern));
    refused(BlockMatrix::alloc_of::<u32>(other, class, "test", pattern));
    if let Some(foreign) = said(other.alloc::<f32>(class, "test", &[pattern.nnz(), 8, 8])) {
        refused(BlockMatrix::adopt(pattern.clone(), foreign));
    }
}

fn routings(b: &Bench) {
    for tokens in [0, 1, usize::MAX] {
        for (block, widths) in [(8, vec![8]), (8, vec![]), (0, vec![0]), (8, vec![usize::MAX & !7; 2])] {
            for most in [None, Some(0), Some(usize::MAX)] {
                let widths = widths.clone();
                let shape = RoutingShape { tokens, choices: 2, block, widths, most };
                let _ = (shape.experts(), shape.assignments(), shape.hidden(), shape.first_columns());
                said(shape.bounds());
                let Some(routing) = said(Routing::new(&b.gpu, shape)) else { continue };
                let _ = (routing.shape(), routing.bounds(), routing.counts(), routing.dropped());
                let _ = (routing.first_tile(), routing.rows(), routing.tokens(), routing.places());
                let _ = routing.pattern();
                said(routing.topology(&b.gpu));
                refused(routing.topology(&b.other));
            }
        }
    }
}

fn masks(b: &Bench) {
    let key = random::Key::new(1, random::Stream::Check(0));
    for topology in topologies() {
        let mask = BlockMask::random(&topology, 0.5, key);
        let _ = (mask.count(), mask.words());
        assert!(topology.nnz() == 0 || mask.get(0) | !mask.get(0));
        let uploaded = said(sparse::upload_mask(&b.gpu, &mask));
        uploaded.iter().for_each(question);
    }
    refused(BlockMask::from_words(vec![], usize::MAX));
    refused(BlockMask::from_words(vec![0], 0));
    assert_eq!(BlockMask::from_words(vec![], 0).unwrap().count(), 0);
}

/// The functions that each of these drives.
pub(crate) const ALL: &[(Call, &[&str])] = &[
    (
        patterns,
        &[
            "Pattern::upload",
            "Pattern::adopt",
            "Pattern::bounded",
            "Pattern::sized_like",
            "Pattern::topology",
            "Pattern::replace",
            "Pattern::rows",
            "Pattern::cols",
            "Pattern::row_blocks",
            "Pattern::col_blocks",
            "Pattern::places",
            "Pattern::block",
            "Pattern::nnz",
            "Pattern::elements",
            "BlockMatrix::upload",
            "BlockMatrix::alloc",
            "BlockMatrix::alloc_of",
            "BlockMatrix::adopt",
            "BlockMatrix::to_dense",
            "BlockMatrix::pattern",
            "BlockMatrix::values",
        ],
    ),
    (
        routings,
        &[
            "Routing::new",
            "Routing::shape",
            "Routing::bounds",
            "Routing::counts",
            "Routing::dropped",
            "Routing::first_tile",
            "Routing::rows",
            "Routing::tokens",
            "Routing::places",
            "Routing::pattern",
            "Routing::topology",
            "RoutingShape::experts",
            "RoutingShape::assignments",
            "RoutingShape::hidden",
            "RoutingShape::first_columns",
            "RoutingShape::bounds",
        ],
    ),
    (
        masks,
        &[
            "device::upload_mask",
            "BlockMask::from_words",
            "BlockMask::random",
            "BlockMask::get",
            "BlockMask::count",
            "BlockMask::words",
        ],
    ),
];
