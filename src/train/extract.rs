//! One of many networks as a run of its own, out of the checkpoint of all.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use super::tensor_data::Values;
use super::{Checkpoint, Position};
use crate::graph::{Description, ParamDescription};
use crate::nn::{MlpsConfig, ModelConfig, Piece, Place, Together};
use crate::sparse::Topology;
use crate::{Error, Result};

impl Checkpoint {
    /// The checkpoint of one of many networks, by its number, as if it had been trained alone on the same rows: its weights, its
    /// patterns, and what the optimizer remembers of them, so that a run can go on from there. The training loss of an epoch that is
    /// not over goes on from the mean of all networks.
    ///
    /// # Errors
    /// [`Error::Config`] for a run of one network, or a number that none has; [`Error::Checkpoint`] if something of the network is
    /// missing, or weights join it to another.
    pub fn extract(&self, path: &Path, number: usize) -> Result<Self> {
        let ModelConfig::Mlps(config) = &self.settings.model else {
            let reason = "the run is of one network, which needs no number".to_owned();
            return Err(Error::Config { option: "network", reason });
        };
        let alone = config.network(number)?;
        let mut settings = self.settings.clone();
        settings.rows_seed = Some(self.settings.rows_seed()).filter(|&seed| seed != alone.seed);
        settings.model = ModelConfig::Mlp(alone);
        let share = |sum: f32| sum / config.networks.len() as f32;
        let Position { loss_sum, hits, .. } = self.position;
        let position = Position { loss_sum: share(loss_sum), hits: share(hits), best: None, ..self.position };
        let parts = settings.parts();
        let mut extracted = Self::new(settings, position, self.memory.clone());
        extracted.fingerprint = self.fingerprint;
        extracted.encoding.clone_from(&self.encoding);
        let description = self.settings.model.description()?;
        for place in config.places(number)? {
            let of = Extraction { from: self, path, config, description: &description, place: &place };
            let topology = of.topology()?;
            let states = parts.optimizer.state_names().iter().map(|part| Some(*part));
            for part in [None].into_iter().chain(states) {
                of.put(&mut extracted, part, topology.as_ref())?;
            }
        }
        extracted.put_words("method.grown", &[0]);
        if self.settings.precision.half().is_some() {
            extracted.copy(self, path, "loss_scale")?;
        }
        Ok(extracted)
    }

    /// The checkpoint of the one network that exports and predicts: that of the run, or of networks that learned from each other the
    /// first.
    ///
    /// # Errors
    /// [`Error::Config`] for networks of which none stands for the others, and as [`Checkpoint::extract`].
    pub fn single(&self, path: &Path) -> Result<Cow<'_, Self>> {
        let ModelConfig::Mlps(config) = &self.settings.model else { return Ok(Cow::Borrowed(self)) };
        match config.together {
            Together::Codistillation(_) => self.extract(path, 0).map(Cow::Owned),
            Together::Sweep | Together::Ensemble => {
                let last = config.networks.len() - 1;
                let reason =
                    format!("the run is of many networks: choose one, 0 to {last}, by --network or extract");
                Err(Error::Config { option: "network", reason })
            }
        }
    }

    /// Floats of a tensor of any shape.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if they are missing.
    fn floats(&self, path: &Path, name: &str) -> Result<&[f32]> {
        match self.tensors.get(name).map(|tensor| &tensor.values) {
            Some(Values::F32(values)) => Ok(values),
            _ => Err(Error::Checkpoint { path: path.to_owned(), reason: format!("has no floats {name}") }),
        }
    }

    /// Takes over a tensor of another checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is missing.
    fn copy(&mut self, from: &Self, path: &Path, name: &str) -> Result<()> {
        let bad = || Error::Checkpoint { path: path.to_owned(), reason: format!("has no tensor {name}") };
        self.tensors.insert(name.to_owned(), from.tensors.get(name).ok_or_else(bad)?.clone());
        Ok(())
    }
}

/// A parameter of one network in the checkpoint of all.
struct Extraction<'a> {
    from: &'a Checkpoint,
    path: &'a Path,
    config: &'a MlpsConfig,
    description: &'a Description,
    place: &'a Place,
}

