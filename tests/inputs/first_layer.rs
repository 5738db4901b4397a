//! A narrow first layer is dense by default: what a run says and keeps of it, and what decides otherwise.

use std::path::Path;

use fretwork::nn::ModelConfig;
use fretwork::train::RunFolder;
use serde_json::Value;

use super::{done, fretwork, summary};

const SMALL: [&str; 11] =
    ["train", "--json", "--rows", "300", "--test-rows", "50", "--batch", "50", "--sparsity", "0.5", "--seed"];

/// Names of the layers that a run's settings keep dense, and of its sparse weights.
fn layers(run: &str) -> (Vec<String>, Vec<String>) {
    let checkpoint = RunFolder::with_checkpoint(Path::new(run)).unwrap().load().unwrap();
    let ModelConfig::Mlp(config) = &checkpoint.settings.model else { panic!("no perceptron") };
    // The names of all tensors stand in the header.
    let bytes = std::fs::read(Path::new(run).join("checkpoint.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&bytes);
    let names = ["layers.0", "layers.1", "layers.2"].into_iter();
    let sparse = names.filter(|name| header.contains(&format!("\"{name}.weight.col_indices\"")));
    (config.layers.keep_dense.clone(), sparse.map(str::to_owned).collect())
}

fn notices(said: &[u8]) -> Vec<String> {
    let lines =
        std::str::from_utf8(said).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let notices = lines.filter(|line| line["event"] == "notice");
    notices.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_narrow_first_layer_is_dense_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let train = |name: &str, more: &[&str]| {
        let out = path(name);
        let hidden: &[&str] = if more.contains(&"--hidden") { &[] } else { &["--hidden", "64,48"] };
        let output = done(&[&SMALL[..], &["3", "--steps", "8", "--out", &out], hidden, more].concat());
        let told = notices(&output.stdout).iter().any(|notice| {
            notice.starts_with("the first layer, layers.0, is dense: the inputs have 4 columns of blocks, fewer than 10; --keep-dense none")
        });
        (layers(&out), told, summary(&output))
    };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();

    let (found, told, done) = train("default", &[]);
    assert_eq!((found, told), ((names(&["layers.0"]), names(&["layers.1"])), true));
    // The share is that of the layer that is left: 6 of 12 blocks.
    assert_eq!(done["params_present"], 64 * 64 + 64 + 6 * 16 * 16 + 48 + 48 * 10 + 10);
    let (found, told, _) = train("none", &["--keep-dense", "none"]);
    assert_eq!((found, told), ((names(&[]), names(&["layers.0", "layers.1"])), false));
    let (found, told, _) = train("second", &["--keep-dense", "layers.1"]);
    assert_eq!((found, told), ((names(&["layers.1"]), names(&["layers.0"])), false));
    let (found, told, _) = train("single", &["--hidden", "64"]);
    assert_eq!((found, told), ((names(&[]), names(&["layers.0"])), false));

    // A file that has the layer's pattern decides, and one that has not leaves the default.
    for (of, wanted) in [("none", names(&["layers.0", "layers.1"])), ("default", names(&["layers.1"]))] {
        let file = path(&format!("{of}.safetensors"));
        super::done(&["export", &path(of), "--to", "safetensors-bsr", "--out", &file]);
        for option in ["--init-from", "--pattern"] {
            // A pattern gives the sparsity, which is not given besides.
            let name = format!("{of}{option}");
            let line = [
                "train",
                "--rows",
                "300",
                "--hidden",
                "64,48",
                "--steps",
                "2",
                "--out",
                &path(&name),
                option,
                &file,
            ];
            super::done(&line);
            assert_eq!(layers(&path(&name)).1, wanted, "{name}");
        }
    }
}

/// A checkpoint of an older version, whose settings know nothing of the rule, is one of `--keep-dense none`: no settings of layers.
#[test]
fn runs_resume_with_the_layers_they_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (kept, more) in [("default", &[][..]), ("none", &["--keep-dense", "none"])] {
        let [whole, stopped] = ["whole", "stopped"].map(|name| path(&format!("{kept} {name}")));
        let line =
            |out| [&SMALL[..], &["3", "--steps", "8", "--hidden", "64,48", "--out", out], more].concat();
        done(&line(&whole));
        let output = fretwork(&[&line(&stopped)[..], &["--stop-after", "3"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let bytes = |run: &str| std::fs::read(Path::new(run).join("checkpoint.safetensors")).unwrap();
        let header = String::from_utf8_lossy(&bytes(&stopped)).into_owned();
        assert_eq!(layers(&stopped).0.len(), usize::from(kept == "default"));
        assert_eq!(header.contains("keep_dense"), kept == "default");
        let told = notices(&done(&["train", "--json", "--resume", &stopped]).stdout);
        assert!(!told.iter().any(|notice| notice.contains("first layer")), "{told:?}");
        assert!(bytes(&whole) == bytes(&stopped), "{kept}");
    }
}

/// Padding of inputs is no parameter, in a dense layer and in a sparse one.
#[test]
fn padding_of_inputs_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    let rows: String = (0..50).map(|i| format!("{},{},{},{}\n", i % 7, i % 5, i % 3, i % 2)).collect();
    std::fs::write(&table, rows).unwrap();
    let data = format!("csv:{}", table.display());
    let out = folder.path().join("run").display().to_string();
    let all = 3 * 16 + 16 + 16 * 2 + 2;
    for (number, options) in [&["--dense"][..], &["--sparsity", "0"]].into_iter().enumerate() {
        let run = format!("{out}{number}");
        let line = [
            "train", "--json", "--data", &data, "--hidden", "16", "--block", "8", "--steps", "3", "--out",
            &run,
        ];
        let told = summary(&done(&[&line[..], options].concat()));
        assert_eq!(
            (&told["params_dense"], &told["params_present"]),
            (&all.into(), &all.into()),
            "{options:?}"
        );
        let checkpoint = RunFolder::with_checkpoint(Path::new(&run)).unwrap().load().unwrap();
        assert_eq!(checkpoint.params_present(), all);
    }
}
