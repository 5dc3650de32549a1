//! Files that appear in a folder together.

use std::fs;
use std::path::{Path, PathBuf};

use crate::BoardError;

/// Writes copies of files, then texts: each under a name of its own first, then all are renamed in this order.
///
/// # Errors
/// [`BoardError::Io`]; then no file is half-written.
pub(crate) fn write(
    folder: &Path,
    copies: &[(String, PathBuf)],
    texts: &[(String, Vec<u8>)],
) -> Result<(), BoardError> {
    fs::create_dir_all(folder).map_err(BoardError::io(folder))?;
    let own = |name: &str| folder.join(format!(".{name}.{}", std::process::id()));
    let write = || -> Result<(), BoardError> {
        for (name, path) in copies {
            fs::copy(path, own(name)).map_err(BoardError::io(own(name)))?;
        }
        for (name, text) in texts {
            fs::write(own(name), text).map_err(BoardError::io(own(name)))?;
        }
        Ok(())
    };
    let names: Vec<&String> = copies.iter().map(|(name, _)| name).chain(texts.iter().map(|(name, _)| name)).collect();
    let place = |name: &&String| fs::rename(own(name), folder.join(name)).map_err(BoardError::io(folder.join(name)));
    write().and_then(|()| names.iter().try_for_each(place)).inspect_err(|_| {
        for name in &names {
            // Some of them were never written, or are in place already.
            let _ = fs::remove_file(own(name));
        }
    })
}
