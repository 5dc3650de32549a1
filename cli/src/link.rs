//! Boards and devices of other machines, as devices of the command line: how they are named, and how the way to one is opened.

use crate::board;
use crate::token;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tandem_boards::Host;
use tandem_driver::RemoteBus;
use tandem_driver::remote::{Clock, Connection, Served};
use tandem_driver::serial::{Port, SILENCE, SerialBus, TcpPort};
use tandem_driver::{Bus, BusError, Bytes, DmaAddr, DmaBuf};

/// Where the help lists the options.
const HEADING: &str = "Options of --device board:NAME and of remote:HOST:PORT";
/// Bits a second where nothing says otherwise.
const BAUD: u32 = 115_200;
/// Seconds that a server of a remote device may be silent where nothing says otherwise; it says four times a second that it is alive.
const PATIENCE: u32 = 3;

/// A device that is reached over a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A board on a serial port.
    Board(String),
    /// A board, or what plays one, behind a network connection: `HOST:PORT`.
    Tcp(String),
    /// What `tandem serve-device` exports at `HOST:PORT`.
    Remote(String),
    /// A core beside this processor: the path of its UIO device and the name of its buffer.
    Uio(String, String),
}

/// Options of a board on a serial port.
#[derive(Args, Clone, Debug, Default)]
pub struct LinkOptions {
    /// The serial port or pseudo-terminal that the board is on.
    #[arg(long, help_heading = HEADING, value_name = "PATH")]
    pub port: Option<PathBuf>,
    /// Bits a second on the port [default: those of the board, else 115200].
    #[arg(long, help_heading = HEADING, value_name = "BITS", value_parser = clap::value_parser!(u32).range(1..))]
    pub baud: Option<u32>,
    /// Seconds that a board may say nothing before it counts as gone; a simulated board may need more than one [default: 1; for
    /// remote:HOST:PORT 3].
    #[arg(long, help_heading = HEADING, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub patience: Option<u32>,
    /// The file with the token that `tandem serve-device` asks for [default: the token itself in TANDEM_TOKEN].
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The way to a board.
pub enum Link {
    /// By frames.
    Serial(Box<SerialBus<Box<dyn Port>>>),
    /// By batches over a network.
    Remote(Box<RemoteBus<TcpPort>>),
    /// By maps of registers and memory.
    #[cfg(target_os = "linux")]
    Uio(Box<tandem_driver::UioBus>),
}

impl LinkKind {
    /// The device that a word names; `None` where it names no board.
    pub fn parse(word: &str) -> Option<Result<LinkKind, String>> {
        let (kind, rest) = word.split_once(':')?;
        let named = |usage: &str| if rest.is_empty() { Err(usage.to_owned()) } else { Ok(rest.to_owned()) };
        match kind {
            "board" => Some(named("write board:NAME, such as board:icebreaker").map(LinkKind::Board)),
            "tcp" => {
                Some(address(rest).map(LinkKind::Tcp).ok_or("write tcp:HOST:PORT, such as tcp:localhost:7400".into()))
            }
            "remote" => Some(
                address(rest)
                    .map(LinkKind::Remote)
                    .ok_or("write remote:HOST:PORT, such as remote:localhost:7500".into()),
            ),
            "uio" => Some(match rest.split_once(',') {
                Some((uio, buffer)) if !uio.is_empty() && !buffer.is_empty() => {
                    Ok(LinkKind::Uio(uio.to_owned(), buffer.to_owned()))
                }
                _ => Err("write uio:DEVICE,BUFFER, such as uio:/dev/uio0,udmabuf0".to_owned()),
            }),
            _ => None,
        }
    }

    /// The name on the command line.
    pub fn name(&self) -> String {
        match self {
            LinkKind::Board(name) => format!("board:{name}"),
            LinkKind::Tcp(address) => format!("tcp:{address}"),
            LinkKind::Remote(address) => format!("remote:{address}"),
            LinkKind::Uio(uio, buffer) => format!("uio:{uio},{buffer}"),
        }
    }

