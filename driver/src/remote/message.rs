//! What client and server say to each other: the bytes of every message, and their limits; those of a bus among them.
//!
//! ```text
//! frame     length of the payload (4)  kind (1)  payload  [seal (16)]        numbers are little-endian
//! hello     "TANDEMRD"  version (2)  nonce (32)                              server, not sealed
//! proof     "TANDEMRD"  version (2)  nonce (32)  proof (32)                  client, not sealed
//! welcome   proof (32)                                                       server, not sealed; all later frames are
//! refusal   reason (1)                                                       server, not sealed
//! facts     service (1)  what the service tells of itself
//! part      the beginning of a request or a reply that does not fit into one frame, or what follows it
//! request   the rest of a request, or all of it
//! reply     0  nanoseconds (8)  what was asked for
//!           1  nanoseconds (8)  error
//! ping      length of the answer (4)  bytes that nobody looks at
//! pong      zeros
//! alive     nothing: the device is at work or another client has it
//! farewell  reason (1)
//! ```
//!
//! What facts, requests, results and errors are depends on the service. Those of a bus:
//!
//! ```text
//! facts     clock (1)  address (4)  bytes (8)  digest (4)  name, configuration: length (4), text
//! request   operations: kind (1), fields, data
//! reply     results of the operations, or an error: class (1)  number (8)  number (8)  two texts
//! ```

use tandem_isa::{HwConfig, Reg};

use super::token::NONCE;
use crate::{BusError, Bytes, DmaAddr, DmaBuf};

/// The first bytes of either side.
const MAGIC: [u8; 8] = *b"TANDEMRD";
/// The protocol's version: the same on both sides.
pub const VERSION: u16 = 2;
/// Data that a client puts into one batch or asks for in one.
pub const CHUNK: usize = 1 << 20;
/// Most bytes of the payload of a frame.
pub const MAX_PAYLOAD: usize = CHUNK + (1 << 16);
/// Most operations of a batch.
pub const MAX_OPS: usize = 4096;
/// Most bytes of a text in a message.
const MAX_TEXT: usize = 1 << 14;

/// The kinds of frames.
pub mod kind {
    pub const HELLO: u8 = 0x01;
    pub const PROOF: u8 = 0x02;
    pub const WELCOME: u8 = 0x03;
    pub const REFUSAL: u8 = 0x04;
    pub const FACTS: u8 = 0x10;
    pub const REQUEST: u8 = 0x11;
    pub const REPLY: u8 = 0x12;
    pub const ALIVE: u8 = 0x13;
    pub const FAREWELL: u8 = 0x14;
    pub const PART: u8 = 0x15;
    pub const PING: u8 = 0x16;
    pub const PONG: u8 = 0x17;
}

/// Why a server refuses a client or ends its service.
pub mod reason {
    pub const TOKEN: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const BUSY: u8 = 3;
    pub const IDLE: u8 = 4;
    pub const MALFORMED: u8 = 5;
    pub const LONG: u8 = 6;
}

mod op {
    pub const READ_REGS: u8 = 1;
    pub const WRITE_REGS: u8 = 2;
    pub const COPY_IN: u8 = 3;
    pub const COPY_OUT: u8 = 4;
    pub const WAIT: u8 = 5;
    pub const DIAGNOSE: u8 = 6;
    pub const REOPEN: u8 = 7;
}

/// Bytes that are no message, or one beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What the cycles of a device are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// An estimate.
    Estimated,
    /// Those of simulated hardware, which takes its time.
    Simulated,
    /// Those of a clock.
    Real,
}

/// What a server exports, as it tells every client first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The kind of thing: [`Served::BUS`] or [`Served::BACKEND`].
    pub service: u8,
    /// What it tells of itself.
    pub facts: Vec<u8>,
}

