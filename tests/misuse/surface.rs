//! The public functions of `gpu`, `sparse` and `ops`, read off their sources.

use std::collections::BTreeSet;
use std::path::Path;

/// Every public function of a folder under `src/`: `Type::name` of a method, `file::name` of another.
pub(crate) fn public_functions(room: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    collect(&root, room, &mut found);
    assert!(found.len() > 30, "{found:?}");
    found
}

fn collect(folder: &Path, name: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            collect(&path, &stem, found);
        } else {
            let stem = if stem == "mod" { name } else { &stem };
            read(&std::fs::read_to_string(&path).unwrap(), stem, found);
        }
    }
}

/// `rustfmt` indents methods by four spaces, and what else is public by none.
fn read(text: &str, file: &str, found: &mut BTreeSet<String>) {
    let mut of = String::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("impl") {
            of = implemented(line);
        }
        for (indent, of) in [("", file), ("    ", of.as_str())] {
            let Some(line) = line.strip_prefix(indent) else { continue };
            let declared = ["pub fn ", "pub const fn ", "pub unsafe fn "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            if let Some(declared) = declared {
                let end = declared.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap();
                found.insert(format!("{of}::{}", &declared[..end]));
            }
        }
    }
}

/// The type that a block is of: `Pending` of `<T: Element> Pending<T> {`.
fn implemented(line: &str) -> String {
    let mut depth = 0;
    let outside: String = line
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '<') - i32::from(*c == '>');
            depth == 0 && !['<', '>'].contains(c)
        })
        .collect();
    let of = outside.split(" for ").last().unwrap();
    of.trim().trim_end_matches('{').trim().to_owned()
}

#[test]
fn functions_are_found() {
    let mut found = BTreeSet::new();
    let text = "pub fn free<T>() {}\nimpl<T: Element> Pending<T> {\n    pub fn wait(self) {}\n    fn hidden() {}\n\
                \x20   pub(crate) fn inner() {}\n}\nimpl Gpu {\n    pub const fn name() {}\n}\n";
    read(text, "file", &mut found);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["Gpu::name", "Pending::wait", "file::free"]);
}
