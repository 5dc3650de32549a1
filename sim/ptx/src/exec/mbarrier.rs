//! `mbarrier` objects.

use super::clock::Clock;
use super::warp::{Park, Warp};
use crate::fault::{FaultKind, Trouble};

/// Bounds of the pending arrivals and of the transaction count.
const MOST_ARRIVALS: u32 = (1 << 20) - 1;
const MOST_BYTES: i64 = (1 << 20) - 1;

/// One `mbarrier` object.
#[derive(Clone, Debug)]
pub(crate) struct MbarrierState {
    pub addr: u32,
    /// The party by which clocks know the copies that signal it.
    pub party: usize,
    /// Arrivals that a phase takes.
    pub expected: u32,
    pub pending: u32,
    /// Bytes that a phase still waits for; negative where they came before they were expected.
    pub bytes: i64,
    pub phase: u64,
    /// What arrivals of this phase know, and what is known once the last has completed.
    arriving: Clock,
    complete: Clock,
    /// Copies that have signalled it.
    moment: u32,
    /// Who initialised it, and at which moment.
    made: (usize, u32),
    /// Whether they have executed `fence.mbarrier_init` since.
    fenced: bool,
}

/// The `mbarrier` objects of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Barriers {
    live: Vec<MbarrierState>,
    /// Whether use that nothing orders after the initialisation is a fault.
    races: bool,
}

impl Barriers {
    pub fn new(races: bool) -> Self {
        Self { live: Vec::new(), races }
    }

    /// Makes the object at `addr`, initialised by the warp `by` at its present moment.
    pub fn init(&mut self, addr: u32, count: u32, party: usize, clock: &Clock, by: usize) -> Result<(), Trouble> {
        if count == 0 || count > MOST_ARRIVALS {
            let message = format!("an mbarrier cannot take {count} arrivals; give it 1 to {MOST_ARRIVALS}");
            return Err(Trouble::new(FaultKind::Barrier, message));
        }
        if self.live.iter().any(|b| b.addr < addr + 8 && addr < b.addr + 8) {
            let message = format!("the mbarrier at {addr:#x} is initialised again; invalidate it first");
            return Err(Trouble::new(FaultKind::Barrier, message));
        }
        self.live.push(MbarrierState {
            addr,
            party,
            expected: count,
            pending: count,
            bytes: 0,
            phase: 0,
            arriving: Clock::default(),
            complete: Clock::default(),
            moment: 0,
            made: (by, clock.seen(by)),
            fenced: false,
        });
        Ok(())
    }

    pub fn invalidate(&mut self, addr: u32) -> Result<(), Trouble> {
        self.get(addr)?;
        self.live.retain(|b| b.addr != addr);
        Ok(())
    }

    pub fn get(&mut self, addr: u32) -> Result<&mut MbarrierState, Trouble> {
        self.live.iter_mut().find(|b| b.addr == addr).ok_or_else(|| {
            let message = format!("shared address {addr:#x} holds no mbarrier; initialise it before use");
            Trouble::new(FaultKind::Barrier, message)
        })
    }

    /// The object at `addr`, if its initialisation is ordered before what `warp` does now.
    pub fn visible(&mut self, addr: u32, warp: &Warp) -> Result<&mut MbarrierState, Trouble> {
        let races = self.races;
        let barrier = self.get(addr)?;
        let (by, moment) = barrier.made;
        if races && by != warp.party && moment > warp.clock.seen(by) {
            return Err(Trouble::new(
                FaultKind::Race,
                format!(
                    "the mbarrier at {addr:#x} is used while nothing orders that after its initialisation by warp {by}; \
                     put a barrier between them"
                ),
            ));
        }
        Ok(barrier)
    }

    /// Notes a `fence.mbarrier_init` of a warp.
    pub fn fence(&mut self, by: usize) {
        self.live.iter_mut().filter(|b| b.made.0 == by).for_each(|b| b.fenced = true);
    }

    /// The object at `addr`, if a copy that `warp` starts now will find it initialised.
    pub fn visible_to_copies(&mut self, addr: u32, warp: &Warp) -> Result<&mut MbarrierState, Trouble> {
        let races = self.races;
        let barrier = self.visible(addr, warp)?;
        let (by, moment) = barrier.made;
        if races && !barrier.fenced && moment > warp.clock.fenced(by) {
            return Err(Trouble::new(
                FaultKind::Proxy,
                format!(
                    "a bulk copy is to signal the mbarrier at {addr:#x}, whose initialisation no fence has made visible \
                     to the async proxy; execute fence.mbarrier_init or fence.proxy.async behind mbarrier.init"
                ),
            ));
        }
        Ok(barrier)
    }

    /// What the copies that signal the objects were last, by their parties.
    pub fn copies(&self) -> impl Iterator<Item = (&MbarrierState, usize, u32)> {
        self.live.iter().map(|b| (b, b.party, b.moment))
    }

    pub fn find(&self, addr: u32) -> Option<&MbarrierState> {
        self.live.iter().find(|b| b.addr == addr)
    }
}

