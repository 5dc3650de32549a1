//! The device's end of the link, over any bus: what a board's bridge does, as software.

use std::time::Duration;

use tandem_isa::Reg;

use super::frame::{self, BORDER, Deframer, Reply, Request, kind, shell, status, window};
use crate::{Bus, BusError, DmaAddr, DmaBuf};

/// Commands of the plain protocol.
mod plain {
    pub const WRITE: u8 = 1;
    pub const READ: u8 = 2;
    pub const WRITE_FIXED: u8 = 3;
    pub const READ_FIXED: u8 = 4;
}

/// A bridge to a bus: checked frames and plain commands in, replies out.
///
/// It exports one range of the bus's memory, at the addresses that the bus gives it, and the registers.
#[derive(Debug)]
pub struct FrameServer<B> {
    bus: B,
    memory: DmaBuf,
    clock_hz: u32,
    baud: u32,
    state: State,
    last_write: Option<LastWrite>,
    plain_writes: bool,
    refused: u32,
}

#[derive(Debug)]
enum State {
    /// Between frames.
    Outside,
    Frame(Deframer),
    Plain(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LastWrite {
    seq: u8,
    sum: u32,
    status: u8,
}

impl<B: Bus> FrameServer<B> {
    /// A bridge that exports this range of the bus's memory.
    pub fn new(bus: B, memory: DmaBuf) -> FrameServer<B> {
        let state = State::Outside;
        FrameServer { bus, memory, clock_hz: 0, baud: 0, state, last_write: None, plain_writes: true, refused: 0 }
    }

    /// The same with a clock and a bit rate to report.
    pub fn with_rates(self, clock_hz: u32, baud: u32) -> FrameServer<B> {
        FrameServer { clock_hz, baud, ..self }
    }

    /// The bus.
    pub fn bus(&mut self) -> &mut B {
        &mut self.bus
    }

    /// Lets the device run for a while.
    ///
    /// # Errors
    /// The bus failed.
    pub fn idle(&mut self, limit: Duration) -> Result<(), BusError> {
        self.bus.wait(limit).map(drop)
    }

    /// Forgets a plain command that stands incomplete: the line has been silent for long.
    pub fn forget_plain(&mut self) {
        if let State::Plain(_) = self.state {
            self.state = State::Outside;
        }
    }

    /// Takes what arrived and appends what is answered.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            match (&mut self.state, byte) {
                (State::Outside, BORDER) | (State::Plain(_), BORDER) => self.state = State::Frame(Deframer::default()),
                (State::Outside, plain::WRITE..=plain::READ_FIXED) => self.state = State::Plain(vec![byte]),
                (State::Outside, _) => {}
                (State::Frame(deframer), _) => {
                    if let Some(chunk) = deframer.push(byte) {
                        self.state = State::Outside;
                        let reply = self.answer(chunk.ok());
                        frame::put(out, &reply.bytes(), 1);
                    }
                }
                (State::Plain(command), _) => {
                    command.push(byte);
                    if plain_length(command).is_some_and(|length| command.len() >= length) {
                        let command = std::mem::take(command);
                        self.state = State::Outside;
                        self.plain(&command, out);
                    }
                }
            }
        }
    }

    fn answer(&mut self, content: Option<Vec<u8>>) -> Reply {
        let parsed = content.and_then(|content| Some((frame::crc32(&content), Request::parse(&content)?)));
        let Some((sum, (seq, request))) = parsed else {
            self.refused = self.refused.wrapping_add(1);
            return Reply { kind: kind::REFUSED, seq: 0, status: status::REFUSED, words: Vec::new() };
        };
        self.plain_writes = false;
        let kind = request.kind() | kind::REPLY;
        match request {
            Request::Read { word_addr, count } => {
                let mut words = vec![0; count];
                let status = self.read(word_addr, &mut words).map_or_else(|status| status, |()| status::OK);
                if status != status::OK {
                    words.clear();
                }
                Reply { kind, seq, status, words }
            }
            Request::Write { word_addr, words } => {
                let status = match &self.last_write {
                    Some(last) if last.seq == seq && last.sum == sum => last.status,
                    _ => self.write(word_addr, &words).map_or_else(|status| status, |()| status::OK),
                };
                self.last_write = Some(LastWrite { seq, sum, status });
                Reply { kind, seq, status, words: Vec::new() }
            }
        }
    }

    fn plain(&mut self, command: &[u8], out: &mut Vec<u8>) {
        let Some((&[code, count, a, b, c, d], data)) = command.split_first_chunk::<6>() else { return };
        let addr = u32::from_be_bytes([a, b, c, d]);
        let step = u32::from(matches!(code, plain::WRITE | plain::READ));
        for index in 0..u32::from(count) {
            let at = addr.wrapping_add(index * step);
            if matches!(code, plain::READ | plain::READ_FIXED) {
                // The plain protocol has no errors; an address of nothing reads as zero.
                let mut word = [0];
                let _ = self.read(at, &mut word);
                out.extend(word[0].to_be_bytes());
            } else if self.plain_writes
                && let Some(&word) = data.as_chunks::<4>().0.get(index as usize)
            {
                let _ = self.write(at, &[u32::from_be_bytes(word)]);
            }
        }
    }

    fn read(&mut self, word_addr: u32, words: &mut [u32]) -> Result<(), u8> {
        let at = self.place(word_addr, words.len())?;
        match at {
            Place::Memory(addr) => {
                let mut bytes = vec![0; 4 * words.len()];
                self.bus.copy_out(addr, &mut bytes).map_err(code)?;
                for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
            }
            Place::Registers(offset) => {
                for (word, offset) in words.iter_mut().zip((offset..).step_by(4)) {
                    // A register that does not exist reads as zero.
                    *word = Reg::from_offset(offset).map_or(Ok(0), |reg| self.bus.read32(reg)).map_err(code)?;
                }
            }
            Place::Shell(offset) => {
                for (word, offset) in words.iter_mut().zip((offset..).step_by(4)) {
                    *word = self.shell_word(offset / 4);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, word_addr: u32, words: &[u32]) -> Result<(), u8> {
        match self.place(word_addr, words.len())? {
            Place::Memory(addr) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                self.bus.copy_in(addr, &bytes).map_err(code)
            }
            Place::Registers(offset) => {
                let mut registers = words.iter().zip((offset..).step_by(4));
                registers.try_for_each(|(&word, offset)| match Reg::from_offset(offset) {
                    Some(reg) => self.bus.write32(reg, word).map_err(code),
                    None => Ok(()),
                })
            }
            Place::Shell(offset) => {
                for (&word, offset) in words.iter().zip((offset..).step_by(4)) {
                    if offset / 4 == shell::PLAIN {
                        self.plain_writes = word == 1;
                    }
                }
                Ok(())
            }
        }
    }

    fn shell_word(&self, number: u32) -> u32 {
        let base = self.memory.addr.0;
        match number {
            shell::MAGIC => shell::MAGIC_VALUE,
            shell::VERSION if base == 0 => shell::VERSION_1_0,
            shell::VERSION => shell::VERSION_1_1,
            shell::MEMORY_BYTES => u32::try_from(self.memory.bytes.0).unwrap_or(u32::MAX),
            shell::CLOCK_HZ => self.clock_hz,
            shell::BAUD => self.baud,
            shell::REFUSED => self.refused,
            shell::MEMORY_BASE => base,
            _ => 0,
        }
    }

    /// What an address names; all words must be in one place.
    fn place(&self, word_addr: u32, count: usize) -> Result<Place, u8> {
        let begin = 4 * u64::from(word_addr);
        let end = begin + 4 * count as u64;
        let inside = |first: u32, bytes: u64| begin >= first.into() && end <= u64::from(first) + bytes;
        let addr = u32::try_from(begin).map_err(|_| status::ADDRESS)?;
        if inside(window::REGISTERS, window::BYTES.into()) {
            Ok(Place::Registers(addr - window::REGISTERS))
        } else if inside(window::SHELL, window::BYTES.into()) {
            Ok(Place::Shell(addr - window::SHELL))
        } else if end <= window::REGISTERS.into() && inside(self.memory.addr.0, self.memory.bytes.0) {
            Ok(Place::Memory(DmaAddr(addr)))
        } else {
            Err(status::ADDRESS)
        }
    }
}

enum Place {
    Memory(DmaAddr),
    Registers(u32),
    Shell(u32),
}

/// The status of a bus's error.
fn code(error: BusError) -> u8 {
    match error {
        BusError::Address { .. } => status::ADDRESS,
        _ => status::BUS,
    }
}

/// The bytes of a plain command, once its length is known.
fn plain_length(command: &[u8]) -> Option<usize> {
    let (&code, &count) = (command.first()?, command.get(1)?);
    let data = if matches!(code, plain::WRITE | plain::WRITE_FIXED) { 4 * usize::from(count) } else { 0 };
    Some(6 + data)
}
