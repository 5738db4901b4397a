//! The folder a run leaves behind: its latest checkpoint, and a log of its epochs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Checkpoint;
use super::LogRecord;
use crate::files::{self, Acquired, Lock, remove_left_over, replace};
use crate::{Error, Result};

/// A folder with `checkpoint.safetensors` and `log.jsonl`. One that a run writes to is locked for as long as this and its clones
/// live.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    /// Name of the checkpoint that is read and written.
    checkpoint: &'static str,
    /// Held by the writer, not by readers.
    _lock: Option<Arc<Lock>>,
}

/// File of the last checkpoint.
const LAST: &str = "checkpoint.safetensors";
/// File of the checkpoint of the best epoch.
const BEST: &str = "best.safetensors";

impl RunFolder {
    /// A new folder for a new run. A file is written at once, so that a folder that cannot be written to is refused before the
    /// first step.
    ///
    /// # Errors
    /// [`Error::Config`] if there is a run already or another process writes to the folder, [`Error::Io`] if nothing can be
    /// written.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        let folder = Self::locked(path, "out")?;
        Self::expect_no_run(path)?;
        replace(&folder.log_path(), b"")?;
        Ok(folder)
    }

    /// Refuses a folder that holds a run or that another process writes to, and makes none.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn expect_vacant(path: &Path) -> Result<()> {
        if path.join(LOCK).is_file() {
            lock(path, "out")?;
        }
        Self::expect_no_run(path)
    }

    fn expect_no_run(path: &Path) -> Result<()> {
        if !Self::unlocked(path).checkpoint_path().exists() {
            return Ok(());
        }
        let reason = format!("{} holds a run already; resume it, or choose another folder", path.display());
        Err(Error::Config { option: "out", reason })
    }

    /// The folder of a run that has a checkpoint, for going on with it.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none or another process writes to the folder.
    pub fn open(path: &Path) -> Result<Self> {
        if !Self::unlocked(path).checkpoint_path().is_file() {
            let reason = format!("{} has no checkpoint", path.display());
            return Err(Error::Config { option: "resume", reason });
        }
        let folder = Self::locked(path, "resume")?;
        folder.mend_log()?;
        Ok(folder)
    }

    fn unlocked(path: &Path) -> Self {
        Self { path: path.to_owned(), checkpoint: LAST, _lock: None }
    }

    /// Locks a folder, and removes what killed writers left behind.
    fn locked(path: &Path, option: &'static str) -> Result<Self> {
        let folder = Self { _lock: Some(Arc::new(lock(path, option)?)), ..Self::unlocked(path) };
        remove_left_over(&folder.checkpoint_path())?;
        remove_left_over(&folder.best_path())?;
        remove_left_over(&folder.log_path())?;
        Ok(folder)
    }

    /// The folder of a run that left anything to report: a checkpoint, a log, or both.
    ///
    /// # Errors
    /// [`Error::Config`] if there is neither.
    pub fn inspect(path: &Path) -> Result<Self> {
        let folder = Self::unlocked(path);
        if !folder.checkpoint_path().is_file() && !folder.log_path().is_file() {
            let reason = format!("{} has neither a checkpoint nor a log", path.display());
            return Err(Error::Config { option: "report", reason });
        }
        Ok(folder)
    }

    /// The folder of a run that has a checkpoint, to read it.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    pub fn with_checkpoint(path: &Path) -> Result<Self> {
        let folder = Self::unlocked(path);
        if !folder.checkpoint_path().is_file() {
            let reason = format!("{} has no checkpoint", path.display());
            return Err(Error::Config { option: "dir", reason });
        }
        Ok(folder)
    }

    /// The folder of a run that validated, to read the checkpoint of its best epoch in place of the last one.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    pub fn of_best_epoch(path: &Path) -> Result<Self> {
        let folder = Self { checkpoint: BEST, ..Self::with_checkpoint(path)? };
        if !folder.checkpoint_path().is_file() {
            let reason = format!(
                "{} has no {BEST}, which a run with --validation keeps from its first epoch on",
                path.display()
            );
            return Err(Error::Config { option: "best", reason });
        }
        Ok(folder)
    }

    /// Where the checkpoint is: the last one, or that of the best epoch in a folder that [reads it](RunFolder::of_best_epoch).
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join(self.checkpoint)
    }

    /// Where the checkpoint of the epoch with the smallest validation loss is, in a run that validates.
    pub fn best_path(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Where the log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// Where the report is, once there is one.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The folder's own name; "run" where it was given none, as in `..`.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        self.path.file_name().map_or("run".into(), |name| name.to_string_lossy())
    }

    /// Reads the checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if it is damaged.
    pub fn load(&self) -> Result<Checkpoint> {
        let path = self.checkpoint_path();
        let bytes = files::read(&path, files::most_bytes())?;
        Checkpoint::from_bytes(&path, &bytes)
    }

    /// Replaces the checkpoint. It is written beside the old one and renamed, so that one of the two is always whole.
    ///
    /// # Errors
    /// [`Error::Io`]; the old checkpoint is then still there.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let path = self.checkpoint_path();
        replace(&path, &checkpoint.to_bytes(&path)?)
    }

    /// Replaces the checkpoint of the best epoch, likewise.
    ///
    /// # Errors
    /// As [`RunFolder::save`].
    pub fn save_best(&self, checkpoint: &Checkpoint) -> Result<()> {
        let path = self.best_path();
        replace(&path, &checkpoint.to_bytes(&path)?)
    }

    /// Adds a line to the log, on the disk when this returns. An event that was logged before a run was interrupted is logged
    /// again when the resumed run gets there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&self, record: &LogRecord) -> Result<()> {
        let path = self.log_path();
        let line = serde_json::to_string(record).map_err(|error| Error::io(&path)(error.into()))?;
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(&path).map_err(Error::io(&path))?;
        file.write_all(format!("{line}\n").as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(Error::io(&path))
    }

    /// Cuts off a line that was being written when a run was killed.
    fn mend_log(&self) -> Result<()> {
        let path = self.log_path();
        let Ok(log) = std::fs::read(&path) else { return Ok(()) };
        let whole = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if whole == log.len() {
            return Ok(());
        }
        // Shortened in place: a full disk, which may have cut the line, has no space for a copy.
        let file = std::fs::OpenOptions::new().write(true).open(&path).map_err(Error::io(&path))?;
        file.set_len(whole as u64).map_err(Error::io(&path))
    }
}

/// Writes a file whole: beside an older one and renamed, so that one of the two is always there.
///
/// # Errors
/// [`Error::Io`]; an older file is then still there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes)
}

/// The file whose lock guards a folder.
const LOCK: &str = "lock";

/// Locks a folder for its one writer.
fn lock(path: &Path, option: &'static str) -> Result<Lock> {
    match Lock::acquire(&path.join(LOCK))? {
        Acquired::Held(lock) => Ok(lock),
        Acquired::By(holder) => {
            let holder = holder.map_or("another process".to_owned(), |number| format!("process {number}"));
            let reason = format!(
                "{holder} is writing to {}; wait for it, stop it, or choose another folder",
                path.display()
            );
            Err(Error::Config { option, reason })
        }
    }
}