impl MbarrierState {
    /// Arrives `count` times. Returns the state, which holds the phase that the arrivals are of.
    pub fn arrive(&mut self, count: u32, clock: Option<&Clock>) -> Result<u64, Trouble> {
        if count == 0 || count > self.pending {
            let (pending, expected) = (self.pending, self.expected);
            return Err(Trouble::new(
                FaultKind::Barrier,
                format!(
                    "{count} arrivals at the mbarrier at {:#x}, of whose {expected} only {pending} are pending; \
                     compare its count with who arrives",
                    self.addr
                ),
            ));
        }
        let state = self.phase << 20 | u64::from(self.pending);
        self.pending -= count;
        if let Some(clock) = clock {
            self.arriving.join(clock);
        }
        self.turn();
        Ok(state)
    }

    /// Takes `count` arrivals out of this phase and all later ones.
    pub fn drop_arrivals(&mut self, count: u32, clock: Option<&Clock>) -> Result<u64, Trouble> {
        if count > self.expected {
            let message = format!("more arrivals are dropped than the mbarrier at {:#x} takes", self.addr);
            return Err(Trouble::new(FaultKind::Barrier, message));
        }
        self.expected -= count;
        self.arrive(count, clock)
    }

    /// Adds an arrival to those that this phase alone waits for.
    pub fn increment(&mut self) -> Result<(), Trouble> {
        if self.pending == MOST_ARRIVALS {
            let at = self.addr;
            let message = format!("the mbarrier at {at:#x} would wait for more than {MOST_ARRIVALS} arrivals");
            return Err(Trouble::new(FaultKind::Barrier, message));
        }
        self.pending += 1;
        Ok(())
    }

    pub fn expect(&mut self, bytes: i64) -> Result<(), Trouble> {
        self.bytes += bytes;
        self.check()
    }

    /// Notes that `bytes` have come, known to be there by `moment` of its party.
    pub fn complete(&mut self, bytes: i64, moment: Option<u32>) -> Result<(), Trouble> {
        self.bytes -= bytes;
        if let Some(moment) = moment {
            self.arriving.learn(self.party, moment);
        }
        self.check()?;
        self.turn();
        Ok(())
    }

    /// The moment of the next copy that signals it.
    pub fn next_moment(&mut self) -> u32 {
        self.moment += 1;
        self.moment
    }

    fn check(&self) -> Result<(), Trouble> {
        if self.bytes.abs() > MOST_BYTES {
            return Err(Trouble::new(
                FaultKind::Barrier,
                format!(
                    "the transaction count of the mbarrier at {:#x} would be {}, beyond ±{MOST_BYTES}; compare the \
                     bytes expected with those copied",
                    self.addr, self.bytes
                ),
            ));
        }
        Ok(())
    }

    fn turn(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase += 1;
            self.pending = self.expected;
            self.complete.join(&std::mem::take(&mut self.arriving));
        }
    }

    /// Whether the phase of `parity`, or of a `state`, has completed.
    pub fn passed(&self, value: u64, parity: bool) -> bool {
        if parity { (self.phase & 1) != (value & 1) } else { self.phase > value >> 20 }
    }

    pub fn known(&self) -> &Clock {
        &self.complete
    }

    pub fn park(&self, block: usize) -> Park {
        Park::Mbarrier { block, addr: self.addr, phase: self.phase }
    }

    /// What it waits for, in words.
    pub fn describe(&self) -> String {
        format!(
            "mbarrier at shared address {:#x}, phase {} (parity {}): {} of {} arrivals and {} bytes are missing",
            self.addr,
            self.phase,
            self.phase & 1,
            self.pending,
            self.expected,
            self.bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier(count: u32) -> Barriers {
        let mut b = Barriers::default();
        b.init(1024, count, 5, &Clock::default(), 0).unwrap();
        b
    }

    #[test]
    fn a_phase_ends_when_arrivals_and_bytes_are_in() {
        let mut all = barrier(2);
        let b = all.get(1024).unwrap();
        assert!(b.passed(1, true) && !b.passed(0, true));
        b.expect(64).unwrap();
        let state = b.arrive(2, None).unwrap();
        assert_eq!(b.phase, 0);
        b.complete(64, Some(1)).unwrap();
        assert!(b.phase == 1 && b.passed(0, true) && b.passed(state, false));
        assert_eq!((b.pending, b.known().seen(5)), (2, 1));
    }

    #[test]
    fn arrivals_beyond_the_count_and_bytes_beyond_the_bound_are_faults() {
        let mut all = barrier(1);
        let b = all.get(1024).unwrap();
        assert!(b.arrive(2, None).is_err());
        assert!(b.expect(1 << 20).is_err());
        assert!(all.get(1032).is_err());
        assert!(all.init(1028, 1, 6, &Clock::default(), 0).is_err());
        all.invalidate(1024).unwrap();
        assert!(all.get(1024).is_err());
    }

    #[test]
    fn a_dropped_arrival_is_missing_from_later_phases() {
        let mut all = barrier(2);
        let b = all.get(1024).unwrap();
        b.drop_arrivals(1, None).unwrap();
        b.arrive(1, None).unwrap();
        b.arrive(1, None).unwrap();
        assert_eq!(b.phase, 2);
    }
}
