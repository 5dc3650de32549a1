//! Instruction fetch and dispatch.

use std::collections::VecDeque;

use super::hardware::{BURST_WORDS, FETCH_WORDS};
use super::machine::NEVER;
use super::rows::{Burst, Rows};

/// Bytes of an instruction.
const INSN_BYTES: u64 = 16;

/// What has been asked for, what has arrived, and the next instruction to be dispatched.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    rows: Rows,
    asked: Option<Burst>,
    /// When the request at hand may stand as far as the bursts before it are concerned.
    ready: u64,
    /// Words granted, and words taken out of the queue.
    granted: u64,
    taken: u64,
    /// When the last words were taken.
    takes: [u64; FETCH_WORDS as usize],
    /// When the words that wait arrived.
    arrived: VecDeque<u64>,
    /// Words of an instruction, or instructions in a word.
    words_each: u64,
    insns_each: u64,
    /// Instructions, and the next one.
    count: usize,
    pub next: usize,
    /// When the next instruction moves into the decoder.
    moves: u64,
    /// When the one before moved there and was dispatched.
    moved: u64,
    pub dispatched: u64,
}

impl Fetch {
    /// Of a launch in cycle 0.
    pub fn new(address: u64, count: usize, log_bus: u32) -> Fetch {
        let bus_bytes = 1u64 << log_bus;
        let mut rows = match count {
            0 => Rows::default(),
            _ => Rows::new(address, 1, count as u64 * INSN_BYTES, 0, log_bus),
        };
        let asked = rows.next();
        Fetch {
            rows,
            asked,
            ready: 1,
            granted: 0,
            taken: 0,
            takes: [0; FETCH_WORDS as usize],
            arrived: VecDeque::new(),
            words_each: (INSN_BYTES / bus_bytes).max(1),
            insns_each: (bus_bytes / INSN_BYTES).max(1),
            count,
            next: 0,
            moves: NEVER,
            moved: 0,
            dispatched: 0,
        }
    }

    /// When the burst at hand is asked for, as far as is known.
    pub fn asks(&self) -> u64 {
        // Only what has room is asked for.
        let room = match (self.granted + BURST_WORDS).checked_sub(FETCH_WORDS) {
            None | Some(0) => 0,
            Some(taken) if taken <= self.taken => self.takes[((taken - 1) % FETCH_WORDS) as usize] + 1,
            Some(_) => return NEVER,
        };
        if self.asked.is_some() { self.ready.max(room) } else { NEVER }
    }

    /// The burst at hand is granted in this cycle.
    pub fn granted(&mut self, at: u64) -> Option<Burst> {
        let burst = self.asked.take()?;
        self.granted += burst.words;
        self.ready = at + 1;
        self.asked = self.rows.next();
        Some(burst)
    }

    /// Words that are missing to complete the next instruction that has not arrived.
    pub fn missing(&self) -> u64 {
        self.words_each - self.arrived.len() as u64 % self.words_each
    }

    /// A word arrives in this cycle.
    pub fn arrives(&mut self, at: u64) {
        self.arrived.push_back(at);
        self.look();
    }

    /// When the next instruction can be dispatched, as far as it is known.
    pub fn due(&self) -> u64 {
        if self.moves == NEVER { NEVER } else { self.moves + 1 }
    }

    /// The next instruction is dispatched in this cycle.
    pub fn dispatch(&mut self, at: u64) {
        self.dispatched = at;
        self.moved = self.moves;
        self.moves = NEVER;
        self.next += 1;
        self.look();
    }

    /// Finds out when the next instruction moves, where its words are there.
    fn look(&mut self) {
        if self.moves != NEVER || self.next >= self.count {
            return;
        }
        let free = self.dispatched + 1;
        if self.words_each == 2 {
            let [Some(&low), Some(&high)] = [self.arrived.front(), self.arrived.get(1)] else { return };
            // The lower half goes into a register of its own.
            let held = (low + 1).max(self.moved + 1);
            self.moves = (held + 1).max(high + 1).max(free);
            self.take(held);
            self.take(self.moves);
        } else {
            let Some(&word) = self.arrived.front() else { return };
            self.moves = (word + 1).max(self.moved + 1).max(free);
            let sub = self.next as u64 % self.insns_each;
            if sub + 1 == self.insns_each || self.next + 1 == self.count {
                self.take(self.moves);
            }
        }
    }

    fn take(&mut self, at: u64) {
        self.arrived.pop_front();
        self.takes[(self.taken % FETCH_WORDS) as usize] = at;
        self.taken += 1;
    }
}
