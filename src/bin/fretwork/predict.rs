//! `fretwork predict`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use fretwork::data::Task;
use fretwork::gpu::{self, Gpu};
use fretwork::nn::ModelConfig;
use fretwork::train::{Predictor, RunFolder};

use crate::options::Predict;

/// Predictions as CSV: a header, and one record for each row of the file.
pub(crate) fn run(options: &Predict) -> Result<ExitCode> {
    let folder = RunFolder::inspect(&options.folder)?;
    let checkpoint = folder.load()?;
    let text = matches!(checkpoint.settings.model, ModelConfig::Lm(_));
    if options.proba && checkpoint.settings.task() == Task::Regression {
        bail!("--proba has no effect: it needs a classification; leave it out");
    }
    let gpu = Gpu::request(gpu::Options { adapter: options.adapter.clone(), ..gpu::Options::default() })?;
    let mut predictor = Predictor::of_checkpoint(&gpu, checkpoint, &folder.checkpoint_path())?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    if text {
        bytes(&mut predictor, options, &mut writer)?;
    } else {
        rows(&mut predictor, options, &mut writer)?;
    }
    let bytes = writer.into_inner().context("predictions cannot be written")?;
    match &options.out {
        Some(path) => fretwork::train::write_whole(path, &bytes)?,
        None => std::io::stdout().lock().write_all(&bytes).context("standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(predictor: &mut Predictor, options: &Predict, writer: &mut csv::Writer<Vec<u8>>) -> Result<()> {
    let features = predictor.encoding()?.features(&options.file)?;
    let classes = predictor.classes();
    if options.proba {
        writer.write_record(&classes)?;
        for row in predictor.probabilities(features)? {
            writer.write_record(row.iter().map(|probability| format!("{probability:.6}")))?;
        }
        return Ok(());
    }
    writer.write_record(["prediction"])?;
    match predictor.task() {
        Task::Classification => {
            for class in predictor.likeliest(features)? {
                writer.write_record([&classes[class]])?;
            }
        }
        Task::Regression => {
            for value in predictor.values(features)? {
                writer.write_record([value.to_string()])?;
            }
        }
    }
    Ok(())
}

/// A record for each byte but the first; bytes are escaped, as `\n` for the end of a line.
fn bytes(predictor: &mut Predictor, options: &Predict, writer: &mut csv::Writer<Vec<u8>>) -> Result<()> {
    let escaped = |byte: u8| byte.escape_ascii().to_string();
    let predictions = predictor.bytes(&options.file)?;
    if options.proba {
        writer.write_record(predictor.classes())?;
        for prediction in predictions {
            writer.write_record(prediction.probabilities.iter().map(|share| format!("{share:.6}")))?;
        }
        return Ok(());
    }
    writer.write_record(["byte", "prediction", "nll"])?;
    for prediction in predictions {
        let [byte, likeliest] = [prediction.byte, prediction.likeliest].map(escaped);
        writer.write_record([byte, likeliest, format!("{:.6}", prediction.nll)])?;
    }
    Ok(())
}
