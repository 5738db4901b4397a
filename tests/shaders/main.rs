//! Shader permutations: every permutation of every shader composes, validates, passes the lints, and translates to
//! SPIR-V, MSL and HLSL. None of it needs a GPU.

mod lint;
mod translate;
mod uniformity;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZero;
use std::sync::Mutex;

use fretwork::Error;
use fretwork::check::parallel_for_each;
use fretwork::gpu::{DType, FLAGS, Key, Matrices, Sources, Tiling};
use fretwork::ops::HEADS;
use fretwork::sparse::BLOCKS;

/// All kernel permutations that the operations can request.
fn permutations() -> Vec<Key> {
    let mut keys = Vec::new();
    let switch = |keys: Vec<Key>, flag: &'static str| -> Vec<Key> {
        keys.into_iter().flat_map(|key| [key.clone(), key.with(flag, true)]).collect()
    };
    let transposed = |keys| switch(switch(keys, "lhs_t"), "rhs_t");
    let masked_or_quads =
        |key: Key| [key.clone(), key.clone().with("mask", true), key.with("quads", true)].to_vec();
    // Whole tensors, or windows that may continue from partial sums.
    let windowed = |keys: Vec<Key>| -> Vec<Key> {
        let windows = |key: Key| {
            let window = key.clone().with("window", true);
            [key, window.clone(), window.with("continued", true)]
        };
        keys.into_iter().flat_map(windows).collect()
    };
    // Epilogues: none, bias, activation forward or backward.
    let epilogues = |keys: Vec<Key>| -> Vec<Key> {
        let mut all = Vec::new();
        for key in keys {
            all.push(key.clone());
            all.push(key.clone().with("bias", true));
            for pass in ["forward", "backward"] {
                for activation in ["identity", "relu", "gelu", "silu", "all_relu"] {
                    let with = key.clone().with(pass, true);
                    let with = if activation == "identity" { with } else { with.with(activation, true) };
                    let with = switch(vec![with], "dropout");
                    all.extend(if pass == "forward" { switch(with, "pre") } else { with });
                }
            }
        }
        all
    };

    for variant in ["lane", "wave", "tall", "tile"] {
        let mut dense = transposed(vec![Key::new("dense", variant)]);
        for flag in ["lhs_scalar", "rhs_scalar", "out_scalar", "k_tail"] {
            dense = switch(dense, flag);
        }
        keys.extend(windowed(dense));
        keys.extend(windowed(epilogues(switch(vec![Key::new("dense", variant)], "out_scalar"))));
    }
    for variant in ["lane", "wave", "tile"] {
        for block in [8, 16, 32, 64] {
            let key = |family| Key::new(family, variant).block(block);
            keys.extend(windowed(switch(transposed(vec![key("dds")]), "lhs_scalar")));
            keys.extend(windowed(epilogues(vec![key("dds")])));
            keys.extend(switch(switch(transposed(vec![key("dsd")]), "rhs_scalar"), "out_scalar"));
            let sdd = switch(switch(transposed(vec![key("sdd")]), "mask"), "k_tail");
            keys.extend(windowed(switch(switch(sdd, "lhs_scalar"), "rhs_scalar")));
            // Gathered operands are either all vec4 or all scalar.
            let sdd = key("sdd").with("rhs_t", true).with("lhs_gather", true);
            let ragged = ["lhs_scalar", "rhs_scalar", "k_tail"].into_iter();
            let ragged = ragged.fold(sdd.clone(), |key, flag| key.with(flag, true));
            keys.extend(windowed(vec![sdd, ragged]));
            let dsd = key("dsd").with("lhs_t", true).with("rhs_gather", true);
            keys.extend([dsd.clone(), dsd.with("rhs_scalar", true).with("out_scalar", true)]);
        }
    }
    // Blocks of 128 are split into quarters, independent of the epilogue.
    for variant in ["lane", "wave", "tile"] {
        let key = |family| Key::new(family, variant).block(128);
        keys.extend(windowed(transposed(vec![key("dds")])));
        keys.extend(transposed(vec![key("dsd")]));
        keys.extend(windowed(switch(transposed(vec![key("sdd")]), "mask")));
        keys.push(key("sdd").with("rhs_t", true).with("lhs_gather", true));
        keys.push(key("dsd").with("lhs_t", true).with("rhs_gather", true));
    }
    keys.extend(half_precision(&keys));
    keys.extend(cooperative(&keys));
    // Configurations of a variant differ only in constants; a few permutations stand for all.
    for flag in ["small", "padded"] {
        let dense = transposed(vec![Key::new("dense", "tile").with(flag, true)]);
        keys.extend(windowed(dense.clone()));
        keys.extend(switch(dense, "k_tail").into_iter().map(|key| key.with("lhs_scalar", true)));
        for block in BLOCKS {
            for family in ["dds", "dsd", "sdd"] {
                keys.extend(transposed(vec![Key::new(family, "tile").block(block).with(flag, true)]));
            }
        }
    }
    for block in BLOCKS {
        let lane = |family| Key::new(family, "lane").block(block);
        keys.extend(switch(vec![lane("sds").with("rhs_t", true)], "lhs_gather"));
        keys.extend(switch(vec![lane("ssd").with("lhs_t", true)], "rhs_gather"));
        keys.push(lane("dss"));
    }
    for name in ["count", "place"] {
        keys.extend(switch(vec![Key::new("route", name)], "kept"));
    }
    keys.extend(["index", "scan", "tiles", "values"].map(|name| Key::new("route", name)));
    keys.extend(switch(switch(switch(vec![Key::new("combine", "rows")], "weighted"), "add"), "out_scalar"));
    for block in BLOCKS {
        for pass in ["activate", "backward"] {
            let key = Key::new("experts", pass).block(block);
            let with = ["relu", "gelu", "silu", "all_relu"].map(|flag| key.clone().with(flag, true));
            keys.extend(switch([vec![key], with.to_vec()].concat(), "gated"));
        }
    }
    for pass in ["forward", "backward"] {
        for activation in ["relu", "gelu", "silu", "all_relu"] {
            let key = Key::new("activation", pass).with(activation, true);
            keys.push(key.clone());
            keys.extend(switch(vec![key.with("dropout", true)], "window"));
        }
    }
    for (family, name) in [("finite", "scan"), ("mask", "apply")]
        .into_iter()
        .chain([
            ("bits", "combine"),
            ("bits", "present"),
            ("blocks", "births"),
            ("ceiling", "copy"),
            ("ceiling", "fma"),
            ("embed", "gather"),
            ("embed", "link"),
            ("fill", "words"),
            ("norm", "forward"),
        ])
        .chain([("pattern", "empty"), ("pattern", "place"), ("pattern", "scan"), ("pattern", "slots")])
        .chain([("finite", "activity"), ("pattern", "swap")])
        .chain([("reduce", "norms"), ("score", "connect"), ("score", "exclude")])
        .chain([("naive", "tile")])
    {
        keys.push(Key::new(family, name));
    }
    for variant in ["lane", "wave", "tile"] {
        for block in BLOCKS {
            let key = Key::new("score", variant).block(block).with("lhs_t", true);
            let kinds = ["signed", "square", "cosine"].map(|flag| key.clone().with(flag, true));
            keys.push(key.clone().dtype(DType::F16));
            keys.extend(switch([vec![key], kinds.to_vec()].concat(), "k_tail"));
        }
    }
    for block in BLOCKS {
        let key = |family, name| Key::new(family, name).block(block);
        let values = key("score", "values");
        let signed = values.clone().with("signed", true);
        let mut kinds = ["square", "largest", "times"].map(|flag| values.clone().with(flag, true)).to_vec();
        kinds.extend(["positive", "negative", "times"].map(|flag| signed.clone().with(flag, true)));
        kinds.push(values);
        keys.extend(switch(kinds, "window"));
        let renew = key("blocks", "renew");
        keys.push(renew.clone().with("uniform", true).with("reviving", true));
        keys.extend(switch(vec![renew], "uniform"));
        keys.extend([key("score", "silent"), key("score", "silent").dtype(DType::F16)]);
        keys.extend(switch(vec![key("blocks", "remap")], "both"));
        keys.extend([key("blocks", "decay"), key("blocks", "zero_inactive")]);
        let births = masked_or_quads(key("optimizer", "adamw").with("births", true));
        keys.extend(switch(births, "window"));
    }
    keys.extend(switch(switch(vec![Key::new("select", "radix")], "smallest"), "fraction"));
    keys.extend(switch(vec![Key::new("bits", "count")], "add"));
    keys.extend(switch(vec![Key::new("score", "stored")], "except"));
    keys.extend(switch(vec![Key::new("fill", "blend")], "quads"));
    for flag in ["or", "and_not"] {
        keys.push(Key::new("bits", "combine").with(flag, true));
    }
    for name in ["count", "fill"] {
        keys.extend(switch(vec![Key::new("pattern", name)], "inactive"));
    }
    for key in switch(vec![Key::new("optimizer", "sgd")], "nesterov") {
        keys.extend(masked_or_quads(key));
    }
    keys.extend(masked_or_quads(Key::new("optimizer", "adamw")));
    keys.extend(switch(switch(vec![Key::new("random", "fill")], "uniform"), "window"));
    keys.extend(switch(["softmax", "soft", "mse"].map(|name| Key::new("loss", name)).to_vec(), "window"));
    keys.extend(switch(vec![Key::new("embed", "scatter"), Key::new("norm", "gain")], "window"));
    keys.extend(switch(vec![Key::new("norm", "backward")], "add"));
    for pass in ["forward", "queries", "keys"] {
        let heads = HEADS.map(|head| Key::new("attention", pass).block(head));
        // At the widest heads an invocation holds one row only.
        keys.extend(switch(heads[..HEADS.len() - 1].to_vec(), "several"));
        keys.extend(heads.last().cloned());
    }
    let gate = |name| Key::new("gate", name);
    keys.extend(
        ["assign", "bias", "count", "first", "load", "losses", "noise", "capacity", "tally"].map(gate),
    );
    keys.extend(switch(switch(vec![gate("probs")], "valid"), "sigmoid"));
    keys.extend(switch(vec![gate("choose")], "bias"));
    keys.extend(switch(vec![gate("hash")], "valid"));
    keys.extend(switch(vec![gate("noise_backward")], "load"));
    keys.extend([gate("scores"), gate("scores").with("favour", true), gate("scores").with("only", true)]);
    keys.extend(["columns", "load"].map(|flag| gate("statistics").with(flag, true)));
    keys.push(gate("statistics"));
    for flag in ["renormalised", "chosen"] {
        keys.push(gate("weigh").with(flag, true));
        keys.extend(switch(vec![gate("backward").with(flag, true)], "losses"));
    }
    let sigmoid = gate("backward").with("sigmoid", true);
    keys.extend(switch(
        vec![gate("backward"), sigmoid.clone(), sigmoid.with("renormalised", true)],
        "losses",
    ));
    let random = |name| gate(name).with("renormalised", true).with("random", true);
    keys.extend(switch(vec![random("backward")], "losses"));
    keys.extend([gate("weigh"), random("weigh")]);
    let sums = switch(vec![Key::new("reduce", "sum")], "quads");
    keys.extend(sums.iter().map(|key| key.clone().with("add", true)));
    keys.extend(windowed(sums));
    let halves = |family, name| Key::new(family, name).dtype(DType::F16);
    keys.extend([
        halves("finite", "scan"),
        halves("finite", "activity"),
        halves("reduce", "norms"),
        halves("reduce", "sum"),
        halves("reduce", "sum").with("quads", true),
        halves("convert", "to_f32"),
    ]);
    for pass in ["forward", "backward"] {
        let key = halves("activation", pass).with("half_out", true);
        keys.extend([key.clone().with("gelu", true), key.with("relu", true).with("dropout", true)]);
    }
    keys.push(Key::new("norm", "forward").with("half_out", true));
    keys.extend(switch(vec![Key::new("scale", "apply")], "half_out"));
    keys.push(Key::new("scale", "decide"));
    for key in [Key::new("optimizer", "sgd").with("nesterov", true), Key::new("optimizer", "adamw")] {
        keys.extend(masked_or_quads(key.with("scaled", true)));
    }
    let births = Key::new("optimizer", "adamw").block(16).with("births", true).with("scaled", true);
    keys.push(births.with("quads", true));
    let to_f16 = Key::new("convert", "to_f16").with("half_out", true);
    keys.extend(switch(vec![to_f16.clone().with("stochastic", true)], "window"));
    for block in [8, 16, 32, 64] {
        let placed = to_f16.clone().block(block).with("stochastic", true).with("placed", true);
        keys.extend(switch(vec![placed], "window"));
    }
    keys.push(to_f16);
    keys
}

