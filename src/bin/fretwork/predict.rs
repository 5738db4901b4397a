//! `fretwork predict`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use fretwork::data::Task;
use fretwork::gpu::{self, Gpu};
use fretwork::nn::ModelConfig;
use fretwork::train::Predictor;

use crate::options::Predict;

/// Predictions as CSV: a header, and one record for each row of the file.
pub(crate) fn run(options: &Predict) -> Result<ExitCode> {
    let (folder, checkpoint) = options.input.load()?;
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
    let (paths, features) = predictor.encoding()?.rows(&options.path())?;
    let classes = predictor.classes();
    let (heads, records) = if options.proba {
        let shares = |row: &Vec<f64>| row.iter().map(|probability| format!("{probability:.6}")).collect();
        let records: Vec<Vec<String>> = predictor.probabilities(features)?.iter().map(shares).collect();
        (classes, records)
    } else {
        let predictions: Vec<String> = match predictor.task() {
            Task::Classification => {
                predictor.likeliest(features)?.into_iter().map(|class| classes[class].clone()).collect()
            }
            Task::Regression => predictor.values(features)?.iter().map(ToString::to_string).collect(),
        };
        (vec!["prediction".to_owned()], predictions.into_iter().map(|prediction| vec![prediction]).collect())
    };
    // Images are told apart by their files, other rows by their order.
    let file = |name: String| (!paths.is_empty()).then_some(name);
    writer.write_record(file("file".to_owned()).into_iter().chain(heads))?;
    for (row, record) in records.into_iter().enumerate() {
        let path = paths.get(row).and_then(|path| file(path.display().to_string()));
        writer.write_record(path.into_iter().chain(record))?;
    }
    Ok(())
}

/// A record for each byte but the first; bytes are escaped, as `\n` for the end of a line.
fn bytes(predictor: &mut Predictor, options: &Predict, writer: &mut csv::Writer<Vec<u8>>) -> Result<()> {
    let escaped = |byte: u8| byte.escape_ascii().to_string();
    let predictions = predictor.bytes(&options.path())?;
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
