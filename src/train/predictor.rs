//! Predictions of a trained network, from its run folder alone.

use std::collections::VecDeque;
use std::path::Path;

use super::feed::Feed;
use super::metrics::{largest, softmax};
use super::plans::record_refresh;
use super::steps::IN_FLIGHT;
use super::whole::{Scores, mean_logits, of_row};
use super::{Checkpoint, Footprint, NetworkScores, RunFolder};
use crate::data::{Encoding, Features, Rows, Standard, Table, TargetKind, Task};
use crate::gpu::{DType, Gpu, Plan, Recorder};
use crate::graph::Network;
use crate::nn::{ModelConfig, Row, Together};
use crate::ops::SideBySide;
use crate::{Error, Result};

/// A trained network that predicts, with the encoding of its data.
///
/// ```no_run
/// use fretwork::gpu::{Gpu, Options};
/// use fretwork::train::{Predictor, RunFolder};
///
/// # fn main() -> fretwork::Result<()> {
/// let gpu = Gpu::request(Options::default())?;
/// let mut predictor = Predictor::open(&gpu, &RunFolder::inspect("runs/iris".as_ref())?)?;
/// let features = predictor.encoding()?.features("new.csv".as_ref())?;
/// for row in predictor.probabilities(features)? {
///     println!("{row:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Predictor {
    gpu: Gpu,
    checkpoint: Checkpoint,
    network: Network,
    /// The networks in each output of an ensemble; none in other runs.
    networks: Vec<SideBySide>,
    forward: Plan,
    /// Rows (of a text: windows) of one forward pass.
    batch: usize,
    feed: Feed,
}

impl Predictor {
    /// The network of a run's checkpoint.
    ///
    /// # Errors
    /// As [`RunFolder::load`]; [`Error::Config`] for a network that a program composed; [`Error::OutOfMemory`].
    pub fn open(gpu: &Gpu, folder: &RunFolder) -> Result<Self> {
        Self::of_checkpoint(gpu, folder.load()?, &folder.checkpoint_path())
    }

