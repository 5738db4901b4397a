//! Commands, as the program itself reads them.

use std::collections::HashSet;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use crate::pages::{Block, blocks, spans};

#[expect(dead_code, unused_imports, reason = "the program alone uses all of it")]
#[path = "../../src/bin/fretwork/options/mod.rs"]
mod options;

use options::Options;

/// Names of the fields that stand for a value, and a value for each.
const PLACEHOLDERS: [(&str, &str); 3] = [("N", "1"), ("S", "0.9"), ("NAME", "set")];

#[test]
fn every_command_parses() {
    let mut parsed = 0;
    for block in blocks() {
        for line in block.lines() {
            parsed += usize::from(parses(&block.place(), &line));
        }
    }
    for (place, code) in spans() {
        parsed += usize::from(parses(&place, &code));
    }
    assert!(parsed > 30, "only {parsed} commands were found");
}

/// Options that are named in sentences are options of the program, or of tools that stand beside them.
#[test]
fn every_option_exists() {
    let options = Options::command();
    let mut known: HashSet<String> =
        ["test", "workspace", "tests", "no-run", "release", "bin", "example"].map(str::to_owned).into();
    for command in options.get_subcommands() {
        known.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
    }
    known.insert("help".to_owned());
    let mut found = 0;
    for (place, code) in spans() {
        for name in
            words(&code).iter().filter_map(|word| word.strip_prefix("--")).filter(|name| !name.is_empty())
        {
            let name = name.split('=').next().unwrap_or(name);
            assert!(known.contains(name), "{place}: there is no option --{name}");
            found += 1;
        }
    }
    assert!(found > 30, "only {found} options were found");
}

/// Fails unless this line is a command that can be run: of the program, or of what the repository has.
pub(crate) fn assert_command(block: &Block, line: String) {
    let place = block.place();
    if parses(&place, &line) {
        return;
    }
    let words = words(&line);
    let mut words = words.iter().map(String::as_str).skip_while(|word| word.contains('='));
    match words.next() {
        Some("make") => {
            let makefile = std::fs::read_to_string("Makefile").unwrap();
            let target = words.next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{place}: the Makefile has no {target}");
        }
        Some("cargo") => {
            assert!(
                matches!(words.next(), Some("run" | "test" | "bench" | "build" | "install")),
                "{place}: {line}"
            );
        }
        Some(script) if script.starts_with("scripts/") => {
            assert!(Path::new(script).is_file(), "{place}: there is no {script}");
        }
        other => panic!("{place}: nothing checks the command {other:?}"),
    }
}

/// Whether a line is a command of the program, which must then be one that it understands.
#[track_caller]
fn parses(place: &str, line: &str) -> bool {
    let words = words(line);
    // After variables and wrappers.
    let is_program = |word: &String| word == "fretwork" || word.ends_with("/fretwork");
    let Some(at) = words.iter().position(is_program) else { return false };
    let wrapped = words[..at].iter().all(|word| {
        word.contains('=') || word.starts_with("scripts/") || word == "sid" || word == "bookworm"
    });
    if !wrapped || words.len() == at + 1 {
        return false;
    }
    // A sentence may name a command without what it needs.
    if let [name] = &words[at + 1..] {
        assert!(
            Options::command().find_subcommand(name).is_some(),
            "{place}: fretwork has no command {name}"
        );
        return true;
    }
    let arguments = words[at..].iter().map(|word| {
        PLACEHOLDERS.iter().find(|(name, _)| name == word).map_or(word.as_str(), |(_, value)| value)
    });
    if let Err(error) = Options::try_parse_from(arguments) {
        panic!("{place}: `{line}` is no command of fretwork: {error}");
    }
    true
}

/// The words of a line, as a shell has them, without a comment, brackets of what may be left out, and an ellipsis.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            '#' if !quoted && !begun => break,
            '[' | ']' | '…' if !quoted => {}
            letter if letter.is_whitespace() && !quoted => {
                words.extend(begun.then(|| std::mem::take(&mut word)));
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}