/// What a server says about the device on its bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its name on the server's command line.
    pub name: String,
    /// Its configuration.
    pub config: HwConfig,
    /// The memory that is exported.
    pub memory: DmaBuf,
    /// What its cycles are.
    pub clock: Clock,
}

/// An operation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Values of consecutive registers.
    ReadRegs { first: Reg, count: usize },
    /// Values for consecutive registers, as little-endian words.
    WriteRegs { first: Reg, words: &'a [u8] },
    /// Bytes for device memory.
    CopyIn { addr: DmaAddr, bytes: &'a [u8] },
    /// Bytes of device memory.
    CopyOut { addr: DmaAddr, len: usize },
    /// Lets the device run, at most for so many microseconds. A byte: 1 where it signalled.
    Wait { micros: u64 },
    /// What the bus knows about the last error: a text, empty where nothing.
    Diagnose,
    /// Restores the way to the device.
    Reopen,
}

impl Served {
    /// The bus of an accelerator.
    pub const BUS: u8 = 0;
    /// A device that takes graphs.
    pub const BACKEND: u8 = 1;

    /// The payload.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&[self.service], &self.facts[..]].concat()
    }

    /// What a payload says.
    pub(super) fn parse(payload: &[u8]) -> Result<Served, Malformed> {
        let (&service, facts) = payload.split_first().ok_or(Malformed)?;
        Ok(Served { service, facts: facts.to_vec() })
    }
}

impl Facts {
    /// The payload.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![match self.clock {
            Clock::Estimated => 0,
            Clock::Simulated => 1,
            Clock::Real => 2,
        }];
        out.extend(self.memory.addr.0.to_le_bytes());
        out.extend(self.memory.bytes.0.to_le_bytes());
        out.extend(self.config.digest().to_le_bytes());
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.config.to_toml());
        out
    }

    /// The facts of a payload.
    ///
    /// # Errors
    /// [`Malformed`], also where the digest is not that of the configuration: the other side derives other facts from it.
    pub fn parse(payload: &[u8]) -> Result<Facts, Malformed> {
        let mut cursor = Cursor(payload);
        let clock = match cursor.u8()? {
            0 => Clock::Estimated,
            1 => Clock::Simulated,
            2 => Clock::Real,
            _ => return Err(Malformed),
        };
        let memory = DmaBuf { addr: DmaAddr(cursor.u32()?), bytes: Bytes(cursor.u64()?) };
        let digest = cursor.u32()?;
        let (name, toml) = (cursor.text()?, cursor.text()?);
        let config = HwConfig::from_toml(&toml).map_err(|_| Malformed)?;
        if !cursor.is_empty() || config.digest() != digest {
            return Err(Malformed);
        }
        Ok(Facts { name, config, memory, clock })
    }
}

impl Op<'_> {
    /// Appends the operation to a batch.
    pub fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Op::ReadRegs { first, count } => {
                out.push(op::READ_REGS);
                out.extend([first.offset(), count as u32].into_iter().flat_map(u32::to_le_bytes));
            }
            Op::WriteRegs { first, words } => {
                out.push(op::WRITE_REGS);
                out.extend(first.offset().to_le_bytes());
                put_bytes(out, words);
            }
            Op::CopyIn { addr, bytes } => {
                out.push(op::COPY_IN);
                out.extend(addr.0.to_le_bytes());
                put_bytes(out, bytes);
            }
            Op::CopyOut { addr, len } => {
                out.push(op::COPY_OUT);
                out.extend([addr.0, len as u32].into_iter().flat_map(u32::to_le_bytes));
            }
            Op::Wait { micros } => {
                out.push(op::WAIT);
                out.extend(micros.to_le_bytes());
            }
            Op::Diagnose => out.push(op::DIAGNOSE),
            Op::Reopen => out.push(op::REOPEN),
        }
    }
}

/// Appends a greeting: what both sides begin with.
pub fn put_hello(out: &mut Vec<u8>, nonce: &[u8; NONCE]) {
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend(nonce);
}

