//! Exports computed elsewhere: NumPy and PyTorch, with the programs of the pages, give the logits of the library.

use std::path::Path;

use fretwork::data::{Features, Rows, Table, Text};
use fretwork::export::{Format, to_bytes};
use fretwork::gpu::{Gpu, Options};
use fretwork::nn::ModelConfig;
use fretwork::random::{Key, Stream};
use fretwork::train::{Predictor, RunFolder};
use safetensors::{Dtype, SafeTensors};

use crate::python::Programs;

/// Rows, or windows, whose logits are compared.
const ROWS: usize = 20;

/// Options of language models. The logits of routers are so far apart after some steps that rounding changes no assignment.
const LANGUAGE_MODELS: [&str; 8] = [
    "--model lm --hidden 48 --sparsity 0.5 --activation gelu",
    "--model lm --hidden 44 --dense --activation all-relu:0.3",
    "--model moe-lm --dense --experts 16,24,8 --gated --shared 16 --activation silu --bias-rate 0.01",
    "--model moe-lm --sparsity 0.4 --hidden 16 --experts 4 --gate sigmoid-top:2:renormalised",
    "--model moe-lm --dense --hidden 16 --experts 4 --gate softmax-top:2:chosen",
    "--model moe-lm --dense --hidden 20 --experts 4 --gate noisy-top:2 --importance 0.01",
    "--model moe-lm --dense --hidden 16 --experts 4 --gate gshard:random",
    "--model moe-lm --dense --hidden 16 --experts 5 --gate hash:2",
];

impl Programs {
    /// Exports the run, beside its checkpoint.
    fn export(&self, format: Format) {
        let folder = RunFolder::open(&self.folder.path("run")).unwrap();
        let bytes = to_bytes(&folder.load().unwrap(), &folder.checkpoint_path(), format).unwrap();
        std::fs::write(self.folder.path("run").join(format.file_name()), bytes).unwrap();
    }

    /// Writes random input of the run's network to the file `input`, and returns its logits by the library.
    fn logits(&self) -> Vec<f32> {
        let folder = RunFolder::open(&self.folder.path("run")).unwrap();
        let gpu = Gpu::request(Options::default()).unwrap();
        let mut predictor = Predictor::open(&gpu, &folder).unwrap();
        let mut walk = Key::new(7, Stream::Check(0)).walk();
        let (rows, bytes) = match &predictor.checkpoint().settings.model {
            ModelConfig::Lm(config) => {
                let (count, context) = (ROWS * config.context, config.context);
                // A text has one byte more, the label of the last.
                let ids: Vec<u8> =
                    (0..=count).map(|_| walk.below(config.vocabulary.len() as u32) as u8).collect();
                let input: Vec<u32> = ids[..count].iter().map(|&id| id.into()).collect();
                (Rows::Text(Text::new(&ids, context).unwrap()), bytemuck::pod_collect_to_vec(&input))
            }
            ModelConfig::Mlp(config) => {
                let input: Vec<f32> = (0..ROWS * config.inputs).map(|_| 2.0 * walk.uniform() - 1.0).collect();
                let bytes = bytemuck::pod_collect_to_vec(&input);
                let table = Table::new(Features::Floats(input), vec![0; ROWS], config.inputs).unwrap();
                (Rows::Table(table), bytes)
            }
            other => panic!("no program computes {other:?}"),
        };
        std::fs::write(self.folder.path("input"), bytes).unwrap();
        predictor.outputs(&rows).unwrap()
    }

    /// Largest difference between logits that a program writes to `output` and these, as a share of the largest of these.
    fn error(&self, program: &[&str], wanted: &[f32]) -> f32 {
        self.run(program);
        let found: Vec<f32> =
            bytemuck::pod_collect_to_vec(&std::fs::read(self.folder.path("output")).unwrap());
        assert_eq!(found.len(), wanted.len());
        let largest = wanted.iter().fold(0.0f32, |largest, y| largest.max(y.abs()));
        let errors = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
        // `max` would pass over NaN.
        errors.fold(0.0f32, |worst, error| worst.max(if error.is_nan() { f32::INFINITY } else { error }))
            / largest
    }

