//! Modules of a folder import in one direction: none imports a module that imports it back, by any way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules imported by each module of a folder, from its lines `use super::…`.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut imports = BTreeMap::new();
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|end| end != "rs") || module == "mod" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let of = text.lines().filter_map(|line| line.strip_prefix("use super::")).flat_map(names).collect();
        imports.insert(module, of);
    }
    imports
}

/// `a` of `a::B;` and of `a;`, `a` and `b` of `{a, b};`. The parent module is `super`, since it imports its children.
fn names(import: &str) -> Vec<String> {
    let list = import.trim_end_matches(';').trim_matches(['{', '}']).split(", ");
    let names = if import.starts_with('{') { list.collect() } else { vec![import] };
    names
        .into_iter()
        .map(|name| {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            let is_module = name[..end].starts_with(|c: char| c.is_lowercase());
            if is_module { name[..end].to_owned() } else { "super".to_owned() }
        })
        .collect()
}

/// A module that reaches itself, with the way there.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(imports: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> bool {
        let Some(next) = imports.get(way.last().unwrap()) else { return false };
        for module in next {
            let begun = way.contains(module);
            way.push(module.clone());
            if begun || walk(imports, way) {
                return true;
            }
            way.pop();
        }
        false
    }
    imports.keys().find_map(|module| {
        let mut way = vec![module.clone()];
        walk(imports, &mut way).then_some(way)
    })
}

/// All folders below `src`, the program's own included.
fn folders() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut next) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = next.pop() {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        next.extend(entries.filter(|path| path.is_dir()));
        found.push(folder.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
    }
    found
}

#[test]
fn modules_import_in_one_direction() {
    let folders = folders();
    assert!(folders.len() > 20, "{folders:?}");
    for folder in folders {
        let mut imports = imports(&folder);
        // Items that stand in `mod.rs` itself are imported by its children in some rooms.
        imports.values_mut().for_each(|of| {
            of.remove("super");
        });
        assert_eq!(circle(&imports), None, "src/{folder}");
    }
}

#[test]
fn no_module_of_these_rooms_imports_its_parent() {
    for folder in ["gpu", "sparse", "data", "check", "tune"] {
        let imports = imports(folder);
        assert!(imports.len() > 2, "{imports:?}");
        let upward: Vec<_> =
            imports.iter().filter(|(_, of)| of.contains("super")).map(|(of, _)| of).collect();
        assert!(upward.is_empty(), "src/{folder}: {upward:?} import from the parent, which imports them");
    }
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
        pairs
            .iter()
            .map(|(of, names)| ((*of).to_owned(), names.iter().map(|&n| n.to_owned()).collect()))
            .collect()
    };
    assert_eq!(circle(&of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).unwrap();
    assert_eq!(found, ["a", "b", "c", "b"]);
    assert_eq!(names("{csv, digits};"), ["csv", "digits"]);
    assert_eq!(names("key::Key;"), ["key"]);
    assert_eq!(names("Gpu;"), ["super"]);
    assert_eq!(names("table::{Features, Table};"), ["table"]);
}
