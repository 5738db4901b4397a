//! Files that are whole at any time, and folders with one writer.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file beside an older one and renames it, so that one of the two is always whole.
///
/// # Errors
/// [`Error::Io`]; the older file is then still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut beside = temporary(&prefix(path)).tempfile_in(folder(path))?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::io(path))
}

/// Removes the temporary files that killed processes left beside `path` in [`replace`]. For the file's only writer: another's
/// temporary file would be lost.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn remove_left_over(path: &Path) -> Result<()> {
    let (folder, prefix) = (folder(path), prefix(path));
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(SUFFIX)) {
            let left_over = folder.join(name);
            std::fs::remove_file(&left_over).map_err(Error::io(&left_over))?;
        }
    }
    Ok(())
}

/// The end of a temporary file's name.
const SUFFIX: &str = ".tmp";

/// The beginning of the names of a file's temporary files.
fn prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The folder of a file: the current one for a name alone.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file with the permissions of any other, rather than of a secret.
fn temporary(prefix: &str) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// A lock that one process holds until it is dropped or the process ends, however it ends. The file stays, with the process
/// number in it: the system keeps the lock, not the file.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The outcome of [`Lock::acquire`].
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The lock is held now.
    Held(Lock),
    /// Another holds it: the process of this number, where that can be read.
    By(Option<u32>),
}

impl Lock {
    /// Tries to lock a file, which is made where there is none. Never waits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn acquire(path: &Path) -> Result<Acquired> {
        let io = |error| Error::io(path)(error);
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {
                let number = format!("{}\n", std::process::id());
                // Shortened afterwards: on a full disk the bytes that are there can be written over, and no others.
                file.write_all(number.as_bytes())
                    .and_then(|()| file.set_len(number.len() as u64))
                    .map_err(io)?;
                Ok(Acquired::Held(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                Ok(Acquired::By(read.ok().and_then(|_| text.trim().parse().ok())))
            }
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_left_over_files_of_that_name_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        // A save that was killed: the temporary file is never renamed.
        let killed = temporary(&prefix(&path)).tempfile_in(folder.path()).unwrap().keep().unwrap().1;
        let others = [".tmp", ".report.abc.tmp", ".checkpoint.abc", "checkpoint.tmp", "notes.tmp"];
        others.iter().for_each(|name| std::fs::write(folder.path().join(name), "mine").unwrap());
        replace(&path, b"new").unwrap();
        remove_left_over(&path).unwrap();
        assert!(!killed.exists());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), others.len() + 1);
    }

    #[test]
    fn a_lock_has_one_holder_and_none_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        // A longer number of a process that is dead is no holder, and leaves no digit.
        std::fs::write(&path, "99999999999\n").unwrap();
        let Acquired::Held(lock) = Lock::acquire(&path).unwrap() else { panic!("nobody holds it") };
        let Acquired::By(holder) = Lock::acquire(&path).unwrap() else { panic!("held twice") };
        if cfg!(unix) {
            assert_eq!(holder, Some(std::process::id()));
        }
        drop(lock);
        assert!(matches!(Lock::acquire(&path).unwrap(), Acquired::Held(_)));
    }
}
