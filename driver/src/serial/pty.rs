//! The device's end of a pseudo-terminal: what opens its path is as if it had opened a serial port.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::port::Port;
use super::tty::{self, Tty};

/// A new pseudo-terminal in raw mode.
#[derive(Debug)]
pub struct Pty {
    master: File,
    path: PathBuf,
    /// While it is open here, programs may come and go at the other end.
    _kept: Tty,
    start: Instant,
}

impl Pty {
    /// Makes a pseudo-terminal.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn open() -> io::Result<Pty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let name = name.to_str().map_err(|_| io::Error::other("the pseudo-terminal has a name that is no text"))?;
        let path = PathBuf::from(name);
        let kept = Tty::open(&path, 115_200)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Pty { master: File::from(master), path, _kept: kept, start: Instant::now() })
    }

    /// The path of the other end.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// For waiting on it beside other descriptors.
impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

impl Port for Pty {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        let (begin, mut left) = (Instant::now(), bytes);
        while !left.is_empty() {
            match self.master.write(left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let rest = limit.saturating_sub(begin.elapsed());
                    if rest.is_zero() {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads the pseudo-terminal"));
                    }
                    tty::ready(&self.master, PollFlags::OUT, rest)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        if !tty::ready(&self.master, PollFlags::IN, limit)? {
            return Ok(0);
        }
        match self.master.read(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}
