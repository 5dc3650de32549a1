//! Where cycles went: what each unit did in every cycle of a launch, and how full the queues were.

use std::ops::{Add, AddAssign};

use tandem_isa::Queue;

use super::sys::RawView;

/// What a unit does in a cycle; the discriminants are those of the hardware's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnitState {
    /// It has no instruction.
    Idle = 0,
    /// It works.
    Busy = 1,
    /// It waits for a token from the unit before it.
    TokenFromPrev = 2,
    /// It waits for a token from the unit behind it.
    TokenFromNext = 3,
    /// It waits for data that it has asked memory for.
    ReadData = 4,
    /// It waits for the write channel or for a write's response.
    WriteChannel = 5,
    /// It waits for its own pipeline: an element that it needs is being computed.
    Hazard = 6,
    /// It waits for room in a queue behind it.
    QueueRoom = 7,
}

/// The cycles of one unit by state; they add up to the cycles of the launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitCycles(pub [u64; 8]);

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

impl UnitState {
    /// Every state, by its number.
    pub const ALL: [UnitState; 8] = [
        UnitState::Idle,
        UnitState::Busy,
        UnitState::TokenFromPrev,
        UnitState::TokenFromNext,
        UnitState::ReadData,
        UnitState::WriteChannel,
        UnitState::Hazard,
        UnitState::QueueRoom,
    ];

    /// The word used in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            UnitState::Idle => "idle",
            UnitState::Busy => "busy",
            UnitState::TokenFromPrev => "token_from_prev",
            UnitState::TokenFromNext => "token_from_next",
            UnitState::ReadData => "read_data",
            UnitState::WriteChannel => "write_channel",
            UnitState::Hazard => "hazard",
            UnitState::QueueRoom => "queue_room",
        }
    }

    pub(super) fn of(code: u8) -> UnitState {
        UnitState::ALL[usize::from(code) % UnitState::ALL.len()]
    }
}

impl UnitCycles {
    /// The cycles in a state.
    pub fn of(&self, state: UnitState) -> u64 {
        self.0[state as usize]
    }

    /// All cycles.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
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

impl Add for UnitCycles {
    type Output = UnitCycles;

    fn add(self, other: UnitCycles) -> UnitCycles {
        UnitCycles(std::array::from_fn(|i| self.0[i] + other.0[i]))
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
