//! Where cycles went: what each unit did in every cycle of a launch, and how full the queues were.

use std::ops::{Add, AddAssign};

use tandem_isa::Queue;
use tandem_isa::timing::UnitCycles;

use super::sys::RawView;

/// How full a queue was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Occupancy {
    /// Entries, added up over all cycles.
    pub sum: u64,
    /// Most entries at a time.
    pub max: u32,
}

/// What a launch did with its cycles, or several launches added up.
///
/// # Units
/// Cycles of the accelerator from launch to done; bytes on the memory bus, whole beats, instruction fetch included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Activity {
    /// Cycles in which the program ran.
    pub cycles: u64,
    /// Cycles of the load, compute and store unit.
    pub units: [UnitCycles; 3],
    /// Cycles of the instruction fetch.
    pub fetch: UnitCycles,
    /// Instructions waiting for the load, compute and store unit.
    pub insn_queues: [Occupancy; 3],
    /// Tokens from load to compute, compute to load, compute to store, store to compute.
    pub tokens: [Occupancy; 4],
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read bursts.
    pub read_bursts: u64,
    /// Write bursts.
    pub write_bursts: u64,
}

impl Occupancy {
    /// Entries on average over so many cycles.
    pub fn mean(&self, cycles: u64) -> f64 {
        if cycles == 0 { 0.0 } else { self.sum as f64 / cycles as f64 }
    }
}

impl Activity {
    /// The cycles of a unit.
    pub fn unit(&self, unit: Queue) -> &UnitCycles {
        &self.units[crate::queue::lane(unit)]
    }

    pub(super) fn of(view: &RawView) -> Activity {
        let [load, compute, store, fetch] = view.state_cycles.map(UnitCycles);
        let occupancy = |sum: u64, max: u32| Occupancy { sum, max };
        Activity {
            cycles: view.cycles,
            units: [load, compute, store],
            fetch,
            insn_queues: std::array::from_fn(|i| occupancy(view.queued_sum[i], view.queued_max[i])),
            tokens: std::array::from_fn(|i| occupancy(view.token_sum[i], view.token_max[i])),
            read_bytes: view.read_bytes,
            write_bytes: view.write_bytes,
            read_bursts: view.read_bursts,
            write_bursts: view.write_bursts,
        }
    }
}

impl Add for Occupancy {
    type Output = Occupancy;

    fn add(self, other: Occupancy) -> Occupancy {
        Occupancy { sum: self.sum + other.sum, max: self.max.max(other.max) }
    }
}

impl Add for Activity {
    type Output = Activity;

    fn add(self, other: Activity) -> Activity {
        Activity {
            cycles: self.cycles + other.cycles,
            units: std::array::from_fn(|i| self.units[i] + other.units[i]),
            fetch: self.fetch + other.fetch,
            insn_queues: std::array::from_fn(|i| self.insn_queues[i] + other.insn_queues[i]),
            tokens: std::array::from_fn(|i| self.tokens[i] + other.tokens[i]),
            read_bytes: self.read_bytes + other.read_bytes,
            write_bytes: self.write_bytes + other.write_bytes,
            read_bursts: self.read_bursts + other.read_bursts,
            write_bursts: self.write_bursts + other.write_bursts,
        }
    }
}

impl AddAssign for Activity {
    fn add_assign(&mut self, other: Activity) {
        *self = *self + other;
    }
}
