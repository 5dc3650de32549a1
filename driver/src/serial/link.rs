//! One request and its reply, over a line that may lose, change and delay anything.
//!
//! A request is sent again where the device refuses it, where the reply is garbled, and where nothing comes within the time that
//! replies of this length take, which is measured. Sequence numbers tell a reply from a late one to an earlier request. The
//! device answers a write that it has executed already without executing it again, so sending again is always safe.

use std::io;
use std::time::Duration;

use super::frame::{self, Deframer, Reply, Request, kind, status};
use super::port::Port;

/// A device that says nothing valid for this long is gone, unless its link is told to be more patient. Polls are at most 50 ms
/// apart, so a fault shows within a second.
pub const SILENCE: Duration = Duration::from_millis(900);
/// The least time allowed for a reply: adapters hold bytes back for 16 ms.
const LEAST_TIMEOUT: Duration = Duration::from_millis(20);
/// A garbled line counts as settled when nothing comes for this long; shorter where replies are fast.
const QUIET: Duration = Duration::from_millis(4);
/// Classes of frames by length, in powers of two.
const CLASSES: usize = 10;

/// A port with the state of the conversation.
#[derive(Debug)]
pub struct Link<P> {
    port: P,
    /// A device that says nothing valid for this long is gone.
    silence: Duration,
    deframer: Deframer,
    /// What arrived and was not looked at yet.
    inbox: Vec<u8>,
    seq: u8,
    /// The sequence number of the last write: another write must not have it.
    last_write: Option<u8>,
    round_trips: [Option<RoundTrip>; CLASSES],
    /// Doublings of the time allowed, until a request succeeds at once.
    backoff: u32,
    counts: LinkCounts,
}

/// What a link has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Requests that were answered.
    pub answered: u64,
    /// Frames that were sent again.
    pub resent: u64,
    /// Chunks that arrived and were no frame.
    pub garbled: u64,
}

/// Why a request has no good answer.
#[derive(Debug)]
pub enum LinkError {
    /// Nothing valid came for as long as the device may be silent; so many bytes came that are no frame.
    Silent {
        /// Bytes that arrived.
        heard: u64,
    },
    /// The device is there, but no attempt succeeded.
    Noisy {
        /// Frames sent.
        attempts: u32,
    },
    /// The port is gone.
    Closed(io::Error),
    /// The device refuses the address or had an error on its bus.
    Status(u8),
}

/// What replies of a class have taken.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    mean: Duration,
    deviation: Duration,
}

/// What a chunk that arrived means for the request under way.
enum Heard {
    Answer(Reply),
    Late,
    /// Refused or garbled; whether the chunk itself was valid.
    Again(bool),
}

impl<P: Port> Link<P> {
    /// A conversation that begins.
    pub fn new(port: P, silence: Duration) -> Link<P> {
        Link {
            port,
            silence,
            deframer: Deframer::default(),
            inbox: Vec::new(),
            seq: 0,
            last_write: None,
            round_trips: [None; CLASSES],
            backoff: 0,
            counts: LinkCounts::default(),
        }
    }

    /// The port.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// The name of the port.
    pub fn name(&self) -> String {
        self.port.name()
    }

    /// How long the device may say nothing valid.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// The longest that one reply should take: there must be time for a few attempts.
    pub fn slow(&self) -> Duration {
        self.silence * 2 / 9
    }

