//! The program: a run, its report and its exports, and what is refused.

use std::path::Path;

use super::command::{done, refusal};

#[test]
fn a_run_is_reported_evaluated_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let options = "train --hidden 64,64,64 --epochs 2 --local overlapping --out";
    done(&[&options.split_whitespace().collect::<Vec<_>>()[..], &[&run]].concat());
    done(&["report", &run]);
    let page = std::fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    assert!(page.contains("Loss of each part") && page.contains("overlapping"), "{page}");
    assert!(page.contains("passes of 3 parts follow each other"), "{page}");
    done(&["evaluate", &run, "--json"]);
    done(&["export", &run, "--to", "onnx"]);
    done(&["train", "--resume", &run, "--epochs", "3"]);
    let log = std::fs::read_to_string(Path::new(&run).join("log.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["local"].as_array().unwrap().len(), 3, "{last}");
    assert_eq!(last["local"][2], last["train"]["loss"]);
}

#[test]
fn refusals_name_the_option_and_the_reason() {
    for (options, wanted) in [
        ("--local chunked:0", "local: chunked:0 has no part to train"),
        ("--local chunked:3", "local: chunked:3 has more parts than the network has hidden layers, 2"),
        ("--local layerwise", "greedy, overlapping or chunked:PARTS, not \"layerwise\""),
        ("--local greedy --ensemble 2", "--local has no effect: it needs one network"),
        ("--local greedy --codistill 2", "--local has no effect: it needs one network"),
        ("--local greedy --recompute all", "--local has no effect: it needs the values of each part"),
        ("--local greedy --model moe-lm", "--local has no effect: it needs a perceptron, --model mlp"),
    ] {
        let refused = refusal(&format!("train {options}"));
        assert!(refused.contains(wanted), "{options}: {refused}");
    }
}
