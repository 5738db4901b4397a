//! Agreement between a network and its data.

use super::{Settings, Validation};
use crate::data::{Dataset, Rows};
use crate::nn::{ModelConfig, Row};
use crate::{Error, Result};

/// Checks that the data set has the features, classes and bytes that the network is configured for.
///
/// # Errors
/// [`Error::Config`] naming what the network needs and what the data set has.
pub(super) fn expect_data(model: &ModelConfig, data: &Dataset) -> Result<()> {
    let bad = |wanted: String, found: String| {
        let reason = format!("the network is for {wanted}, but {} has {found}", data.name);
        Err(Error::Config { option: "data", reason })
    };
    let validation = data.validation.iter().map(|rows| (rows, "validation"));
    for (rows, part) in [(&data.train, "training"), (&data.test, "test")].into_iter().chain(validation) {
        if rows.width() != data.width() {
            return bad(
                format!("rows of width {}", data.width()),
                format!("a {part} row of {}", rows.width()),
            );
        }
        if let Some(label) = rows.largest_label().filter(|&label| label as usize >= data.classes) {
            return bad(format!("{} classes", data.classes), format!("a {part} row of class {label}"));
        }
    }
    // Networks that are trained together read what each reads alone.
    let first = match model {
        ModelConfig::Mlps(config) => Some(ModelConfig::Mlp(config.network(0)?)),
        _ => None,
    };
    match (first.as_ref().unwrap_or(model), &data.train) {
        (ModelConfig::Mlp(config), Rows::Table(table)) => {
            let outputs = if table.values().is_some() { 1 } else { data.classes };
            let [wanted, found] = [(config.inputs, config.classes), (table.width(), outputs)];
            let words = |(features, classes)| format!("{features} features and {classes} classes");
            if wanted == found { Ok(()) } else { bad(words(wanted), words(found)) }
        }
        (ModelConfig::Lm(config), Rows::Text(text)) => {
            let words = |bytes: usize| format!("windows of {bytes} bytes");
            if config.context != text.context() {
                return bad(words(config.context), words(text.context()));
            }
            let words = |bytes: &[u8]| format!("the bytes {:?}", bytes.escape_ascii().to_string());
            let [wanted, found] = [&config.vocabulary, &data.vocabulary];
            if wanted == found { Ok(()) } else { bad(words(wanted), words(found)) }
        }
        (ModelConfig::Composed(composed), rows) => {
            let words = |row| match row {
                Row::Features(features) => format!("{features} features"),
                Row::Window(context) => format!("windows of {context} bytes"),
            };
            let found = match (rows, composed.row()) {
                (Rows::Text(text), _) => Row::Window(text.context()),
                (Rows::Batches(rows), Row::Window(_)) => Row::Window(rows.width()),
                (rows, _) => Row::Features(rows.width()),
            };
            if composed.row() == found { Ok(()) } else { bad(words(composed.row()), words(found)) }
        }
        (ModelConfig::Mlp(config), Rows::Batches(rows)) if rows.width() == config.inputs => Ok(()),
        (ModelConfig::Mlp(_) | ModelConfig::Mlps(_), _) => bad("features".to_owned(), "text".to_owned()),
        (ModelConfig::Lm(_), _) => bad("text".to_owned(), "features".to_owned()),
    }
}

/// Checks that the data set has validation rows where the settings name some.
///
/// # Errors
/// [`Error::Config`].
pub(super) fn expect_validation(settings: &Settings, data: &Dataset) -> Result<()> {
    match (&settings.validation, &data.validation) {
        (Some(Validation { of, .. }), None) => {
            let reason = format!("is {of}, but {} has no validation rows; set them aside first", data.name);
            Err(Error::Config { option: "validation", reason })
        }
        _ => Ok(()),
    }
}
