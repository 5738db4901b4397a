//! Things that take turns at being timed.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

/// Something to time: what it is called, how many operations it does, and how to do it once, to the end.
pub(crate) struct Entry<'a> {
    pub(crate) name: String,
    pub(crate) operations: f64,
    pub(crate) run: Box<dyn FnMut() -> Result<()> + 'a>,
}

/// Medians of all entries, and how they compare with the first.
pub(crate) struct Table {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    operations: f64,
    seconds: Vec<f64>,
}

impl Row {
    fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    fn rate(&self) -> f64 {
        self.operations / self.median()
    }
}

/// Runs all entries in turn, `rounds` times after one that does not count.
pub(crate) fn contest(title: String, rounds: usize, mut entries: Vec<Entry<'_>>) -> Result<Table> {
    let mut rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row { name: entry.name.clone(), operations: entry.operations, seconds: Vec::new() })
        .collect();
    for round in 0..=rounds {
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
    pub(crate) fn to_json(&self) -> Value {
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
        let first = &self.rows[0];
        for row in &self.rows {
            let (least, most) = (row.seconds[0], row.seconds[row.seconds.len() - 1]);
            writeln!(
                f,
                "| {} | {:.2} | {:.0} % | {:.2} | {:.2} | {:.2} |",
                row.name,
                row.median() * 1e3,
                100.0 * (most - least) / row.median(),
                row.rate() / 1e9,
                row.rate() / first.rate(),
                row.median() / first.median(),
            )?;
        }
        Ok(())
    }
}
