//! The program: sweeps, ensembles and codistillation, what is made of them, and what is refused.

use std::path::Path;

use serde_json::Value;

use super::command::{done, refusal};

fn last(lines: &str) -> Value {
    serde_json::from_str(lines.lines().last().unwrap()).unwrap()
}

#[test]
fn a_sweep_is_ranked_and_any_of_its_networks_is_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (run, lone) = (at("sweep"), at("lone"));
    let options = "--hidden 8..24:8,30 --activation relu,gelu --repeat 2 --epochs 3 --validation 0.2";
    let words: Vec<&str> = ["sweep"].into_iter().chain(options.split_whitespace()).collect();
    let table = done(&[&words[..], &["--out", &run]].concat());
    assert!(table.contains("the best 16 of 16 networks by validation loss"), "{table}");
    assert!(table.contains("mean of the networks"), "{table}");

    let log = std::fs::read_to_string(Path::new(&run).join("log.jsonl")).unwrap();
    let epoch = last(&log);
    let scores = epoch["networks"]["test"].as_array().unwrap();
    assert_eq!(scores.len(), 16);
    let mean = scores.iter().map(|of| of["loss"].as_f64().unwrap()).sum::<f64>() / 16.0;
    assert!((mean - epoch["test"]["loss"].as_f64().unwrap()).abs() < 1e-5);

    // Number 13: gelu, the third width, the second repetition.
    done(&["extract", &run, "--network", "13", "--out", &lone]);
    let evaluated = last(&done(&["evaluate", &lone, "--json"]));
    let wanted = &scores[13];
    assert!((evaluated["loss"].as_f64().unwrap() - wanted["loss"].as_f64().unwrap()).abs() < 1e-5);
    assert_eq!(evaluated["accuracy"].as_f64().unwrap(), wanted["accuracy"].as_f64().unwrap());
    assert_eq!(evaluated, last(&done(&["evaluate", &run, "--network", "13", "--json"])));
    done(&["export", &lone, "--to", "onnx"]);
    done(&["export", &run, "--network", "13", "--to", "onnx", "--out", &at("13.onnx")]);
    assert!(
        std::fs::read(at("13.onnx")).unwrap() == std::fs::read(Path::new(&lone).join("model.onnx")).unwrap()
    );

    // The same network alone, by the command line.
    let alone = "train --dense --block 8 --hidden 24 --activation gelu --seed 2 --rows-seed 1 --epochs 3 --validation 0.2";
    let alone = last(&done(&[&alone.split_whitespace().collect::<Vec<_>>()[..], &["--json"]].concat()));
    assert!(
        (alone["test_loss"].as_f64().unwrap() - wanted["loss"].as_f64().unwrap()).abs() < 2e-3,
        "{alone}"
    );

    done(&["report", &run]);
    let page = std::fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    assert!(page.contains("The best 16 by validation loss") && page.contains("means over them"));
    for (args, wanted) in [
        (format!("evaluate {run}"), "the run is of many networks: choose one, 0 to 15"),
        (format!("export {run} --to onnx"), "the run is of many networks"),
        (format!("extract {run} --network 16 --out {}", at("none")), "16 is none of the 16 networks"),
        (format!("extract {run} --out {}", at("none")), "give the number of the network"),
        (format!("extract {lone} --network 0 --out {}", at("none")), "the run is of one network"),
        (format!("extract {run} --network 0 --out {lone}"), "holds a run already"),
    ] {
        let refused = refusal(&args);
        assert!(refused.contains(wanted), "{args}: {refused}");
    }
    assert!(!Path::new(&at("none")).exists());
}

#[test]
fn an_ensemble_predicts_by_the_mean_of_its_networks() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (run, table) = (at("run"), at("table.csv"));
    let rows: String = (0..90).map(|row| format!("{},{},{}\n", row % 7, (row * row) % 11, row % 3)).collect();
    std::fs::write(&table, rows).unwrap();
    let data = format!("csv:{table}");
    let train = [
        "train",
        "--data",
        &data,
        "--ensemble",
        "3",
        "--hidden",
        "16,16",
        "--sparsity",
        "0.5",
        "--epochs",
        "20",
    ];
    let told = done(&[&train[..], &["--out", &run]].concat());
    assert!(told.contains("mean of probabilities"), "{told}");
    let shares = |args: &[&str]| -> Vec<f64> {
        let text = done(&[&["predict", &run, &table, "--proba"], args].concat());
        let lines = text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        lines.iter().flat_map(|line| line.split(',').map(|share| share.parse().unwrap())).collect()
    };
    let each: Vec<Vec<f64>> = ["0", "1", "2"].iter().map(|number| shares(&["--network", number])).collect();
    for (at, &share) in shares(&[]).iter().enumerate() {
        let mean = each.iter().map(|shares| shares[at]).sum::<f64>() / 3.0;
        assert!((share - mean).abs() < 3e-6, "{share} is not {mean}");
    }
    let evaluated = last(&done(&["evaluate", &run, "--json"]));
    let whole = &evaluated["networks"]["whole"];
    assert!((evaluated["loss"].as_f64().unwrap() - whole["loss"].as_f64().unwrap()).abs() < 1e-6);
    assert_eq!(evaluated["networks"]["test"].as_array().unwrap().len(), 3);
    assert!(whole["calibration"]["ece"].as_f64().unwrap() >= 0.0);
    done(&["report", &run]);
    assert!(
        std::fs::read_to_string(Path::new(&run).join("report.html"))
            .unwrap()
            .contains("Calibration: Ensemble")
    );
    assert!(refusal(&format!("export {run} --to onnx")).contains("the run is of many networks"));
    // One network is the plain run.
    let summary = |args: &[&str]| {
        let mut of = last(&done(&[&["train", "--epochs", "1", "--hidden", "32", "--json"], args].concat()));
        let fields = of.as_object_mut().unwrap();
        ["seconds", "step_ms", "operating_ms"].iter().for_each(|name| drop(fields.remove(*name)));
        of
    };
    assert_eq!(summary(&["--ensemble", "1"]), summary(&[]));
}

