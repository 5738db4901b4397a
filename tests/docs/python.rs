//! The Python programs on the pages, run beside the program itself: what they compute from a checkpoint is what it reported.
//!
//! A block begins with the name of the file that it belongs to; blocks of one name follow each other in that file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fretwork::export::{Format, to_bytes};
use fretwork::random::{Key, Stream, unit};
use fretwork::reference::gate::normal;
use fretwork::reference::to_f16;
use fretwork::sparse::Topology;
use fretwork::train::{Checkpoint, RunFolder};
use half::f16;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::pages::{Block, blocks};
use crate::runs::Folder;

/// Files that the tests below run, or that those import.
const FILES: [&str; 17] = [
    "bsr.py",
    "checkpoint.py",
    "checksum.py",
    "data.py",
    "digits_torch.py",
    "experts.py",
    "experts_torch.py",
    "exported.py",
    "first_step.py",
    "generator.py",
    "initial.py",
    "layers.py",
    "lm.py",
    "lm_torch.py",
    "mlp.py",
    "read_bsr.py",
    "run_torch.py",
];

/// The file that a block belongs to.
fn file_of(block: &Block) -> String {
    let first = block.text.lines().next().unwrap_or_default();
    let name = first.strip_prefix("# ").and_then(|words| words.split([' ', ':']).next());
    name.filter(|name| name.ends_with(".py")).map(str::to_owned).unwrap_or_else(|| {
        panic!("{}: a block of Python begins with the name of its file, not {first:?}", block.place())
    })
}

pub(crate) fn assert_has_a_test(block: &Block) {
    let file = file_of(block);
    assert!(FILES.contains(&file.as_str()), "{}: no test runs {file}", block.place());
}

/// The programs of all pages, in a folder of their own.
pub(crate) struct Programs {
    pub(crate) folder: Folder,
    python: PathBuf,
}

impl Programs {
    /// `None` where there is no NumPy, or not the module named. CI must have them; elsewhere their absence is said.
    pub(crate) fn with(module: &str) -> Option<Self> {
        // The second is the distribution's, for which it has NumPy.
        let Some(python) =
            ["python3", "/usr/bin/python3"].into_iter().find(|python| imports(python.as_ref(), module))
        else {
            assert!(
                std::env::var_os("CI").is_none(),
                "{module} is missing (apt-get install python3-{module})"
            );
            println!("SKIPPED: Python on the pages is not run without {module} (python3-{module})");
            return None;
        };
        Some(Self::run_by(python.into()))
    }

    /// Programs run by the Python of the environment that `scripts/setup test` makes beside the distribution's PyTorch; `None`, said,
    /// without it.
    pub(crate) fn with_torch() -> Option<Self> {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("torch/bin/python");
        if !imports(&python, "torch, safetensors.torch") {
            println!(
                "SKIPPED: exports are not run in PyTorch without python3-torch; then `scripts/setup test`"
            );
            return None;
        }
        Some(Self::run_by(python))
    }

    fn run_by(python: PathBuf) -> Self {
        let mut files = BTreeMap::<String, String>::new();
        for block in blocks().iter().filter(|block| block.tag == "python") {
            files.entry(file_of(block)).or_default().push_str(&block.text);
        }
        let folder = Folder::new();
        for (name, text) in files {
            std::fs::write(folder.path(&name), text).unwrap();
        }
        Self { folder, python }
    }

    /// Output of a program, or of a line of Python after `-c`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<f64> {
        let mut command = Command::new(&self.python);
        let output = command.args(arguments).current_dir(self.folder.path("")).output().unwrap();
        let said = expect_success(&output, arguments);
        said.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    fn assert_checksum(&self) {
        let printed = self.run(&["checksum.py", "run"]);
        assert_eq!(printed[0], printed[1], "the checksum of a checkpoint");
    }

    /// Whether a program finds the loss that a run reports.
    #[track_caller]
    fn assert_loss(&self, arguments: &[&str], reported: &Value) {
        let (found, wanted) = (self.run(arguments)[0], reported.as_f64().unwrap());
        assert!(
            (found - wanted).abs() <= 1e-4 * wanted,
            "{arguments:?} finds {found}, reported was {wanted}"
        );
    }
}

fn imports(python: &Path, modules: &str) -> bool {
    let output = Command::new(python).args(["-c", &format!("import {modules}")]).output();
    output.is_ok_and(|output| output.status.success())
}