    /// The network of a checkpoint that was read from `path`.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn of_checkpoint(gpu: &Gpu, checkpoint: Checkpoint, path: &Path) -> Result<Self> {
        checkpoint.settings.validate()?;
        let networks = match &checkpoint.settings.model {
            ModelConfig::Mlps(config) if config.together == Together::Ensemble => config.side_by_side(),
            _ => Vec::new(),
        };
        let checkpoint = match networks.is_empty() {
            true => checkpoint.single(path)?.into_owned(),
            false => checkpoint,
        };
        let settings = &checkpoint.settings;
        let sizes = match &settings.model {
            ModelConfig::Mlp(config) => Some((config.inputs, config.classes)),
            ModelConfig::Mlps(config) => Some((config.inputs, config.classes)),
            _ => None,
        };
        if let (Some(sizes), Some(encoding)) = (sizes, &checkpoint.encoding) {
            let outputs = match encoding.table().map(|table| &table.target.kind) {
                Some(TargetKind::Classes(names)) => names.len(),
                Some(TargetKind::Values(_)) => 1,
                None => sizes.1,
            };
            if sizes != (encoding.width(), outputs) {
                let reason = "its encoding is of another number of features or classes than its network";
                return Err(Error::Checkpoint { path: path.to_owned(), reason: reason.to_owned() });
            }
        }
        let (model, precision, batch) = (&settings.model, settings.precision, settings.pass_rows());
        Footprint::of_network(model, model.sparsity(), batch, precision, settings.recompute)?
            .expect_room(gpu)?;
        let network = checkpoint.network(gpu, path, &checkpoint.topologies(path)?, batch)?;
        gpu.run(&record_refresh(gpu, &network)?)?;
        let mut rec = Recorder::new(gpu);
        network.forward(&mut rec, None)?;
        let targets = match settings.task() {
            Task::Classification => DType::U32,
            Task::Regression => DType::F32,
        };
        let feed = Feed::new(&network, batch, targets, network.logits().shape()[0]);
        Ok(Self { gpu: gpu.clone(), forward: rec.finish()?, network, networks, batch, feed, checkpoint })
    }

    /// The checkpoint, without use for its tensors any more.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether classes or values are predicted.
    pub fn task(&self) -> Task {
        self.checkpoint.settings.task()
    }

    /// How rows of files are encoded.
    ///
    /// # Errors
    /// [`Error::Config`] for a language model, and for a run of a version that kept no encoding.
    pub fn encoding(&self) -> Result<&Encoding> {
        self.checkpoint.encoding.as_ref().ok_or_else(|| Error::Config {
            option: "dir",
            reason: "the run keeps no encoding of files of rows: it is of a text or of an older version"
                .to_owned(),
        })
    }

    /// Names of the classes, in the order of the outputs: those of the encoding, the bytes of a text (escaped), or numbers. None for a
    /// regression.
    pub fn classes(&self) -> Vec<String> {
        let named = self.checkpoint.encoding.as_ref().map_or(&[][..], Encoding::classes);
        match &self.checkpoint.settings.model {
            _ if self.task() == Task::Regression => Vec::new(),
            ModelConfig::Lm(config) => {
                config.vocabulary.iter().map(|byte| byte.escape_ascii().to_string()).collect()
            }
            _ if named.is_empty() => (0..self.width()).map(|class| class.to_string()).collect(),
            _ => named.to_vec(),
        }
    }

    /// The network's outputs for every row: logits, or a standardised value; `[rows, outputs]`, and of a text
    /// `[rows * context, outputs]`. Those of an ensemble are the logarithms of the mean of its networks' probabilities. Waits for the
    /// device.
    ///
    /// # Errors
    /// [`Error::Config`] if the rows are not of the kind or width that the network reads; [`Error::NotFinite`] for an output that is
    /// NaN or infinite; [`Error::DeviceLost`].
    pub fn outputs(&mut self, rows: &Rows) -> Result<Vec<f32>> {
        let mut outputs = self.all_outputs(rows)?;
        if self.networks.is_empty() {
            return Ok(outputs.swap_remove(0));
        }
        let mean = |row| mean_logits(of_row(&outputs, &self.networks, row));
        Ok((0..rows.rows()).flat_map(mean).collect())
    }

    /// Every output for every row.
    fn all_outputs(&mut self, rows: &Rows) -> Result<Vec<Vec<f32>>> {
        let wanted = match self.checkpoint.settings.model.row() {
            Row::Features(width) | Row::Window(width) => width,
        };
        if rows.width() != wanted {
            let reason = format!("rows of width {}, but the network reads {wanted}", rows.width());
            return Err(Error::Config { option: "data", reason });
        }
        let labels = self.network.logits().shape()[0] / self.batch;
        let numbers: Vec<u32> = (0..rows.rows() as u32).collect();
        let tensors = self.network.outputs();
        let (mut outputs, mut reads) = (vec![Vec::new(); tensors.len()], VecDeque::new());
        for members in numbers.chunks(self.batch) {
            self.feed.load(&self.gpu, rows, members)?;
            self.gpu.run(&self.forward)?;
            for (number, tensor) in tensors.iter().enumerate() {
                let logits = tensor.rows(0, members.len() * labels)?;
                reads.push_back((number, self.gpu.read::<f32>(&logits)?));
            }
            while reads.len() > IN_FLIGHT * tensors.len()
                && let Some((number, oldest)) = reads.pop_front()
            {
                outputs[number].extend(oldest.wait()?);
            }
        }
        for (number, read) in reads {
            outputs[number].extend(read.wait()?);
        }
        if outputs.iter().flatten().any(|output| !output.is_finite()) {
            let step = self.checkpoint.position.step;
            return Err(Error::NotFinite { step, layer: "the network".to_owned(), quantity: "the output" });
        }
        Ok(outputs)
    }

    /// Scores of an ensemble and of each of its networks on labelled rows; `None` for another run. Waits for the device.
    ///
    /// # Errors
    /// As [`Predictor::outputs`]; [`Error::Config`] for rows that are no table.
    pub fn evaluate_networks(&mut self, rows: &Rows) -> Result<Option<NetworkScores>> {
        if self.networks.is_empty() {
            return Ok(None);
        }
        let Rows::Table(table) = rows else {
            let reason = "rows of a program's own have no labels here".to_owned();
            return Err(Error::Config { option: "data", reason });
        };
        let outputs = self.all_outputs(rows)?;
        let mut scores = Scores::default();
        for (row, &label) in table.labels().iter().enumerate() {
            let logits: Vec<&[f32]> = of_row(&outputs, &self.networks, row).collect();
            scores.add(logits.into_iter(), label as usize);
        }
        let (test, whole) = scores.finish();
        Ok(Some(NetworkScores { test, validation: Vec::new(), whole: Some(whole) }))
    }

    /// Outputs per row of [`Predictor::outputs`].
    pub fn width(&self) -> usize {
        self.networks.first().map_or(self.network.logits().shape()[1], |of| of.classes)
    }

    /// The probability of each class, for each row of features.
    ///
    /// # Errors
    /// As [`Predictor::outputs`]; [`Error::Config`] for a regression.
    pub fn probabilities(&mut self, features: Features) -> Result<Vec<Vec<f64>>> {
        if self.task() == Task::Regression {
            let reason = "a regression predicts numbers, which have no probabilities".to_owned();
            return Err(Error::Config { option: "proba", reason });
        }
        let rows = self.rows(features)?;
        Ok(self.outputs(&rows)?.chunks(self.width()).map(softmax).collect())
    }

    /// The number of the likeliest class of each row, the first in a tie.
    ///
    /// # Errors
    /// As [`Predictor::probabilities`].
    pub fn likeliest(&mut self, features: Features) -> Result<Vec<usize>> {
        Ok(self.probabilities(features)?.iter().map(|row| largest(row)).collect())
    }

    /// The predicted value of each row, in the units of the target; without an encoding in the units that the network was trained on.
    ///
    /// # Errors
    /// As [`Predictor::outputs`]; [`Error::Config`] for a classification.
    pub fn values(&mut self, features: Features) -> Result<Vec<f64>> {
        if self.task() == Task::Classification {
            let reason = "a classification predicts classes, not values".to_owned();
            return Err(Error::Config { option: "task", reason });
        }
        let table = self.checkpoint.encoding.as_ref().and_then(Encoding::table);
        let standard = match table.map(|table| &table.target.kind) {
            Some(&TargetKind::Values(standard)) => standard,
            _ => Standard { mean: 0.0, deviation: 1.0 },
        };
        let rows = self.rows(features)?;
        Ok(self.outputs(&rows)?.into_iter().map(|output| standard.value(output.into())).collect())
    }

    /// Features as rows, with targets that nothing reads.
    fn rows(&self, features: Features) -> Result<Rows> {
        let Row::Features(width) = self.checkpoint.settings.model.row() else {
            return Err(Error::Config {
                option: "dir",
                reason: "the run is of no network of features".to_owned(),
            });
        };
        let count = features.len() / width;
        Ok(Rows::Table(match self.task() {
            Task::Classification => Table::new(features, vec![0; count], width)?,
            Task::Regression => Table::with_values(features, vec![0.0; count], width)?,
        }))
    }
}
