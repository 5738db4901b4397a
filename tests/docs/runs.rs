//! Short runs of the program.

use std::path::PathBuf;
use std::process::Command;

use fretwork::random::{Key, Stream};
use serde_json::Value;
use tempfile::TempDir;

use crate::tensors::assert_described;

/// A folder with data, for one run at a time.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Trains into the folder `run`, in place of any run before, and gives the summary.
    pub(crate) fn train(&self, arguments: &str) -> Value {
        let run = self.path("run");
        if run.exists() {
            std::fs::remove_dir_all(&run).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_fretwork"));
        command.args(["train", "--json", "--out", "run"]).args(arguments.split_whitespace());
        let output = command.env("FRETWORK_TUNE", "off").current_dir(self.0.path()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        // A run that is stopped exits as one that is interrupted.
        assert!(matches!(output.status.code(), Some(0 | 130)), "{arguments}: {errors}");
        let said = String::from_utf8_lossy(&output.stdout);
        let last = serde_json::from_str::<Value>(said.lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "done");
        assert_described(&run);
        last
    }

    /// A table of thirteen features, which blocks do not divide, one of them constant, in three classes.
    pub(crate) fn write_table(&self) {
        let mut walk = Key::new(9, Stream::Check(0)).walk();
        let mut table = "a,b,c,d,e,f,g,h,i,j,k,l,m,label\n".to_owned();
        for row in 0..230 {
            let label = row % 3;
            for column in 0..13 {
                let shift = if column % 3 == label { 1.5 } else { 0.0 };
                let x = if column == 4 { 0.1 } else { 10.0 * walk.uniform() * (column + 1) as f32 + shift };
                table.push_str(&format!("{x},"));
            }
            table.push_str(&format!("{label}\n"));
        }
        std::fs::write(self.path("table.csv"), table).unwrap();
    }

    /// A text of few different bytes, with some order in it.
    pub(crate) fn write_text(&self) {
        let mut walk = Key::new(9, Stream::Check(1)).walk();
        let words = ["fret", "work ", "open\n", "saw ", "block. "];
        let text: String = (0..900).map(|_| words[walk.below(5) as usize]).collect();
        std::fs::write(self.path("text.txt"), text).unwrap();
    }
}
