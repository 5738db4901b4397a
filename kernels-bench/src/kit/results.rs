//! Results of a run of the kit: the outcome of each step, and the files that it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::steps::{Program, step};

/// File of the outcomes.
const FILE: &str = "steps.json";

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The program ended by itself, with success.
    Done,
    /// The program ended by itself, without success.
    Failed {
        /// Exit code and last message.
        why: String,
    },
    /// The program was ended because its time was over.
    Cut {
        /// Seconds after which it was ended.
        after: f64,
    },
    /// The program did not run.
    NotRun {
        /// Reason.
        why: String,
    },
}

/// A step with its outcome and the time that it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) step: String,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// Results in a folder.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) folder: PathBuf,
    pub(crate) steps: Vec<Taken>,
    benches: BTreeMap<String, Bench>,
    baselines: BTreeMap<String, Vec<Line>>,
}

/// Why a figure is not there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lack {
    /// Step that would have measured the figure.
    pub(crate) step: &'static str,
    /// What its results lack.
    pub(crate) what: String,
}

/// Results of `fretwork bench`, as its JSON has them.
#[derive(Debug, Deserialize)]
struct Bench {
    subjects: Vec<Subject>,
}

#[derive(Debug, Deserialize)]
struct Subject {
    subject: String,
    tables: Vec<Table>,
    curves: Vec<Curve>,
}

#[derive(Debug, Deserialize)]
struct Table {
    title: String,
    rows: Vec<Timed>,
}

/// A row of a bench.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Timed {
    name: String,
    pub(crate) operations: f64,
    #[serde(default = "once")]
    times: usize,
    seconds: Vec<f64>,
    /// Rate as a share of the best baseline's; none without operations.
    pub(crate) share: Option<f64>,
}

/// A line of the baseline in PyTorch: a timing, or why there is none.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    what: Option<String>,
    missing: Option<String>,
    operations: Option<f64>,
    #[serde(default = "once")]
    times: usize,
    #[serde(default)]
    seconds: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Curve {
    name: String,
    block: usize,
    points: Vec<[f64; 2]>,
}

fn once() -> usize {
    1
}

/// Seconds of one execution in the median round, as benches count it.
fn median(seconds: &[f64], times: usize) -> Option<f64> {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map(|second| second / times as f64)
}

impl Timed {
    /// Seconds of one execution in the median round.
    pub(crate) fn median(&self) -> f64 {
        median(&self.seconds, self.times).unwrap_or(f64::NAN)
    }

    /// Operations per second in the median round.
    pub(crate) fn rate(&self) -> f64 {
        self.operations / self.median()
    }
}

impl Results {
    /// Outcomes without files.
    pub(crate) fn new(folder: &Path, steps: Vec<Taken>) -> Self {
        Self { folder: folder.to_owned(), steps, benches: BTreeMap::new(), baselines: BTreeMap::new() }
    }

