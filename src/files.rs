//! Files that are whole at any time.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes a file beside an older one and renames it, so that one of the two is always whole.
///
/// # Errors
/// [`Error::Io`]; the older file is then still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    // A name alone is one in the current folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut beside = temporary().tempfile_in(folder)?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::io(path))
}

/// A file with the permissions of any other, rather than of a secret.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}