fn expect_success(output: &Output, what: impl std::fmt::Debug) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_generator_is_the_librarys() {
    let Some(programs) = Programs::with("numpy") else { return };
    let printed = programs.run(&[
        "-c",
        "from generator import *\n\
         key = stream(2**40 + 7, REGROWTH, 3)\n\
         print(*key, *threefry(key, (11, 5)))\n\
         w = walk(key)\n\
         print(*(below(w, 10**9 + n) for n in range(20)), unit(next(w)), *map(normal, [0, 2**20, 2**31, 2**32 - 1]))",
    ]);
    let key = Key::new((1 << 40) + 7, Stream::Regrowth(3));
    let mut walk = key.walk();
    let mut wanted: Vec<f64> = key.0.into_iter().chain(key.at([11, 5])).map(f64::from).collect();
    wanted.extend((0..20).map(|n| f64::from(walk.below(1_000_000_000 + n))));
    wanted.push(unit(walk.bits()).into());
    wanted.extend([0, 1 << 20, 1 << 31, u32::MAX].map(|word| f64::from(normal(word))));
    assert_eq!(printed.len(), wanted.len());
    for (found, wanted) in printed.into_iter().zip(wanted) {
        assert!((found - wanted).abs() <= 1e-5 * wanted.abs() + 1e-12, "{found} is not {wanted}");
    }
}

#[test]
fn stochastic_rounding_is_the_librarys() {
    let Some(programs) = Programs::with("numpy") else { return };
    let key = Key::new(5, Stream::Rounding(1));
    let mut walk = Key::new(9, Stream::Check(2)).walk();
    // From below the smallest f16 to above the largest.
    let x: Vec<f32> = (0..400).map(|i| (walk.uniform() - 0.5) * 2f32.powi(i / 10 - 22)).collect();
    let mut wanted = vec![f16::ZERO; x.len()];
    to_f16(&x, &mut wanted, Some((key, 3)), None);
    let program = format!(
        "from generator import *\n\
         key = stream(5, ROUNDING, 1)\n\
         print(*(float(rounded(x, threefry(key, (i, 3))[0])) for i, x in enumerate({x:?})))"
    );
    let found = programs.run(&["-W", "ignore", "-c", &program]);
    assert_eq!(found, wanted.iter().map(|x| x.to_f64()).collect::<Vec<_>>());
}

#[test]
fn perceptrons_can_be_computed_elsewhere() {
    let Some(programs) = Programs::with("numpy") else { return };
    programs.folder.write_table();
    for options in [
        "--sparsity 0.5 --activation gelu --epochs 2 --keep-dense none",
        "--sparsity 0.5 --epochs 2",
        "--sparsity 0.6 --activation all-relu:0.4 --epochs 3 --method rigl --update-every 2 --optimizer sgd --lr 0.05",
        "--sparsity 0.6 --activation silu --epochs 3 --method top-kast --update-every 2",
        "--dense --epochs 1",
        "--sparsity 0.5 --dtype f16 --epochs 2 --stochastic-rounding",
    ] {
        let done = programs.folder.train(&format!(
            "--data csv:table.csv --hidden 48,32,24 --block 8 --batch 50 --seed 3 {options}"
        ));
        programs.assert_loss(&["mlp.py", "run", "table.csv"], &done["test_loss"]);
        programs.assert_checksum();
    }
}

/// Settings and table alone give the loss of a first step: split, standardisation, order, pattern, weights and dropout.
#[test]
fn a_first_step_can_be_computed_elsewhere() {
    let Some(programs) = Programs::with("numpy") else { return };
    programs.folder.write_table();
    for options in [
        "--sparsity 0.5 --hidden 64,48 --dropout 0.3 --keep-dense none",
        "--sparsity 0.93 --hidden 64,48,40 --dropout 0.1 --activation gelu --keep-dense none",
        "--sparsity 0.8 --hidden 64,48,40 --dropout 0.1",
    ] {
        let done = programs
            .folder
            .train(&format!("--data csv:table.csv --block 8 --batch 50 --seed 4 --steps 1 {options}"));
        programs.assert_loss(&["first_step.py", "run", "table.csv"], &done["train_loss"]);
    }
}

