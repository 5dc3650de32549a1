//! A board behind a byte channel, as a bus.

use std::time::Duration;

use tandem_isa::{Reg, control};

use super::frame::{MAX_WORDS, Request, shell, status, window};
use super::link::{Link, LinkCounts, LinkError, SILENCE};
use super::port::{Port, long};
use crate::memory::Memory;
use crate::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};

/// Attempts at a frame that can be made shorter; then it is.
const ATTEMPTS: u32 = 6;
/// Attempts at a frame that cannot.
const LAST_ATTEMPTS: u32 = 64;
/// Words of the first transfer; the size then follows the line.
const FIRST_WORDS: usize = 8;
/// Time between the first two polls of a wait, and the longest.
const POLLS: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(50));

/// A board that is reached over a port by checked frames.
///
/// Every transfer is checked and repeated where the line disturbed it. A board from which nothing valid comes for a second, or
/// whose port is gone, is a fault; [`Bus::reopen`] goes on once it is back.
#[derive(Debug)]
pub struct SerialBus<P> {
    link: Link<P>,
    facts: BoardFacts,
    memory: Memory,
    /// Words of the next frame, where there are as many to move.
    words: usize,
}

/// What a board says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardFacts {
    /// Version of the shell: major in the high half.
    pub version: u32,
    /// Device memory.
    pub memory: DmaBuf,
    /// Clock of the core in hertz; 0 where it has none.
    pub clock_hz: u32,
    /// Bits a second on the wire; 0 where there are none.
    pub baud: u32,
}

impl<P: Port> SerialBus<P> {
    /// Finds the board behind a port.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where nothing answers or something else does.
    pub fn open(port: P) -> Result<SerialBus<P>, BusError> {
        SerialBus::open_patient(port, SILENCE)
    }

    /// Finds the board behind a port, where it may say nothing for longer than a second: a simulated one that is slow.
    ///
    /// # Errors
    /// As [`SerialBus::open`].
    pub fn open_patient(port: P, silence: Duration) -> Result<SerialBus<P>, BusError> {
        let mut link = Link::new(port, silence);
        let facts = identify(&mut link)?;
        Ok(SerialBus { link, facts, memory: memory_of(&facts), words: FIRST_WORDS })
    }

    /// What the board says about itself.
    pub fn facts(&self) -> BoardFacts {
        self.facts
    }

    /// What the link has been through.
    pub fn counts(&self) -> LinkCounts {
        self.link.counts()
    }

    /// The port.
    pub fn port(&mut self) -> &mut P {
        self.link.port()
    }

    /// Checked frames that the board has refused since it was configured.
    ///
    /// # Errors
    /// The way to the board failed.
    pub fn refused(&mut self) -> Result<u32, BusError> {
        let mut word = [0];
        self.read_words(
            window::SHELL + 4 * shell::REFUSED,
            &mut word,
            "reading the board's counter of refused frames",
        )?;
        Ok(word[0])
    }

    /// Reserves memory at an address of the caller's choice: for programs that were placed elsewhere.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where the range is taken or beyond the board's memory.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let buf = DmaBuf { addr, bytes };
        self.memory.take(buf).map(|()| buf)
    }

    /// One frame with as many words as the line bears, at most `most`: how many it moved, and what it read. `request` makes the
    /// frame for so many words.
    fn step(
        &mut self,
        most: usize,
        action: &str,
        request: impl Fn(usize) -> Request,
    ) -> Result<(usize, Vec<u32>), BusError> {
        loop {
            let count = self.words.min(most);
            let (request, resent) = (request(count), self.link.counts().resent);
            let attempts = if count > 1 { ATTEMPTS } else { LAST_ATTEMPTS };
            match self.link.ask(&request, attempts) {
                Ok(words) => {
                    let clean = self.link.counts().resent == resent;
                    let time = self.link.expected(&request).unwrap_or_default();
                    // Frames that take long get shorter: a slow device must have time for another attempt.
                    if !clean || time > self.link.slow() {
                        self.words = (count - count / 4).max(1);
                    } else if 2 * time <= self.link.slow() && count == self.words {
                        self.words = (count + count.div_ceil(4)).min(MAX_WORDS);
                    }
                    return Ok((count, words));
                }
                Err(LinkError::Noisy { .. }) if count > 1 => self.words = count / 2,
                Err(error) => return Err(fault(&self.link, action, error)),
            }
        }
    }

    fn read_words(&mut self, addr: u32, words: &mut [u32], action: &str) -> Result<(), BusError> {
        let mut done = 0;
        while done < words.len() {
            let word_addr = addr / 4 + done as u32;
            let (count, read) = self.step(words.len() - done, action, |count| Request::Read { word_addr, count })?;
            words[done..done + count].copy_from_slice(&read);
            done += count;
        }
        Ok(())
    }

    fn write_words(&mut self, addr: u32, words: &[u32], action: &str) -> Result<(), BusError> {
        let mut done = 0;
        while done < words.len() {
            let (word_addr, left) = (addr / 4 + done as u32, &words[done..]);
            let frame = |count: usize| Request::Write { word_addr, words: left[..count].to_vec() };
            done += self.step(left.len(), action, frame)?.0;
        }
        Ok(())
    }
}

