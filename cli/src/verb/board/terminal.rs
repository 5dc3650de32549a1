//! A pseudo-terminal with a simulated board behind it.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tandem_driver::serial::{Port, Pty};
use tandem_sim::board::{BoardSimError, Cable};
use watch::Watch;

/// Cycles between two looks at the terminal.
const SLICE_CYCLES: u64 = 4096;
/// How long a terminal that is full may stay so before bytes are lost, as they are on a real port.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pseudo-terminal, and what ends its service.
pub struct Terminal {
    pty: Pty,
    /// Readable once a signal has come.
    signal: UnixStream,
    /// Whether the end of stdin means anything: it does where another process holds its other end.
    stdin: bool,
    link: Option<Link>,
    watch: Option<Watch>,
}

/// How a service went.
pub struct Served {
    /// Why it ended.
    pub ended: Ended,
    /// Wall time in which the board ran.
    pub ran: Duration,
    /// Bytes that the terminal did not take.
    pub unread: u64,
}

/// Why a service ended.
pub enum Ended {
    /// A signal came, or stdin ended.
    Asked,
    /// The first host has left.
    HostLeft,
    /// The board has broken a rule.
    Violation(String),
}

/// A symbolic link that goes when this does.
struct Link(PathBuf);

impl Terminal {
    /// A new pseudo-terminal, with a link to it where one is wanted. With `once`, its service ends with the first host.
    pub fn open(link: Option<&Path>, once: bool) -> Result<Terminal> {
        let pty = Pty::open().context("a pseudo-terminal for the board")?;
        let (signal, raised) = UnixStream::pair()?;
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::low_level::pipe::register(number, raised.try_clone()?)?;
        }
        let link = link.map(|path| Link::new(pty.path(), path)).transpose()?;
        let watch = if once { Some(Watch::new(pty.path())?) } else { None };
        let stdin = rustix::fs::fstat(std::io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let stdin = matches!(stdin, Ok(FileType::Fifo | FileType::Socket));
        Ok(Terminal { pty, signal, stdin, link, watch })
    }

    /// The path that a host opens.
    pub fn path(&self) -> &Path {
        self.link.as_ref().map_or(self.pty.path(), |link| &link.0)
    }
}

/// Carries bytes between a terminal and a board until something ends it.
pub fn serve(mut terminal: Terminal, cable: &mut Cable) -> Result<Served> {
    let mut served = Served { ended: Ended::Asked, ran: Duration::ZERO, unread: 0 };
    let mut bytes = [0; 4096];
    loop {
        let busy = cable.busy();
        let ready = terminal.wait(if busy { Some(Duration::ZERO) } else { None })?;
        if ready.asked {
            return Ok(served);
        }
        if ready.host_left {
            served.ended = Ended::HostLeft;
            return Ok(served);
        }
        if ready.bytes {
            let count = terminal.pty.receive(&mut bytes, Duration::ZERO).context("the pseudo-terminal")?;
            cable.send(bytes.get(..count).unwrap_or_default());
        }
        if !cable.busy() {
            continue;
        }
        let begin = Instant::now();
        let advanced = cable.advance(SLICE_CYCLES);
        served.ran += begin.elapsed();
        let received = cable.received();
        if !received.is_empty() && terminal.pty.send(&received, PATIENCE).is_err() {
            served.unread += received.len() as u64;
        }
        match advanced {
            Ok(()) => {}
            Err(BoardSimError::Violation(violation)) => {
                served.ended = Ended::Violation(violation);
                return Ok(served);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    bytes: bool,
    asked: bool,
    host_left: bool,
}

impl Terminal {
    /// Waits until there is something to do; without a limit, for as long as it takes.
    fn wait(&mut self, limit: Option<Duration>) -> Result<Ready> {
        let limit = limit.map(Timespec::try_from).transpose()?;
        let stdin = std::io::stdin();
        let mut polled = vec![PollFd::new(&self.pty, PollFlags::IN), PollFd::new(&self.signal, PollFlags::IN)];
        let stdin_at = polled.len();
        polled.extend(self.stdin.then(|| PollFd::new(&stdin, PollFlags::IN)));
        let watch_at = polled.len();
        polled.extend(self.watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN)));
        match poll(&mut polled, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(Ready::default()),
            Ok(_) => {}
            Err(error) => return Err(error).context("waiting for the pseudo-terminal"),
        }
        let flags: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        let any = |at: usize| flags.get(at).is_some_and(|flags| !flags.is_empty());
        let ended = self.stdin && any(stdin_at) && rustix::io::read(&stdin, &mut [0; 256])? == 0;
        let host_left = match &mut self.watch {
            Some(watch) if any(watch_at) => watch.left()?,
            _ => false,
        };
        Ok(Ready { bytes: any(0), asked: any(1) || ended, host_left })
    }
}

impl Link {
    fn new(target: &Path, path: &Path) -> Result<Link> {
        // A link that an earlier run has left behind may be replaced, and nothing else.
        if fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_symlink()) {
            fs::remove_file(path).with_context(|| format!("--port-link {}", path.display()))?;
        }
        std::os::unix::fs::symlink(target, path)
            .with_context(|| format!("--port-link {}: give the path of a link that can be made", path.display()))?;
        Ok(Link(path.to_owned()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(target_os = "linux")]
mod watch {
    use anyhow::{Context, Result};
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use rustix::io::Errno;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::Path;

    /// Tells when whoever has opened a file has closed it again.
    pub struct Watch {
        events: OwnedFd,
        open: u32,
    }

    impl Watch {
        pub fn new(path: &Path) -> Result<Watch> {
            let flags = WatchFlags::OPEN | WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
            let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
                .and_then(|events| inotify::add_watch(&events, path, flags).map(|_| events));
            Ok(Watch { events: made.context("--once: watching the pseudo-terminal")?, open: 0 })
        }

        /// Whether the last who had it open has closed it.
        pub fn left(&mut self) -> Result<bool> {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.events, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) if event.events().contains(ReadFlags::OPEN) => self.open += 1,
                    Ok(_) if self.open == 1 => return Ok(true),
                    Ok(_) => self.open = self.open.saturating_sub(1),
                    Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
                    Err(error) => return Err(error).context("--once: watching the pseudo-terminal"),
                }
            }
        }
    }

    impl AsFd for Watch {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.events.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    use anyhow::{Result, bail};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::path::Path;

    /// Only Linux tells who has a file open.
    pub enum Watch {}

    impl Watch {
        pub fn new(_path: &Path) -> Result<Watch> {
            bail!("--once: only Linux tells when a terminal is closed; leave it out and end the simulation by Ctrl-C")
        }

        pub fn left(&mut self) -> Result<bool> {
            match *self {}
        }
    }

    impl AsFd for Watch {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match *self {}
        }
    }
}
