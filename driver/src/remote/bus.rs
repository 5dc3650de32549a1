//! The client: a bus whose operations travel in batches.

use std::time::Duration;

use tandem_isa::Reg;

use super::connection::Connection;
use super::message::{CHUNK, Cursor, Facts, MAX_OPS, MAX_PAYLOAD, Malformed, Op, Served};
use super::token::Token;
use super::traffic::{Link, TrafficMonitor};
use crate::memory::Memory;
use crate::serial::Port;
use crate::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};

/// How long a batch lets the device run.
const SLICE: Duration = Duration::from_millis(500);
/// Writes that are collected before they travel: the operation that needs an answer and the registers that come along still fit.
const MAX_WRITES: usize = MAX_OPS - 2;

/// A device of another machine, exported by [`serve`](super::serve).
///
/// Writes are collected and travel with the next operation that needs an answer; an error of theirs is that operation's. After a
/// wait, and after a copy out of memory, the answer brings the registers along that a driver looks at next; each is used once,
/// and none after another operation. Memory is given out on this side: the server exports one range.
///
/// A server that says nothing for a while, or whose connection is gone, is a fault; [`Bus::reopen`] connects anew.
#[derive(Debug)]
pub struct RemoteBus<P> {
    connection: Connection<P>,
    facts: Facts,
    memory: Memory,
    /// Operations that were not sent yet.
    batch: Vec<u8>,
    /// How many these are.
    ops: usize,
    /// Registers that came along with the last answer, from the first.
    known: Vec<Option<u32>>,
    known_first: u32,
}

impl<P: Port> RemoteBus<P> {
    /// Connects to a server and measures the way. A server that says nothing for `silence` is gone.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: nothing answers or something else does, the token is not the server's, another client has
    /// the device.
    pub fn open(port: P, token: &Token, silence: Duration) -> Result<RemoteBus<P>, BusError> {
        RemoteBus::on(Connection::open(port, token, silence)?)
    }

    /// The bus that a server exports.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where it exports something else, or a device that this version does not know.
    pub fn on(mut connection: Connection<P>) -> Result<RemoteBus<P>, BusError> {
        let facts = facts_of(&mut connection)?;
        let memory = Memory::new(facts.memory.addr, facts.memory.bytes);
        Ok(RemoteBus { connection, facts, memory, batch: Vec::new(), ops: 0, known: Vec::new(), known_first: 0 })
    }

    /// What the server says about its device.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the way bears, as it was measured when the bus was opened.
    pub fn link(&self) -> Link {
        self.connection.link()
    }

    /// A look at the traffic from elsewhere; it begins with the measurement of the way.
    pub fn monitor(&self) -> TrafficMonitor {
        self.connection.monitor()
    }

    /// Reserves memory at an address of the caller's choice: for programs that were placed elsewhere.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where the range is taken or beyond the device's memory.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let buf = DmaBuf { addr, bytes };
        self.memory.take(buf).map(|()| buf)
    }

    /// Adds an operation to the batch.
    fn put(&mut self, op: &Op) {
        op.put(&mut self.batch);
        self.ops += 1;
    }

    /// Adds a write to the batch, which travels once it is full.
    fn post(&mut self, op: &Op, action: &str) -> Result<(), BusError> {
        self.known.clear();
        self.put(op);
        if self.batch.len() >= CHUNK || self.ops >= MAX_WRITES { self.ask(action).map(drop) } else { Ok(()) }
    }

    /// Sends the batch, with `op` at its end, and gives the results.
    fn call(&mut self, op: &Op, action: &str) -> Result<Vec<u8>, BusError> {
        self.known.clear();
        self.put(op);
        self.ask(action)
    }

    /// Adds to the batch that these registers come along.
    fn bring(&mut self, first: Reg, count: usize) {
        self.put(&Op::ReadRegs { first, count });
    }

    /// Remembers registers that came along.
    fn keep(&mut self, first: Reg, words: &[u8]) {
        self.known_first = first.offset();
        self.known = words.as_chunks::<4>().0.iter().map(|word| Some(u32::from_le_bytes(*word))).collect();
    }

    /// Sends the batch and gives the results.
    fn ask(&mut self, action: &str) -> Result<Vec<u8>, BusError> {
        let batch = std::mem::take(&mut self.batch);
        self.ops = 0;
        let answer = self.connection.ask(&batch, MAX_PAYLOAD, action)?;
        if answer.done {
            return Ok(answer.body);
        }
        Err(Cursor(&answer.body).error().unwrap_or_else(|Malformed| self.connection.lose(action)))
    }
}