    /// Opens the way.
    ///
    /// # Errors
    /// One sentence: a port that is missing or none, nothing that answers, something else that does.
    pub fn open(&self, options: &LinkOptions) -> Result<Link> {
        let port: Box<dyn Port> = match self {
            LinkKind::Board(_) => self.port(options)?,
            LinkKind::Tcp(address) => Box::new(TcpPort::connect(address).map_err(|e| anyhow!("{}: {e}", self.name()))?),
            LinkKind::Remote(address) => return self.open_remote(address, options),
            LinkKind::Uio(uio, buffer) => return self.open_uio(uio, buffer),
        };
        let silence = SILENCE * options.patience.unwrap_or(1);
        Ok(Link::Serial(Box::new(SerialBus::open_patient(port, silence).map_err(|e| anyhow!("{}: {e}", self.name()))?)))
    }

    /// Opens the serial port of a board, without asking who is there.
    ///
    /// # Errors
    /// One sentence.
    pub fn port(&self, options: &LinkOptions) -> Result<Box<dyn Port>> {
        let Some(path) = &options.port else {
            bail!("--device {}: give --port with the serial port that the board is on", self.name());
        };
        open_port(path, options.baud.or_else(|| self.baud()).unwrap_or(BAUD))
    }

    /// Bits a second of a board that is known by its name.
    fn baud(&self) -> Option<u32> {
        let LinkKind::Board(name) = self else { return None };
        match board::resolve(name).ok()?.host {
            Host::Uart { baud, .. } => Some(baud),
            Host::Axi { .. } => None,
        }
    }

    fn open_remote(&self, address: &str, options: &LinkOptions) -> Result<Link> {
        let connection = self.connect(address, options)?;
        if connection.served().service == Served::BACKEND {
            bail!(
                "{}: a GPU or a CPU is served there, which runs models and no programs; use `tandem run`",
                self.name()
            );
        }
        let bus = RemoteBus::on(connection).map_err(|e| anyhow!("{}: {e}", self.name()))?;
        Ok(Link::Remote(Box::new(bus)))
    }

    /// A connection to what `tandem serve-device` exports at an address, whatever that is.
    ///
    /// # Errors
    /// As [`LinkKind::open`].
    pub fn connect(&self, address: &str, options: &LinkOptions) -> Result<Connection<TcpPort>> {
        let token = token::of(options.token_file.as_deref())?;
        let port = TcpPort::connect(address).map_err(|e| anyhow!("{}: {e}", self.name()))?;
        let silence = Duration::from_secs(options.patience.unwrap_or(PATIENCE).into());
        Connection::open(port, &token, silence).map_err(|e| anyhow!("{}: {e}", self.name()))
    }

    #[cfg(target_os = "linux")]
    fn open_uio(&self, uio: &str, buffer: &str) -> Result<Link> {
        let paths = tandem_driver::UioPaths::new(Path::new(uio), buffer);
        let bus = tandem_driver::UioBus::open(&paths).map_err(|e| anyhow!("{}: {e}", self.name()))?;
        Ok(Link::Uio(Box::new(bus)))
    }

    #[cfg(not(target_os = "linux"))]
    fn open_uio(&self, _uio: &str, _buffer: &str) -> Result<Link> {
        bail!("--device {}: only Linux has UIO devices", self.name())
    }
}

impl LinkOptions {
    /// Refuses options that mean nothing for any of these devices.
    ///
    /// # Errors
    /// One sentence naming the first of them.
    pub fn check(&self, links: &[&LinkKind]) -> Result<()> {
        let is_any = |what: fn(&LinkKind) -> bool| links.iter().any(|link| what(link));
        let on_port = is_any(|link| matches!(link, LinkKind::Board(_)));
        let framed = is_any(|link| !matches!(link, LinkKind::Uio(..)));
        let remote = is_any(|link| matches!(link, LinkKind::Remote(_)));
        if self.token_file.is_some() && !remote {
            bail!(
                "--token-file is for a device of another machine: give --device remote:HOST:PORT with it, or leave it out"
            );
        }
        let given = [
            ("--port", self.port.is_some(), on_port),
            ("--baud", self.baud.is_some(), on_port),
            ("--patience", self.patience.is_some(), framed),
        ];
        match given.iter().find(|(_, given, fits)| *given && !fits) {
            Some((option, ..)) => bail!("{option} is for a board: give --device board:NAME with it, or leave it out"),
            None => Ok(()),
        }
    }
}

impl Link {
    /// The same as a bus.
    pub fn into_bus(self) -> Box<dyn Bus + Send> {
        match self {
            Link::Serial(bus) => bus,
            Link::Remote(bus) => bus,
            #[cfg(target_os = "linux")]
            Link::Uio(bus) => bus,
        }
    }

