//! Things that take turns at being timed.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;

/// What an entry is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What others are held against.
    Baseline,
    /// The first baseline again, which must be as fast.
    Control,
    /// What is held against the baselines.
    Rival,
    /// As fast as the device computes.
    Arithmetic,
    /// As fast as memory is read and written.
    Memory,
}

/// Something to time.
pub struct Entry<'a> {
    /// What it is called.
    pub name: String,
    /// What it is there for.
    pub part: Part,
    /// How many operations it does.
    pub operations: f64,
    /// How many bytes it must read or write at least, where that is known.
    pub bytes: Option<f64>,
    /// How often it is done in one go.
    pub times: usize,
    /// Does it, to the end, and says how long that took.
    pub run: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The times of all entries; in words, medians and how they compare.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    rows: Vec<Row>,
}

/// The times of one entry.
#[derive(Debug, Clone)]
pub struct Row {
    name: String,
    part: Part,
    operations: f64,
    bytes: Option<f64>,
    times: usize,
    /// In ascending order, one at least.
    seconds: Vec<f64>,
}

impl Row {
    /// What was timed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was there for.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Seconds of each round, in ascending order.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Seconds that it takes once, by the median round.
    pub fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2] / self.times as f64
    }

    /// Operations a second, of the median round.
    pub fn rate(&self) -> f64 {
        self.operations / self.median()
    }

    /// Bytes a second, of the median round.
    pub fn bandwidth(&self) -> Option<f64> {
        self.bytes.map(|bytes| bytes / self.median())
    }

    /// Operations for each byte that must be read or written.
    pub fn intensity(&self) -> Option<f64> {
        self.bytes.map(|bytes| self.operations / bytes)
    }

    /// How far the slowest round is from the fastest, as a share of the median.
    pub fn spread(&self) -> f64 {
        let median = self.seconds[self.seconds.len() / 2];
        (self.seconds[self.seconds.len() - 1] - self.seconds[0]) / median
    }
}

/// What a device reached in one run, at nothing but computing and at nothing but copying.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// Operations a second.
    pub rate: f64,
    /// Bytes a second.
    pub bandwidth: f64,
}

impl Ceilings {
    /// Operations a second that so many operations a byte leave possible.
    pub fn at(&self, intensity: f64) -> f64 {
        self.rate.min(intensity * self.bandwidth)
    }
}

/// Runs all entries in turn, `rounds` times (once at least) after one that does not count.
///
/// # Errors
/// As the entries.
pub fn contest(title: String, rounds: usize, mut entries: Vec<Entry<'_>>) -> Result<Table> {
    let mut rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row {
            name: entry.name.clone(),
            part: entry.part,
            operations: entry.operations,
            bytes: entry.bytes,
            times: entry.times,
            seconds: Vec::new(),
        })
        .collect();
    for round in 0..=rounds.max(1) {
        for (entry, row) in entries.iter_mut().zip(&mut rows) {
            let took = (entry.run)()?;
            if round > 0 {
                row.seconds.push(took.as_secs_f64());
            }
        }
    }
    rows.iter_mut().for_each(|row| row.seconds.sort_by(f64::total_cmp));
    Ok(Table { title, rows })
}

impl Table {
    /// What is compared.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The times of each entry, in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of that name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The baseline of the highest rate.
    pub fn best(&self) -> Option<&Row> {
        let baselines = self.rows.iter().filter(|row| row.part == Part::Baseline);
        baselines.max_by(|a, b| a.rate().total_cmp(&b.rate()))
    }

    /// A row's rate as a share of the best baseline's, NaN where there is none.
    pub fn share(&self, row: &Row) -> f64 {
        self.best().map_or(f64::NAN, |best| row.rate() / best.rate())
    }

    /// The control's rate as a share of the first baseline's: 1, but for what the clock and the machine make of it.
    pub fn control(&self) -> Option<f64> {
        let first = |part| self.rows.iter().find(|row| row.part == part);
        Some(first(Part::Control)?.rate() / first(Part::Baseline)?.rate())
    }

    /// What the device reached, where that was timed too.
    pub fn ceilings(&self) -> Option<Ceilings> {
        let first = |part| self.rows.iter().find(|row| row.part == part);
        let (rate, bandwidth) = (first(Part::Arithmetic)?.rate(), first(Part::Memory)?.bandwidth()?);
        Some(Ceilings { rate, bandwidth })
    }

    /// A row's rate as a share of what its operations a byte leave possible; none for what computes nothing.
    pub fn of_ceiling(&self, row: &Row) -> Option<f64> {
        let intensity = row.intensity().filter(|intensity| *intensity > 0.0)?;
        Some(row.rate() / self.ceilings()?.at(intensity))
    }

    /// Rows but those of the ceilings.
    pub fn contestants(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !matches!(row.part, Part::Arithmetic | Part::Memory))
    }

    /// Everything that was measured.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name, "part": format!("{:?}", row.part).to_lowercase(), "operations": row.operations,
                "bytes": row.bytes, "times": row.times, "seconds": row.seconds,
                "share": self.share(row), "of_ceiling": self.of_ceiling(row),
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "title": self.title, "control": self.control(), "rows": rows })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        let ceilings = self.ceilings();
        let [head, rule] = if ceilings.is_some() { [" of the ceiling |", " ---: |"] } else { [""; 2] };
        writeln!(
            f,
            "| what | median ms | spread | GFLOP/s | share of the best | time against the first |{head}"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: |{rule}")?;
        let Some(first) = self.rows.first() else { return Ok(()) };
        for row in self.contestants() {
            write!(
                f,
                "| {} | {:.2} | {:.0} % | {:.2} | {:.2} | {:.2} |",
                row.name,
                row.median() * 1e3,
                100.0 * row.spread(),
                row.rate() / 1e9,
                self.share(row),
                row.median() / first.median(),
            )?;
            match self.of_ceiling(row) {
                Some(share) => writeln!(f, " {:.1} % |", 100.0 * share)?,
                None => writeln!(f)?,
            }
        }
        if let Some(Ceilings { rate, bandwidth }) = ceilings {
            let (rate, bandwidth) = (rate / 1e9, bandwidth / 1e9);
            writeln!(f, "\nCeilings: {rate:.1} GFLOP/s in registers, {bandwidth:.2} GB/s copied.")?;
        }
        Ok(())
    }
}
