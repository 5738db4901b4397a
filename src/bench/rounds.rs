//! Timing of several entries in interleaved rounds.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;

/// Role of an entry in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reference that candidates are compared with.
    Baseline,
    /// First baseline timed again; its rate relative to the baseline's shows the noise.
    Control,
    /// Entry compared with the baselines.
    Candidate,
    /// Ceiling of arithmetic: multiply-adds in registers.
    Arithmetic,
    /// Ceiling of memory bandwidth: a copy.
    Memory,
}

/// Work to be timed.
pub struct Entry<'a> {
    /// Name of its row.
    pub name: String,
    /// Role in the comparison.
    pub role: Role,
    /// Floating-point operations of one execution.
    pub operations: f64,
    /// Least bytes that one execution reads and writes, where known.
    pub bytes: Option<f64>,
    /// Executions in one call of `run`.
    pub times: usize,
    /// Executes the work to completion and returns the time taken.
    pub run: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Timings of all entries of a comparison; displayed as a table of medians and ratios.
#[derive(Debug, Clone)]
pub struct Timings {
    title: String,
    rows: Vec<Row>,
}

/// Timings of one entry.
#[derive(Debug, Clone)]
pub struct Row {
    name: String,
    role: Role,
    operations: f64,
    bytes: Option<f64>,
    times: usize,
    /// Seconds of each round, in ascending order; never empty.
    seconds: Vec<f64>,
}

impl Row {
    /// Name of the entry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Role of the entry.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Seconds of each round, in ascending order.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Seconds of one execution in the median round.
    pub fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2] / self.times as f64
    }

    /// Operations per second in the median round.
    pub fn rate(&self) -> f64 {
        self.operations / self.median()
    }

    /// Bytes per second in the median round.
    pub fn bandwidth(&self) -> Option<f64> {
        self.bytes.map(|bytes| bytes / self.median())
    }

    /// Arithmetic intensity, in operations per byte.
    pub fn intensity(&self) -> Option<f64> {
        self.bytes.map(|bytes| self.operations / bytes)
    }

    /// Slowest minus fastest round, as a share of the median.
    pub fn spread(&self) -> f64 {
        let median = self.seconds[self.seconds.len() / 2];
        (self.seconds[self.seconds.len() - 1] - self.seconds[0]) / median
    }
}

/// Measured ceilings of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// Operations per second in registers.
    pub rate: f64,
    /// Bytes per second of a copy.
    pub bandwidth: f64,
}

impl Ceilings {
    /// Roofline: attainable operations per second at an arithmetic intensity.
    pub fn at(&self, intensity: f64) -> f64 {
        self.rate.min(intensity * self.bandwidth)
    }
}

/// Times all entries in `rounds` interleaved rounds, at least one, after a warm-up round that does not count.
///
/// # Errors
/// Those of the entries.
pub fn interleave(title: String, rounds: usize, mut entries: Vec<Entry<'_>>) -> Result<Timings> {
    let mut rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row {
            name: entry.name.clone(),
            role: entry.role,
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
    Ok(Timings { title, rows })
}

impl Timings {
    /// Title of the comparison.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Timings of each entry, in the order given.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Row of the entry named `name`.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Baseline with the highest rate.
    pub fn best(&self) -> Option<&Row> {
        let baselines = self.rows.iter().filter(|row| row.role == Role::Baseline);
        baselines.max_by(|a, b| a.rate().total_cmp(&b.rate()))
    }

    /// Rate of a row as a share of the best baseline's; NaN without a baseline.
    pub fn share(&self, row: &Row) -> f64 {
        self.best().map_or(f64::NAN, |best| row.rate() / best.rate())
    }

    /// Rate of the control as a share of the first baseline's: 1, up to noise.
    pub fn control(&self) -> Option<f64> {
        let first = |role| self.rows.iter().find(|row| row.role == role);
        Some(first(Role::Control)?.rate() / first(Role::Baseline)?.rate())
    }

    /// Ceilings of the device, if they were timed.
    pub fn ceilings(&self) -> Option<Ceilings> {
        let first = |role| self.rows.iter().find(|row| row.role == role);
        let (rate, bandwidth) = (first(Role::Arithmetic)?.rate(), first(Role::Memory)?.bandwidth()?);
        Some(Ceilings { rate, bandwidth })
    }

    /// Rate of a row as a share of the roofline at its intensity; `None` for work without operations.
    pub fn of_ceiling(&self, row: &Row) -> Option<f64> {
        let intensity = row.intensity().filter(|intensity| *intensity > 0.0)?;
        Some(row.rate() / self.ceilings()?.at(intensity))
    }

    /// Rows of baselines, control and candidates, without the ceilings.
    pub fn compared(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !matches!(row.role, Role::Arithmetic | Role::Memory))
    }

    /// All measurements.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name, "role": format!("{:?}", row.role).to_lowercase(), "operations": row.operations,
                "bytes": row.bytes, "times": row.times, "seconds": row.seconds,
                "share": self.share(row), "of_ceiling": self.of_ceiling(row),
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "title": self.title, "control": self.control(), "rows": rows })
    }
}

impl fmt::Display for Timings {
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
        for row in self.compared() {
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