    /// The bus.
    pub fn bus(&mut self) -> &mut dyn Bus {
        match self {
            Link::Serial(bus) => &mut **bus,
            Link::Remote(bus) => &mut **bus,
            #[cfg(target_os = "linux")]
            Link::Uio(bus) => &mut **bus,
        }
    }

    /// Reserves memory at an address.
    ///
    /// # Errors
    /// Memory that the device does not have.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        match self {
            Link::Serial(bus) => bus.map(addr, bytes),
            Link::Remote(bus) => bus.map(addr, bytes),
            #[cfg(target_os = "linux")]
            Link::Uio(bus) => bus.map(addr, bytes),
        }
    }

    /// Whether the device has a clock. What plays a board without one may only estimate its cycles.
    pub fn is_clocked(&self) -> bool {
        match self {
            Link::Serial(bus) => bus.facts().clock_hz != 0,
            Link::Remote(bus) => bus.facts().clock != Clock::Estimated,
            #[cfg(target_os = "linux")]
            Link::Uio(_) => true,
        }
    }

    /// The memory of the device.
    pub fn memory(&self) -> DmaBuf {
        match self {
            Link::Serial(bus) => bus.facts().memory,
            Link::Remote(bus) => bus.facts().memory,
            #[cfg(target_os = "linux")]
            Link::Uio(bus) => bus.memory(),
        }
    }
}

/// The text, where it is `HOST:PORT`.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
}

/// Opens a serial port or pseudo-terminal.
///
/// # Errors
/// One sentence naming it.
#[cfg(unix)]
pub fn open_port(path: &Path, baud: u32) -> Result<Box<dyn Port>> {
    let tty = tandem_driver::serial::Tty::open(path, baud);
    Ok(Box::new(tty.map_err(|e| anyhow!("{}: {e}", path.display()))?))
}

/// Opens a serial port or pseudo-terminal.
///
/// # Errors
/// One sentence naming it.
#[cfg(not(unix))]
pub fn open_port(path: &Path, _baud: u32) -> Result<Box<dyn Port>> {
    bail!("{}: serial ports are reached on Unix alone; use --device tcp:HOST:PORT", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_go_by_name_and_connections_by_address() {
        let parse = |word: &str| LinkKind::parse(word);
        assert_eq!(parse("board:icebreaker"), Some(Ok(LinkKind::Board("icebreaker".into()))));
        assert_eq!(parse("tcp:[::1]:7400"), Some(Ok(LinkKind::Tcp("[::1]:7400".into()))));
        assert_eq!(parse("remote:far.example:7500").unwrap().unwrap().name(), "remote:far.example:7500");
        assert_eq!(parse("uio:/dev/uio0,udmabuf0").unwrap().unwrap().name(), "uio:/dev/uio0,udmabuf0");
        for wrong in [
            "board:",
            "tcp:",
            "tcp:localhost",
            "tcp::7400",
            "tcp:a:70000",
            "remote:a",
            "remote::1",
            "uio:",
            "uio:/dev/uio0",
            "uio:,b",
        ] {
            assert!(parse(wrong).unwrap().is_err(), "{wrong}");
        }
        assert!(parse("fsim").is_none() && parse("usb:1").is_none());
    }
}
