//! A serial line or a pseudo-terminal, opened by its path.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex};

use super::port::Port;

/// A terminal device in raw mode, eight bits without parity, without flow control.
#[derive(Debug)]
pub struct Tty {
    path: PathBuf,
    baud: u32,
    /// Absent after it could not be opened again.
    file: Option<File>,
    start: Instant,
}

impl Tty {
    /// Opens a terminal device at a bit rate, which a pseudo-terminal ignores.
    ///
    /// # Errors
    /// One sentence without the path: no such device, no permission, no terminal, a bit rate that it does not have.
    pub fn open(path: &Path, baud: u32) -> io::Result<Tty> {
        let file = open(path, baud)?;
        Ok(Tty { path: path.to_owned(), baud, file: Some(file), start: Instant::now() })
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "it is closed"))
    }
}

impl Port for Tty {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        let (begin, mut left) = (Instant::now(), bytes);
        while !left.is_empty() {
            let file = self.file()?;
            match file.write(left) {
                Ok(0) => return Err(hung_up()),
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let rest = limit.saturating_sub(begin.elapsed());
                    if rest.is_zero() {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no more bytes"));
                    }
                    ready(file, PollFlags::OUT, rest)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        let file = self.file()?;
        if !ready(file, PollFlags::IN, limit)? {
            return Ok(0);
        }
        match file.read(bytes) {
            // With at least one byte to wait for, an end of file means that the line is hung up.
            Ok(0) => Err(hung_up()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        // The old descriptor is closed first: the device may be open only once.
        self.file = None;
        self.file = Some(open(&self.path, self.baud)?);
        Ok(())
    }
}

/// Waits until a descriptor is ready or hung up; false where the limit passes before that.
pub(crate) fn ready(file: &File, events: PollFlags, limit: Duration) -> io::Result<bool> {
    let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
    match poll(&mut [PollFd::new(file, events)], Some(&limit)) {
        Ok(count) => Ok(count > 0),
        // The caller looks at the clock and waits again.
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open(path: &Path, baud: u32) -> io::Result<File> {
    // Without waiting for a carrier, and without becoming the terminal of this process.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(unopened)?;
    configure(&fd, baud)?;
    Ok(File::from(fd))
}

fn configure(fd: &OwnedFd, baud: u32) -> io::Result<()> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if !rustix::termios::isatty(fd) {
        return Err(invalid("it is no serial port or terminal device; give a path such as /dev/ttyUSB0".to_owned()));
    }
    let mut settings = rustix::termios::tcgetattr(fd)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CREAD | ControlModes::CLOCAL;
    settings.control_modes -= ControlModes::CSTOPB | ControlModes::CRTSCTS | ControlModes::HUPCL;
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    let no_rate = |error: Errno| invalid(format!("it does not take a bit rate of {baud} ({error})"));
    settings.set_speed(baud).map_err(no_rate)?;
    rustix::termios::tcsetattr(fd, OptionalActions::Now, &settings).map_err(no_rate)?;
    // What was received before means nothing here. A device that cannot flush is read until it is silent anyway.
    let _ = rustix::termios::tcflush(fd, QueueSelector::IOFlush);
    Ok(())
}

fn unopened(error: Errno) -> io::Error {
    let text = match error {
        Errno::NOENT => "there is no such port; check the path and the cable".to_owned(),
        Errno::ACCESS | Errno::PERM => {
            "permission denied; join the group that owns the port (dialout on most systems) or change its mode"
                .to_owned()
        }
        Errno::BUSY => "another program has it open; close that program".to_owned(),
        Errno::ISDIR => "it is a directory; give the path of a serial port".to_owned(),
        Errno::NXIO | Errno::NODEV | Errno::IO => format!("no device is behind it ({error}); plug the board in"),
        other => format!("it cannot be opened ({other})"),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the line is hung up")
}
