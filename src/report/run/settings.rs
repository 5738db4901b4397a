//! Tables and descriptions of a run's settings.

use serde_json::Value;

use crate::report::escape;
use crate::train::{Checkpoint, Settings};

/// Tables of all settings, those of the network first. Rows come from the serialized settings, so a new setting is shown without
/// a change here.
pub(super) fn tables(settings: &Settings) -> String {
    // A Value made without text widens f32 to f64 and shows 0.9 as 0.8999999761581421.
    let text = serde_json::to_string(settings).unwrap_or_default();
    let stored = serde_json::from_str(&text).unwrap_or_default();
    let mut rows = Vec::new();
    flatten("", &stored, &mut rows);
    let (network, training): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(name, _)| name.starts_with("model "));
    let table = |caption: &str, rows: Vec<(String, String)>| {
        let rows = rows.iter().map(|(name, value)| {
            let name = ["model ", "length "]
                .iter()
                .fold(name.as_str(), |name, part| name.strip_prefix(part).unwrap_or(name));
            format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value))
        });
        format!("<table><caption>{caption}</caption>{}</table>\n", rows.collect::<String>())
    };
    format!("<div class=\"settings\">\n{}{}</div>\n", table("Network", network), table("Training", training))
}

/// Appends one row for every leaf value, named by the path to it.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    if let Value::Object(fields) = value {
        for (field, value) in fields {
            flatten(&format!("{name} {}", field.replace(['_', '-'], " ")), value, rows);
        }
        return;
    }
    rows.push((name.trim().to_owned(), plain(value)));
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        // Networks of a sweep, of which there may be thousands; the best are in a table of their own.
        Value::Array(values) if values[0].is_object() => format!("{} of them", values.len()),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Layer widths of the network, from inputs to classes.
pub(super) fn widths(settings: &Settings) -> String {
    settings.model.to_string()
}

/// Sparsity of the network: method, share of absent blocks, block side and densities.
pub(super) fn method(settings: &Settings) -> String {
    let model = &settings.model;
    match model.sparsity() {
        // Rounded to two decimals, without trailing zeros.
        Some(sparsity) => format!(
            "{}: {}\u{a0}% sparse in {}",
            settings.method.kind(),
            (sparsity * 1e4).round() / 100.0,
            model.blocks(),
        ),
        None => "stored densely".to_owned(),
    }
}

/// Numbers of stored parameters and of those with every block present.
pub(super) fn parameters(checkpoint: &Checkpoint) -> [usize; 2] {
    [checkpoint.params_present(), checkpoint.settings.model.params_dense()]
}
