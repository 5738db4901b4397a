//! Shader permutations of the table in `ops/permutations.rs`: each composes, validates, passes the lints, and translates
//! to SPIR-V, MSL and HLSL. None of it needs a GPU.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lint;
mod traffic;
mod translate;
mod uniformity;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZero;
use std::sync::Mutex;

use fretwork::Error;
use fretwork::check::parallel_for_each;
use fretwork::gpu::{DType, FLAGS, Key, Sources};
use fretwork::ops::permutations::{Rule, expect, rules};

/// Keys of a rule for the fast test: all of a small rule; of a large one about half the square root of its number, at
/// a stride that is coprime to it, so that every alternative of the short axes occurs and all axes are mixed.
fn sample(rule: &Rule) -> impl Iterator<Item = Key> {
    let count = rule.count();
    let taken = count.min(8.max(count.isqrt() / 2));
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // Near the golden ratio, multiples of a stride are spread evenly.
    let stride = (count * 618 / 1000..).find(|&stride| divisor(stride, count) == 1).unwrap_or(1);
    (0..taken).map(move |nth| rule.key(nth * stride % count))
}

/// Composes, lints and translates one permutation.
fn keep_the_rules(sources: &Sources, key: &Key, spirv_val: &translate::SpirvVal) -> Result<(), String> {
    let composed = sources.compose(key).map_err(|error| error.to_string())?;
    let subgroups = ["wave", "tall"].contains(&key.name);
    let (module, info) = lint::validate(&composed.wgsl, subgroups)?;
    lint::lint(&module, &info)?;
    translate::translate(&module, &info, spirv_val)?;

    // All inputs in the buffer of the result.
    let shared = key.clone().shared(lint::inputs(&module));
    if shared.shared.is_empty() {
        return Ok(());
    }
    let composed = sources.compose(&shared).map_err(|error| error.to_string())?;
    let told = |why: String| format!("with shared inputs: {why}");
    let (module, info) = lint::validate(&composed.wgsl, subgroups).map_err(told)?;
    if !lint::inputs(&module).is_empty() {
        return Err(told("some are declared read-only".to_owned()));
    }
    lint::lint(&module, &info).map_err(told)?;
    translate::translate(&module, &info, spirv_val).map_err(told)
}

/// Inspects keys on all processors; fails with every key that breaks a rule, in the order of the keys.
fn inspect_all(keys: &[Key]) {
    let sources = Sources::default();
    let spirv_val = translate::SpirvVal::find();
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
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let wrong: Vec<_> = wrong.into_iter().map(|(_, why)| why).collect();
    println!("{count} permutations");
    let matrices = keys.iter().filter(|key| key.tiling.is_some()).count();
    println!(
        "SKIPPED: {matrices} of them, with cooperative matrices, are not translated to HLSL: naga writes none"
    );
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A sample of the table: at ten milliseconds a key, the whole table takes an hour of processor time.
#[test]
fn sampled_permutations_keep_the_rules_and_translate() {
    let keys: Vec<_> = rules().iter().flat_map(sample).collect();
    inspect_all(&keys);
    let used: BTreeSet<_> = keys.iter().flat_map(|key| key.flags.iter().copied()).collect();
    let never: Vec<_> = FLAGS.iter().filter(|flag| !used.contains(*flag)).collect();
    assert!(never.is_empty(), "conditionals that no permutation uses: {never:?}");
}

#[test]
#[ignore = "an hour of processor time"]
fn every_permutation_keeps_the_rules_and_translates() {
    // One rule at a time bounds the memory.
    for rule in rules() {
        let keys: Vec<_> = (0..rule.count()).map(|index| rule.key(index)).collect();
        inspect_all(&keys);
    }
}

/// Each key of a rule is in that rule alone, and once.
#[test]
fn rules_do_not_overlap() {
    let mut keys = BTreeSet::new();
    for rule in rules() {
        for key in sample(rule) {
            let rules = rules().iter().filter(|rule| rule.contains(&key)).count();
            assert_eq!(rules, 1, "{}", key.label());
            assert!(keys.insert(key.clone()), "{} twice", key.label());
        }
    }
}

/// Keys that no operation makes are refused by name.
#[test]
fn made_up_keys_are_refused() {
    let dds = || Key::new("dds", "lane").block(16);
    expect(&dds().with("rhs_t", true).with("lhs_t", true).with("lhs_scalar", true)).unwrap();
    for key in [
        dds().with("sigmoid", true),
        dds().with("continued", true),
        dds().with("lhs_scalar", true),
        dds().with("relu", true),
        dds().with("small", true),
        Key::new("dds", "lane"),
        Key::new("dds", "lane").block(12),
        Key::new("dds", "tall").block(16),
        Key::new("dense", "coop").dtype(DType::F16),
        Key::new("sdd", "lane").block(16).with("mask", true).with("rhs_t", true).with("lhs_gather", true),
        Key::new("nothing", "here"),
    ] {
        let refused = expect(&key).unwrap_err().to_string();
        assert!(refused.contains(&key.label()), "{refused}");
    }
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
