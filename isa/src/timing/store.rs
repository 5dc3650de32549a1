//! A store in progress: elements become bus words, which wait for the write channel, and bursts wait for their responses.

use super::hardware::{BURSTS_UNDER_WAY, FIRST_BURST, STORE_SETUP, WRITE_WORDS};
use super::machine::NEVER;
use super::rows::{Burst, Rows};
use super::transfer::Transfer;

/// The store unit's walk over its rows, and the write engine, which nobody else uses.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    rows: Rows,
    row_bytes: u64,
    stride: u64,
    elem_bytes: u64,
    bus_bytes: u64,
    latency: u64,
    outstanding: usize,
    /// Where the row at hand begins within a bus word, and how many of its bytes have become words.
    place: u64,
    taken: u64,
    /// Cycle of the last element taken.
    push: u64,
    /// Cycles of the last words leaving the queue, and the number of words so far.
    left: [u64; WRITE_WORDS],
    words: usize,
    /// Words of the burst at hand that have not gone.
    burst: u64,
    /// The cycle in which the write engine took the word at hand out of its queue.
    offer: u64,
    /// The first cycle in which the write channel could take the word at hand; [`NEVER`] without one.
    pub want: u64,
    /// The cycle in which memory took the last address.
    address: u64,
    /// Cycles of the last responses, and the number of bursts so far.
    answers: [u64; BURSTS_UNDER_WAY],
    bursts: usize,
    /// Cycles in which an element waited for room.
    pub crowded: u64,
}

/// A store that is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// The cycle in which the unit sees that everything has its response.
    pub done: u64,
    /// The cycle in which the last element was taken.
    pub taken: u64,
}

impl Writer {
    pub fn new(latency: u64, outstanding: usize) -> Writer {
        Writer {
            rows: Rows::default(),
            row_bytes: 0,
            stride: 0,
            elem_bytes: 1,
            bus_bytes: 1,
            latency,
            outstanding,
            place: 0,
            taken: 0,
            push: 0,
            left: [0; WRITE_WORDS],
            words: 0,
            burst: 0,
            offer: 0,
            want: NEVER,
            address: 0,
            answers: [0; BURSTS_UNDER_WAY],
            bursts: 0,
            crowded: 0,
        }
    }

    /// Begins a transfer of at least one element whose `start` is in this cycle.
    pub fn start(&mut self, transfer: &Transfer, start: u64, log_bus: u32) {
        *self = Writer {
            rows: transfer.dram_rows(log_bus),
            row_bytes: transfer.row_bytes(),
            stride: transfer.stride,
            elem_bytes: transfer.elem_bytes,
            bus_bytes: 1 << log_bus,
            place: transfer.address & ((1 << log_bus) - 1),
            push: start + STORE_SETUP - 1,
            address: start + FIRST_BURST - 1,
            ..Writer::new(self.latency, self.outstanding)
        };
        self.begin_burst(start, start);
    }

    /// The address of the next burst goes, and its first word becomes the one at hand.
    fn begin_burst(&mut self, last_offer: u64, sent: u64) {
        let Some(Burst { words, .. }) = self.rows.next() else { return };
        let answer = |under_way: usize| match self.bursts.checked_sub(under_way) {
            Some(burst) => self.answers[burst % BURSTS_UNDER_WAY],
            None => 0,
        };
        let grant = (self.address + 1).max(answer(BURSTS_UNDER_WAY) + 1);
        let taken = if self.outstanding < BURSTS_UNDER_WAY { answer(self.outstanding) } else { 0 };
        self.address = (grant + 1).max(taken);
        self.burst = words;
        // Its length is known to the write engine a cycle later.
        let begun = (self.address + 1).max(last_offer);
        self.next_word((begun + 1).max(sent));
    }

    /// The next word becomes the one at hand; it leaves its queue in cycle `earliest` at the earliest.
    fn next_word(&mut self, earliest: u64) {
        // The elements of the row at hand that lie in this word.
        let end = (((self.place + self.taken) / self.bus_bytes + 1) * self.bus_bytes - self.place).min(self.row_bytes);
        let elements = if self.elem_bytes >= self.bus_bytes { 1 } else { (end - self.taken) / self.elem_bytes };
        self.taken = end;
        if end == self.row_bytes {
            self.taken = 0;
            self.place = (self.place + self.stride) % self.bus_bytes;
        }
        let slot = self.words % WRITE_WORDS;
        let room = if self.words >= WRITE_WORDS { self.left[slot] + 1 } else { 0 };
        let push = self.push + elements;
        self.push = push.max(room);
        self.crowded += self.push - push;
        self.offer = (self.push + 1).max(earliest);
        self.left[slot] = self.offer;
        self.words += 1;
        self.want = self.offer + 1;
    }

    /// The write channel takes the word at hand in cycle `at`. Returns how the store ended, if this was its last word.
    pub fn send(&mut self, at: u64) -> Option<Stored> {
        self.burst -= 1;
        if self.burst > 0 {
            self.next_word(at);
            return None;
        }
        let before = match self.bursts {
            0 => 0,
            n => self.answers[(n - 1) % BURSTS_UNDER_WAY],
        };
        let answer = (at + self.latency).max(before + 1);
        self.answers[self.bursts % BURSTS_UNDER_WAY] = answer;
        self.bursts += 1;
        if self.rows.more() {
            self.begin_burst(self.offer, at);
            return None;
        }
        self.want = NEVER;
        Some(Stored { done: answer + 1, taken: self.push })
    }

    /// The earliest cycle in which the last word of the burst at hand may go.
    pub fn earliest_end(&self) -> u64 {
        if self.want == NEVER { NEVER } else { self.want + self.burst - 1 }
    }
}
