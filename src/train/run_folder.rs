//! The folder a run leaves behind: its latest checkpoint, and a log of its epochs.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::{Error, Result};

/// A folder with `checkpoint.safetensors` and `log.jsonl`.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder for a new run. That it can be written to is tried at once, before any work is done.
    ///
    /// # Errors
    /// [`Error::Config`] if there is a run already, [`Error::Io`] if nothing can be written.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        if folder.checkpoint_path().exists() {
            let reason =
                format!("{} holds a run already; resume it, or choose another folder", path.display());
            return Err(Error::Config { option: "out", reason });
        }
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        folder.write("log.jsonl", b"")?;
        Ok(folder)
    }

    /// The folder of a run that has a checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        if !folder.checkpoint_path().is_file() {
            let reason = format!("{} has no checkpoint", path.display());
            return Err(Error::Config { option: "resume", reason });
        }
        Ok(folder)
    }

    /// Where the checkpoint is.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// Reads the checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if it is damaged.
    pub fn load(&self) -> Result<Checkpoint> {
        let path = self.checkpoint_path();
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        Checkpoint::from_bytes(&path, &bytes)
    }

    /// Replaces the checkpoint. It is written beside the old one and renamed, so that one of the two is always whole.
    ///
    /// # Errors
    /// [`Error::Io`]; the old checkpoint is then still there.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let path = self.checkpoint_path();
        self.write("checkpoint.safetensors", &checkpoint.to_bytes(&path)?)
    }

    /// Adds a line to the log. An event that was logged before a run was interrupted is logged again when the resumed run
    /// gets there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&self, line: &str) -> Result<()> {
        let path = self.path.join("log.jsonl");
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(&path).map_err(Error::io(&path))?;
        file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io(&path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            let mut beside = temporary().tempfile_in(&self.path)?;
            beside.write_all(bytes)?;
            beside.as_file().sync_all()?;
            beside.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(Error::io(&path))
    }
}

/// A file with the permissions of any other, rather than of a secret.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}
