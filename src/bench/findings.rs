//! What came out.

use std::fmt;

use serde_json::{Value, json};

use super::{Subject, Table};

/// What a subject's times are, and what they say.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What was timed.
    pub subject: Subject,
    /// The times.
    pub tables: Vec<Table>,
    /// What follows from them.
    pub grids: Vec<Grid>,
    /// What is faster from which density on.
    pub curves: Vec<Curve>,
}

/// Figures, some of them beside what was asked for.
#[derive(Debug, Clone)]
pub struct Grid {
    /// What they are.
    pub title: String,
    /// The names of the columns.
    pub head: Vec<String>,
    /// As many cells in each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number.
    Number(f64),
    /// A number that should be at least as large as a bar, or at most as large.
    Bar {
        /// The number.
        found: f64,
        /// What it should reach.
        bar: f64,
        /// Or not exceed.
        at_most: bool,
    },
    /// Nothing.
    Empty,
}

impl Cell {
    /// Words.
    pub fn text(words: impl Into<String>) -> Self {
        Self::Text(words.into())
    }

    /// A number, with the bar that it should reach where there is one.
    pub fn at_least(found: f64, bar: Option<f64>) -> Self {
        bar.map_or(Self::Number(found), |bar| Self::Bar { found, bar, at_most: false })
    }

    /// A number that should not exceed a bar.
    pub fn at_most(found: f64, bar: f64) -> Self {
        Self::Bar { found, bar, at_most: true }
    }

    /// Whether the number is on the right side of its bar, where it has one.
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

/// Three digits that count, of ratios two decimals at least.
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

/// How much faster a sparse product is than the dense one, over its density.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Which product.
    pub name: String,
    /// The side of a block.
    pub block: usize,
    /// `[density, times as fast]`, densities in ascending order.
    pub points: Vec<[f64; 2]>,
}

/// Up to which density something sparse is faster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crossover {
    /// Up to this one.
    At(f64),
    /// At all that were measured.
    Beyond(f64),
    /// At none, the least of which was this.
    Below(f64),
}

impl Curve {
    /// Where the curve comes down to 1, straight from point to point.
    pub fn crossover(&self) -> Crossover {
        let [mut last, mut at] = [f64::NAN; 2];
        for &[density, times] in &self.points {
            if times <= 1.0 {
                // Time grows with density evenly, so it is its inverse that is straight.
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
    /// The figures alone, without the times that they come from.
    pub fn summary(&self) -> String {
        self.grids.iter().map(|grid| format!("{grid}\n")).collect()
    }

    /// Everything that was measured.
    pub fn to_json(&self) -> Value {
        let grid = |grid: &Grid| {
            let rows = grid.rows.iter().map(|row| row.iter().map(Cell::to_json).collect::<Vec<_>>());
            json!({ "title": grid.title, "head": grid.head, "rows": rows.collect::<Vec<_>>() })
        };
        json!({
            "subject": self.subject.name(),
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
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
