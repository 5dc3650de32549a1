//! What a unit does with its cycles, predicted or measured.

use std::ops::Add;

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

    /// The state of a probe's code.
    pub fn of(code: u8) -> UnitState {
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

    /// Adds cycles in a state.
    pub(super) fn add(&mut self, state: UnitState, cycles: u64) {
        self.0[state as usize] += cycles;
    }
}

impl Add for UnitCycles {
    type Output = UnitCycles;

    fn add(self, other: UnitCycles) -> UnitCycles {
        UnitCycles(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}
