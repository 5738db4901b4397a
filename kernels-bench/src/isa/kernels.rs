//! Kernels to compile.

use fretwork::gpu::{Choice, DType, Key, Matrices, Tiling, Variant};
use fretwork::ops::permutations::{Rule, rules};

/// Families whose permutations make up a training step's time.
const FAMILIES: [&str; 19] = [
    "activation",
    "attention",
    "basis",
    "combine",
    "convert",
    "dds",
    "dense",
    "dsd",
    "dss",
    "embed",
    "layer_norm",
    "layerwise",
    "norm",
    "optimizer",
    "route",
    "score",
    "sdd",
    "sds",
    "ssd",
];

/// Cooperative matrices of a GPU with subgroups of up to 64.
const MATRICES: Matrices = Matrices { side: 16, lanes: 64, vectors: true };

/// Kernels that take most of a step's time on a GPU: products for weights stored as `[outputs, inputs]` (forward, gradient of the input,
/// gradient of the weights), scores, optimizers, attention and routing. With `matrices` also those of cooperative matrices.
pub(crate) fn hot(matrices: bool) -> Vec<Key> {
    let mut keys = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for choice in Choice::ALL {
            let is_coop = choice.variant == Variant::Coop;
            let runs = match choice.variant {
                Variant::Coop => matrices && dtype == DType::F16,
                Variant::Tile => true,
                // For CPUs, and for products too small to matter here.
                _ => false,
            };
            if !runs {
                continue;
            }
            for (family, transposes) in [
                ("dense", &[[false, true], [false, false], [true, false]][..]),
                ("dds", &[[false, true], [false, false]]),
                ("dsd", &[[false, false], [true, false]]),
                ("sdd", &[[true, false], [false, true]]),
            ] {
                let blocks =
                    if family == "dense" { &[None][..] } else { &[Some(16), Some(32), Some(64), Some(128)] };
                for &block in blocks {
                    if !choice.is_for(block.unwrap_or(0) as usize) {
                        continue;
                    }
                    let of = |small| Tiling::new(family, MATRICES, block, small).filter(|_| is_coop);
                    let tiling = of(choice.small);
                    if is_coop && choice.small && tiling == of(false) {
                        continue;
                    }
                    for [lhs_t, rhs_t] in transposes {
                        let mut key = Key::new(family, choice.variant.name()).dtype(dtype).tiling(tiling);
                        key.block = block;
                        keys.push(
                            key.with("lhs_t", *lhs_t)
                                .with("rhs_t", *rhs_t)
                                .with("small", choice.small)
                                .with("wide", choice.wide)
                                .with("padded", choice.padded),
                        );
                    }
                }
            }
        }
        for block in [16, 32, 64, 128] {
            keys.push(Key::new("score", "tile").block(block).dtype(dtype).with("lhs_t", true));
        }
        keys.push(
            Key::new("activation", "backward")
                .dtype(dtype)
                .with("half_out", dtype == DType::F16)
                .with("relu", true),
        );
    }
    for name in ["sgd", "adamw"] {
        keys.push(Key::new("optimizer", name).with("quads", true));
    }
    for name in ["forward_tile", "queries_tile", "keys_tile"] {
        let key = |head| Key::new("attention", name).block(head).with("backward", name != "forward_tile");
        keys.extend([32, 64].map(key));
    }
    keys.extend(["forward", "backward"].map(|name| Key::new("norm", name)));
    keys.extend([
        Key::new("route", "values"),
        Key::new("combine", "rows").with("weighted", true),
        Key::new("embed", "gather"),
    ]);
    keys
}

/// Permutations of the hot families that run on GPUs, at most `most` of each rule, evenly spaced.
pub(crate) fn all(matrices: bool, most: usize) -> Vec<Key> {
    let is_hot = |rule: &&Rule| {
        let key = rule.key(0);
        let cooperative = key
            .tiling
            .is_none_or(|tiling| matrices && (tiling.side, tiling.lanes) == (MATRICES.side, MATRICES.lanes));
        FAMILIES.contains(&key.family) && !is_for_cpus(&key) && cooperative
    };
    let spaced = |rule: &Rule| {
        let count = rule.count();
        let taken = count.min(most);
        (0..taken).map(|index| rule.key(index * count / taken)).collect::<Vec<_>>()
    };
    rules().iter().filter(is_hot).flat_map(spaced).collect()
}

/// Kernels that run on CPU drivers alone, unless a variant is forced.
fn is_for_cpus(key: &Key) -> bool {
    let in_registers = key.family == "attention" && !key.name.ends_with("_tile");
    in_registers || [Variant::Wave.name(), "tall"].contains(&key.name)
}