/// Version and nonce of a greeting.
///
/// # Errors
/// [`Malformed`]. A greeting of another version is one too, so that either side can say which it speaks.
pub fn parse_hello(payload: &[u8]) -> Result<(u16, [u8; NONCE]), Malformed> {
    let mut cursor = Cursor(payload);
    if cursor.array()? != MAGIC {
        return Err(Malformed);
    }
    let (version, nonce) = (cursor.u16()?, cursor.array()?);
    if cursor.is_empty() { Ok((version, nonce)) } else { Err(Malformed) }
}

/// The operations of a batch, all of which are legal, and whose results fit into a reply.
///
/// # Errors
/// [`Malformed`].
pub fn parse_batch(payload: &[u8]) -> Result<Vec<Op<'_>>, Malformed> {
    let (mut cursor, mut ops) = (Cursor(payload), Vec::new());
    let (mut results, mut waits) = (0usize, 0);
    while !cursor.is_empty() {
        let (op, result) = match cursor.u8()? {
            op::READ_REGS => {
                let (first, count) = (cursor.reg()?, cursor.length()?);
                if count > Reg::ALL.len() {
                    return Err(Malformed);
                }
                (Op::ReadRegs { first, count }, 4 * count)
            }
            op::WRITE_REGS => {
                let (first, words) = (cursor.reg()?, cursor.bytes()?);
                if !words.len().is_multiple_of(4) || words.len() > 4 * Reg::ALL.len() {
                    return Err(Malformed);
                }
                (Op::WriteRegs { first, words }, 0)
            }
            op::COPY_IN => (Op::CopyIn { addr: DmaAddr(cursor.u32()?), bytes: cursor.bytes()? }, 0),
            op::COPY_OUT => {
                let (addr, len) = (DmaAddr(cursor.u32()?), cursor.length()?);
                (Op::CopyOut { addr, len }, len)
            }
            op::WAIT => {
                waits += 1;
                (Op::Wait { micros: cursor.u64()? }, 1)
            }
            op::DIAGNOSE => (Op::Diagnose, MAX_TEXT + 4),
            op::REOPEN => (Op::Reopen, 0),
            _ => return Err(Malformed),
        };
        results = results.saturating_add(result);
        ops.push(op);
        // Results must fit into a reply with its head, and the device must come back soon.
        if results > MAX_PAYLOAD - 64 || waits > 1 || ops.len() > MAX_OPS {
            return Err(Malformed);
        }
    }
    Ok(ops)
}

/// Appends the error of a bus.
pub fn put_error(out: &mut Vec<u8>, error: &BusError) {
    let (class, numbers, texts): (u8, [u64; 2], [&str; 2]) = match error {
        BusError::Exhausted { bytes, limit } => (0, [*bytes, *limit], ["", ""]),
        BusError::Address { addr, bytes } => (1, [addr.0.into(), *bytes], ["", ""]),
        BusError::Transfer { action, detail } => (2, [0, 0], [action, detail]),
        BusError::Unavailable { detail } => (3, [0, 0], [detail, ""]),
    };
    out.push(class);
    out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    texts.into_iter().for_each(|text| put_text(out, text));
}

/// Appends a text with its length before it, as much of it as a message holds.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
    put_bytes(out, text.as_bytes());
}

