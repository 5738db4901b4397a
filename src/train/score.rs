//! Evaluation of a trained network on labelled rows, and predictions of the bytes of a text.

use std::path::Path;

use super::metrics::{largest, nll, softmax};
use super::{ClassMetrics, Predictor, ValueMetrics};
use crate::data::{Dataset, Fingerprint, LoadOptions, Rows, Source, TargetKind, Text, read_text};
use crate::nn::{LmConfig, ModelConfig};
use crate::{Error, Result};

/// Metrics of a network on some rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of a classification, or of the bytes of a text.
    Classes(ClassMetrics),
    /// Of a regression.
    Values(ValueMetrics),
}

/// Prediction of one byte of a text from those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct BytePrediction {
    /// The byte that stands in the text.
    pub byte: u8,
    /// The likeliest one.
    pub likeliest: u8,
    /// Negative log-likelihood of `byte`, in nats.
    pub nll: f64,
    /// Probability of each byte of the vocabulary.
    pub probabilities: Vec<f64>,
}

impl Predictor {
    /// The run's own test rows.
    ///
    /// # Errors
    /// As [`Settings::load_data`](super::Settings::load_data); [`Error::Config`] if the data was changed since, so that training rows might be among them.
    pub fn own_test_rows(&self) -> Result<Rows> {
        let settings = &self.checkpoint().settings;
        let data = settings.load_data()?;
        let found = Fingerprint::of(&data);
        if let Some(wanted) = self.checkpoint().fingerprint.filter(|&wanted| wanted != found) {
            let reason = format!(
                "{} has the fingerprint {found}, but the run was trained with {wanted}: it was changed, so its test rows are \
                 not those of the run; name a file of new rows instead",
                settings.data
            );
            return Err(Error::Config { option: "data", reason });
        }
        Ok(data.test)
    }

    /// Labelled rows, encoded as the training rows were: of a `--data`-style source, of a file, or of a folder of images. A table gives
    /// all its rows, a text all its windows, a folder of classes all its images; data that comes split gives its test rows.
    ///
    /// # Errors
    /// [`Error::Data`] naming what the run's encoding does not have; [`Error::Config`] for data of another kind.
    pub fn labelled_rows(&self, data: &str) -> Result<Rows> {
        let source: Option<Source> = data.parse().ok();
        let path = match &source {
            Some(Source::Csv(path) | Source::Text(path) | Source::Images(path)) => path.as_path(),
            _ => Path::new(data),
        };
        if let ModelConfig::Lm(config) = &self.checkpoint().settings.model {
            if source.as_ref().is_some_and(|source| !matches!(source, Source::Text(_))) {
                return Err(other_kind(data, "a text"));
            }
            let ids = read_text(path, &config.vocabulary)?;
            let text = Text::new(&ids, config.context)
                .map_err(|error| Error::Data { path: path.to_owned(), reason: error.to_string() })?;
            return Ok(Rows::Text(text));
        }
        let encoding = self.encoding()?;
        match source {
            Some(Source::Text(_)) => Err(other_kind(data, "rows of features")),
            Some(Source::Csv(_)) if encoding.table().is_none() => Err(other_kind(data, "images")),
            Some(Source::Images(_)) if !encoding.is_of_image_files() => {
                Err(other_kind(data, if encoding.table().is_some() { "a table" } else { "IDX images" }))
            }
            Some(Source::Csv(_) | Source::Images(_)) | None => Ok(Rows::Table(encoding.labelled(path)?)),
            Some(source) => {
                let options = LoadOptions { validation: None, ..self.checkpoint().settings.load_options() };
                let data = Dataset::load_with(&source, &LoadOptions { first_rows: [None; 2], ..options })?;
                if data.encoding.as_ref() != Some(encoding) {
                    return Err(other_kind(&data.name, "data of another kind or size"));
                }
                Ok(data.test)
            }
        }
    }

    /// Metrics on labelled rows. Waits for the device.
    ///
    /// # Errors
    /// As [`Predictor::outputs`]; [`Error::Config`] for rows without labels.
    pub fn evaluate(&mut self, rows: &Rows) -> Result<Metrics> {
        let outputs = self.outputs(rows)?;
        let labels = match rows {
            Rows::Table(table) => match table.values() {
                Some(values) => return self.value_metrics(&outputs, values),
                None => table.labels().to_vec(),
            },
            Rows::Text(text) => text.labels().map(u32::from).collect(),
            Rows::Batches(_) => {
                let reason = "rows of a program's own have no labels here".to_owned();
                return Err(Error::Config { option: "data", reason });
            }
        };
        Ok(Metrics::Classes(ClassMetrics::of(&outputs, &labels, self.width())?))
    }

    /// Metrics of a regression, in the units of the target.
    fn value_metrics(&self, outputs: &[f32], values: &[f32]) -> Result<Metrics> {
        let table = self.encoding()?.table();
        let Some(TargetKind::Values(standard)) = table.map(|table| &table.target.kind) else {
            let reason = "numbers, but the run was trained on classes".to_owned();
            return Err(Error::Config { option: "data", reason });
        };
        let in_units =
            |numbers: &[f32]| numbers.iter().map(|&z| standard.value(z.into())).collect::<Vec<_>>();
        Ok(Metrics::Values(ValueMetrics::of(&in_units(outputs), &in_units(values))?))
    }

    /// Predictions of the bytes of a text but the first, each from the bytes before it within its window; windows are
    /// consecutive, as in training. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Config`] if the model is no language model; [`Error::Data`] naming a byte that the model does not know, or for a
    /// text of less than two bytes.
    pub fn bytes(&mut self, path: &Path) -> Result<Vec<BytePrediction>> {
        let ModelConfig::Lm(LmConfig { vocabulary, context, .. }) = &self.checkpoint().settings.model else {
            return Err(other_kind(&path.display().to_string(), "rows of features"));
        };
        let (vocabulary, context) = (vocabulary.clone(), *context);
        let mut ids = read_text(path, &vocabulary)?;
        let predicted = ids.split_off(1.min(ids.len()));
        if predicted.is_empty() {
            let reason = "a text of at least two bytes is needed, to predict one from another".to_owned();
            return Err(Error::Data { path: path.to_owned(), reason });
        }
        ids.extend(&predicted);
        // The last window is filled up: what follows a byte has no part in its prediction.
        ids.resize(predicted.len().next_multiple_of(context) + 1, 0);
        let outputs = self.outputs(&Rows::Text(Text::new(&ids, context)?))?;
        let bytes = outputs.chunks(self.width()).zip(&predicted).map(|(logits, &id)| BytePrediction {
            byte: vocabulary[usize::from(id)],
            likeliest: vocabulary[largest(logits)],
            nll: nll(logits, id.into()),
            probabilities: softmax(logits),
        });
        Ok(bytes.collect())
    }
}

fn other_kind(data: &str, wanted: &str) -> Error {
    Error::Config { option: "data", reason: format!("the run was trained on {wanted}, which {data} is not") }
}
