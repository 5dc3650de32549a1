//! The client's end of a connection: requests and replies, whatever is served.

use std::time::Duration;

use super::channel::{Channel, Frame, NoFrame};
use super::greet::{Seals, because, greet};
use super::message::{CHUNK, Cursor, MAX_PAYLOAD, Served, kind};
use super::service::HEAD;
use super::token::Token;
use super::traffic::{Link, Traffic, TrafficMonitor};
use crate::BusError;
use crate::serial::{Port, long};

/// Time for one reply, however often the server says that it is alive.
const LONGEST: Duration = Duration::from_secs(3600);
/// Empty round trips that measure a link.
const PINGS: usize = 8;
/// Bytes of the copies that measure a link: the second where the first is done in less than this time.
const BLOCKS: (usize, usize, Duration) = (1 << 15, CHUNK / 2, Duration::from_millis(20));

/// A connection to a server that has proven to know the token, and takes requests.
///
/// A server that says nothing for a while, or whose connection is gone, is a fault, and the connection stays lost until
/// [`Connection::reopen`].
#[derive(Debug)]
pub struct Connection<P> {
    channel: Channel<P>,
    token: Token,
    /// A server that says nothing for this long is gone.
    silence: Duration,
    /// None on a connection that is lost.
    seals: Option<Seals>,
    served: Served,
    link: Link,
    monitor: TrafficMonitor,
}

/// What a server answers a request with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the body is what was asked for, and not an error.
    pub done: bool,
    /// What it says, in the form of the service.
    pub body: Vec<u8>,
    /// From the first byte of the request to the last of the answer.
    pub waited: Duration,
    /// That part of it in which the device was at work, as the server measured.
    pub device: Duration,
}

impl<P: Port> Connection<P> {
    /// Connects to a server and measures the way. A server that says nothing for `silence` is gone.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: nothing answers or something else does, the token is not the server's, another client has
    /// the device.
    pub fn open(port: P, token: &Token, silence: Duration) -> Result<Connection<P>, BusError> {
        let mut channel = Channel::new(port);
        let (seals, served) = greet(&mut channel, token, silence)?;
        let mut connection = Connection {
            channel,
            token: token.clone(),
            silence,
            seals: Some(seals),
            served,
            link: Link { latency_s: 0.0, bytes_per_s: 0.0 },
            monitor: TrafficMonitor::default(),
        };
        connection.link = connection.measure()?;
        Ok(connection)
    }

    /// Where the server is.
    pub fn name(&mut self) -> String {
        self.channel.port().name()
    }

    /// What the server exports.
    pub fn served(&self) -> &Served {
        &self.served
    }

    /// What the way bears, as it was measured when the connection was opened.
    pub fn link(&self) -> Link {
        self.link
    }

    /// A look at the traffic from elsewhere; it begins with the measurement of the way.
    pub fn monitor(&self) -> TrafficMonitor {
        self.monitor.clone()
    }

    /// The clock of the port.
    pub fn now(&mut self) -> Duration {
        self.channel.port().now()
    }

    /// Whether it takes no requests any more.
    pub fn is_lost(&self) -> bool {
        self.seals.is_none()
    }

    /// Sends a request and waits for the answer, of at most so many bytes, as long as the server is alive. `action` is what the caller
    /// does, for messages.
    ///
    /// # Errors
    /// [`BusError::Transfer`] where the connection is lost.
    pub fn ask(&mut self, request: &[u8], most: usize, action: &str) -> Result<Answer, BusError> {
        let (mut body, waited) = self.exchange((kind::REQUEST, kind::REPLY), request, most, action)?;
        let mut cursor = Cursor(&body);
        let (Ok(status @ 0..=1), Ok(nanos)) = (cursor.u8(), cursor.u64()) else { return Err(self.lose(action)) };
        let device = Duration::from_nanos(nanos);
        self.monitor.add(|traffic| traffic.device += device);
        body.drain(..HEAD);
        Ok(Answer { done: status == 0, body, waited, device })
    }

    /// Ends the conversation: what the server has answered has not the form that was asked for.
    pub fn lose(&mut self, action: &str) -> BusError {
        self.lost(action, malformed())
    }

