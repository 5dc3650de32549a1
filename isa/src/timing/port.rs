//! The memory port: words of read bursts in the order of their requests, and words of the store's bursts.
//!
//! Words are not followed one by one where only one direction wants the port.

use std::collections::VecDeque;

use crate::HwConfig;

use super::DramModel;
use super::load::Cost;
use super::machine::{Machine, NEVER};
use super::rows::Burst;

/// What memory and its readers are doing.
#[derive(Debug)]
pub(super) struct Port {
    latency: u64,
    /// Cycles from one word to the next, and whether both directions share them.
    interval: u64,
    shared: bool,
    /// Bursts that memory has accepted, and the one whose address it has not taken yet.
    queue: VecDeque<Reading>,
    next: Option<Reading>,
    /// The first cycle in which the next word may be offered to its reader.
    free: u64,
    /// When the last word of the first burst is consumed, once it has been offered.
    done: u64,
    /// The first cycle in which the memory has a word to give or to take again.
    slot: u64,
    prefer_write: bool,
    pub read_bursts: u64,
    pub read_words: u64,
    pub write_words: u64,
}

/// A read burst.
#[derive(Clone, Copy, Debug)]
struct Reading {
    client: usize,
    /// When its first word may come.
    due: u64,
    /// Words not offered yet.
    words: u64,
    /// Cycles in which its reader consumes all of them, those that are left, and those of the next word.
    cost: u64,
    left: u64,
    lead: u64,
    ends_row: bool,
}

impl Port {
    pub fn new(memory: &DramModel, config: &HwConfig) -> Port {
        let (bus, bits) = (config.bus_bytes() as u64 * 8, u64::from(memory.bits_per_cycle));
        let unlimited = memory.bits_per_cycle == DramModel::UNLIMITED;
        Port {
            latency: memory.latency.into(),
            interval: if unlimited { 1 } else { bus.div_ceil(bits) },
            shared: !unlimited && bits < 2 * bus,
            queue: VecDeque::new(),
            next: None,
            free: 0,
            done: NEVER,
            slot: 0,
            prefer_write: false,
            read_bursts: 0,
            read_words: 0,
            write_words: 0,
        }
    }

    /// A burst has been granted. Returns how many bursts memory has with it, when it takes its address.
    pub fn granted(&mut self, client: usize, burst: &Burst, cost: Cost) -> usize {
        let Burst { words, ends_row, .. } = *burst;
        self.next =
            Some(Reading { client, due: NEVER, words, cost: cost.all, left: cost.all, lead: cost.lead, ends_row });
        self.read_bursts += 1;
        self.read_words += words;
        self.queue.len() + 1
    }

    /// Memory takes the address in this cycle.
    pub fn accepted(&mut self, at: u64) {
        if let Some(reading) = self.next.take() {
            self.queue.push_back(Reading { due: at + self.latency, ..reading });
        }
    }

    /// When the next word would be offered to its reader.
    fn read_at(&self) -> u64 {
        match self.queue.front() {
            Some(head) if self.done == NEVER => head.due.max(self.free).max(self.slot),
            _ => NEVER,
        }
    }
}

impl Machine<'_> {
    /// The first cycle in which a reader takes data, and the cycles that it takes for a word.
    fn reader(&self, client: usize) -> (u64, u64) {
        match client {
            0 => (0, 1),
            _ => (self.loaders[client - 1].ready, self.loaders[client - 1].pace()),
        }
    }

    /// When the store's next word would go.
    fn write_at(&self) -> u64 {
        let (want, slot) = (self.writer.want, self.port.slot);
        if self.port.shared && want != NEVER { want.max(slot) } else { want }
    }

    /// The earliest cycle in which something may happen that others see.
    pub(super) fn progress(&self) -> u64 {
        let read = match self.port.queue.front() {
            Some(_) if self.port.done != NEVER => self.port.done,
            Some(head) => {
                let first = self.port.read_at();
                match head.client {
                    0 => first + self.fetch_missing().min(head.words) - 1,
                    client => first.max(self.reader(client).0) + head.left.max(1) - 1,
                }
            }
            None => NEVER,
        };
        let write = match self.writer.want {
            NEVER => NEVER,
            _ => self.writer.earliest_end().max(self.write_at()),
        };
        read.min(write)
    }

    /// Everything at the port up to and including cycle `now`.
    pub(super) fn advance(&mut self, now: u64) {
        loop {
            if self.port.done <= now {
                self.complete();
                continue;
            }
            let (read, write) = (self.port.read_at(), self.write_at());
            if !self.port.shared {
                if read <= now {
                    self.offer(now + 1);
                } else if write <= now {
                    self.send(now + 1);
                } else {
                    break;
                }
                continue;
            }
            if read.min(write) > now {
                break;
            }
            if read == write {
                let limit = read + 1;
                if self.port.prefer_write {
                    self.send(limit)
                } else {
                    self.offer(limit)
                }
                self.port.prefer_write = !self.port.prefer_write;
            } else if read < write {
                self.offer(write.min(now + 1));
            } else {
                self.send(read.min(now + 1));
            }
        }
        let due = self.progress();
        self.set_port(due);
    }

    /// Offers words of the first burst to its reader, in cycles before `limit`; at least one could be.
    fn offer(&mut self, limit: u64) {
        let first = self.port.read_at();
        let Some(head) = self.port.queue.front().copied() else { return };
        let (ready, pace) = self.reader(head.client);
        let consumed = first.max(ready);
        let each = pace.max(self.port.interval);
        // The first and the last word of a row may hold fewer elements than the others.
        let lead = if head.words == 1 { head.left } else { head.lead };
        let second = consumed + lead.max(self.port.interval);
        let mut words = 1;
        if second < limit {
            words = (2 + (limit - 1 - second) / each).min(head.words);
        }
        let offered = |word: u64| if word == 0 { first } else { second + (word - 1) * each };
        let taken = lead + (words - 1) * pace;
        if words == head.words {
            let (begin, cost) = match words {
                1 => (consumed, lead),
                _ => (offered(words - 1), head.left.saturating_sub(taken - pace)),
            };
            self.port.done = begin + cost.max(1) - 1;
        }
        self.port.slot = offered(words - 1) + self.port.interval;
        self.port.free = second + (words - 1) * each;
        if let Some(reading) = self.port.queue.front_mut() {
            reading.words -= words;
            reading.left = head.left.saturating_sub(taken);
            reading.lead = pace;
        }
        if head.client == 0 {
            for word in 0..words {
                self.fetched(offered(word));
            }
        }
    }

    /// The first burst is consumed.
    fn complete(&mut self) {
        let done = std::mem::replace(&mut self.port.done, NEVER);
        self.port.free = done + 1;
        if let Some(head) = self.port.queue.pop_front() {
            self.completed(head.client, head.cost, head.ends_row, done);
        }
    }

    /// Words of the store go in cycles before `limit`; at least one can.
    fn send(&mut self, limit: u64) {
        loop {
            let at = self.write_at();
            if at >= limit {
                return;
            }
            self.port.slot = at + self.port.interval;
            self.port.write_words += 1;
            if let Some(stored) = self.writer.send(at) {
                self.stored(stored);
                return;
            }
        }
    }
}
