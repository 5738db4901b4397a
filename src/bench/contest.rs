//! Things that take turns at being timed.

use std::fmt;
use std::time::Instant;

use serde_json::{Value, json};

use crate::Error;

/// Something to time.
pub struct Entry<'a, E = Error> {
    /// What it is called.
    pub name: String,
    /// How many operations it does.
    pub operations: f64,
    /// Does it once, to the end.
    pub run: Box<dyn FnMut() -> Result<(), E> + 'a>,
}

impl<E> fmt::Debug for Entry<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The times of all entries; in words, medians and how they compare with the first.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    rows: Vec<Row>,
}

/// The times of one entry.
#[derive(Debug, Clone)]
pub struct Row {
    name: String,
    operations: f64,
    /// In ascending order, one at least.
    seconds: Vec<f64>,
}

impl Row {
    /// What was timed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds of each round, in ascending order.
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// Seconds of the median round.
    pub fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    /// Operations a second, of the median round.
    pub fn rate(&self) -> f64 {
        self.operations / self.median()
    }

    /// How far the slowest round is from the fastest, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.seconds[self.seconds.len() - 1] - self.seconds[0]) / self.median()
    }
}

/// Runs all entries in turn, `rounds` times (once at least) after one that does not count.
///
/// # Errors
/// As the entries.
pub fn contest<E>(title: String, rounds: usize, mut entries: Vec<Entry<'_, E>>) -> Result<Table, E> {
    let mut rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row { name: entry.name.clone(), operations: entry.operations, seconds: Vec::new() })
        .collect();
    for round in 0..=rounds.max(1) {
        for (entry, row) in entries.iter_mut().zip(&mut rows) {
            let started = Instant::now();
            (entry.run)()?;
            if round > 0 {
                row.seconds.push(started.elapsed().as_secs_f64());
            }
        }
    }
    rows.iter_mut().for_each(|row| row.seconds.sort_by(f64::total_cmp));
    Ok(Table { title, rows })
}

impl Table {
    /// The times of each entry, in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Everything that was measured.
    pub fn to_json(&self) -> Value {
        let row =
            |row: &Row| json!({ "name": row.name, "operations": row.operations, "seconds": row.seconds });
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(
            f,
            "| what | median ms | spread | GFLOP/s | rate against the first | time against the first |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
        let Some(first) = self.rows.first() else { return Ok(()) };
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {:.2} | {:.0} % | {:.2} | {:.2} | {:.2} |",
                row.name,
                row.median() * 1e3,
                100.0 * row.spread(),
                row.rate() / 1e9,
                row.rate() / first.rate(),
                row.median() / first.median(),
            )?;
        }
        Ok(())
    }
}
