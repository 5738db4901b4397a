//! Every permutation of every shader composes, validates, keeps to the house's rules, and translates to what Vulkan,
//! Metal and DX12 read. None of this needs a GPU.

mod lint;
mod translate;
mod uniformity;

use fretwork::Error;
use fretwork::gpu::{FLAGS, Key, Sources};
use fretwork::ops::HEADS;

/// Every permutation that the operations can ask for.
fn permutations() -> Vec<Key> {
    let mut keys = Vec::new();
    let switch = |keys: Vec<Key>, flag: &'static str| -> Vec<Key> {
        keys.into_iter().flat_map(|key| [key.clone(), key.with(flag, true)]).collect()
    };
    let transposed = |keys| switch(switch(keys, "lhs_t"), "rhs_t");
    // Whole, or a window of something larger that may go on from what another stored.
    let windowed = |keys: Vec<Key>| -> Vec<Key> {
        let windows = |key: Key| {
            let window = key.clone().with("window", true);
            [key, window.clone(), window.with("continued", true)]
        };
        keys.into_iter().flat_map(windows).collect()
    };
    // What follows a product: nothing, a bias, or an activation on the way out or back.
    let epilogues = |keys: Vec<Key>| -> Vec<Key> {
        let mut all = Vec::new();
        for key in keys {
            all.push(key.clone());
            all.push(key.clone().with("bias", true));
            for pass in ["forward", "backward"] {
                for activation in ["identity", "relu", "gelu", "silu", "all_relu"] {
                    let with = key.clone().with(pass, true);
                    let with = if activation == "identity" { with } else { with.with(activation, true) };
                    all.push(with.clone());
                    all.push(with.with("dropout", true));
                }
            }
        }
        all
    };

    for variant in ["lane", "tile"] {
        let mut dense = transposed(vec![Key::new("dense", variant)]);
        for flag in ["lhs_scalar", "rhs_scalar", "out_scalar", "k_tail"] {
            dense = switch(dense, flag);
        }
        keys.extend(windowed(dense));
        keys.extend(windowed(epilogues(switch(vec![Key::new("dense", variant)], "out_scalar"))));
        for block in [8, 16, 32, 64] {
            let key = |family| Key::new(family, variant).block(block);
            keys.extend(windowed(switch(transposed(vec![key("dds")]), "lhs_scalar")));
            keys.extend(windowed(epilogues(vec![key("dds")])));
            keys.extend(switch(switch(transposed(vec![key("dsd")]), "rhs_scalar"), "out_scalar"));
            let sdd = switch(switch(transposed(vec![key("sdd")]), "mask"), "k_tail");
            keys.extend(windowed(switch(switch(sdd, "lhs_scalar"), "rhs_scalar")));
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
            ("bits", "count"),
            ("bits", "present"),
            ("blocks", "births"),
            ("embed", "gather"),
            ("embed", "link"),
            ("fill", "words"),
            ("norm", "forward"),
        ])
        .chain([("pattern", "place"), ("pattern", "scan"), ("pattern", "slots"), ("pattern", "swap")])
        .chain([("reduce", "norms"), ("score", "connect"), ("fill", "blend"), ("score", "exclude")])
    {
        keys.push(Key::new(family, name));
    }
    for variant in ["lane", "tile"] {
        for block in [8, 16, 32, 64] {
            let key = Key::new("score", variant).block(block).with("lhs_t", true);
            let kinds = ["signed", "square", "cosine"].map(|flag| key.clone().with(flag, true));
            keys.extend(switch([vec![key], kinds.to_vec()].concat(), "k_tail"));
        }
    }
    for block in [8, 16, 32, 64] {
        let key = |family, name| Key::new(family, name).block(block);
        let values = key("score", "values");
        let signed = values.clone().with("signed", true);
        let mut kinds = ["square", "largest", "times"].map(|flag| values.clone().with(flag, true)).to_vec();
        kinds.extend(["positive", "negative", "times"].map(|flag| signed.clone().with(flag, true)));
        kinds.push(values);
        keys.extend(switch(kinds, "window"));
        keys.extend(switch(switch(vec![key("blocks", "renew")], "uniform"), "window"));
        keys.extend(switch(switch(vec![key("blocks", "remap")], "both"), "window"));
        keys.extend(switch(vec![key("blocks", "decay"), key("blocks", "rest")], "window"));
        keys.extend(switch(switch(vec![key("optimizer", "adamw").with("births", true)], "mask"), "window"));
    }
    keys.extend(switch(switch(vec![Key::new("select", "radix")], "smallest"), "fraction"));
    for flag in ["or", "and_not"] {
        keys.push(Key::new("bits", "combine").with(flag, true));
    }
    for name in ["count", "fill"] {
        keys.extend(switch(vec![Key::new("pattern", name)], "resting"));
    }
    keys.extend(switch(switch(vec![Key::new("optimizer", "sgd")], "nesterov"), "mask"));
    keys.extend(switch(vec![Key::new("optimizer", "adamw")], "mask"));
    keys.extend(switch(switch(vec![Key::new("random", "fill")], "uniform"), "window"));
    keys.extend(switch(["softmax", "mse"].map(|name| Key::new("loss", name)).to_vec(), "window"));
    keys.extend(switch(vec![Key::new("embed", "scatter"), Key::new("norm", "gain")], "window"));
    keys.extend(switch(vec![Key::new("norm", "backward")], "add"));
    for pass in ["forward", "queries", "keys"] {
        let heads = HEADS.map(|head| Key::new("attention", pass).block(head));
        // The widest rows leave no room for several.
        keys.extend(switch(heads[..HEADS.len() - 1].to_vec(), "several"));
        keys.extend(heads.last().cloned());
    }
    keys.push(Key::new("reduce", "sum").with("add", true));
    keys.extend(windowed(vec![Key::new("reduce", "sum")]));
    keys
}

#[test]
fn every_permutation_keeps_the_rules_and_translates() {
    let sources = Sources::default();
    let spirv_val = translate::SpirvVal::find();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut used = std::collections::BTreeSet::new();
    for key in permutations() {
        count += 1;
        used.extend(key.flags.iter().copied());
        let result = sources.compose(&key).map_err(|error| error.to_string()).and_then(|composed| {
            let (module, info) = lint::validate(&composed.wgsl)?;
            lint::lint(&module, &info)?;
            translate::translate(&module, &info, &spirv_val)
        });
        if let Err(why) = result {
            wrong.push(format!("{}: {why}", key.label()));
        }
    }
    println!("{count} permutations");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    let never: Vec<_> = FLAGS.iter().filter(|flag| !used.contains(*flag)).collect();
    assert!(never.is_empty(), "conditionals that no permutation uses: {never:?}");
}

/// A composition error names the file and the line in it.
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