    /// Connects anew, where the connection is lost. The server may serve something else now.
    ///
    /// # Errors
    /// As for [`Connection::open`].
    pub fn reopen(&mut self) -> Result<(), BusError> {
        if self.seals.is_none() {
            let name = self.name();
            self.channel.reopen().map_err(|error| BusError::Unavailable { detail: format!("{name}: {error}") })?;
            let (seals, served) = greet(&mut self.channel, &self.token, self.silence)?;
            (self.seals, self.served) = (Some(seals), served);
            self.monitor.end(None);
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<Link, BusError> {
        let latency = (0..PINGS)
            .map(|_| self.ping(0))
            .try_fold(Duration::MAX, |least, time| Ok::<_, BusError>(least.min(time?)))?;
        let (mut block, large, quick) = BLOCKS;
        let mut time = self.ping(block)?;
        if time < quick {
            block = large;
            time = self.ping(block)?.min(self.ping(block)?);
        }
        let moving = time.saturating_sub(latency).max(Duration::from_nanos(1));
        Ok(Link { latency_s: latency.as_secs_f64(), bytes_per_s: 2.0 * block as f64 / moving.as_secs_f64() })
    }

    /// What so many bytes take there and back.
    fn ping(&mut self, bytes: usize) -> Result<Duration, BusError> {
        const ACTION: &str = "measuring the link";
        let request = [&(bytes as u32).to_le_bytes()[..], &vec![0x5a; bytes]].concat();
        let (pong, waited) = self.exchange((kind::PING, kind::PONG), &request, MAX_PAYLOAD, ACTION)?;
        if pong.len() == bytes { Ok(waited) } else { Err(self.lose(ACTION)) }
    }

    /// Sends a message and waits for the one that answers it; what that took.
    fn exchange(
        &mut self,
        kinds: (u8, u8),
        request: &[u8],
        most: usize,
        action: &str,
    ) -> Result<(Vec<u8>, Duration), BusError> {
        let Some(seals) = &mut self.seals else {
            return Err(fault(self.channel.port(), action, "the connection is gone".to_owned()));
        };
        let (begin, before) = (self.channel.port().now(), self.channel.bytes);
        let reply = converse(&mut self.channel, seals, kinds, request, most, self.silence);
        let (waited, after) = (self.channel.port().now().saturating_sub(begin), self.channel.bytes);
        self.monitor.add(|traffic| {
            *traffic = Traffic {
                round_trips: traffic.round_trips + 1,
                bytes_sent: traffic.bytes_sent + (after.0 - before.0),
                bytes_received: traffic.bytes_received + (after.1 - before.1),
                waited: traffic.waited + waited,
                device: traffic.device,
            };
        });
        // What either side has said cannot be sorted out any more.
        reply.map(|reply| (reply, waited)).map_err(|detail| self.lost(action, detail))
    }

    fn lost(&mut self, action: &str, detail: String) -> BusError {
        self.seals = None;
        // The server has the device back for others.
        self.channel.port().close();
        self.monitor.end(Some(detail.clone()));
        fault(self.channel.port(), action, detail)
    }
}

fn converse<P: Port>(
    channel: &mut Channel<P>,
    seals: &mut Seals,
    (asked, answered): (u8, u8),
    request: &[u8],
    most: usize,
    silence: Duration,
) -> Result<Vec<u8>, String> {
    let failed = |no_frame: NoFrame| match no_frame {
        NoFrame::Silent => format!("nothing came for {}", long(silence)),
        NoFrame::Wrong => "a frame came that the server has not sealed".to_owned(),
        NoFrame::Long => malformed(),
        NoFrame::Closed(error) => error.to_string(),
    };
    channel.send_message(asked, request, &mut seals.sent, silence).map_err(failed)?;
    let begin = channel.port().now();
    while channel.port().now().saturating_sub(begin) < LONGEST {
        let message = channel.receive_message(&mut seals.received, silence, silence, most);
        let Frame { kind, payload } = message.map_err(failed)?;
        match (kind, &payload[..]) {
            (kind::ALIVE, []) => {}
            (kind::FAREWELL, &[reason]) => return Err(because(reason)),
            (kind, _) if kind == answered => return Ok(payload),
            _ => return Err(malformed()),
        }
    }
    Err("the device was not done within an hour".to_owned())
}

fn fault<P: Port>(port: &P, action: &str, detail: String) -> BusError {
    BusError::Transfer { action: format!("{action} on {}", port.name()), detail }
}

fn malformed() -> String {
    "an answer came that does not belong to the question".to_owned()
}
