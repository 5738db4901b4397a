//! Measures a machine with a GPU in under eight minutes. `make gpu-kit` puts this program, `fretwork` and the baseline in PyTorch into one
//! folder, to be copied to a machine without Rust; `run OUT` there runs it.
//!
//! Each step ends by its time. A step that is cut is reported as cut, with what it found until then. The last table compares the
//! results with the targets of `results/gpu.md`: reached, missed, cut, not run. `gpu-kit rows OUT` prints the tables of an earlier
//! run, `gpu-kit targets` those of `results/gpu.md`.

mod results;
mod rows;
mod run;
mod steps;
mod summary;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};

use results::Results;
use run::Kit;
use steps::STEPS;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all steps and write the results into a new folder.
    Run(Run),
    /// Print the tables of an earlier run.
    Rows {
        /// Folder of its results.
        folder: PathBuf,
    },
    /// Print the targets and the steps.
    Targets,
}

#[derive(Args)]
struct Run {
    /// Folder of the results, which must be new or empty.
    folder: PathBuf,
    /// Multiply the time of each step.
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, env = "GPU_KIT_SLOW")]
    slow: f64,
    /// Adapter: an index in the list of `fretwork doctor --adapters`, or a name or part of one.
    #[arg(long, value_name = "INDEX|NAME")]
    adapter: Option<String>,
    /// Python that has PyTorch.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    /// Run these steps only.
    #[arg(long, value_name = "STEP,..", value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Rows { folder } => {
            let results = Results::open(&folder)?;
            print!("{}\n{}", summary::steps(&results), summary::rows(&results));
            Ok(ExitCode::SUCCESS)
        }
        Command::Targets => {
            print!("{}", summary::targets());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run(arguments: &Run) -> Result<ExitCode> {
    let Run { folder, slow, adapter, python, only } = arguments;
    ensure!(slow.is_finite() && *slow > 0.0, "--slow: {slow} is no positive number");
    for name in only {
        let names = STEPS.each_ref().map(|step| step.name).join(", ");
        ensure!(steps::step(name).is_some(), "--only: there is no step {name:?}; the steps are {names}");
    }
    let out = new_folder(folder)?;
    let kit = Kit { home: run::home()?, out, adapter: adapter.clone(), python: python.clone() };
    ctrlc::set_handler(|| run::INTERRUPTED.store(true, Ordering::Relaxed))?;

    let chosen = STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name));
    // Each step has a deadline, so that one that ends early leaves its time to those after it.
    let mut deadline = Instant::now();
    let mut taken = Vec::new();
    print!("| step | outcome | seconds | found |\n| --- | --- | ---: | --- |\n");
    for step in chosen {
        deadline += Duration::from_secs_f64(step.seconds as f64 * slow);
        taken.push(kit.run(step, deadline)?);
        Results::keep(&kit.out, &taken)?;
        let results = Results::read(&kit.out, taken.clone())?;
        print!("{}", summary::step_line(&results, &taken[taken.len() - 1]));
    }
    let results = Results::read(&kit.out, taken)?;
    let rows = summary::rows(&results);
    write(&kit.out.join("summary.md"), &format!("{}\n{rows}", summary::steps(&results)))?;
    write(&kit.out.join("summary.json"), &format!("{:#}\n", summary::to_json(&results)))?;
    println!("\n{rows}\nAll results are in {}.", kit.out.display());
    Ok(if summary::is_whole(&results) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Creates the folder of the results. Files of an earlier run would be taken for those of this one.
fn new_folder(folder: &Path) -> Result<PathBuf> {
    let name = || folder.display().to_string();
    std::fs::create_dir_all(folder).with_context(name)?;
    let is_empty = std::fs::read_dir(folder).with_context(name)?.next().is_none();
    ensure!(is_empty, "{}: the folder is not empty; give a new one", name());
    folder.canonicalize().with_context(name)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
