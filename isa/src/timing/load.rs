//! A load in progress: the bursts that it asks for, and how fast its elements go into the scratchpad.

use super::hardware::{FIRST_BURST, LOAD_SETUP};
use super::rows::{Burst, Rows};
use super::transfer::Transfer;

/// The loader of the load unit or of the compute unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Loader {
    rows: Rows,
    /// The burst that it asks for.
    pub asked: Option<Burst>,
    /// Rows that have not arrived completely.
    rows_left: u64,
    elem_bytes: u64,
    bus_bytes: u64,
    /// Padding between the data of two rows, and behind those of the last one.
    between: u64,
    behind: u64,
    /// The first cycle in which it takes another element of data.
    pub ready: u64,
    /// Cycles that it has waited for data.
    pub waits: u64,
}

/// Cycles in which a reader consumes a burst, and the first word of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub all: u64,
    pub lead: u64,
}

impl Loader {
    /// Begins a transfer whose `start` is in this cycle. Returns when it asks for its first burst, or else when it is done.
    pub fn start(&mut self, transfer: &Transfer, start: u64, log_bus: u32) -> Result<u64, u64> {
        let length = transfer.row_length();
        let ready = start + LOAD_SETUP + transfer.above * length;
        let behind = transfer.below * length;
        if transfer.rows == 0 {
            self.waits = 0;
            return Err(ready + behind);
        }
        let mut rows = transfer.dram_rows(log_bus);
        let asked = rows.next();
        *self = Loader {
            rows,
            asked,
            rows_left: transfer.rows,
            elem_bytes: transfer.elem_bytes,
            bus_bytes: 1 << log_bus,
            between: transfer.right + transfer.left,
            behind: transfer.right + behind,
            ready: ready + transfer.left,
            waits: 0,
        };
        Ok(start + FIRST_BURST)
    }

    /// Goes on to the next burst, and returns the one that was asked for.
    pub fn granted(&mut self) -> Option<Burst> {
        let next = self.rows.next();
        std::mem::replace(&mut self.asked, next)
    }

    /// Cycles that the elements of a burst take.
    pub fn cost(&self, burst: &Burst) -> Cost {
        if self.elem_bytes >= self.bus_bytes {
            return Cost { all: burst.words, lead: 1 };
        }
        Cost { all: burst.bytes / self.elem_bytes, lead: burst.lead / self.elem_bytes }
    }

    /// Cycles that a word takes.
    pub fn pace(&self) -> u64 {
        (self.bus_bytes / self.elem_bytes).max(1)
    }

    /// The elements of a burst, which take `cost` cycles, are there, the last one in cycle `end`. Returns when the transfer is
    /// done, if this was its last burst.
    pub fn arrived(&mut self, cost: u64, ends_row: bool, end: u64) -> Option<u64> {
        self.waits += (end + 1).saturating_sub(self.ready + cost);
        self.ready = end + 1;
        if !ends_row {
            return None;
        }
        self.rows_left -= 1;
        if self.rows_left == 0 {
            return Some(end + 1 + self.behind);
        }
        self.ready += self.between;
        None
    }
}