#[test]
fn an_ensemble_is_surer_than_its_best_network() {
    let told = last(&done(&["train", "--ensemble", "4", "--hidden", "64,64", "--epochs", "8", "--json"]));
    let networks = &told["networks"];
    let loss = |of: &Value| of["loss"].as_f64().unwrap();
    let best = networks["test"].as_array().unwrap().iter().map(loss).fold(f64::INFINITY, f64::min);
    assert!(loss(&networks["whole"]) < best, "{networks}");
}

#[test]
fn codistillation_ends_with_one_network() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let options =
        "train --codistill 2 --hidden 32 --epochs 2 --weight 0.5 --burn-in 5 --exchange-every 3 --disjoint";
    done(&[&options.split_whitespace().collect::<Vec<_>>()[..], &["--out", &run]].concat());
    let of = |args: &[&str]| last(&done(&[&["evaluate", &run, "--json"], args].concat()));
    assert_eq!(of(&[]), of(&["--network", "0"]));
    assert_ne!(of(&[]), of(&["--network", "1"]));
    done(&["export", &run, "--to", "safetensors-dense"]);
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    for (args, wanted) in [
        ("train --ensemble 2 --codistill 2", "cannot be used with"),
        ("train --ensemble 0", "networks: there is no network"),
        ("train --codistill 1", "codistill: 1 network has no other to learn from"),
        ("train --codistill 2 --weight -1", "weight: -1"),
        ("train --codistill 2 --exchange-every 0", "exchange-every: 0 steps"),
        ("train --codistill 3 --disjoint --batch 128", "batch: 128 rows can't be shared out among 3"),
        ("train --codistill 2 --dtype f16", "dtype: networks that learn from each other"),
        ("train --ensemble 2 --method set", "--ensemble has no effect: it needs static patterns"),
        ("train --ensemble 2 --init-from nothing", "--init-from has no effect: it needs one network"),
        ("train --disjoint", "--disjoint has no effect: it needs networks that learn from each other"),
        ("sweep --hidden 8..4", "descends"),
        ("sweep --hidden 0", "hidden: a layer of 0 units"),
        ("sweep --depth 0", "has no hidden layer"),
        ("sweep --repeat 0", "networks: 0 of these"),
        ("sweep --hidden 1..1000000", "networks: 1000000 of these"),
        ("sweep --block 12", "block: 12 is none of"),
        ("sweep --patience 2", "--patience has no effect: it needs rows"),
        ("sweep --method rigl", "unexpected argument '--method'"),
    ] {
        let refused = refusal(args);
        assert!(refused.contains(wanted), "{args}: {refused}");
    }
    let run = tempfile::tempdir().unwrap();
    let run = run.path().to_str().unwrap();
    done(&["sweep", "--hidden", "8", "--rows", "200", "--epochs", "1", "--out", run]);
    for option in ["--depth 2", "--repeat 3", "--hidden 9"] {
        let refused = refusal(&format!("sweep --resume {run} {option}"));
        assert!(refused.contains("has no effect with --resume"), "{option}: {refused}");
    }
    done(&["sweep", "--resume", run, "--epochs", "2"]);
    // Number that fits: first weights of 60,000 x 64 x 4 bytes a network, and a buffer of at most 2 GiB, or less memory.
    let refused = refusal("sweep --hidden 60000 --repeat 1000 --epochs 1");
    let fit = refused.split("room for the first ").nth(1).and_then(|rest| rest.split(' ').next());
    let fit: usize = fit.unwrap_or_else(|| panic!("{refused}")).parse().unwrap();
    assert!((1..1000).contains(&fit), "{refused}");
}