/// f16 matmul permutations, with f16 and f32 results; for block-sparse families, blocks of 16 as used by layers.
fn half_precision(matmuls: &[Key]) -> Vec<Key> {
    let plain = |key: &&Key| {
        let window = key.flags.contains("window") && (key.name != "lane" || key.family == "dsd");
        !window && key.block.is_none_or(|block| block == 16)
    };
    let halves = matmuls.iter().filter(plain).flat_map(|key| {
        let half = key.clone().dtype(DType::F16);
        [half.clone(), half.with("half_out", true)]
    });
    let mut keys: Vec<_> = halves.collect();
    for name in ["lane", "wave", "tile"] {
        keys.push(Key::new("dense", name).with("half_out", true));
    }
    keys
}

/// Cooperative-matrix permutations derived from the f16 lane variant: both fragment sides, several subgroup sizes,
/// and blocks no smaller than a fragment.
fn cooperative(matmuls: &[Key]) -> Vec<Key> {
    let plain = |key: &&Key| key.name == "lane" && key.dtype == DType::F16 && !key.flags.contains("dropout");
    let mut keys = Vec::new();
    for (side, lanes) in [(8, 8), (8, 32), (16, 32)] {
        let matrices = Matrices { side, lanes };
        for key in matmuls.iter().filter(plain) {
            // Windows and result types do not depend on the fragment side, and little depends on the subgroup size.
            let has = |flag| key.flags.contains(flag);
            if (side, lanes) != (8, 32)
                && (side == 16 || !has("window"))
                && !(has("half_out") && has("window"))
            {
                let coop = Key { name: "coop", ..key.clone() };
                keys.push(coop.tiling(Tiling::new(key.family, matrices, key.block)));
            }
        }
        for family in ["dds", "dsd", "sdd"] {
            for block in BLOCKS {
                let cut = Tiling::new(family, matrices, Some(block as u32));
                let key = Key::new(family, "coop").block(block).dtype(DType::F16).tiling(cut);
                let transposed = [key.clone().with("rhs_t", true), key.clone().with("lhs_t", true)];
                keys.extend(
                    [vec![key], transposed.to_vec()].concat().into_iter().filter(|key| key.tiling.is_some()),
                );
            }
        }
    }
    // The largest subgroup size.
    let key = |family, lanes| {
        let block = if family == "dense" { None } else { Some(64) };
        let mut key = Key::new(family, "coop").dtype(DType::F16);
        key.block = block;
        key.tiling(Tiling::new(family, Matrices { side: 16, lanes }, block))
    };
    keys.extend(["dense", "dds", "dsd", "sdd"].map(|family| key(family, 64)));
    let mut keys: Vec<_> = keys.into_iter().map(|key| key.with("padded", true)).collect();
    // Padding changes constants only.
    for family in ["dense", "dds", "dsd", "sdd"] {
        let key = key(family, 32);
        keys.extend([key.clone().with("rhs_t", true), key.clone().with("lhs_t", true), key]);
    }
    keys
}

