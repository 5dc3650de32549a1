//! The events of the units, told as the functional simulator tells them.

use tandem_isa::{Event, HwConfig, Insn, Queue, Trace};

use super::sys::RawEvent;
use crate::error::Place;
use crate::queue::FIFOS;
use crate::transfer::Rows;
use crate::{Bases, Dram, Launch};

/// The program of a launch as it stood in memory when it was launched.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    words: Vec<u128>,
    bases: Bases,
}

impl Fetched {
    /// What a launch names; nothing where it lies outside memory.
    pub fn new(dram: &Dram, launch: &Launch) -> Fetched {
        let len = usize::try_from(u64::from(launch.insn_count) * 16).unwrap_or(usize::MAX);
        let bytes = dram.slice(u64::from(launch.insn_addr), len).unwrap_or_default();
        let words = bytes.as_chunks::<16>().0.iter().map(|word| u128::from_le_bytes(*word)).collect();
        Fetched { words, bases: launch.bases }
    }

    /// An instruction, where there is one that decodes.
    pub fn insn(&self, index: u32, config: &HwConfig) -> Option<Insn> {
        Insn::decode(*self.words.get(index as usize)?, config).ok()
    }

    /// An instruction as errors name it.
    pub fn place(&self, index: u32, config: &HwConfig) -> Place {
        let text = match (self.insn(index, config), self.words.get(index as usize)) {
            (Some(insn), _) => insn.to_string(),
            (None, Some(word)) => format!("{word:#034x}"),
            (None, None) => "beyond the program".to_owned(),
        };
        Place { insn: index as usize, text: text.into() }
    }

    /// The rows that a STORE has just written, one event each.
    fn written(&self, index: u32, config: &HwConfig, dram: &Dram, trace: &mut Trace) {
        let Some(Insn::Store(store)) = self.insn(index, config) else { return };
        let rows = Rows::from(&store);
        let row_bytes = rows.x_size as usize * config.out_elem_bytes();
        for (addr, len) in rows.dram(config, &self.bases) {
            let Some(bytes) = dram.slice(addr, len) else { continue };
            for (row, bytes) in bytes.chunks(row_bytes.max(1)).enumerate() {
                let addr = (addr + (row * row_bytes) as u64) as u32;
                let (bytes, digest) = (bytes.len() as u32, Event::digest(bytes));
                trace.events.push(Event::Write { insn: index, addr, bytes, digest });
            }
        }
    }
}

/// Adds what happened in one cycle: pops and begins, then finishes and pushes, so that each unit's stream has the order of the
/// functional simulator. No unit begins and finishes in the same cycle.
pub(super) fn collect(event: &RawEvent, fetched: &Fetched, config: &HwConfig, dram: &Dram, trace: &mut Trace) {
    let insn = |unit: Queue| event.insn[crate::queue::lane(unit)];
    let set = |bits: u8, index: usize| bits >> index & 1 != 0;
    for (fifo, &(from, unit)) in FIFOS.iter().enumerate() {
        if set(event.pop, fifo) {
            trace.events.push(Event::Pop { unit, insn: insn(unit), from });
        }
    }
    for (index, unit) in Queue::ALL.into_iter().enumerate() {
        if set(event.begin, index) {
            trace.events.push(Event::Begin { unit, insn: insn(unit) });
        }
    }
    for (index, unit) in Queue::ALL.into_iter().enumerate() {
        if set(event.finish, index) {
            if unit == Queue::Store {
                fetched.written(insn(unit), config, dram, trace);
            }
            trace.events.push(Event::Finish { unit, insn: insn(unit) });
        }
    }
    for (fifo, &(unit, to)) in FIFOS.iter().enumerate() {
        if set(event.push, fifo) {
            trace.events.push(Event::Push { unit, insn: insn(unit), to });
        }
    }
}
