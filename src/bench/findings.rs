//! Results of a bench: timings, figures, speed-up curves and crossovers.

use std::fmt;

use serde_json::{Value, json};

use super::{Subject, Timings};

/// Results of one subject.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Subject that was timed.
    pub subject: Subject,
    /// Timings of its comparisons.
    pub tables: Vec<Timings>,
    /// Figures derived from the timings.
    pub grids: Vec<Grid>,
    /// Speed-ups over density.
    pub curves: Vec<Curve>,
}

/// Table of figures, some with a bar to reach.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Title of the table.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows, each with one cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// Cell of a grid.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// Number.
    Number(f64),
    /// Number with a bar that it should reach or not exceed.
    Bar {
        /// Measured number.
        found: f64,
        /// Bar.
        bar: f64,
        /// Whether the bar is an upper bound, rather than a lower one.
        at_most: bool,
    },
    /// Empty cell.
    Empty,
}

impl Cell {
    /// Cell of text.
    pub fn text(words: impl Into<String>) -> Self {
        Self::Text(words.into())
    }

    /// Number, with a lower bound where there is one.
    pub fn at_least(found: f64, bar: Option<f64>) -> Self {
        bar.map_or(Self::Number(found), |bar| Self::Bar { found, bar, at_most: false })
    }

    /// Number with an upper bound.
    pub fn at_most(found: f64, bar: f64) -> Self {
        Self::Bar { found, bar, at_most: true }
    }

    /// Whether the number meets its bar; `None` without a bar.
    pub fn passes(&self) -> Option<bool> {
        match *self {
            Self::Bar { found, bar, at_most } => Some(if at_most { found <= bar } else { found >= bar }),
            _ => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Bar { found, bar, at_most } => {
                let asked = if *at_most { "at_most" } else { "at_least" };
                json!({ "found": found, asked: bar, "passes": self.passes() })
            }
            Self::Empty => Value::Null,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => f.write_str(&digits(*number)),
            Self::Bar { found, bar, at_most } => {
                let asked = if *at_most { "at most " } else { "" };
                let verdict = if self.passes() == Some(true) { "reached" } else { "missed" };
                write!(f, "{} ({asked}{bar}: {verdict})", digits(*found))
            }
            Self::Empty => Ok(()),
        }
    }
}

/// Number with four decimals below 0.095, two below 100 and none from there on.
fn digits(number: f64) -> String {
    let decimals = if number.abs() < 0.095 { 4 } else { 2 };
    if number.abs() < 100.0 { format!("{number:.decimals$}") } else { format!("{number:.0}") }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n\n| {} |", self.title, self.head.join(" | "))?;
        let rule = |column: usize| if column == 0 { "---" } else { "---:" };
        let rules: Vec<_> = (0..self.head.len()).map(rule).collect();
        writeln!(f, "| {} |", rules.join(" | "))?;
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(Cell::to_string).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// Speed-up of a sparse product over the dense one, against density.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Name of the product.
    pub name: String,
    /// Block side.
    pub block: usize,
    /// `[density, speed-up]`, in ascending order of density.
    pub points: Vec<[f64; 2]>,
}

/// Density below which a sparse product is faster than the dense one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossover {
    /// Interpolated crossover density.
    At(f64),
    /// Faster at all measured densities, up to this one.
    Beyond(f64),
    /// Slower at all measured densities, from this one on.
    Below(f64),
}

impl Curve {
    /// Density at which the speed-up falls to 1, interpolated between measured points.
    pub fn crossover(&self) -> Crossover {
        let [mut last, mut at] = [f64::NAN; 2];
        for &[density, times] in &self.points {
            if times <= 1.0 {
                // Time is linear in density, and so is the inverse of the speed-up.
                let (before, here) = (1.0 / last, 1.0 / times);
                return if at.is_nan() {
                    Crossover::Below(density)
                } else {
                    Crossover::At(at + (density - at) * (1.0 - before) / (here - before))
                };
            }
            [last, at] = [times, density];
        }
        Crossover::Beyond(at)
    }

    fn to_json(&self) -> Value {
        let crossover = match self.crossover() {
            Crossover::At(density) => json!(density),
            Crossover::Beyond(_) | Crossover::Below(_) => Value::Null,
        };
        json!({ "name": self.name, "block": self.block, "points": self.points, "crossover": crossover })
    }
}

impl fmt::Display for Crossover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(density) => write!(f, "{density:.2}"),
            Self::Beyond(density) => write!(f, "above {density}"),
            Self::Below(density) => write!(f, "below {density}"),
        }
    }
}

impl Findings {
    /// All figures, without the timings.
    pub fn summary(&self) -> String {
        self.grids.iter().map(|grid| format!("{grid}\n")).collect()
    }

    /// All measurements.
    pub fn to_json(&self) -> Value {
        let grid = |grid: &Grid| {
            let rows = grid.rows.iter().map(|row| row.iter().map(Cell::to_json).collect::<Vec<_>>());
            json!({ "title": grid.title, "head": grid.head, "rows": rows.collect::<Vec<_>>() })
        };
        json!({
            "subject": self.subject.name(),
            "tables": self.tables.iter().map(Timings::to_json).collect::<Vec<_>>(),
            "figures": self.grids.iter().map(grid).collect::<Vec<_>>(),
            "curves": self.curves.iter().map(Curve::to_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        f.write_str(&self.summary())
    }
}
