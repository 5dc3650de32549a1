//! Writing results and complaints.

use anyhow::{Result, anyhow};
use std::io::{ErrorKind, Write};

/// Writes text to stdout. A reader that has gone away, such as `head`, is not an error.
///
/// # Errors
/// Any other failure to write.
pub fn emit(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(anyhow!("standard output: {e}")),
        _ => Ok(()),
    }
}

/// Writes a line to stderr. There is nowhere to tell that this fails.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