impl<P: Port> Bus for RemoteBus<P> {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let mut word = [0];
        self.read_regs(reg, &mut word)?;
        Ok(word[0])
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.write_regs(reg, &[value])
    }

    fn read_regs(&mut self, first: Reg, values: &mut [u32]) -> Result<(), BusError> {
        let at = first.offset().checked_sub(self.known_first).map(|offset| offset as usize / 4);
        let known = at.and_then(|at| self.known.get_mut(at..)?.get_mut(..values.len()));
        if let Some(known) = known
            && known.iter().all(Option::is_some)
        {
            values.iter_mut().zip(known).for_each(|(value, known)| *value = known.take().unwrap_or_default());
            return Ok(());
        }
        let most = Reg::ALL.len();
        let (asked, beyond) = values.split_at_mut(most.min(values.len()));
        beyond.fill(0);
        let words = self.call(&Op::ReadRegs { first, count: asked.len() }, &format!("reading {first}"))?;
        fill(asked, &words).ok_or_else(|| self.connection.lose("reading registers"))
    }

    fn write_regs(&mut self, first: Reg, values: &[u32]) -> Result<(), BusError> {
        let words: Vec<u8> = values.iter().take(Reg::ALL.len()).flat_map(|value| value.to_le_bytes()).collect();
        self.post(&Op::WriteRegs { first, words: &words }, &format!("writing {first}"))
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.memory.alloc(bytes)
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.memory.free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.memory.check(dst, src.len())?;
        for (bytes, addr) in src.chunks(CHUNK).zip((dst.0..).step_by(CHUNK)) {
            let addr = DmaAddr(addr);
            // What does not fit into the batch begins the next one.
            if self.batch.len() + bytes.len() > CHUNK && !self.batch.is_empty() {
                self.ask(&format!("writing {} bytes at {dst}", src.len()))?;
            }
            self.post(&Op::CopyIn { addr, bytes }, &format!("writing {} bytes at {dst}", src.len()))?;
        }
        Ok(())
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.memory.check(src, dst.len())?;
        let action = format!("reading {} bytes at {src}", dst.len());
        for (bytes, addr) in dst.chunks_mut(CHUNK).zip((src.0..).step_by(CHUNK)) {
            self.known.clear();
            self.put(&Op::CopyOut { addr: DmaAddr(addr), len: bytes.len() });
            // A driver that has read looks whether the device still holds the mark of its launch.
            self.bring(Reg::InsnCount, 1);
            let results = self.ask(&action)?;
            let (data, words) =
                results.split_at_checked(bytes.len()).ok_or_else(|| self.connection.lose("reading device memory"))?;
            bytes.copy_from_slice(data);
            self.keep(Reg::InsnCount, words);
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        const ACTION: &str = "waiting for the device";
        let begin = self.connection.now();
        loop {
            let left = limit.saturating_sub(self.connection.now().saturating_sub(begin));
            let micros = u64::try_from(left.min(SLICE).as_micros()).unwrap_or(u64::MAX);
            self.known.clear();
            self.put(&Op::Wait { micros });
            // A driver that has waited looks at CONTROL and then at the counters, or at everything.
            self.bring(Reg::Control, Reg::ALL.len());
            let results = self.ask(ACTION)?;
            let (signalled, words) = results.split_first().ok_or_else(|| self.connection.lose(ACTION))?;
            self.keep(Reg::Control, words);
            match (*signalled == 1, left <= SLICE) {
                (true, _) => return Ok(Waited::Signalled),
                (false, true) => return Ok(Waited::Elapsed),
                // A device that nobody has launched, or whose bus has nothing to wait for, is not waited for.
                (false, false) if !self.is_running() => return Ok(Waited::Elapsed),
                (false, false) => {}
            }
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        if self.batch.is_empty() { Ok(()) } else { self.ask("writing").map(drop) }
    }

    fn reopen(&mut self) -> Result<(), BusError> {
        // What was to be sent to the old connection is lost with it.
        self.batch.clear();
        self.ops = 0;
        self.known.clear();
        self.connection.reopen()?;
        let facts = facts_of(&mut self.connection)?;
        if facts.memory != self.facts.memory || facts.config.digest() != self.facts.config.digest() {
            let detail =
                format!("another device ({}) is served on {} now; open it anew", facts.name, self.connection.name());
            self.connection.lose("restoring the way to the device");
            return Err(BusError::Unavailable { detail });
        }
        self.facts = facts;
        self.call(&Op::Reopen, "restoring the way to the device").map(drop)
    }

    fn diagnosis(&mut self) -> Option<String> {
        let results = self.call(&Op::Diagnose, "asking for a diagnosis").ok()?;
        Cursor(&results).text().ok().filter(|text| !text.is_empty())
    }
}

impl<P: Port> RemoteBus<P> {
    /// Whether CONTROL, which came along, says that a program runs.
    fn is_running(&self) -> bool {
        let control = self.known.first().copied().flatten().unwrap_or_default();
        control & tandem_isa::control::LAUNCH != 0
    }
}

fn fill(values: &mut [u32], words: &[u8]) -> Option<()> {
    let words = words.as_chunks::<4>().0;
    (words.len() == values.len()).then(|| {
        values.iter_mut().zip(words).for_each(|(value, word)| *value = u32::from_le_bytes(*word));
    })
}

/// What a server says about the device on its bus.
fn facts_of<P: Port>(connection: &mut Connection<P>) -> Result<Facts, BusError> {
    let name = connection.name();
    let unavailable = |what: &str| BusError::Unavailable { detail: format!("{name}: {what}") };
    let served = connection.served();
    if served.service != Served::BUS {
        return Err(unavailable("it serves no accelerator"));
    }
    Facts::parse(&served.facts).map_err(|Malformed| {
        unavailable(
            "its device has a configuration that this version does not know; use the same version of tandem on both sides",
        )
    })
}