/// Composes, lints and translates one permutation.
fn keep_the_rules(sources: &Sources, key: &Key, spirv_val: &translate::SpirvVal) -> Result<(), String> {
    let composed = sources.compose(key).map_err(|error| error.to_string())?;
    let subgroups = ["wave", "tall"].contains(&key.name);
    let (module, info) = lint::validate(&composed.wgsl, subgroups)?;
    lint::lint(&module, &info)?;
    translate::translate(&module, &info, spirv_val)
}

#[test]
fn every_permutation_keeps_the_rules_and_translates() {
    let sources = Sources::default();
    let spirv_val = translate::SpirvVal::find();
    let keys = permutations();
    let count = keys.len();
    let wrong = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let jobs: Vec<_> = keys.iter().enumerate().collect();
    let inspect = |(): &(), &(at, key): &(usize, &Key)| -> Result<(), Infallible> {
        if let Err(why) = keep_the_rules(&sources, key, &spirv_val) {
            wrong.lock().unwrap().push((at, format!("{}: {why}", key.label())));
        }
        Ok(())
    };
    parallel_for_each(&jobs, threads, || Ok(()), inspect).unwrap();
    // Failures are reported in the order of the permutations.
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let wrong: Vec<_> = wrong.into_iter().map(|(_, why)| why).collect();
    let used: BTreeSet<_> = keys.iter().flat_map(|key| key.flags.iter().copied()).collect();
    println!("{count} permutations");
    let matrices = keys.iter().filter(|key| key.tiling.is_some()).count();
    println!(
        "SKIPPED: {matrices} of them, with cooperative matrices, are not translated to HLSL: naga writes none"
    );
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    let never: Vec<_> = FLAGS.iter().filter(|flag| !used.contains(*flag)).collect();
    assert!(never.is_empty(), "conditionals that no permutation uses: {never:?}");
}

