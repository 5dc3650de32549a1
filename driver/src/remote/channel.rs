//! Frames over a port that loses nothing, within limits of size and time.

use std::io;
use std::time::Duration;

use super::message::{CHUNK, MAX_PAYLOAD, kind};
use super::token::{SEAL, Seal};
use crate::serial::Port;

/// Bytes before a payload: its length and its kind.
const HEAD: usize = 5;
/// Bytes that are read at a time.
const READ: usize = 1 << 16;
/// Most bytes of the payload of a frame without a seal.
const MAX_OPEN: usize = 256;

/// One side's end of a connection.
#[derive(Debug)]
pub struct Channel<P> {
    port: P,
    /// What arrived and belongs to no frame yet.
    inbox: Vec<u8>,
    /// Bytes sent and received.
    pub bytes: (u64, u64),
}

/// A frame whose seal is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

/// Why there is no frame.
#[derive(Debug)]
pub enum NoFrame {
    /// Nothing came, or not all of it, within the limit.
    Silent,
    /// It is longer than a frame may be, or its seal is wrong.
    Wrong,
    /// A message of several frames is longer than the receiver takes.
    Long,
    /// The connection is gone.
    Closed(io::Error),
}

impl<P: Port> Channel<P> {
    /// An end without a word on it.
    pub fn new(port: P) -> Channel<P> {
        Channel { port, inbox: Vec::new(), bytes: (0, 0) }
    }

    /// The port.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// Opens the port again and forgets what arrived.
    ///
    /// # Errors
    /// Those of the port.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.inbox.clear();
        self.port.reopen()
    }

    /// Sends a frame; with a seal where there is one.
    ///
    /// # Errors
    /// [`NoFrame::Silent`] where the other side does not take it in time, [`NoFrame::Closed`].
    pub fn send(&mut self, kind: u8, payload: &[u8], seal: Option<&mut Seal>, limit: Duration) -> Result<(), NoFrame> {
        let mut bytes = Vec::with_capacity(HEAD + payload.len() + SEAL);
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.push(kind);
        let tag = seal.map(|seal| seal.next(&bytes, payload));
        bytes.extend(payload);
        bytes.extend(tag.iter().flatten());
        self.bytes.0 += bytes.len() as u64;
        self.port.send(&bytes, limit).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => NoFrame::Silent,
            _ => NoFrame::Closed(error),
        })
    }

    /// Sends a message, in as many frames as it takes; the last one is of this kind.
    ///
    /// # Errors
    /// As for [`Channel::send`], of each frame.
    pub fn send_message(&mut self, kind: u8, payload: &[u8], seal: &mut Seal, limit: Duration) -> Result<(), NoFrame> {
        let mut rest = payload;
        while rest.len() > MAX_PAYLOAD {
            let (part, others) = rest.split_at(CHUNK);
            self.send(kind::PART, part, Some(seal), limit)?;
            rest = others;
        }
        self.send(kind, rest, Some(seal), limit)
    }

    /// Receives a message of at most so many bytes: it begins within `limit`, and each of its frames is whole within `whole`.
    ///
    /// # Errors
    /// Every [`NoFrame`].
    pub fn receive_message(
        &mut self,
        seal: &mut Seal,
        limit: Duration,
        whole: Duration,
        most: usize,
    ) -> Result<Frame, NoFrame> {
        let mut frame = self.receive(Some(seal), limit, whole)?;
        let mut payload = Vec::new();
        while frame.kind == kind::PART {
            // Of parts without a byte there could be any number.
            if frame.payload.is_empty() {
                return Err(NoFrame::Wrong);
            }
            if frame.payload.len() > most - payload.len() {
                return Err(NoFrame::Long);
            }
            payload.append(&mut frame.payload);
            frame = self.receive(Some(seal), whole, whole)?;
        }
        if frame.payload.len() > most - payload.len() {
            return Err(NoFrame::Long);
        }
        if !payload.is_empty() {
            payload.append(&mut frame.payload);
            frame.payload = payload;
        }
        Ok(frame)
    }

    /// Receives a frame that begins within `limit` and is whole within `whole` after that.
    ///
    /// # Errors
    /// Every [`NoFrame`].
    pub fn receive(&mut self, seal: Option<&mut Seal>, limit: Duration, whole: Duration) -> Result<Frame, NoFrame> {
        let begin = self.port.now();
        self.fill(1, begin + limit)?;
        let end = self.port.now() + whole;
        self.receive_by(seal, end)
    }

    /// Receives a frame that is whole by a time of the port's clock.
    ///
    /// # Errors
    /// Every [`NoFrame`].
    pub fn receive_by(&mut self, seal: Option<&mut Seal>, end: Duration) -> Result<Frame, NoFrame> {
        self.fill(HEAD, end)?;
        let most = if seal.is_some() { MAX_PAYLOAD } else { MAX_OPEN };
        let Some((&[a, b, c, d, kind], _)) = self.inbox.split_first_chunk::<HEAD>() else { return Err(NoFrame::Wrong) };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        // The length is looked at before memory is taken for it.
        if len > most {
            return Err(NoFrame::Wrong);
        }
        let sealed = HEAD + len + if seal.is_some() { SEAL } else { 0 };
        self.fill(sealed, end)?;
        let (head, rest) = self.inbox.split_at_checked(HEAD).ok_or(NoFrame::Wrong)?;
        let (payload, rest) = rest.split_at_checked(len).ok_or(NoFrame::Wrong)?;
        if let Some(seal) = seal
            && !rest.get(..SEAL).is_some_and(|tag| seal.is_next(head, payload, tag))
        {
            return Err(NoFrame::Wrong);
        }
        let frame = Frame { kind, payload: payload.to_vec() };
        self.inbox.drain(..sealed);
        Ok(frame)
    }

    /// Receives until so many bytes are there.
    fn fill(&mut self, count: usize, end: Duration) -> Result<(), NoFrame> {
        while self.inbox.len() < count {
            let have = self.inbox.len();
            let left = end.saturating_sub(self.port.now());
            if left.is_zero() {
                return Err(NoFrame::Silent);
            }
            self.inbox.resize(have + READ, 0);
            let room = self.inbox.get_mut(have..).unwrap_or_default();
            let received = self.port.receive(room, left);
            self.inbox.truncate(have + received.as_ref().copied().unwrap_or(0));
            self.bytes.1 += received.map_err(NoFrame::Closed)? as u64;
        }
        Ok(())
    }
}