impl Extraction<'_> {
    fn bad(&self, reason: &str) -> Error {
        Error::Checkpoint { path: self.path.to_owned(), reason: format!("{} {reason}", self.place.group) }
    }

    /// The group's parameter.
    fn param(&self) -> Result<&ParamDescription> {
        self.description.param(&self.place.group)
    }

    /// Blocks of the group's weight that are the network's, with rows and columns of its own grid, which has `rows` and `cols` rows and
    /// columns of blocks.
    fn blocks(&self, [down, right]: [usize; 2], [rows, cols]: [usize; 2]) -> Result<Vec<(u32, u32)>> {
        let (param, block) = (self.param()?, self.config.block);
        let all = self.from.topology(self.path, &param.name, [param.shape[0], param.shape[1]], block)?;
        let (row_ptr, columns) = all.csr();
        let Range { start, end } = self.place.stored;
        let (start, end) = (start / (block * block), end / (block * block));
        let its = |row: usize| row_ptr[row] as usize..row_ptr[row + 1] as usize;
        let is_whole = down + rows <= all.row_blocks()
            && its(down).start == start
            && its(down + rows - 1).end == end
            && columns[start..end].iter().all(|&col| (right..right + cols).contains(&(col as usize)));
        if !is_whole {
            return Err(self.bad("joins networks that are apart"));
        }
        let blocks = (0..rows).flat_map(|row| {
            columns[its(down + row)].iter().map(move |&col| (row as u32, col - right as u32))
        });
        Ok(blocks.collect())
    }

    /// Topology of the network's own weight, where it is sparse alone. Refuses a group's weight that joins networks.
    fn topology(&self) -> Result<Option<Topology>> {
        let (param, block) = (self.param()?, self.config.block);
        match self.place.piece {
            Piece::Plain(_) => Ok(None),
            Piece::Blocked { sides: [rows, cols], at } => {
                let blocks = self.blocks(at, [rows.div_ceil(block), cols / block])?;
                if blocks.len() == rows.div_ceil(block) * (cols / block) {
                    return Ok(None);
                }
                Err(self.bad("lacks blocks of a dense layer"))
            }
            Piece::Blocks { at, sides: [rows, cols] } => {
                debug_assert!(param.blocks.is_some());
                let blocks = self.blocks(at, [rows / block, cols / block])?;
                Topology::from_coordinates(rows, cols, block, &blocks)
                    .map(Some)
                    .map_err(|error| self.bad(&error.to_string()))
            }
        }
    }

    /// Puts the network's values, or a part of the optimizer's state of them, into its own checkpoint.
    fn put(&self, into: &mut Checkpoint, part: Option<&str>, topology: Option<&Topology>) -> Result<()> {
        let Place { alone, group, stored, piece } = self.place;
        let sparse = self.param()?.blocks.is_some();
        let from = match (part, sparse) {
            (Some(part), _) => format!("optimizer.{group}.{part}"),
            (None, true) => format!("{group}.values"),
            (None, false) => group.clone(),
        };
        let values = self.from.floats(self.path, &from)?;
        let values =
            values.get(stored.clone()).ok_or_else(|| self.bad("is shorter than its networks are"))?;
        let to = part.map_or_else(|| alone.clone(), |part| format!("optimizer.{alone}.{part}"));
        match (piece, topology) {
            (Piece::Blocks { .. }, Some(topology)) if part.is_none() => {
                into.put_sparse(&to, topology, values);
            }
            (Piece::Blocks { .. }, _) => {
                let block = self.config.block;
                into.put(&to, &[values.len() / (block * block), block, block], values.to_vec());
            }
            (&Piece::Plain(count), _) => {
                let values = values[..count].to_vec();
                let columns = self.param()?.shape.get(1).copied();
                match columns {
                    Some(columns) => into.put(&to, &[count / columns, columns], values),
                    None => into.put(&to, &[count], values),
                }
            }
            (&Piece::Blocked { sides: [rows, cols], .. }, _) => {
                let block = self.config.block;
                let full = Topology::full(rows.next_multiple_of(block), cols, block)?;
                let mut dense = full.scatter(values);
                dense.truncate(rows * cols);
                into.put(&to, &[rows, cols], dense);
            }
        }
        Ok(())
    }
}