impl<P: Port> Bus for SerialBus<P> {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let mut word = [0];
        self.read_regs(reg, &mut word)?;
        Ok(word[0])
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.write_regs(reg, &[value])
    }

    fn read_regs(&mut self, first: Reg, values: &mut [u32]) -> Result<(), BusError> {
        self.read_words(window::REGISTERS + first.offset(), values, &format!("reading {first}"))
    }

    fn write_regs(&mut self, first: Reg, values: &[u32]) -> Result<(), BusError> {
        self.write_words(window::REGISTERS + first.offset(), values, &format!("writing {first}"))
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.memory.alloc(bytes)
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.memory.free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.memory.check(dst, src.len())?;
        if src.is_empty() {
            return Ok(());
        }
        let action = format!("writing {} bytes at {dst}", src.len());
        let (first, mut words, skipped) = words_around(dst, src.len());
        // The words at the edges keep the bytes that are not written.
        let ends = !(skipped + src.len()).is_multiple_of(4);
        if skipped != 0
            && let Some(word) = words.first_mut()
        {
            self.read_words(first, std::slice::from_mut(word), &action)?;
        }
        if ends && (words.len() > 1 || skipped == 0) {
            let at = first + 4 * (words.len() as u32 - 1);
            if let Some(word) = words.last_mut() {
                self.read_words(at, std::slice::from_mut(word), &action)?;
            }
        }
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes[skipped..skipped + src.len()].copy_from_slice(src);
        let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
        self.write_words(first, &words, &action)
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.memory.check(src, dst.len())?;
        let action = format!("reading {} bytes at {src}", dst.len());
        let (first, mut words, skipped) = words_around(src, dst.len());
        self.read_words(first, &mut words, &action)?;
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).skip(skipped);
        dst.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        const ACTION: &str = "polling CONTROL";
        let begin = self.link.port().now();
        let (mut pause, longest) = POLLS;
        loop {
            let mut value = [0];
            self.read_words(window::REGISTERS + Reg::Control.offset(), &mut value, ACTION)?;
            if value[0] & control::LAUNCH == 0 {
                return Ok(Waited::Signalled);
            }
            let left = limit.saturating_sub(self.link.port().now().saturating_sub(begin));
            if left.is_zero() {
                return Ok(Waited::Elapsed);
            }
            self.link.rest(pause.min(left)).map_err(|error| fault(&self.link, ACTION, error))?;
            pause = (pause * 3 / 2).min(longest);
        }
    }

    fn reopen(&mut self) -> Result<(), BusError> {
        let name = self.link.name();
        self.link.reopen().map_err(|error| BusError::Unavailable { detail: format!("{name}: {error}") })?;
        let facts = identify(&mut self.link)?;
        if facts.memory != self.facts.memory {
            let (found, known) = (facts.memory, self.facts.memory);
            return Err(BusError::Unavailable {
                detail: format!(
                    "another board answers on {name}: it has {} of memory from {}, not {} from {}; open it anew",
                    found.bytes, found.addr, known.bytes, known.addr
                ),
            });
        }
        self.facts = facts;
        self.words = FIRST_WORDS;
        Ok(())
    }
}

