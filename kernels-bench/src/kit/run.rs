//! Runs the steps, none longer than its time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::results::{Outcome, Taken};
use super::steps::{Program, Step};

/// Exit code of a program that lacks what it needs, such as PyTorch.
const LACKING: i32 = 3;

/// Time between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(20);

/// Environment variables that would change what is measured.
const CHANGING: [&str; 3] = ["FRETWORK_VARIANT", "FRETWORK_TUNE", "FRETWORK_SHADERS"];

/// Whether the user asked the run to end.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A run of the kit.
#[derive(Debug)]
pub(crate) struct Kit {
    /// Folder of the kit: `fretwork`, `peers/` and `data/`.
    pub(crate) home: PathBuf,
    /// Folder of the results.
    pub(crate) out: PathBuf,
    /// Adapter of all steps, as `--adapter` takes it.
    pub(crate) adapter: Option<String>,
    /// Python with PyTorch.
    pub(crate) python: String,
}

impl Kit {
    /// Runs a step until it ends or `deadline` comes.
    ///
    /// # Errors
    /// Files that cannot be written. A program that fails is an [`Outcome`].
    pub(crate) fn run(&self, step: &Step, deadline: Instant) -> Result<Taken> {
        let started = Instant::now();
        let none = |why: &str| Outcome::NotRun { why: why.to_owned() };
        let outcome = if INTERRUPTED.load(Ordering::Relaxed) {
            none("interrupted")
        } else if started >= deadline {
            none("no time was left")
        } else {
            self.bounded(step, deadline)?
        };
        Ok(Taken { step: step.name.to_owned(), seconds: started.elapsed().as_secs_f64(), outcome })
    }

    fn bounded(&self, step: &Step, deadline: Instant) -> Result<Outcome> {
        let started = Instant::now();
        let file = |end: &str| {
            let path = self.out.join(format!("{}.{end}", step.name));
            File::create(&path).with_context(|| path.display().to_string())
        };
        let mut command = self.command(step);
        command.stdin(std::process::Stdio::null()).stdout(file("out")?).stderr(file("err")?);
        let mut child = match own_group(&mut command).spawn() {
            Ok(child) => child,
            Err(error) => {
                let program = command.get_program().to_string_lossy();
                return Ok(Outcome::NotRun { why: format!("{program}: {error}") });
            }
        };
        match wait(&mut child, deadline)? {
            Some(status) if status.success() => Ok(Outcome::Done),
            Some(status) => {
                let messages = std::fs::read(self.out.join(format!("{}.err", step.name)))?;
                let messages = String::from_utf8_lossy(&messages);
                let last = messages.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let why = format!("{}{last}", exit(status));
                Ok(match status.code() {
                    Some(LACKING) => Outcome::NotRun { why: last.to_owned() },
                    _ => Outcome::Failed { why },
                })
            }
            None if INTERRUPTED.load(Ordering::Relaxed) => {
                Ok(Outcome::NotRun { why: "interrupted".to_owned() })
            }
            None => Ok(Outcome::Cut { after: started.elapsed().as_secs_f64() }),
        }
    }

    fn command(&self, step: &Step) -> Command {
        let mut command = match step.program {
            Program::Fretwork => Command::new(self.home.join("fretwork")),
            Program::Torch => {
                let mut command = Command::new(&self.python);
                command.arg(self.home.join("peers/torch_peer.py"));
                command
            }
        };
        command.args(step.arguments()).current_dir(&self.out);
        if step.is_bench() {
            for (option, end) in [("--save", "json"), ("--html", "html")] {
                command.arg(option).arg(format!("{}.{end}", step.name));
            }
        }
        // The list of adapters is of all of them.
        if let (Program::Fretwork, Some(adapter), false) =
            (step.program, &self.adapter, step.arguments().any(|word| word == "--adapters"))
        {
            command.args(["--adapter", adapter]);
        }
        CHANGING.iter().for_each(|name| {
            command.env_remove(name);
        });
        // A choice that an earlier run kept would leave the tuner nothing to measure.
        command.env("FRETWORK_CACHE", self.out.join("tuner"));
        let data = self.home.join("data");
        if data.is_dir() {
            command.env("FRETWORK_DATA", data);
        }
        command
    }
}

/// Waits for a child until `deadline` or an interruption; then ends it with all that it started, and returns `None`.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    let is_over = || Instant::now() >= deadline || INTERRUPTED.load(Ordering::Relaxed);
    while !is_over() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    signal(child, false);
    let kill = Instant::now() + GRACE;
    while child.try_wait()?.is_none() && Instant::now() < kill {
        std::thread::sleep(POLL);
    }
    // Also what outlived its parent.
    signal(child, true);
    child.wait()?;
    Ok(None)
}

#[cfg(unix)]
fn own_group(command: &mut Command) -> &mut Command {
    std::os::unix::process::CommandExt::process_group(command, 0)
}

#[cfg(not(unix))]
fn own_group(command: &mut Command) -> &mut Command {
    command
}

/// Asks a child's process group to end, or kills it. A group that has ended is no error.
#[cfg(unix)]
fn signal(child: &mut Child, kill: bool) {
    use nix::sys::signal::{Signal, killpg};
    let signal = if kill { Signal::SIGKILL } else { Signal::SIGTERM };
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(nix::unistd::Pid::from_raw(group), signal);
    }
}

#[cfg(not(unix))]
fn signal(child: &mut Child, _: bool) {
    let _ = child.kill();
}

/// Exit code or signal of a program that failed.
fn exit(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("{status}: "), |code| format!("exit code {code}: "))
}

/// Folder of this program, which is the kit's.
///
/// # Errors
/// Where the system does not tell.
pub(crate) fn home() -> Result<PathBuf> {
    let own = std::env::current_exe().context("path of this program")?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}
