//! The pages of the documentation: every snippet parses or runs, and what they say suffices to compute what the program does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commands;
mod exports;
mod pages;
mod python;
mod runs;
mod tensors;

use pages::{Block, blocks};

/// Each block of code is of a kind that is checked: here, or as a Python program in [`python`].
#[test]
fn every_block_is_checked() {
    let mut checked = 0;
    for block in blocks() {
        match block.tag.as_str() {
            // Output, drawings and shapes; commands among them are parsed like all others.
            "" | "text" => {}
            "sh" => block.lines().for_each(|line| commands::assert_command(&block, line)),
            "json" => assert_json(&block),
            "rust" => assert_compiled(&block),
            "python" => python::assert_has_a_test(&block),
            // Excerpts that use the Python package: bindings/python/tests/test_pages.py runs them.
            "py" => {}
            other => panic!("{}: no test checks blocks of {other:?}", block.place()),
        }
        checked += 1;
    }
    assert!(checked > 20, "only {checked} blocks were found");
}

fn assert_json(block: &Block) {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&block.text) {
        panic!("{}: {error}", block.place());
    }
}

/// Rust on a page is an excerpt of an example, of a page of the guide, or of a test of the Burn binding, which are compiled.
fn assert_compiled(block: &Block) {
    let folders =
        ["examples", "src/guide", "bindings/burn/tests"].map(|folder| std::fs::read_dir(folder).unwrap());
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let files = folders.into_iter().flatten().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let found = files
        .into_iter()
        .any(|path| trimmed(&std::fs::read_to_string(path).unwrap()).contains(&trimmed(&block.text)));
    assert!(
        found,
        "{}: this Rust is in no example, no test of a binding and not in the guide, so nothing compiles it",
        block.place()
    );
}
