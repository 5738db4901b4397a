//! Files that are whole at any time, files that are read whole, and folders with one writer.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result, host};

/// Most bytes of a file where the host does not say how much memory it has.
const MOST_BYTES: u64 = 64 << 30;

/// Most bytes that files may have together that are read whole: the host's available memory.
pub(crate) fn most_bytes() -> u64 {
    host::available_memory().unwrap_or(MOST_BYTES)
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// [`Error::Data`] for what is no regular file and could go on for ever, or block, and for a file that is larger;
/// [`Error::Io`].
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let bad = |reason: String| Error::Data { path: path.to_owned(), reason };
    let too_large = |bytes| bad(format!("has {bytes} bytes, but at most {most} can be read here"));
    // The kind is asked for before the file is opened: to open a pipe is to wait for its writer.
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a folder" } else { "a device, a pipe or a socket" };
        return Err(bad(format!("is {kind}, should be a regular file")));
    }
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let file = File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    // It may have grown in the meantime.
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

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

    #[test]
    fn a_file_is_read_to_the_byte_and_no_further() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        let said = read(file.path(), 4).unwrap_err().to_string();
        assert!(said.contains("has 5 bytes, but at most 4"), "{said}");
        // A hole of a terabyte takes no space on the disk, and none in memory either.
        file.as_file().set_len(1 << 40).unwrap();
        let said = read(file.path(), most_bytes()).unwrap_err().to_string();
        assert!(said.contains("has 1099511627776 bytes"), "{said}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path(), 9).unwrap_err().to_string().contains("is a folder"));
        if cfg!(unix) {
            let said = read(Path::new("/dev/zero"), 9).unwrap_err().to_string();
            assert_eq!(said, "/dev/zero: is a device, a pipe or a socket, should be a regular file");
        }
    }
}
