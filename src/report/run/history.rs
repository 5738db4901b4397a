//! History of a run, read from its log.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use crate::sparse::BLOCKS;
use crate::train::{EpochRecord, KernelsRecord, LayerRecord, LogRecord, StepsRecord, from_hex};
use crate::{Error, Result, files};

/// Records of a run, keyed by the number of completed epochs; the key 0 is the start.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) epochs: BTreeMap<u64, EpochRecord>,
    /// Mean loss, learning rate and milliseconds of a step, by the steps done in the run.
    pub(super) steps: BTreeMap<u64, [f64; 3]>,
    /// Sparse layers, in the order of their first record.
    pub(super) layers: Vec<Layer>,
    /// Kernels of the last process that trained the run.
    pub(super) kernels: Option<KernelsRecord>,
}

/// States of a sparse layer over a run.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Rows and columns of the grid of blocks.
    pub(super) grid: [usize; 2],
    pub(super) block: usize,
    pub(super) states: BTreeMap<u64, State>,
}

/// State of a sparse layer at one time.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nnz: usize,
    pub(super) updates: u64,
    pub(super) churn: u64,
    pub(super) visited: f64,
    /// Bit set of the stored blocks.
    pub(super) present: Vec<u32>,
    /// Bit set of the inactive blocks, a subset of `present`.
    pub(super) resting: Vec<u32>,
}

impl History {
    /// Reads a log; a missing file counts as an empty log. A killed run may leave an incomplete last line: a last line that
    /// has no line break and does not parse is ignored.
    ///
    /// # Errors
    /// [`Error::Data`] naming the damaged line, [`Error::Io`].
    pub(super) fn read(path: &Path) -> Result<Self> {
        match files::read(path, files::most_bytes()) {
            Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            read => Self::parse(path, &read?),
        }
    }

    /// Parses the bytes of the log at `path`.
    ///
    /// # Errors
    /// [`Error::Data`] naming the damaged line.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut history = Self::default();
        let mut lines = bytes.split(|&byte| byte == b'\n').enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let record = match parse(line) {
                Err(_) if lines.peek().is_none() => break,
                record => record,
            };
            record.and_then(|record| history.add(record)).map_err(|reason| Error::Data {
                path: path.to_owned(),
                reason: format!("line {}: {reason}", index + 1),
            })?;
        }
        Ok(history)
    }

    fn add(&mut self, record: LogRecord) -> Result<(), String> {
        let (done, layers) = match record {
            LogRecord::Start(start) => (0, start.layers),
            LogRecord::Epoch(mut epoch) => {
                let (done, layers) = (epoch.epoch.saturating_add(1), std::mem::take(&mut epoch.layers));
                self.epochs.insert(done, epoch);
                (done, layers)
            }
            LogRecord::Kernels(kernels) => {
                self.kernels = Some(kernels);
                return Ok(());
            }
            LogRecord::Steps(steps) => return self.add_steps(steps),
            LogRecord::Other => return Ok(()),
        };
        // The last record of an epoch replaces the earlier ones, with their layers.
        for layer in &mut self.layers {
            layer.states.remove(&done);
        }
        for record in layers {
            let name = record.name.clone();
            self.add_layer(done, record).map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(())
    }

    /// Adds reports of steps. A report of the same step replaces an earlier one: a run that is resumed does its steps again.
    fn add_steps(&mut self, record: StepsRecord) -> Result<(), String> {
        let StepsRecord { steps, loss, learning_rate, step_ms, .. } = record;
        if [loss.len(), learning_rate.len(), step_ms.len()] != [steps.len(); 3] {
            return Err(format!(
                "has {} steps, but {} losses, {} rates and {} times",
                steps.len(),
                loss.len(),
                learning_rate.len(),
                step_ms.len()
            ));
        }
        let number = |values: &[Option<f32>], index: usize| values[index].map_or(f64::NAN, f64::from);
        for (index, &step) in steps.iter().enumerate() {
            let report = [number(&loss, index), number(&learning_rate, index), number(&step_ms, index)];
            self.steps.insert(step, report);
        }
        Ok(())
    }

    fn add_layer(&mut self, done: u64, record: LayerRecord) -> Result<(), String> {
        let grid = [record.row_blocks, record.col_blocks];
        let state = State::new(&record)?;
        let known = self.layers.iter().position(|layer| layer.name == record.name);
        let index = known.unwrap_or(self.layers.len());
        if known.is_none() {
            self.layers.push(Layer { name: record.name, grid, block: record.block, states: BTreeMap::new() });
        }
        let layer = &mut self.layers[index];
        if (layer.grid, layer.block) != (grid, record.block) {
            let ([rows, cols], [old_rows, old_cols]) = (grid, layer.grid);
            return Err(format!(
                "is a grid of {rows} x {cols} blocks of {}, but was {old_rows} x {old_cols} of {}",
                record.block, layer.block
            ));
        }
        match layer.states.insert(done, state) {
            Some(_) => Err("is there twice".to_owned()),
            None => Ok(()),
        }
    }
}

