//! The machine with queues, from event to event.
//!
//! ```text
//!  fetch --> queues --> load, compute, store: begin --> transfers, arithmetic --> finish --> tokens
//!    ^---- words --- port <--- bursts --- read engine <--- requests ----+
//! ```
//!
//! An event is a dispatch, the beginning or the end of an instruction, the grant of a burst, or progress at the memory port.
//! They are handled in the order of their cycles; whatever follows from one lies at least a cycle behind it, as registers
//! stand between the blocks.

use std::collections::VecDeque;

use crate::{Dep, HwConfig, Insn, MemoryType, Queue};

use super::activity::{UnitCycles, UnitState};
use super::arithmetic::{Arithmetic, Fired, Loops, overlaps};
use super::fetch::Fetch;
use super::hardware::{FETCH_WORDS, NEXT_BURST, NEXT_ROW, QUEUE_LATENCY, REST, SHALLOW_QUEUE, START};
use super::load::{Cost, Loader};
use super::port::Port;
use super::read::Reads;
use super::store::{Stored, Writer};
use super::transfer::Transfer;
use super::{Constants, Launch, Prediction, Span};

/// A cycle that does not come as far as is known.
pub(super) const NEVER: u64 = u64::MAX;

/// Kinds of events; the units come first.
const COMPUTE: usize = 1;
const STORE: usize = 2;
const FETCH: usize = 3;
const GRANT: usize = 4;
const PORT: usize = 5;
const EVENTS: usize = 6;

/// The machine and where it is.
pub(super) struct Machine<'a> {
    config: &'a HwConfig,
    insns: &'a [Insn],
    constants: &'a dyn Constants,
    spans: &'a mut [Span],
    log_bus: u32,
    outstanding_reads: usize,
    /// When each kind of event happens next.
    due: [u64; EVENTS],
    fetch: Fetch,
    /// The unit in whose queue the next instruction finds no room.
    blocked: Option<usize>,
    units: [UnitAt; 3],
    /// Entries that a queue has room for, and cycles from dispatch to its head.
    room: usize,
    queue_latency: u64,
    tokens: [VecDeque<u64>; 4],
    pub(super) loaders: [Loader; 2],
    pub(super) reads: Reads,
    /// A granted burst whose address waits for memory, and when it was granted.
    waiting: Option<(usize, u64)>,
    pub(super) port: Port,
    pub(super) writer: Writer,
    arithmetic: Arithmetic,
    /// The arithmetic instruction at hand.
    fired: Option<(u32, Fired)>,
    /// REQUANT that waits for GEMM or LANE, by its parameters, and whether one is fused with the instruction at hand.
    fuse: Option<u32>,
    fused: bool,
}

/// A unit and its queue.
#[derive(Debug, Default)]
struct UnitAt {
    /// Instructions and when they would be at the head of an empty queue.
    queue: VecDeque<(u32, u64)>,
    /// The instruction at hand and its flags.
    running: Option<(u32, Dep)>,
    /// When the last one began, and the first cycle in which another may.
    begun: u64,
    free: u64,
    cycles: UnitCycles,
}

