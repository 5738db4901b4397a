//! A run's settings in words.

use serde_json::Value;

use crate::page::escape;
use crate::train::{Checkpoint, Settings};

/// Tables of all settings, those of the network first. They are read from the settings as they are stored, so that one that
/// is added is shown.
pub(super) fn tables(settings: &Settings) -> String {
    // By way of text: a Value made directly shows the f32 0.9 as 0.8999999761581421.
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

/// A row for every value: the names on the way to it, and itself.
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
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The network's widths, from inputs to classes.
pub(super) fn widths(settings: &Settings) -> String {
    settings.model.to_string()
}

/// How the network is stored.
pub(super) fn method(settings: &Settings) -> String {
    let model = &settings.model;
    match model.sparsity() {
        // Two decimals, and none that says nothing.
        Some(sparsity) => format!(
            "{}: {}\u{a0}% sparse in {}",
            settings.method.kind,
            (sparsity * 1e4).round() / 100.0,
            model.blocks(),
        ),
        None => "stored densely".to_owned(),
    }
}

/// Stored parameters, and what they would be with every block present.
pub(super) fn parameters(checkpoint: &Checkpoint) -> [usize; 2] {
    [checkpoint.params_present(), checkpoint.settings.model.params_dense()]
}
