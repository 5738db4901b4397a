//! Every tensor of a checkpoint stands in the tables of `docs/checkpoints.md`, with its type and its number of sides.

use std::collections::HashMap;
use std::path::Path;

use fretwork::train::RunFolder;
use safetensors::{Dtype, SafeTensors};

use crate::runs::Folder;

/// Names on the page, with what stands beside each.
fn described() -> HashMap<String, String> {
    let page = std::fs::read_to_string("docs/checkpoints.md").unwrap();
    let mut described = HashMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let mut columns = row.split(" | ");
        let (names, shape) = (columns.next().unwrap(), columns.next().unwrap());
        described.extend(
            names.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), shape.replace('`', ""))),
        );
    }
    described
}

/// The name under which a tensor stands on the page.
fn on_page(name: &str, layers: &[String]) -> String {
    if let Some((parameter, part)) = name.strip_prefix("optimizer.").and_then(|rest| rest.rsplit_once('.')) {
        let parameter = on_page(parameter, layers);
        assert!(
            described().keys().any(|key| key.starts_with(&parameter)),
            "{name}: of no parameter on the page"
        );
        return format!("optimizer.NAME.{part}");
    }
    if let Some(parameter) = name.strip_prefix("method.average.") {
        let pattern = if parameter.ends_with(".pattern") { ".pattern" } else { "" };
        return format!("method.average.NAME{pattern}");
    }
    let stand_in = if name.starts_with("method.") { "LAYER" } else { "layers.0" };
    // The longest name, since others may be its beginning.
    let layer =
        layers.iter().filter(|layer| name.contains(&format!("{layer}."))).max_by_key(|layer| layer.len());
    let name = layer.map_or(name.to_owned(), |layer| name.replace(layer.as_str(), stand_in));
    let numbered = if name.starts_with("method.") { "N" } else { "0" };
    let part = |part: &str| if part.parse::<usize>().is_ok() { numbered.to_owned() } else { part.to_owned() };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

pub(crate) fn assert_described(run: &Path) {
    let folder = RunFolder::open(run).unwrap();
    let model = folder.load().unwrap().settings.model;
    let layers: Vec<String> = model.layers().unwrap().into_iter().map(|layer| layer.name).collect();
    let bytes = std::fs::read(folder.checkpoint_path()).unwrap();
    let described = described();
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        let key = on_page(name, &layers);
        // A weight stands there as that of the last layer of a perceptron.
        let key = if key == "layers.0.weight" { "layers.2.weight".to_owned() } else { key };
        let shape = described
            .get(&key)
            .unwrap_or_else(|| panic!("docs/checkpoints.md says nothing of {name} ({key})"));
        if !shape.starts_with('[') {
            continue;
        }
        let (sides, dtype) = shape.split_once("] ").unwrap_or((shape, ""));
        assert_eq!(tensor.shape().len(), sides.split(", ").count(), "{name}: {shape}");
        if !dtype.is_empty() {
            assert_eq!(tensor.dtype() == Dtype::F32, dtype == "f32", "{name}: {shape}");
        }
    }
}

/// Methods that keep tensors of their own, in the middle of a run.
#[test]
fn methods_keep_what_the_page_says() {
    let folder = Folder::new();
    folder.write_table();
    for options in [
        "snfs --update-every 2 --stop-after 6",
        "scl --stop-after 6",
        "early-crop --stop-after 6",
        "sup-tickets --update-every 2 --stop-after 18",
    ] {
        folder.train(&format!(
            "--data csv:table.csv --hidden 64,48 --block 8 --batch 50 --sparsity 0.5 --epochs 6 --keep-dense none --method {options}"
        ));
    }
}
