//! Reading and writing files, with errors that name them.

use anyhow::{Result, anyhow, bail};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 30;

/// The bytes of a file. `-` is standard input.
///
/// # Errors
/// One sentence naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| anyhow!("standard input: {e}"))?;
        return Ok(bytes);
    }
    let kind = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if kind.is_dir() {
        bail!("{name}: it is a directory, give a file");
    }
    if is_endless(&kind) {
        bail!("{name}: it is a device, give a file");
    }
    if kind.len() > MAX_BYTES {
        bail!("{name}: it has {} bytes, more than the {MAX_BYTES} that are read", kind.len());
    }
    let file = std::fs::File::open(path).map_err(|e| unreadable(path, &e))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// One sentence naming the file.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes)
        .map_err(|e| anyhow!("{}: it is not UTF-8 text at byte {}", path.display(), e.utf8_error().valid_up_to()))
}

/// Writes a file; `-` is standard output.
///
/// # Errors
/// One sentence naming the file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        use std::io::Write;
        return match std::io::stdout().lock().write_all(bytes) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(anyhow!("standard output: {e}")),
            _ => Ok(()),
        };
    }
    std::fs::write(path, bytes).map_err(|e| anyhow!("{}: it cannot be written ({e})", path.display()))
}

/// Whether [`replace`] can write there, for those who would find out only after long work.
///
/// # Errors
/// One sentence naming the file.
pub fn probe(path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|kind| !kind.is_file()) {
        bail!("{}: it is no file that could be written; give another path", path.display());
    }
    let part = part_of(path)?;
    let written = std::fs::write(&part, b"");
    let _ = std::fs::remove_file(&part);
    written.map_err(|e| anyhow!("{}: it cannot be written ({e})", path.display()))
}

/// Writes a file whole or not at all: beside its place first, and then put there in one step.
///
/// # Errors
/// One sentence naming the file.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path)?;
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path)).map_err(|error| {
        // What is left of an attempt is of no use to anybody.
        let _ = std::fs::remove_file(&part);
        anyhow!("{}: it cannot be written ({error})", path.display())
    })
}

/// Where a file lies until it is whole.
fn part_of(path: &Path) -> Result<PathBuf> {
    let mut name = path.file_name().ok_or_else(|| anyhow!("{}: it names no file", path.display()))?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(name))
}

fn unreadable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let name = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!("{name}: there is no such file; check the path"),
        _ => anyhow!("{name}: it cannot be read ({error})"),
    }
}

#[cfg(unix)]
fn is_endless(kind: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.file_type().is_char_device() || kind.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_endless(_kind: &std::fs::Metadata) -> bool {
    false
}
