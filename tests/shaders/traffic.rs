//! Bytes of memory-bound kernels: passes over each array, counted in the composed shaders.
//!
//! A pass is a loop that reads or writes the array, or, in a kernel without loops, an access. What an invocation touches outside of
//! loops that go over the array, such as a number per row, is left out. Branches that exclude each other count once.

use std::collections::BTreeMap;

use fretwork::gpu::{DType, Key, Sources};
use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Statement};

use crate::lint;

/// Passes over an array: by accesses outside of loops, and by loops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Passes {
    straight: u32,
    looped: u32,
}

/// Passes by array, and whether it was read or written.
type Traffic = BTreeMap<(String, bool), Passes>;

/// Applies `merge` to the passes of each array of two parts of a kernel.
fn merged(a: Traffic, b: &Traffic, merge: impl Fn(u32, u32) -> u32) -> Traffic {
    let mut all = a;
    for key in b.keys() {
        all.entry(key.clone()).or_default();
    }
    for (key, passes) in &mut all {
        let other = b.get(key).copied().unwrap_or_default();
        *passes = Passes {
            straight: merge(passes.straight, other.straight),
            looped: merge(passes.looped, other.looped),
        };
    }
    all
}

/// The array in storage that a pointer leads into.
fn array(module: &Module, function: &Function, mut pointer: Handle<Expression>) -> Option<String> {
    loop {
        match function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => pointer = base,
            Expression::GlobalVariable(variable) => {
                let variable = &module.global_variables[variable];
                let is_storage = matches!(variable.space, AddressSpace::Storage { .. });
                return is_storage.then(|| variable.name.clone()).flatten();
            }
            _ => return None,
        }
    }
}

fn traffic(module: &Module, function: &Function, block: &Block) -> Traffic {
    let mut all = Traffic::new();
    let touch = |all: &mut Traffic, pointer, writes| {
        if let Some(name) = array(module, function, pointer) {
            all.entry((name, writes)).or_default().straight += 1;
        }
    };
    for (at, statement) in block.iter().enumerate() {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    if let Expression::Load { pointer } = function.expressions[expression] {
                        touch(&mut all, pointer, false);
                    }
                }
            }
            Statement::Store { pointer, .. } => touch(&mut all, *pointer, true),
            Statement::Block(block) => {
                all = merged(all, &traffic(module, function, block), |a, b| a + b);
            }
            Statement::Call { function: callee, .. } => {
                let callee = &module.functions[*callee];
                all = merged(all, &traffic(module, callee, &callee.body), |a, b| a + b);
            }
            Statement::If { accept, reject, .. } => {
                let accepted = traffic(module, function, accept);
                if matches!(accept.last(), Some(Statement::Return { .. })) {
                    let rest: Block = block[at + 1..].to_vec().into();
                    let rest = merged(
                        traffic(module, function, reject),
                        &traffic(module, function, &rest),
                        |a, b| a + b,
                    );
                    return merged(all, &merged(accepted, &rest, u32::max), |a, b| a + b);
                }
                let either = merged(accepted, &traffic(module, function, reject), u32::max);
                all = merged(all, &either, |a, b| a + b);
            }
            Statement::Loop { body, continuing, .. } => {
                let inside = merged(
                    traffic(module, function, body),
                    &traffic(module, function, continuing),
                    |a, b| a + b,
                );
                let passes = inside.into_iter().map(|(key, passes)| {
                    (key, Passes { straight: 0, looped: passes.looped.max(u32::from(passes.straight > 0)) })
                });
                all = merged(all, &passes.collect(), |a, b| a + b);
            }
            _ => {}
        }
    }
    all
}