/// Appends bytes, fewer than 4 GiB, with their length before them.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many bytes.
    ///
    /// # Errors
    /// [`Malformed`], as for all that follow, where there is less.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A text with its length before it.
    ///
    /// # Errors
    /// [`Malformed`], also where it is longer than a text in a message may be.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        if bytes.len() > MAX_TEXT {
            return Err(Malformed);
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
    }

    /// The error of a bus.
    pub(super) fn error(&mut self) -> Result<BusError, Malformed> {
        let (class, a, b) = (self.u8()?, self.u64()?, self.u64()?);
        let (first, second) = (self.text()?, self.text()?);
        Ok(match class {
            0 => BusError::Exhausted { bytes: a, limit: b },
            1 => BusError::Address { addr: DmaAddr(u32::try_from(a).map_err(|_| Malformed)?), bytes: b },
            2 => BusError::Transfer { action: first, detail: second },
            3 => BusError::Unavailable { detail: first },
            _ => return Err(Malformed),
        })
    }

    /// Bytes with their length before them.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    /// So many bytes.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        let len = self.u32()? as usize;
        if len > MAX_PAYLOAD { Err(Malformed) } else { Ok(len) }
    }

    fn reg(&mut self) -> Result<Reg, Malformed> {
        Reg::from_offset(self.u32()?).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_facts_and_errors_survive_the_wire_and_no_prefix_does() {
        let ops = [
            Op::CopyIn { addr: DmaAddr(7), bytes: b"abc" },
            Op::WriteRegs { first: Reg::InsnCount, words: &[1, 2, 3, 4, 5, 6, 7, 8] },
            Op::Wait { micros: 1 << 40 },
            Op::ReadRegs { first: Reg::Control, count: Reg::ALL.len() },
            Op::CopyOut { addr: DmaAddr(4096), len: 9 },
            Op::Diagnose,
            Op::Reopen,
        ];
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.put(&mut bytes));
        assert_eq!(parse_batch(&bytes).unwrap(), ops);
        let whole: Vec<usize> = (0..bytes.len()).filter(|&end| parse_batch(&bytes[..end]).is_ok()).collect();
        assert_eq!(whole.len(), ops.len(), "only whole operations are a batch");

        let facts = Facts {
            name: "fsim".to_owned(),
            config: HwConfig::preset("tiny").unwrap(),
            memory: DmaBuf { addr: DmaAddr(4096), bytes: Bytes(1 << 33) },
            clock: Clock::Simulated,
        };
        let bytes = facts.bytes();
        assert_eq!(Facts::parse(&bytes), Ok(facts));
        assert!((0..bytes.len()).all(|end| Facts::parse(&bytes[..end]).is_err()));
        let mut other = bytes.clone();
        other[13] ^= 1;
        assert_eq!(Facts::parse(&other), Err(Malformed), "a digest of another configuration");

        for error in [
            BusError::Exhausted { bytes: 5, limit: 4 },
            BusError::Address { addr: DmaAddr(3), bytes: 2 },
            BusError::Transfer { action: "polling".into(), detail: "nothing came".into() },
            BusError::Unavailable { detail: "unplugged".into() },
        ] {
            let mut bytes = Vec::new();
            put_error(&mut bytes, &error);
            assert_eq!(Cursor(&bytes).error(), Ok(error));
        }
    }

    #[test]
    fn batches_beyond_a_limit_are_malformed() {
        let batch = |ops: &[Op]| {
            let mut bytes = Vec::new();
            ops.iter().for_each(|op| op.put(&mut bytes));
            parse_batch(&bytes).map(|ops| ops.len())
        };
        let wait = Op::Wait { micros: 0 };
        assert_eq!(batch(&[wait]), Ok(1));
        assert_eq!(batch(&[wait, wait]), Err(Malformed));
        let half = Op::CopyOut { addr: DmaAddr(0), len: CHUNK / 2 };
        assert_eq!(batch(&[half, half]), Ok(2));
        assert_eq!(batch(&[half, half, half]), Err(Malformed));
        assert_eq!(batch(&[Op::Reopen; MAX_OPS]), Ok(MAX_OPS));
        assert_eq!(batch(&[Op::Reopen; MAX_OPS + 1]), Err(Malformed));
        assert_eq!(batch(&[Op::ReadRegs { first: Reg::Control, count: Reg::ALL.len() + 1 }]), Err(Malformed));
        assert_eq!(batch(&[Op::WriteRegs { first: Reg::Control, words: &[0; 3] }]), Err(Malformed));
    }
}
