//! Hot kernels through a GPU vendor's compiler, on a machine without that GPU: Mesa's RADV compiles for AMD GPUs on "null hardware".
//!
//! `cargo run --release -p kernels-bench --bin isa` prints a table per GPU family: registers, spills, workgroup memory, occupancy, and the
//! instructions of the hottest basic block, with the bars that a kernel misses. `--all` compiles all permutations of the hot families, a
//! sample of each rule of the table. `FRETWORK_SHADERS` names a folder of shaders in place of those built in. `--json` writes the rows as
//! JSON, `--dump` keeps the assembly. It needs Mesa 24 or 25; newer versions have no null hardware. The exit code is 1 if a kernel
//! spills, is refused or misses a bar, and 3 where there is no null hardware.

mod assembly;
mod bars;
mod device;
mod kernels;
mod spirv;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use fretwork::gpu::{Key, Sources};
use serde::{Deserialize, Serialize};

use bars::Code;
use device::Device;

/// Environment variable by which RADV makes a device of null hardware.
const FAMILY: &str = "RADV_FORCE_FAMILY";

/// Exit code where the driver has no null hardware.
const NO_HARDWARE: u8 = 3;

#[derive(Parser)]
struct Arguments {
    /// GPU families: vega20 (GCN), navi21 (RDNA2), navi31 (RDNA3), gfx1201 (RDNA4).
    #[arg(long, value_delimiter = ',', default_value = "navi31")]
    family: Vec<String>,
    /// All permutations of the hot families, at most this many of each rule of the table.
    #[arg(long, value_name = "COUNT")]
    all: Option<usize>,
    /// A file of WGSL in place of kernels of this library; it is held to no bar.
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    wgsl: Option<PathBuf>,
    /// Writes the assembly of each kernel into this folder.
    #[arg(long, value_name = "FOLDER")]
    dump: Option<PathBuf>,
    /// Holds kernels to no bar but that of spills and scratch.
    #[arg(long)]
    spills: bool,
    /// Prints JSON, a row per line, in place of tables.
    #[arg(long)]
    json: bool,
    /// Only kernels whose labels contain this text.
    filter: Option<String>,
}

/// A line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Device { device: String },
    Code(Code),
    Refused { label: String, error: String },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if std::env::var_os(FAMILY).is_some() {
        return compile(&arguments);
    }
    let mut worst = 0;
    for family in &arguments.family {
        worst = worst.max(run(&arguments, family)?);
    }
    Ok(worst.into())
}

/// Runs this program for one family, because the driver reads the family from the environment, and prints what it found.
fn run(arguments: &Arguments, family: &str) -> Result<u8> {
    let Some(driver) = ["radeon_icd.json", "radeon_icd.x86_64.json", "radeon_icd.aarch64.json"]
        .map(|name| Path::new("/usr/share/vulkan/icd.d").join(name))
        .into_iter()
        .find(|path| path.exists())
    else {
        eprintln!("{family}: Mesa's driver for AMD GPUs is not installed (mesa-vulkan-drivers)");
        return Ok(NO_HARDWARE);
    };
    let output = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(FAMILY, family)
        .env("VK_DRIVER_FILES", driver)
        .stderr(Stdio::inherit())
        .output()?;
    let status = output.status.code().with_context(|| format!("{family}: {}", output.status))?;
    let text = String::from_utf8(output.stdout)?;
    if arguments.json {
        print!("{text}");
    } else {
        print_table(family, &text)?;
    }
    Ok(u8::try_from(status)?)
}

fn compile(arguments: &Arguments) -> Result<ExitCode> {
    let device = match Device::open() {
        Ok(device) => device,
        Err(error) => {
            eprintln!("no null hardware: {error:#}");
            return Ok(NO_HARDWARE.into());
        }
    };
    let mut out = std::io::stdout().lock();
    let mut say = |line: &Line| writeln!(out, "{}", serde_json::to_string(line)?).context("standard output");
    say(&Line::Device { device: device.name.clone() })?;
    let mut fine = true;
    for Text { label, wgsl, key } in texts(arguments, device.has_matrices)? {
        let pipeline = wgsl.and_then(|wgsl| {
            let (words, bindings) = spirv::translate(&wgsl)?;
            device.compile(&words, &bindings)
        });
        let line = match pipeline {
            Ok(pipeline) => {
                if let Some(folder) = &arguments.dump {
                    std::fs::create_dir_all(folder)?;
                    std::fs::write(
                        folder.join(format!("{}.s", label.replace('/', "_"))),
                        &pipeline.assembly,
                    )?;
                }
                let code = match &key {
                    Some(_) if arguments.spills => Code::spills(label, &pipeline),
                    Some(key) => Code::new(key, &pipeline),
                    None => Code::measured(label, &pipeline),
                };
                fine &= code.missed.is_empty();
                Line::Code(code)
            }
            Err(error) => {
                fine = false;
                Line::Refused { label, error: format!("{error:#}") }
            }
        };
        say(&line)?;
    }
    Ok(u8::from(!fine).into())
}

/// A kernel to compile.
struct Text {
    label: String,
    /// The text, or why it could not be composed.
    wgsl: Result<String>,
    /// Key of a kernel of this library.
    key: Option<Key>,
}

/// The kernels to compile.
fn texts(arguments: &Arguments, matrices: bool) -> Result<Vec<Text>> {
    if let Some(file) = &arguments.wgsl {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        return Ok(vec![Text { label: file.display().to_string(), wgsl: Ok(text), key: None }]);
    }
    let keys = match arguments.all {
        Some(most) => kernels::all(matrices, most),
        None => kernels::hot(matrices),
    };
    let sources = match std::env::var_os("FRETWORK_SHADERS") {
        Some(folder) => Sources::read(Path::new(&folder))?,
        None => Sources::default(),
    };
    let wanted = |key: &Key| arguments.filter.as_ref().is_none_or(|filter| key.label().contains(filter));
    let of = |key: Key| {
        let wgsl = sources.compose(&key).map(|composed| composed.wgsl).map_err(Into::into);
        Text { label: key.label(), wgsl, key: Some(key) }
    };
    let texts: Vec<_> = keys.into_iter().filter(wanted).map(of).collect();
    ensure!(!texts.is_empty(), "no kernel's label contains {:?}", arguments.filter);
    Ok(texts)
}

/// Prints a family's rows as a table in Markdown.
fn print_table(family: &str, lines: &str) -> Result<()> {
    println!(
        "\n| {family} | subgroup | VGPRs | spilled | LDS bytes | subgroups a SIMD | hot block: matrices, FMA, share, LDS loads, others | 16-bit LDS | misses |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for line in lines.lines() {
        match serde_json::from_str(line)? {
            Line::Device { device } => println!("| {device} | | | | | | | | |"),
            Line::Refused { label, error } => {
                let error = error.lines().next().unwrap_or_default();
                println!("| {label} | | | | | | | | {error} |");
            }
            Line::Code(code) => {
                use assembly::Class;
                let loads = code.lds_loads();
                let (matrices, fma) = (code.hot.count(Class::Matrix), code.hot.count(Class::Fma));
                println!(
                    "| {} | {} | {} | {} | {} | {} | {matrices}, {fma}, {:.2}, {loads}, {} | {} | {} |",
                    code.label.trim_start_matches("fretwork."),
                    code.subgroup,
                    code.vgprs,
                    code.spilled,
                    code.workgroup_memory,
                    code.subgroups_per_simd,
                    code.fma_share(),
                    code.hot.instructions() - matrices - fma - loads,
                    code.narrow,
                    code.missed.join("; "),
                );
            }
        }
    }
    Ok(())
}