/// Begins a conversation and reads what the board says about itself.
fn identify<P: Port>(link: &mut Link<P>) -> Result<BoardFacts, BusError> {
    let name = link.name();
    let unavailable = |detail: String| BusError::Unavailable { detail };
    let refused = |error: LinkError| {
        unavailable(match error {
            LinkError::Silent { heard: 0 } => format!(
                "nothing answers on {name}; check that the board is powered and configured, and that the bit rate is its own"
            ),
            LinkError::Silent { heard } => format!(
                "{heard} bytes came from {name}, but no valid frame; the bit rate may be another one, or the device is no \
                 Tandem board"
            ),
            LinkError::Noisy { attempts } => {
                format!("{name} disturbs every frame of {attempts}; check cable and bit rate")
            }
            LinkError::Closed(error) => format!("{name}: {error}"),
            LinkError::Status(status) => format!("{name} refuses the words of the shell with status {status}"),
        })
    };
    link.settle().map_err(refused)?;
    let read = Request::Read { word_addr: window::SHELL / 4, count: 5 };
    let words = link.ask(&read, LAST_ATTEMPTS).map_err(refused)?;
    let [magic, version, bytes, clock_hz, baud] = words[..] else {
        return Err(unavailable(format!("{name}: no words")));
    };
    if magic != shell::MAGIC_VALUE {
        return Err(unavailable(format!(
            "what answers on {name} is no Tandem board: its first word is {magic:#010x}, not {:#010x}",
            shell::MAGIC_VALUE
        )));
    }
    if version >> 16 != shell::VERSION_1_0 >> 16 {
        return Err(unavailable(format!(
            "the shell of the board on {name} has version {:#010x} and this driver speaks {:#010x}; build the bitstream again",
            version,
            shell::VERSION_1_1
        )));
    }
    let base = if version < shell::VERSION_1_1 {
        0
    } else {
        let word_addr = window::SHELL / 4 + shell::MEMORY_BASE;
        link.ask(&Request::Read { word_addr, count: 1 }, LAST_ATTEMPTS).map_err(refused)?.first().copied().unwrap_or(0)
    };
    // From here on the last write that the board remembers is this one, whoever wrote before.
    let word_addr = window::SHELL / 4 + shell::PLAIN;
    match link.ask(&Request::Write { word_addr, words: vec![0] }, LAST_ATTEMPTS) {
        Ok(_) | Err(LinkError::Status(_)) => {}
        Err(error) => return Err(refused(error)),
    }
    let room = u64::from(window::REGISTERS.saturating_sub(base));
    let memory = DmaBuf { addr: DmaAddr(base), bytes: Bytes(u64::from(bytes).min(room)) };
    Ok(BoardFacts { version, memory, clock_hz, baud })
}

fn memory_of(facts: &BoardFacts) -> Memory {
    Memory::new(facts.memory.addr, facts.memory.bytes)
}

fn fault<P: Port>(link: &Link<P>, action: &str, error: LinkError) -> BusError {
    let name = link.name();
    let detail = match error {
        LinkError::Silent { heard: 0 } => format!("nothing came for {}; check cable and power", long(link.silence())),
        LinkError::Silent { heard } => {
            let long = long(link.silence());
            format!("nothing valid came for {long}, only {heard} bytes of noise; check cable and bit rate")
        }
        LinkError::Noisy { attempts } => format!("all of {attempts} attempts were disturbed; check cable and bit rate"),
        LinkError::Closed(error) => format!("the port is gone ({error}); plug the board in again"),
        LinkError::Status(status::BUS) => "the board reports an error of its bus".to_owned(),
        LinkError::Status(status::ADDRESS) => "the board has nothing at this address".to_owned(),
        LinkError::Status(other) => format!("the board answers with the unknown status {other:#04x}"),
    };
    BusError::Transfer { action: format!("{action} on {name}"), detail }
}

/// The word-aligned range around bytes: its address, zeros for its words, and the bytes before the first that is meant.
fn words_around(addr: DmaAddr, len: usize) -> (u32, Vec<u32>, usize) {
    let skipped = (addr.0 % 4) as usize;
    (addr.0 - addr.0 % 4, vec![0; (skipped + len).div_ceil(4)], skipped)
}