    #[track_caller]
    fn assert_logits(&self, program: &[&str], wanted: &[f32]) {
        let error = self.error(program, wanted);
        println!("{program:?}: {error:.1e} of the largest logit");
        assert!(error <= 1e-5, "{program:?}: {error} of the largest logit");
    }

    /// The oracle objects to one weight that is not the run's: a bias of the last layer, which no logit can lack.
    fn assert_objects(&self, program: &[&str], file: &str, wanted: &[f32]) {
        let path = self.folder.path(file);
        let kept = std::fs::read(&path).unwrap();
        let mut changed = kept.clone();
        let (header, metadata) = SafeTensors::read_metadata(&kept).unwrap();
        let tensors = metadata.tensors();
        let biases = tensors.iter().filter(|(name, _)| name.ends_with(".bias"));
        let (_, bias) = biases.max_by_key(|(name, _)| (name.as_str() == "head.bias", *name)).unwrap();
        assert_eq!(bias.dtype, Dtype::F32);
        let (length_field, sign_and_exponent) = (8, 3);
        changed[length_field + header + bias.data_offsets.0 + sign_and_exponent] ^= 0x40;
        std::fs::write(&path, changed).unwrap();
        assert!(self.error(program, wanted) > 1e-4, "a wrong weight of {file} was not noticed");
        std::fs::write(&path, kept).unwrap();
    }

    /// NumPy computes the run from its exports with dense and with block-sparse weights.
    fn assert_by_numpy(&self) {
        let wanted = self.logits();
        for format in [Format::SafetensorsDense, Format::SafetensorsBsr] {
            self.export(format);
            let file = format!("run/{}", format.file_name());
            let program = ["exported.py", "run", &file, "input", "output"];
            self.assert_logits(&program, &wanted);
            self.assert_objects(&program, &file, &wanted);
        }
    }

    fn train_language_model(&self, options: &str) {
        self.folder.train(&format!(
            "--data text:text.txt --width 32 --heads 2 --depth 2 --context 12 --block 8 --batch 7 --steps 12 --lr 0.01 {options}"
        ));
    }
}

#[test]
fn numpy_computes_perceptrons() {
    let Some(programs) = Programs::with("numpy") else { return };
    programs.folder.write_table();
    for options in ["--hidden 48,32 --activation gelu", "--hidden 30,27 --activation all-relu:0.4"] {
        programs
            .folder
            .train(&format!("--data csv:table.csv --block 8 --batch 50 --sparsity 0.5 --epochs 2 {options}"));
        programs.assert_by_numpy();
    }
}

#[test]
fn numpy_computes_language_models() {
    let Some(programs) = Programs::with("numpy") else { return };
    programs.folder.write_text();
    for options in LANGUAGE_MODELS {
        programs.train_language_model(options);
        programs.assert_by_numpy();
    }
}

/// The five lines of the page load a perceptron.
#[test]
fn torch_computes_perceptrons() {
    let Some(programs) = Programs::with_torch() else { return };
    programs.folder.train("--data digits --hidden 512,512 --sparsity 0.9 --steps 3");
    let wanted = programs.logits();
    programs.export(Format::Torch);
    std::fs::create_dir(programs.folder.path("runs")).unwrap();
    std::fs::rename(programs.folder.path("run"), programs.folder.path("runs/digits")).unwrap();
    let program = [
        "-c",
        "import numpy as np, torch\n\
         rows = torch.from_numpy(np.fromfile('input', np.float32).reshape(-1, 64))\n\
         print = str\n\
         exec(open('digits_torch.py').read())\n\
         net(rows).detach().numpy().tofile('output')",
    ];
    programs.assert_logits(&program, &wanted);
    programs.assert_objects(&program, "runs/digits/torch.safetensors", &wanted);
}

#[test]
fn torch_computes_language_models() {
    let Some(programs) = Programs::with_torch() else { return };
    programs.folder.write_text();
    for options in LANGUAGE_MODELS {
        programs.train_language_model(options);
        let wanted = programs.logits();
        programs.export(Format::Torch);
        assert!(Path::new(&programs.folder.path("run/torch.safetensors")).exists());
        let program = ["run_torch.py", "run", "input", "output"];
        programs.assert_logits(&program, &wanted);
        programs.assert_objects(&program, "run/torch.safetensors", &wanted);
    }
}