/// Composition errors name the shader file and line.
#[test]
fn composition_errors_say_where() {
    let error_of = |from: &str, to: &str| {
        let mut sources = Sources::default();
        sources.patch("dds/lane", from, to).unwrap();
        match sources.compose(&Key::new("dds", "lane").block(16)).unwrap_err() {
            Error::Shader { message, .. } => message,
            other => panic!("{other} is no shader error"),
        }
    };
    let syntax = error_of("var tile: Tile;", "var tile Tile;");
    assert!(syntax.contains("shaders/dds/lane.wgsl:"), "{syntax}");
    let missing = error_of("common::grid::workgroup_index", "common::nowhere::workgroup_index");
    assert!(missing.contains("nowhere"), "{missing}");
    let unknown = error_of("var tile: Tile;", "@if(no_such_flag) var other: u32;\n    var tile: Tile;");
    assert!(unknown.contains("no_such_flag"), "{unknown}");

    let sources = Sources::default();
    let undefined = sources.compose(&Key::new("dds", "lane").with("no_such_flag", true)).unwrap_err();
    assert!(undefined.to_string().contains("no_such_flag"), "{undefined}");
    let nowhere = sources.compose(&Key::new("nothing", "here")).unwrap_err();
    assert!(nowhere.to_string().contains("shaders/nothing/here.wgsl"), "{nowhere}");
}
