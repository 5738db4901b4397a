//! Batches: rows of any kind of data, and the batch on the host that they fill.

use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// Rows to train or to test on, by their numbers. They need not be in memory: row `i` must be the same whenever it is asked for,
/// so that a run that is resumed sees what it would have seen.
pub trait Batches: fmt::Debug + Send + Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Features of a row.
    fn width(&self) -> usize;

    /// Targets of a row.
    fn targets(&self) -> Targets;

    /// Gathers rows into a batch. Its features are 0 and its targets those of rows that do not count when this is called; there are
    /// at least as many places as `rows`.
    ///
    /// # Errors
    /// [`Error::Data`] or [`Error::Io`] where a row cannot be had.
    fn fill(&self, rows: &[u32], batch: &mut HostBatch) -> Result<()>;

    /// A number that changes when the rows do: a run refuses to go on with other data than it began with.
    fn fingerprint(&self) -> u32;
}

/// Targets of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// A class, below this number.
    Classes(usize),
    /// This number of values.
    Values(usize),
}

/// Input of a network, on the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Features, row after row.
    Floats(Vec<f32>),
    /// Ids of bytes, window after window.
    Ids(Vec<u32>),
}

/// Targets of a batch, on the host.
#[derive(Debug, Clone, PartialEq)]
pub enum HostTargets {
    /// Class of each row; rows that do not count have [`IGNORED`](crate::ops::IGNORED).
    Classes(Vec<u32>),
    /// Numbers of each row; rows that do not count have NaN.
    Values(Vec<f32>),
}

/// A batch on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// Places for rows.
    pub places: usize,
    /// Input of the network, with as many elements a place as the network's input has.
    pub input: Input,
    /// The targets.
    pub targets: HostTargets,
}

impl HostBatch {
    /// Features of a table and its targets, to be filled.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch of ids or classes.
    pub fn values(&mut self) -> Result<(&mut [f32], &mut [f32])> {
        match (&mut self.input, &mut self.targets) {
            (Input::Floats(features), HostTargets::Values(targets)) => Ok((features, targets)),
            _ => Err(Error::Config {
                option: "data",
                reason: "is not of features with numbers as targets".to_owned(),
            }),
        }
    }

    /// Features of a table and its classes, to be filled.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch of ids or numbers.
    pub fn classes(&mut self) -> Result<(&mut [f32], &mut [u32])> {
        match (&mut self.input, &mut self.targets) {
            (Input::Floats(features), HostTargets::Classes(classes)) => Ok((features, classes)),
            _ => Err(Error::Config {
                option: "data",
                reason: "is not of features with a class each".to_owned(),
            }),
        }
    }
}

/// Some rows of a program's own.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) of: Arc<dyn Batches>,
    pub(super) rows: Vec<u32>,
}

impl Batches for Picked {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.of.width()
    }

    fn targets(&self) -> Targets {
        self.of.targets()
    }

    fn fill(&self, rows: &[u32], batch: &mut HostBatch) -> Result<()> {
        let rows: Vec<u32> = rows.iter().map(|&row| self.rows[row as usize]).collect();
        self.of.fill(&rows, batch)
    }

    fn fingerprint(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(&self.of.fingerprint().to_le_bytes());
        crc.update(bytemuck::cast_slice(&self.rows));
        crc.sum()
    }
}