    /// Results of steps whose files lie in `folder`.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn read(folder: &Path, steps: Vec<Taken>) -> Result<Self> {
        let mut results = Self::new(folder, steps);
        for Taken { step: name, .. } in results.steps.clone() {
            let Some(step) = step(&name) else { bail!("{FILE}: there is no step {name:?}") };
            if step.is_bench() {
                // A bench that was cut before its first subject wrote no file, and one without its end is never seen.
                if let Some(text) = read(&folder.join(format!("{name}.json")))? {
                    results.add_bench(&name, &text)?;
                }
            } else if step.program == Program::Torch
                && let Some(text) = read(&folder.join(format!("{name}.out")))?
            {
                results.add_baseline(&name, &text);
            }
        }
        Ok(results)
    }

    /// Results of a run that is over.
    ///
    /// # Errors
    /// Files that are missing or cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let steps = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Self::read(folder, steps)
    }

    /// Writes the outcomes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn keep(folder: &Path, steps: &[Taken]) -> Result<()> {
        let (path, beside) = (folder.join(FILE), folder.join(format!("{FILE}.part")));
        std::fs::write(&beside, serde_json::to_string_pretty(steps)? + "\n")
            .and_then(|()| std::fs::rename(&beside, &path))
            .with_context(|| path.display().to_string())
    }

    /// Adds the JSON of a bench.
    ///
    /// # Errors
    /// Text that is no JSON of a bench.
    pub(crate) fn add_bench(&mut self, step: &str, text: &str) -> Result<()> {
        let bench = serde_json::from_str(text).with_context(|| format!("{step}.json"))?;
        self.benches.insert(step.to_owned(), bench);
        Ok(())
    }

    /// Adds the lines of a baseline; a last line that was cut is left out.
    pub(crate) fn add_baseline(&mut self, step: &str, text: &str) {
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        self.baselines.insert(step.to_owned(), lines.collect());
    }

    /// Outcome of a step; a step that is not listed did not run.
    pub(crate) fn outcome(&self, name: &str) -> Outcome {
        let none = || Outcome::NotRun { why: "the step was not asked for".to_owned() };
        self.steps.iter().find(|taken| taken.step == name).map_or_else(none, |taken| taken.outcome.clone())
    }

    /// Subjects that a bench completed.
    pub(crate) fn subjects(&self, step: &str) -> Vec<&str> {
        let subjects = self.benches.get(step).map_or(&[][..], |bench| &bench.subjects);
        subjects.iter().map(|subject| subject.subject.as_str()).collect()
    }

    fn subject(&self, step: &'static str, name: &str) -> Result<&Subject, Lack> {
        let bench = self.benches.get(step);
        let found = bench.and_then(|bench| bench.subjects.iter().find(|subject| subject.subject == name));
        found.ok_or_else(|| Lack { step, what: format!("no {name}") })
    }

    /// Row of a bench, in the table whose title ends with `title`.
    pub(crate) fn row(
        &self,
        step: &'static str,
        subject: &str,
        title: &str,
        name: &str,
    ) -> Result<&Timed, Lack> {
        let tables = &self.subject(step, subject)?.tables;
        let Some(table) = tables.iter().find(|table| table.title.ends_with(title)) else {
            let found = tables.first().map_or("nothing", |table| &table.title);
            return Err(Lack { step, what: format!("timed was {found:?}, not {title:?}") });
        };
        let row = table.rows.iter().find(|row| row.name == name);
        row.ok_or_else(|| Lack { step, what: format!("{title:?} has no {name:?}") })
    }

    /// Speed-ups of a sparse product over density, with the block side.
    pub(crate) fn curve(
        &self,
        step: &'static str,
        name: &str,
        block: usize,
    ) -> Result<fretwork::bench::Curve, Lack> {
        let curves = &self.subject(step, "sparse")?.curves;
        let curve = curves.iter().find(|curve| curve.name == name && curve.block == block);
        let Some(Curve { name, block, points }) = curve else {
            return Err(Lack { step, what: format!("no {name} of blocks of {block}") });
        };
        Ok(fretwork::bench::Curve { name: name.clone(), block: *block, points: points.clone() })
    }

    /// Timing of the baseline in PyTorch.
    pub(crate) fn baseline(&self, step: &'static str, what: &str) -> Result<Timed, Lack> {
        let lines = self.baselines.get(step).map_or(&[][..], Vec::as_slice);
        let lack = |reason: &str| Lack { step, what: format!("{what}: {reason}") };
        let of = |line: &&Line| line.what.as_deref() == Some(what);
        match lines.iter().find(of).cloned() {
            None => Err(lack("no line")),
            Some(Line { missing: Some(reason), .. }) => Err(lack(&reason)),
            Some(Line { operations: Some(operations), times, seconds, .. }) if !seconds.is_empty() => {
                Ok(Timed { name: what.to_owned(), operations, times, seconds, share: None })
            }
            Some(_) => Err(lack("no times")),
        }
    }

    /// Numbers of timings of the baseline, and of those that PyTorch refused.
    pub(crate) fn baselines(&self, step: &str) -> [usize; 2] {
        let lines = self.baselines.get(step).map_or(&[][..], Vec::as_slice);
        let refused = lines.iter().filter(|line| line.missing.is_some()).count();
        [lines.iter().filter(|line| !line.seconds.is_empty()).count(), refused]
    }

    /// JSON objects of a step's standard output, one a line.
    pub(crate) fn lines(&self, step: &str) -> Vec<serde_json::Value> {
        let text = read(&self.folder.join(format!("{step}.out"))).ok().flatten().unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Text of a file, if it is there.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
