//! What each unit waits for, in words.

use tandem_isa::{HwConfig, Insn, Queue};

use super::UnitState;
use super::collect::Fetched;
use super::error::Waits;
use super::sys::RawView;
use crate::loops::Loops;
use crate::transfer::Rows;

/// Cycles that a unit may take for each step of its instruction before it counts as stuck.
const CYCLES_PER_STEP: u64 = 64;
/// The same for each lane, where there are no queues and the tensor ALU works on a lane and a bit at a time.
const SEQUENTIAL_CYCLES_PER_LANE: u64 = 256;

/// The units that have something to do, and what keeps each.
pub(super) fn waits(view: &RawView, fetched: &Fetched, config: &HwConfig) -> Vec<Waits> {
    let units = Queue::ALL.into_iter().enumerate().filter_map(|(index, unit)| {
        let state = UnitState::of(view.state[index]);
        if state == UnitState::Idle {
            return None;
        }
        let at = Some(fetched.place(view.insn[index], config));
        Some(Waits { unit: Some(unit), at, on: unit_waits(unit, state, view) })
    });
    let fetch = match UnitState::of(view.state[3]) {
        UnitState::Idle => None,
        UnitState::QueueRoom => Some("waits for room in an instruction queue".to_owned()),
        state => Some(channel_waits(state, view)),
    };
    units.chain(fetch.map(|on| Waits { unit: None, at: None, on })).collect()
}

/// Whether a unit still has reason to be busy: a long loop moves nothing that a watchdog sees.
pub(super) fn is_computing(view: &RawView, fetched: &Fetched, config: &HwConfig) -> bool {
    let cycles_per_step = match config.insn_queue_depth() {
        Some(_) => CYCLES_PER_STEP,
        None => SEQUENTIAL_CYCLES_PER_LANE * config.block_out() as u64,
    };
    (0..3).any(|index| {
        let state = UnitState::of(view.state[index]);
        let busy = matches!(state, UnitState::Busy | UnitState::Hazard);
        let since = view.now.saturating_sub(view.begun_at[index]);
        let steps = || fetched.insn(view.insn[index], config).map_or(0, |insn| steps(&insn));
        busy && since < steps().saturating_mul(cycles_per_step)
    })
}

/// The token queue that a unit in this state waits for.
pub(super) fn token_queue(unit: Queue, state: UnitState) -> Option<(Queue, Queue)> {
    match state {
        UnitState::TokenFromPrev => unit.prev().map(|prev| (prev, unit)),
        UnitState::TokenFromNext => unit.next().map(|next| (next, unit)),
        _ => None,
    }
}

fn unit_waits(unit: Queue, state: UnitState, view: &RawView) -> String {
    match token_queue(unit, state) {
        Some((from, to)) => format!("waits for a token from {from} (queue {from}->{to})"),
        None => channel_waits(state, view),
    }
}

fn channel_waits(state: UnitState, view: &RawView) -> String {
    match state {
        UnitState::Idle => "is idle".to_owned(),
        UnitState::Busy => "is busy".to_owned(),
        UnitState::TokenFromPrev | UnitState::TokenFromNext => "waits for a token that no unit gives".to_owned(),
        UnitState::ReadData => format!("waits for read data ({} bursts under way)", view.reads_open),
        UnitState::WriteChannel => format!("waits for the write channel ({} bursts under way)", view.writes_open),
        UnitState::Hazard => "waits for its own pipeline".to_owned(),
        UnitState::QueueRoom => "waits for room in a token queue".to_owned(),
    }
}

/// Micro-op executions or scratchpad elements.
fn steps(insn: &Insn) -> u64 {
    match insn {
        Insn::Load(i) => Rows::from(i).elements(),
        Insn::LoadPad(i) => Rows::from(i).elements(),
        Insn::Store(i) => Rows::from(i).elements(),
        _ => Loops::of(insn).map_or(0, |loops| loops.executions()),
    }
}