/// Passes over each of these arrays, read and written.
fn passes(key: &Key, arrays: &[(&'static str, u32)]) -> Vec<[u32; 2]> {
    let composed = Sources::default().compose(key).unwrap();
    let (module, _) = lint::validate(&composed.wgsl, false).unwrap();
    let entry = &module.entry_points[0].function;
    let all = traffic(&module, entry, &entry.body);
    let of = |name: &str, writes| match all.get(&(name.to_owned(), writes)) {
        Some(Passes { looped: 0, straight }) => (*straight).min(1),
        Some(Passes { looped, .. }) => *looped,
        None => 0,
    };
    let found: Vec<_> = arrays.iter().map(|(name, _)| [of(name, false), of(name, true)]).collect();
    assert!(!found.contains(&[0, 0]), "{}: {arrays:?} {found:?} {all:?}", key.label());
    found
}

/// Kernels with the arrays that are as large as their problem, and the bytes of an element of each.
fn kernels() -> Vec<(Key, Vec<(&'static str, u32)>)> {
    let key = |family, name| Key::new(family, name);
    let quads = |family, name| Key::new(family, name).with("quads", true);
    let half = |key: Key| key.dtype(DType::F16).with("half_out", true);
    vec![
        (quads("optimizer", "sgd"), vec![("values", 4), ("grads", 4), ("velocity", 4)]),
        (quads("optimizer", "adamw"), vec![("values", 4), ("grads", 4), ("first", 4), ("second", 4)]),
        (quads("layerwise", "norms"), vec![("values", 4), ("grads", 4)]),
        (quads("layerwise", "lars"), vec![("values", 4), ("grads", 4), ("velocity", 4)]),
        (
            quads("layerwise", "lamb").with("moments", true),
            vec![("values", 4), ("grads", 4), ("first", 4), ("second", 4)],
        ),
        (quads("layerwise", "lamb"), vec![("values", 4), ("first", 4), ("second", 4)]),
        (key("convert", "to_f16").with("half_out", true), vec![("x", 4), ("out", 2)]),
        (key("activation", "forward").with("gelu", true), vec![("pre", 4), ("out", 4)]),
        (key("activation", "backward").with("gelu", true), vec![("grad", 4), ("pre", 4), ("out", 4)]),
        (half(key("activation", "backward")).with("gelu", true), vec![("grad", 2), ("pre", 2), ("out", 2)]),
        (key("norm", "forward"), vec![("x", 4), ("out", 4)]),
        (key("norm", "backward"), vec![("grad", 4), ("x", 4), ("out", 4)]),
        (key("norm", "gain"), vec![("grad", 4), ("x", 4)]),
        (key("layer_norm", "forward"), vec![("x", 4), ("out", 4)]),
        (key("layer_norm", "backward"), vec![("grad", 4), ("x", 4), ("out", 4)]),
        (key("layer_norm", "gain"), vec![("grad", 4), ("x", 4)]),
        (key("embed", "gather"), vec![("table", 4), ("out", 4)]),
        (key("embed", "scatter"), vec![("grad", 4)]),
        (key("score", "values").block(16), vec![("values", 4)]),
        (key("score", "values").block(16).with("times", true), vec![("values", 4), ("other", 4)]),
        (quads("reduce", "sum"), vec![("x", 4)]),
        (key("finite", "scan"), vec![("x", 4)]),
        (key("loss", "softmax"), vec![("logits", 4), ("grad", 4)]),
    ]
}

/// The table of the documentation is what the shaders do.
#[test]
fn bytes_of_memory_bound_kernels() {
    let page = include_str!("../../docs/memory.md");
    let mut missing = Vec::new();
    for (key, arrays) in kernels() {
        let passes = passes(&key, &arrays);
        let bytes = |of: &dyn Fn(u32) -> u32| -> u32 {
            passes.iter().zip(&arrays).map(|(both, (_, bytes))| (of(both[0]) + of(both[1])) * bytes).sum()
        };
        let (moved, least) = (bytes(&|passes| passes), bytes(&|passes| passes.min(1)));
        let ratio = f64::from(moved) / f64::from(least);
        let label = key.label();
        let row = format!("| `{}` | {moved} | {least} | {ratio:.2} |", label.trim_start_matches("fretwork."));
        if !page.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "docs/memory.md should have\n{}", missing.join("\n"));
}

/// A second pass, and a branch beside it, are counted.
#[test]
fn passes_are_counted() {
    let wgsl = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        @compute @workgroup_size(1)
        fn main() {
            if x[0] > 0.0 {
                for (var i = 0u; i < 4u; i++) { out[i] = 0.0; }
                return;
            }
            var sum = 0.0;
            for (var i = 0u; i < 4u; i++) { sum += x[i] + x[i + 4u]; }
            for (var i = 0u; i < 4u; i++) { out[i] = x[i] / sum; }
        }";
    let (module, _) = lint::validate(wgsl, false).unwrap();
    let entry = &module.entry_points[0].function;
    let all = traffic(&module, entry, &entry.body);
    assert_eq!(all[&("x".to_owned(), false)].looped, 2);
    assert_eq!(all[&("out".to_owned(), true)].looped, 1);
}