    /// What the link has been through.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// Opens the port again and forgets the conversation.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.port.reopen()?;
        self.deframer = Deframer::default();
        self.inbox.clear();
        self.last_write = None;
        self.round_trips = [None; CLASSES];
        self.backoff = 0;
        Ok(())
    }

    /// Ends what either side may be in the middle of: sends borders and throws away what arrives until there is a pause.
    ///
    /// # Errors
    /// [`LinkError::Closed`], [`LinkError::Silent`] where the port takes nothing.
    pub fn settle(&mut self) -> Result<(), LinkError> {
        let begin = self.port.now();
        self.send(&[frame::BORDER; 4], self.silence)?;
        let mut bytes = [0; 512];
        while self.port.now().saturating_sub(begin) < self.silence
            && self.port.receive(&mut bytes, QUIET).map_err(LinkError::Closed)? > 0
        {}
        self.inbox.clear();
        self.deframer = Deframer::default();
        Ok(())
    }

    /// Listens for a while without asking anything, so that a port that goes away is noticed.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    pub fn rest(&mut self, limit: Duration) -> Result<(), LinkError> {
        let end = self.port.now() + limit;
        loop {
            let left = end.saturating_sub(self.port.now());
            if left.is_zero() {
                return Ok(());
            }
            self.fill(left)?;
            // Nobody asked, so what came is late. Its remains are sorted out by the next request.
            while !self.inbox.is_empty() {
                self.next_chunk();
            }
        }
    }

    /// Asks, at most `attempts` times, and gives the words of the answer.
    ///
    /// # Errors
    /// Every [`LinkError`].
    pub fn ask(&mut self, request: &Request, attempts: u32) -> Result<Vec<u32>, LinkError> {
        let (seq, content) = self.numbered(request);
        let mut line = Vec::with_capacity(2 * content.len());
        frame::put(&mut line, &content, 1);
        let class = class(request);
        let (mut valid_at, mut bytes_heard) = (self.port.now(), 0);
        let (mut resent, mut disturbed, mut began_at) = (0, false, None);
        loop {
            let now = self.port.now();
            self.send(&line, self.silence.saturating_sub(now.saturating_sub(valid_at)))
                .map_err(|error| silent_with(error, bytes_heard))?;
            let sent_at = self.port.now();
            let began_at = *began_at.get_or_insert(now);
            let mut give_up_at = sent_at + self.timeout(class);
            let mut settling = false;
            loop {
                let now = self.port.now();
                let gone_at = valid_at + self.silence;
                if now >= gone_at {
                    return Err(LinkError::Silent { heard: bytes_heard });
                }
                if now >= give_up_at {
                    if !settling {
                        self.backoff = (self.backoff + 1).min(6);
                    }
                    break;
                }
                let arrived = self.fill(give_up_at.min(gone_at).saturating_sub(now))?;
                bytes_heard += arrived as u64;
                if settling && arrived > 0 {
                    give_up_at = self.port.now() + self.quiet(class);
                }
                while let Some(chunk) = self.next_chunk() {
                    let heard = self.sort(request, seq, chunk);
                    if !matches!(heard, Heard::Again(false)) {
                        valid_at = self.port.now();
                    }
                    match heard {
                        Heard::Late => {}
                        Heard::Again(_) => {
                            // One disturbance may show as several chunks: they are waited for, and answered by one frame.
                            (settling, disturbed) = (true, true);
                            give_up_at = give_up_at.min(self.port.now() + self.quiet(class));
                        }
                        Heard::Answer(reply) => {
                            if !disturbed {
                                // Which of several equal frames is answered is unknown. With a device that is only slow it
                                // is the first; where a reply was lost, this makes the time allowed too long for a while.
                                let taken = self.port.now().saturating_sub(began_at);
                                RoundTrip::add(&mut self.round_trips[class], taken);
                            }
                            if resent == 0 {
                                self.backoff = 0;
                            }
                            self.counts.answered += 1;
                            return match reply.status {
                                status::OK => Ok(reply.words),
                                other => Err(LinkError::Status(other)),
                            };
                        }
                    }
                }
            }
            resent += 1;
            if resent >= attempts {
                return Err(LinkError::Noisy { attempts });
            }
            self.counts.resent += 1;
            if resent == 1 {
                // Either side may have lost its place: the first border ends whatever the device is in, the second begins this
                // frame.
                line.insert(0, frame::BORDER);
            }
        }
    }

    /// The time that a reply to this request is expected to take, where one of its length was seen.
    pub fn expected(&self, request: &Request) -> Option<Duration> {
        self.round_trips[class(request)].map(|round_trip| round_trip.mean)
    }

    fn numbered(&mut self, request: &Request) -> (u8, Vec<u8>) {
        self.seq = self.seq.wrapping_add(1);
        if matches!(request, Request::Write { .. }) {
            // The device would take a write with the number and the content of the last one for the same one.
            if self.last_write == Some(self.seq) {
                self.seq = self.seq.wrapping_add(1);
            }
            self.last_write = Some(self.seq);
        }
        (self.seq, request.bytes(self.seq))
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), LinkError> {
        self.port.send(bytes, limit).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => LinkError::Silent { heard: 0 },
            _ => LinkError::Closed(error),
        })
    }

    /// Waits for bytes, and says how many came.
    fn fill(&mut self, limit: Duration) -> Result<usize, LinkError> {
        let mut bytes = [0; 512];
        let count = self.port.receive(&mut bytes, limit).map_err(LinkError::Closed)?;
        self.inbox.extend(bytes.iter().take(count));
        Ok(count)
    }

    /// The next chunk of what has arrived.
    fn next_chunk(&mut self) -> Option<Result<Vec<u8>, frame::Garbled>> {
        let (deframer, mut used) = (&mut self.deframer, 0);
        let found = self.inbox.iter().find_map(|&byte| {
            used += 1;
            deframer.push(byte)
        });
        self.inbox.drain(..used);
        if let Some(Err(_)) = found {
            self.counts.garbled += 1;
        }
        found
    }

    fn sort(&self, request: &Request, seq: u8, chunk: Result<Vec<u8>, frame::Garbled>) -> Heard {
        let Some(reply) = chunk.ok().and_then(|content| Reply::parse(&content)) else { return Heard::Again(false) };
        let count = match request {
            Request::Read { count, .. } if reply.status == status::OK => *count,
            _ => reply.words.len(),
        };
        if reply.kind == kind::REFUSED {
            Heard::Again(true)
        } else if reply.kind == request.kind() | kind::REPLY && reply.seq == seq && reply.words.len() == count {
            Heard::Answer(reply)
        } else {
            Heard::Late
        }
    }

    fn timeout(&self, class: usize) -> Duration {
        let measured = self.nearest(class).map_or(self.slow(), RoundTrip::timeout).max(LEAST_TIMEOUT);
        // However long replies have taken, there must be time for two attempts.
        measured.saturating_mul(1 << self.backoff).min(self.silence / 2)
    }

    fn quiet(&self, class: usize) -> Duration {
        self.nearest(class).map_or(QUIET, |round_trip| (round_trip.mean / 8).min(QUIET))
    }

    /// What replies of this length have taken, or, scaled, those of the nearest length that was seen.
    fn nearest(&self, class: usize) -> Option<RoundTrip> {
        let below = (0..=class).rev().find_map(|at| Some((class - at, self.round_trips[at]?)));
        if let Some((steps, round_trip)) = below {
            let scale = 1 << steps;
            return Some(RoundTrip { mean: round_trip.mean * scale, deviation: round_trip.deviation * scale });
        }
        self.round_trips[class..].iter().find_map(|round_trip| *round_trip)
    }
}

impl RoundTrip {
    /// Takes a measurement into account, as TCP does.
    fn add(slot: &mut Option<RoundTrip>, taken: Duration) {
        *slot = Some(match *slot {
            None => RoundTrip { mean: taken, deviation: taken / 2 },
            Some(old) => RoundTrip {
                mean: (old.mean * 7 + taken) / 8,
                deviation: (old.deviation * 3 + taken.abs_diff(old.mean)) / 4,
            },
        });
    }

    fn timeout(self) -> Duration {
        self.mean + self.deviation * 4
    }
}

fn class(request: &Request) -> usize {
    (request.wire_bytes().ilog2() as usize).min(CLASSES - 1)
}

fn silent_with(error: LinkError, heard: u64) -> LinkError {
    match error {
        LinkError::Silent { .. } => LinkError::Silent { heard },
        other => other,
    }
}