impl<'a> Machine<'a> {
    pub fn new(launch: &Launch<'a>, depth: usize, spans: &'a mut [Span]) -> Machine<'a> {
        let Launch { config, insns, insn_address, constants, setup } = *launch;
        let memory = setup.memory.clamped();
        let log_bus = config.bus_bytes().trailing_zeros();
        let (room, queue_latency) = if depth <= SHALLOW_QUEUE { (depth, 1) } else { (depth + 1, QUEUE_LATENCY) };
        let mut machine = Machine {
            config,
            insns,
            constants,
            spans,
            log_bus,
            outstanding_reads: memory.outstanding_reads as usize,
            due: [NEVER; EVENTS],
            fetch: Fetch::new(insn_address, insns.len(), log_bus),
            blocked: None,
            units: Default::default(),
            room,
            queue_latency,
            tokens: Default::default(),
            loaders: Default::default(),
            reads: Reads::new(),
            waiting: None,
            port: Port::new(&memory, config),
            writer: Writer::new(memory.latency.into(), memory.outstanding_writes as usize),
            arithmetic: Arithmetic::new(config, setup.operand_registers),
            fired: None,
            fuse: None,
            fused: false,
        };
        machine.reads.asks[0] = machine.fetch.asks();
        machine.due[GRANT] = machine.reads.due();
        machine
    }

    /// Runs until nothing moves any more, or beyond the limit.
    pub fn run(mut self, limit: u64) -> Option<Prediction> {
        loop {
            let mut event = 0;
            for other in 1..EVENTS {
                if self.due[other] < self.due[event] {
                    event = other;
                }
            }
            let now = self.due[event];
            if now == NEVER {
                break;
            }
            if now > limit {
                return None;
            }
            match event {
                FETCH => self.dispatch(now),
                GRANT => self.grant(now),
                PORT => self.advance(now),
                unit if self.units[unit].running.is_some() => self.finish(unit, now),
                unit => self.begin(unit, now),
            }
        }
        Some(self.end()).filter(|prediction| prediction.cycles <= limit)
    }

    fn end(mut self) -> Prediction {
        let rests = |unit: &UnitAt| unit.queue.is_empty() && unit.running.is_none();
        let complete = self.fetch.next == self.insns.len() && self.units.iter().all(rests);
        let last = self.units.iter().map(|unit| unit.free).max().unwrap_or(0).max(self.fetch.dispatched + 1);
        let cycles = last + REST + 1;
        for unit in &mut self.units {
            let rest = cycles.saturating_sub(unit.cycles.total());
            unit.cycles.add(UnitState::Idle, rest);
        }
        Prediction {
            cycles,
            units: self.units.map(|unit| unit.cycles),
            complete,
            read_bursts: self.port.read_bursts,
            read_words: self.port.read_words,
            write_words: self.port.write_words,
        }
    }

    fn dispatch(&mut self, now: u64) {
        let index = self.fetch.next;
        let unit = unit_of(&self.insns[index]);
        let at = &self.units[unit];
        // Where an instruction has begun in this cycle there is room in the next one.
        let begins = at.begun == now;
        if at.queue.len() + usize::from(begins) >= self.room {
            if begins {
                self.due[FETCH] = now + 1;
            } else {
                self.blocked = Some(unit);
                self.due[FETCH] = NEVER;
            }
            return;
        }
        self.units[unit].queue.push_back((index as u32, now + self.queue_latency));
        self.fetch.dispatch(now);
        self.due[FETCH] = self.fetch.due();
        self.ask_fetch();
        if unit == COMPUTE && self.fired.is_some() {
            self.due[unit] = self.computed();
        }
        self.consider(unit);
    }

    /// The request of the fetch may stand now.
    fn ask_fetch(&mut self) {
        self.reads.asks[0] = self.fetch.asks();
        self.due[GRANT] = self.reads.due();
    }

    /// A word of the instruction stream has arrived.
    pub(super) fn fetched(&mut self, at: u64) {
        self.fetch.arrives(at);
        if self.blocked.is_none() && self.due[FETCH] == NEVER {
            self.due[FETCH] = self.fetch.due();
        }
        self.ask_fetch();
    }

    /// Words of an instruction that are still to come.
    pub(super) fn fetch_missing(&self) -> u64 {
        self.fetch.missing()
    }

    /// Finds out when a unit that rests can begin its next instruction.
    fn consider(&mut self, unit: usize) {
        let at = &self.units[unit];
        if at.running.is_some() {
            return;
        }
        self.due[unit] = NEVER;
        let Some(&(index, head)) = at.queue.front() else { return };
        let mut begin = head.max(at.free);
        for fifo in pops(unit, self.insns[index as usize].dep()).into_iter().flatten() {
            match self.tokens[fifo].front() {
                Some(&there) => begin = begin.max(there),
                None => return,
            }
        }
        self.due[unit] = begin;
    }

    fn begin(&mut self, unit: usize, now: u64) {
        let Some((index, head)) = self.units[unit].queue.pop_front() else { return };
        let dep = self.insns[index as usize].dep();
        let at = &mut self.units[unit];
        // What it waited for: first for an instruction, then for the unit before, then for the unit behind.
        let mut since = head.max(at.free);
        at.cycles.add(UnitState::Idle, since - at.free);
        let states = [UnitState::TokenFromPrev, UnitState::TokenFromNext];
        for (fifo, state) in pops(unit, dep).into_iter().zip(states) {
            let Some(there) = fifo.and_then(|fifo| self.tokens[fifo].pop_front()) else { continue };
            at.cycles.add(state, there.saturating_sub(since));
            since = since.max(there);
        }
        at.running = Some((index, dep));
        at.begun = now;
        if let Some(span) = self.spans.get_mut(index as usize) {
            span.begin = now;
        }
        if self.blocked == Some(unit) {
            self.blocked = None;
            self.due[FETCH] = self.fetch.due().max(now + 1);
        }
        self.due[unit] = self.start(unit, index, now + START);
    }

    /// Starts the work of an instruction; returns when it is done, where that is known.
    fn start(&mut self, unit: usize, index: u32, start: u64) -> u64 {
        let insn = &self.insns[index as usize];
        if let Some((kind, loops)) = Loops::of(insn, self.fuse) {
            let fired = match insn {
                // It does nothing itself.
                Insn::Requant(i) if i.fuse => {
                    self.fuse = Some(i.param);
                    self.arithmetic.rest(start)
                }
                _ => self.arithmetic.follow(kind, &loops, start),
            };
            if let Insn::Gemm(_) | Insn::Lane(_) = insn {
                self.fused = self.fuse.take().is_some();
            }
            self.units[unit].cycles.add(UnitState::Hazard, fired.hazard);
            self.fired = Some((index, fired));
            return self.computed();
        }
        let Some(transfer) = Transfer::of(insn, self.config) else { return start };
        if transfer.overflows(self.config) {
            return NEVER;
        }
        if unit == STORE {
            if transfer.rows == 0 {
                return start;
            }
            self.writer.start(&transfer, start, self.log_bus);
            self.due[PORT] = self.progress();
            return NEVER;
        }
        if transfer.memory_type == MemoryType::Uop {
            self.read_uops(&transfer);
        }
        match self.loaders[unit].start(&transfer, start, self.log_bus) {
            Ok(asks) => {
                self.reads.asks[unit + 1] = asks;
                self.due[GRANT] = self.reads.due();
                NEVER
            }
            Err(done) => done,
        }
    }

    /// When the arithmetic at hand is done: when every pipeline is empty, or as soon as the last micro-op has fired where the
    /// next instruction is there and may begin meanwhile.
    fn computed(&self) -> u64 {
        let Some((index, Fired { walked, drained, .. })) = self.fired else { return NEVER };
        match self.units[COMPUTE].queue.front() {
            Some(&(next, head)) if overlaps(&self.insns[index as usize], self.fused, &self.insns[next as usize]) => {
                drained.min(walked.max(head))
            }
            _ => drained,
        }
    }

    /// The micro-ops of a load. Where memory does not hold constants, they are taken for ones that never meet.
    fn read_uops(&mut self, transfer: &Transfer) {
        for row in 0..transfer.rows {
            let sram = transfer.sram + (transfer.above + row) * transfer.row_length() + transfer.left;
            let address = transfer.address + row * transfer.stride;
            let bytes = self.constants.constants(MemoryType::Uop, address, transfer.row_bytes() as usize);
            let Some(uops) = self.arithmetic.uops_mut(sram as usize, transfer.columns as usize) else { return };
            match bytes {
                Some(bytes) => {
                    for (uop, word) in uops.iter_mut().zip(bytes.chunks_exact(4)) {
                        *uop = word.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte));
                    }
                }
                None => uops.iter_mut().zip(0..).for_each(|(uop, at)| *uop = at),
            }
        }
    }

    fn finish(&mut self, unit: usize, now: u64) {
        let at = &mut self.units[unit];
        let Some((index, dep)) = at.running.take() else { return };
        if let Some(span) = self.spans.get_mut(index as usize) {
            span.finish = now;
        }
        // Whatever it did not wait for.
        let busy = (now + 1).saturating_sub(at.cycles.total());
        at.cycles.add(UnitState::Busy, busy);
        at.free = now + 1;
        self.due[unit] = NEVER;
        if unit == COMPUTE {
            self.fired = None;
        }
        for fifo in pushes(unit, dep).into_iter().flatten() {
            self.tokens[fifo].push_back(now + 1);
            self.consider(POPPER[fifo]);
        }
        self.consider(unit);
    }

    fn grant(&mut self, now: u64) {
        let client = self.reads.grant(now);
        let burst = match client {
            0 => {
                let burst = self.fetch.granted(now);
                self.reads.asks[0] = self.fetch.asks();
                burst.map(|burst| (burst, Cost { all: burst.words, lead: 1 }))
            }
            _ => {
                let loader = &mut self.loaders[client - 1];
                let burst = loader.granted();
                if let Some(burst) = burst
                    && loader.asked.is_some()
                {
                    self.reads.asks[client] = now + if burst.ends_row { NEXT_ROW } else { NEXT_BURST };
                }
                burst.map(|burst| (burst, loader.cost(&burst)))
            }
        };
        if let Some((burst, cost)) = burst {
            let full = self.port.granted(client, &burst, cost) > self.outstanding_reads;
            if full {
                self.waiting = Some((client, now));
            } else {
                self.accept(now + 1);
            }
        }
        self.due[GRANT] = self.reads.due();
        self.due[PORT] = self.progress();
    }

    fn accept(&mut self, at: u64) {
        self.port.accepted(at);
        self.reads.accepted(at);
    }

    /// The last word of a burst has been consumed.
    pub(super) fn completed(&mut self, client: usize, cost: u64, ends_row: bool, at: u64) {
        self.reads.completed(at);
        if let Some((_, granted)) = self.waiting.take() {
            self.accept(at.max(granted + 1));
        }
        if client > 0 {
            let unit = client - 1;
            let loader = &mut self.loaders[unit];
            if let Some(done) = loader.arrived(cost, ends_row, at) {
                self.due[unit] = done;
                let waits = loader.waits;
                self.units[unit].cycles.add(UnitState::ReadData, waits);
            }
        }
        self.due[GRANT] = self.reads.due();
    }

    /// The store at hand is done.
    pub(super) fn stored(&mut self, stored: Stored) {
        let waits = stored.done.saturating_sub(stored.taken + 1) + self.writer.crowded;
        self.units[STORE].cycles.add(UnitState::WriteChannel, waits);
        self.due[STORE] = stored.done;
    }

    pub(super) fn set_port(&mut self, due: u64) {
        self.due[PORT] = due;
    }
}

/// The unit of an instruction.
pub(super) fn unit_of(insn: &Insn) -> usize {
    match insn.queue() {
        Queue::Load => 0,
        Queue::Compute => COMPUTE,
        Queue::Store => STORE,
    }
}

/// Who pops each token queue: load to compute, compute to load, compute to store, store to compute.
const POPPER: [usize; 4] = [COMPUTE, 0, STORE, COMPUTE];

/// The token queues that an instruction pops: those from the unit before and from the unit behind.
pub(super) fn pops(unit: usize, dep: Dep) -> [Option<usize>; 2] {
    let (prev, next) = [(None, Some(1)), (Some(0), Some(3)), (Some(2), None)][unit];
    [prev.filter(|_| dep.pop_prev), next.filter(|_| dep.pop_next)]
}

/// The token queues that an instruction pushes.
pub(super) fn pushes(unit: usize, dep: Dep) -> [Option<usize>; 2] {
    let (prev, next) = [(None, Some(0)), (Some(1), Some(2)), (Some(3), None)][unit];
    [prev.filter(|_| dep.push_prev), next.filter(|_| dep.push_next)]
}

/// What the fetch holds is what two bursts bring.
const _: () = assert!(FETCH_WORDS.is_power_of_two());