/// Parses a line's record; the error is the parser's message.
fn parse(line: &[u8]) -> Result<LogRecord, String> {
    serde_json::from_slice(line).map_err(|error| {
        // The parser's line number refers to its input, a single line, and is always 1.
        let text = error.to_string();
        text.split(" at line ").next().unwrap_or_default().to_owned()
    })
}

impl Layer {
    /// Whether the pattern is the same at all times.
    pub(super) fn is_fixed(&self) -> bool {
        let mut states = self.states.values();
        states.next().is_none_or(|first| states.all(|state| state.has_pattern_of(first)))
    }

    /// Number of places in the grid of blocks.
    pub(super) fn places(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

impl State {
    /// Whether the same blocks are stored and inactive as in another state.
    pub(super) fn has_pattern_of(&self, other: &Self) -> bool {
        (&self.present, &self.resting) == (&other.present, &other.resting)
    }

    /// Numbers of grid rows and of grid columns without an active block.
    pub(super) fn empty_lines(&self, [rows, cols]: [usize; 2]) -> [usize; 2] {
        self.dead_lines([rows, cols]).map(|lines| lines.into_iter().filter(|&dead| dead).count())
    }

    /// For each grid row, and for each grid column, whether it is without an active block.
    pub(super) fn dead_lines(&self, [rows, cols]: [usize; 2]) -> [Vec<bool>; 2] {
        let (mut row_dead, mut col_dead) = (vec![true; rows], vec![true; cols]);
        for place in 0..rows * cols {
            if (self.present[place / 32] & !self.resting[place / 32]) >> (place % 32) & 1 == 1 {
                row_dead[place / cols] = false;
                col_dead[place % cols] = false;
            }
        }
        [row_dead, col_dead]
    }

    fn new(record: &LayerRecord) -> Result<Self, String> {
        if !BLOCKS.contains(&record.block) {
            return Err(format!("block {} is none of {BLOCKS:?}", record.block));
        }
        let places = record.row_blocks.checked_mul(record.col_blocks).filter(|&places| places > 0);
        let places = places
            .ok_or_else(|| format!("{} x {} blocks are no grid", record.row_blocks, record.col_blocks))?;
        let set = |text: &str| from_hex(text, places).map_err(|error| error.to_string());
        let present = set(&record.pattern)?;
        let resting = record.resting.as_deref().map_or(Ok(vec![0; present.len()]), set)?;
        let stored: usize = present.iter().map(|word| word.count_ones() as usize).sum();
        if stored != record.nnz {
            return Err(format!("nnz is {}, but the pattern has {stored} blocks", record.nnz));
        }
        if resting.iter().zip(&present).any(|(resting, present)| resting & !present != 0) {
            return Err("a block is resting that is not stored".to_owned());
        }
        let LayerRecord { nnz, updates, churn, visited, .. } = *record;
        Ok(Self { nnz, updates, churn, visited, present, resting })
    }
}
