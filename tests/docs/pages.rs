//! Blocks and spans of code in Markdown.

use std::path::PathBuf;

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    page: PathBuf,
    /// The line of its fence, from 1.
    line: usize,
    /// The language.
    pub(crate) tag: String,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }

    /// Lines that are not empty, those that end in a backslash joined with the next.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let joined = self.text.replace("\\\n", " ");
        joined
            .lines()
            .map(str::to_owned)
            .filter(|line| !line.trim().is_empty())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// README and everything in `docs/`, with their text.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push("README.md".into());
    pages.sort();
    pages.into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
}

/// All fenced blocks.
pub(crate) fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (page, text) in pages() {
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(tag), None) => {
                    let (page, tag, text) = (page.clone(), tag.trim().to_owned(), String::new());
                    open = Some(Block { page, line: number + 1, tag, text });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block does not end", page.display());
    }
    blocks
}

/// Code within sentences, which may go over the end of a line, with the page and line where it begins.
pub(crate) fn spans() -> Vec<(String, String)> {
    let mut spans = Vec::new();
    for (page, text) in pages() {
        let mut fenced = false;
        let prose = text.lines().map(|line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            if fence || fenced { "" } else { line }
        });
        let prose = prose.collect::<Vec<_>>().join("\n");
        let mut line = 1;
        for (at, part) in prose.split('`').enumerate() {
            if at % 2 == 1 {
                spans.push((format!("{}:{line}", page.display()), part.replace('\n', " ")));
            }
            line += part.matches('\n').count();
        }
    }
    spans
}
