//! Frames over a network connection: the client's port, and a server that exports a bus or relays a port.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::port::Port;
use super::server::FrameServer;
use crate::Bus;

/// Time for a connection to come about.
const CONNECT: Duration = Duration::from_secs(1);
/// Time that a client may take to accept a reply.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server looks at the network, or lets the device run, before it does the other.
const SLICE: Duration = Duration::from_millis(1);

/// A connection to a server of frames.
#[derive(Debug)]
pub struct TcpPort {
    address: String,
    stream: TcpStream,
    start: Instant,
}

/// Why a server ends the service of a client.
#[derive(Debug)]
pub enum Served {
    /// The client has closed its connection, or it is gone.
    ClientLeft,
    /// The way to the device failed; one sentence.
    DeviceFailed(String),
}

impl TcpPort {
    /// Connects to an address: `HOST:PORT`.
    ///
    /// # Errors
    /// One sentence without the address.
    pub fn connect(address: &str) -> io::Result<TcpPort> {
        Ok(TcpPort { address: address.to_owned(), stream: connect(address)?, start: Instant::now() })
    }

    /// The server's end of a connection. It cannot be opened again: clients come by themselves.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn accepted(stream: TcpStream) -> io::Result<TcpPort> {
        stream.set_nodelay(true)?;
        Ok(TcpPort { address: stream.peer_addr()?.to_string(), stream, start: Instant::now() })
    }
}

impl Port for TcpPort {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn now(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        send(&mut self.stream, bytes, limit)
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        receive(&mut self.stream, bytes, limit)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.stream = connect(&self.address)?;
        Ok(())
    }

    fn close(&mut self) {
        // Where this fails the connection is gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Exports a bus to one client after the other, for ever. `left` hears how each service ended; false ends the server.
///
/// # Errors
/// The listener failed.
pub fn serve<B: Bus>(
    listener: &TcpListener,
    server: &mut FrameServer<B>,
    mut left: impl FnMut(&Served) -> bool,
) -> io::Result<()> {
    loop {
        let mut stream = accept(listener)?;
        let served = serve_client(&mut stream, server);
        if !left(&served) {
            return Ok(());
        }
    }
}

/// Relays bytes between a port and one client after the other, for ever. `left` hears how each service ended; false ends the
/// server.
///
/// # Errors
/// The listener failed.
pub fn relay(listener: &TcpListener, port: &mut dyn Port, mut left: impl FnMut(&Served) -> bool) -> io::Result<()> {
    loop {
        let mut stream = accept(listener)?;
        let served = relay_client(&mut stream, port);
        if !left(&served) {
            return Ok(());
        }
    }
}

fn serve_client<B: Bus>(stream: &mut TcpStream, server: &mut FrameServer<B>) -> Served {
    let (mut bytes, mut answer) = ([0; 4096], Vec::new());
    loop {
        match receive(stream, &mut bytes, SLICE) {
            Ok(0) => {
                if let Err(error) = server.idle(SLICE) {
                    return Served::DeviceFailed(error.to_string());
                }
            }
            Ok(count) => {
                server.receive(bytes.get(..count).unwrap_or_default(), &mut answer);
                if send(stream, &answer, PATIENCE).is_err() {
                    return Served::ClientLeft;
                }
                answer.clear();
            }
            Err(_) => return Served::ClientLeft,
        }
    }
}

fn relay_client(stream: &mut TcpStream, port: &mut dyn Port) -> Served {
    let mut bytes = [0; 4096];
    let name = port.name();
    let failed = |error: io::Error| Served::DeviceFailed(format!("{name}: {error}"));
    // A port that was gone when the last client left may be there again.
    if let Err(error) = port.reopen() {
        return failed(error);
    }
    loop {
        match receive(stream, &mut bytes, SLICE) {
            Ok(count) => {
                if let Err(error) = port.send(bytes.get(..count).unwrap_or_default(), PATIENCE) {
                    return failed(error);
                }
            }
            Err(_) => return Served::ClientLeft,
        }
        match port.receive(&mut bytes, SLICE) {
            Ok(count) => {
                if send(stream, bytes.get(..count).unwrap_or_default(), PATIENCE).is_err() {
                    return Served::ClientLeft;
                }
            }
            Err(error) => return failed(error),
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let said = |kind, text: String| io::Error::new(kind, text);
    let places = address.to_socket_addrs().map_err(|error| {
        said(
            io::ErrorKind::InvalidInput,
            format!("it is no address ({error}); write HOST:PORT, such as localhost:7400"),
        )
    })?;
    let mut last = None;
    for place in places {
        match TcpStream::connect_timeout(&place, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(|| "it stands for no address".to_owned(), |error| error.to_string());
    Err(said(
        io::ErrorKind::NotConnected,
        format!("no connection ({reason}); is `tandem board serve` or `tandem serve-device` running there?"),
    ))
}

fn send(stream: &mut TcpStream, bytes: &[u8], limit: Duration) -> io::Result<()> {
    let begin = Instant::now();
    write_within(
        bytes,
        limit.max(SLICE),
        || begin.elapsed(),
        |bytes, left| {
            stream.set_write_timeout(Some(left))?;
            stream.write(bytes)
        },
    )
}

/// Writes all bytes within a limit of `now`, however many parts `write` takes them in; it hears how much time is left.
fn write_within(
    mut bytes: &[u8],
    limit: Duration,
    now: impl Fn() -> Duration,
    mut write: impl FnMut(&[u8], Duration) -> io::Result<usize>,
) -> io::Result<()> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it takes no more bytes");
    while !bytes.is_empty() {
        let left = limit.saturating_sub(now());
        if left.is_zero() {
            return Err(late());
        }
        match write(bytes, left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(late()),
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
    // A time-out of zero would mean none at all.
    stream.set_read_timeout(Some(limit.max(Duration::from_micros(100))))?;
    match stream.read(bytes) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side has closed the connection")),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(0)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_limit_of_a_send_is_for_all_its_parts() {
        const SECOND: Duration = Duration::from_secs(1);
        let send = |limit: u32| {
            let (now, mut taken) = (Cell::new(Duration::ZERO), Vec::new());
            // Two bytes a second, and an interruption before the third part.
            let sent = write_within(
                b"seven..",
                SECOND * limit,
                || now.get(),
                |bytes, left| {
                    assert_eq!(left, SECOND * limit - now.get());
                    now.set(now.get() + SECOND);
                    if now.get() == 3 * SECOND {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    let part = &bytes[..bytes.len().min(2)];
                    taken.extend(part);
                    Ok(part.len())
                },
            );
            (sent.map_err(|error| error.kind()), taken)
        };
        assert_eq!(send(5), (Ok(()), b"seven..".to_vec()));
        assert_eq!(send(4), (Err(io::ErrorKind::TimedOut), b"seven.".to_vec()));
    }
}