#[test]
fn language_models_can_be_computed_elsewhere() {
    let Some(programs) = Programs::with("numpy") else { return };
    programs.folder.write_text();
    for options in [
        "--model lm --hidden 48 --sparsity 0.5 --activation gelu",
        "--model lm --hidden 48 --sparsity 0.5 --dtype f16",
        "--model moe-lm --dense --experts 16,24,8 --gated --shared 16 --activation silu --bias-rate 0.01",
        "--model moe-lm --sparsity 0.4 --hidden 16 --experts 4 --gate sigmoid-top:2:renormalised",
        "--model moe-lm --dense --hidden 16 --experts 4 --gate noisy-top:2 --importance 0.01",
        "--model moe-lm --dense --hidden 16 --experts 4 --gate gshard:random",
        "--model moe-lm --dense --hidden 16 --experts 5 --gate hash:2",
    ] {
        let done = programs.folder.train(&format!(
            "--data text:text.txt --width 32 --heads 2 --depth 2 --context 12 --block 8 --batch 7 --steps 12 --lr 0.01 {options}"
        ));
        programs.assert_loss(&["lm.py", "run", "text.txt"], &done["test_loss"]);
        programs.assert_checksum();
    }
}

/// SciPy reads a sparse weight, the last columns of which have no block, as PyTorch does.
#[test]
fn scipy_reads_a_sparse_weight() {
    let Some(programs) = Programs::with("scipy") else { return };
    programs.folder.write_table();
    programs.folder.train("--data csv:table.csv --hidden 32 --block 8 --batch 50 --sparsity 0.5 --steps 1");
    let folder = RunFolder::open(&programs.folder.path("run")).unwrap();
    let trained = folder.load().unwrap();
    // Padded inputs are two blocks wide. Only the first column has blocks, and one of them is inactive.
    let name = "layers.0.weight";
    let blocks = [(0, 0), (1, 0), (3, 0)];
    let topology = Topology::with_inactive(32, 16, 8, &blocks, |slot| slot == 1).unwrap();
    let values: Vec<f32> = (0..topology.elements()).map(|i| i as f32 / 64.0 - 1.0).collect();
    let mut checkpoint = Checkpoint::new(trained.settings.clone(), trained.position, Value::Null);
    let bias: Vec<f32> = (0..32).map(|i| i as f32 / 8.0).collect();
    checkpoint.put_sparse(name, &topology, &values);
    checkpoint.put("layers.0.bias", &[32], bias.clone());
    folder.save(&checkpoint).unwrap();

    let printed = programs.run(&["bsr.py", "run"]);
    let rows = topology.scatter(&values);
    let wanted =
        rows.chunks(16).zip(&bias).map(|(row, bias)| f64::from(row[..13].iter().sum::<f32>() + bias));
    assert_eq!(printed.len(), 32);
    for (found, wanted) in printed.into_iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-5, "{found} is not {wanted}");
    }
}

/// SciPy reads a block-sparse export, whose hidden width the block does not divide and whose inputs are padded.
#[test]
fn scipy_reads_an_export() {
    let Some(programs) = Programs::with("scipy") else { return };
    programs.folder.write_table();
    programs.folder.train("--data csv:table.csv --hidden 30 --block 8 --batch 50 --sparsity 0.5 --steps 3");
    let folder = RunFolder::open(&programs.folder.path("run")).unwrap();
    let checkpoint = folder.load().unwrap();
    for format in [Format::SafetensorsBsr, Format::SafetensorsDense] {
        let bytes = to_bytes(&checkpoint, &folder.checkpoint_path(), format).unwrap();
        std::fs::write(programs.folder.path(&format!("{format}.safetensors")), bytes).unwrap();
    }
    let dense = std::fs::read(programs.folder.path("safetensors-dense.safetensors")).unwrap();
    let dense = SafeTensors::deserialize(&dense).unwrap();
    let weight = dense.tensor("layers.0.weight").unwrap();
    assert_eq!(weight.shape(), [30, 13]);
    let weight: Vec<f32> = bytemuck::pod_collect_to_vec(weight.data());
    let found = programs.run(&["read_bsr.py", "safetensors-bsr.safetensors", "layers.0.weight"]);
    assert_eq!(found.len(), 30);
    assert!(found.iter().any(|sum| sum.abs() > 0.01));
    for (found, row) in found.into_iter().zip(weight.chunks(13)) {
        let wanted = f64::from(row.iter().sum::<f32>());
        assert!((found - wanted).abs() < 1e-5, "{found} is not {wanted}");
    }
}
