//! Shared memory of a block: its bytes, and for each what is known of it.
//!
//! Races are found as FastTrack finds them: each 4-byte word keeps the moment of its last write and of the last read of
//! each warp since; two accesses of which one writes must be ordered by vector clocks. A word that is once accessed in
//! parts is followed byte by byte from then on.

use super::clock::Clock;
use crate::fault::{FaultKind, Trouble};
use crate::launch::Options;
use crate::memory::POISON;
use crate::op::SHARED_BASE;

/// Warps whose reads are followed; those of a larger cluster beyond it are not.
const READERS: usize = 64;
const NOBODY: u16 = u16::MAX;
/// A lane that stands for the whole warp.
pub(crate) const WHOLE_WARP: u8 = u8::MAX;

/// What a byte of shared memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Never written.
    Fresh,
    Written,
    /// A copy that has been started but not waited for writes it.
    InFlight,
    /// Part of an `mbarrier` object.
    Barrier,
}

/// Who accesses.
#[derive(Clone, Copy)]
pub(crate) struct Actor<'a> {
    pub party: usize,
    pub lane: u8,
    /// What it knows to have happened.
    pub clock: &'a Clock,
    /// Its moment, later than the clock where the access was started before and is done now.
    pub moment: u32,
    /// Through the async proxy.
    pub asynchronous: bool,
    /// An atomic or a strong access, which may meet others of its kind.
    pub strong: bool,
    /// Whether unordered accesses are faults.
    pub races: bool,
    /// Whether reads of bytes never written are faults.
    pub uninitialised: bool,
}

impl<'a> Actor<'a> {
    /// An ordinary access of `lane` of `party`, at the present moment of `clock`.
    pub fn new(party: usize, lane: u8, clock: &'a Clock, options: &Options) -> Self {
        Self {
            party,
            lane,
            clock,
            moment: clock.seen(party),
            asynchronous: false,
            strong: false,
            races: options.races,
            uninitialised: options.uninitialised,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Moment, party and lane of the last write.
    clock: u32,
    party: u16,
    lane: u8,
    strong: bool,
    asynchronous: bool,
    /// Index of the byte-wise cells plus one, where the word is followed byte by byte.
    split: u32,
    /// Warps that have read since.
    readers: u64,
}

const EMPTY: Cell = Cell { clock: 0, party: NOBODY, lane: 0, strong: false, asynchronous: false, split: 0, readers: 0 };

#[derive(Clone, Debug)]
struct Split {
    cells: [Cell; 4],
    clocks: [Vec<u32>; 4],
}

/// Shared memory of one block.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    bytes: Vec<u8>,
    states: Vec<State>,
    cells: Vec<Cell>,
    /// Moments of the last reads, by word and warp.
    reads: Vec<u32>,
    splits: Vec<Split>,
    warps: usize,
    /// Sources of bulk stores that have not been read, with the number of the store.
    holds: Vec<(u32, u32, u64)>,
}

impl Shared {
    /// Memory up to address `end`, shared by a cluster of `warps` warps; races are followed if `races`.
    pub fn new(end: u32, warps: usize, races: bool) -> Self {
        let len = end.max(SHARED_BASE).next_multiple_of(4) as usize;
        let words = if races { len / 4 } else { 0 };
        let warps = warps.min(READERS);
        Self {
            bytes: vec![POISON; len],
            states: vec![State::Fresh; len],
            cells: vec![EMPTY; words],
            reads: vec![0; words * warps],
            splits: Vec::new(),
            warps,
            holds: Vec::new(),
        }
    }

    fn range(&self, at: u32, len: u32) -> Result<std::ops::Range<usize>, Trouble> {
        let (start, end) = (at as usize, at as usize + len as usize);
        if at < SHARED_BASE || end > self.bytes.len() {
            let have = self.bytes.len() as u32 - SHARED_BASE;
            return Err(Trouble::new(
                FaultKind::OutOfBounds,
                format!(
                    "{len} bytes at shared address {at:#x} lie outside the block's {have} bytes from {SHARED_BASE:#x}; \
                     compare the index with the declared size and the launch's dynamic shared memory"
                ),
            ));
        }
        Ok(start..end)
    }

    /// Checks a read and returns the bytes.
    pub fn read(&mut self, at: u32, len: u32, actor: &Actor<'_>) -> Result<&[u8], Trouble> {
        let range = self.range(at, len)?;
        for (i, state) in self.states[range.clone()].iter().enumerate() {
            match state {
                State::Written => {}
                State::Fresh if !actor.uninitialised => {}
                _ => return Err(self.bad_state(at + i as u32, false)),
            }
        }
        if actor.races {
            self.follow(at, len, actor, None)?;
        }
        Ok(&self.bytes[range])
    }

    /// Checks a write and does it.
    pub fn write(&mut self, at: u32, data: &[u8], actor: &Actor<'_>) -> Result<(), Trouble> {
        let range = self.range(at, data.len() as u32)?;
        self.check_writable(at, data.len() as u32)?;
        if actor.races {
            let same = self.bytes[range.clone()] == *data;
            self.follow(at, data.len() as u32, actor, Some(same))?;
        }
        self.bytes[range.clone()].copy_from_slice(data);
        self.states[range].fill(State::Written);
        Ok(())
    }

    /// Checks that an asynchronous copy may write from now on, and gives the bytes to it.
    pub fn begin_copy(&mut self, at: u32, len: u32, actor: &Actor<'_>) -> Result<(), Trouble> {
        let range = self.range(at, len)?;
        self.check_writable(at, len)?;
        if actor.races {
            self.follow(at, len, actor, Some(false))?;
        }
        self.bytes[range.clone()].fill(POISON);
        self.states[range].fill(State::InFlight);
        Ok(())
    }

    /// Ends a copy: the bytes are there, written by `actor` at its present moment.
    pub fn end_copy(&mut self, at: u32, data: &[u8], actor: &Actor<'_>) -> Result<(), Trouble> {
        let range = self.range(at, data.len() as u32)?;
        self.bytes[range.clone()].copy_from_slice(data);
        self.states[range].fill(State::Written);
        if actor.races {
            let mut fresh = EMPTY;
            stamp(&mut fresh, actor);
            for word in at / 4..(at + data.len() as u32).div_ceil(4) {
                let cell = &mut self.cells[word as usize];
                let whole = word * 4 >= at && word * 4 + 4 <= at + data.len() as u32;
                if whole && cell.split == 0 {
                    *cell = fresh;
                } else {
                    let split = self.split(word as usize);
                    for b in 0..4 {
                        if (at..at + data.len() as u32).contains(&(word * 4 + b)) {
                            self.splits[split].cells[b as usize] = fresh;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes eight bytes an `mbarrier` object, or, with `live` false, no longer one.
    pub fn mark_barrier(&mut self, at: u32, live: bool) -> Result<(), Trouble> {
        let range = self.range(at, 8)?;
        if live {
            self.check_writable(at, 8)?;
        }
        self.states[range].fill(if live { State::Barrier } else { State::Fresh });
        Ok(())
    }

    /// Holds the source of bulk store `id` until it has been read.
    pub fn hold(&mut self, at: u32, len: u32, id: u64) -> Result<(), Trouble> {
        self.range(at, len)?;
        self.holds.push((at, at + len, id));
        Ok(())
    }

    pub fn release(&mut self, id: u64) {
        self.holds.retain(|h| h.2 != id);
    }

    fn check_writable(&self, at: u32, len: u32) -> Result<(), Trouble> {
        let range = at as usize..(at + len) as usize;
        let bad = self.states[range].iter().position(|s| matches!(s, State::InFlight | State::Barrier));
        if let Some(i) = bad {
            return Err(self.bad_state(at + i as u32, true));
        }
        if self.holds.iter().any(|(from, to, _)| at < *to && *from < at + len) {
            return Err(Trouble::new(
                FaultKind::InFlight,
                format!(
                    "the write at shared address {at:#x} overwrites the source of a bulk store that has not been \
                     read; wait with cp.async.bulk.wait_group.read first"
                ),
            ));
        }
        Ok(())
    }

    fn bad_state(&self, at: u32, write: bool) -> Trouble {
        let what = if write { "written" } else { "read" };
        match self.states[at as usize] {
            State::InFlight => Trouble::new(
                FaultKind::InFlight,
                format!(
                    "shared address {at:#x} is {what} while an asynchronous copy may still write it; wait for the \
                     copy's group or barrier first"
                ),
            ),
            State::Barrier => Trouble::new(
                FaultKind::Barrier,
                format!("shared address {at:#x} is {what} but holds a live mbarrier object; invalidate it first"),
            ),
            State::Fresh | State::Written => Trouble::new(
                FaultKind::Uninitialised,
                format!("shared address {at:#x} is read before anything has written it; write it, or zero-fill it"),
            ),
        }
    }

    /// Checks the order of an access against those before and notes it; `write` says whether the value stays the same.
    fn follow(&mut self, at: u32, len: u32, actor: &Actor<'_>, write: Option<bool>) -> Result<(), Trouble> {
        let end = at + len;
        for word in (at / 4) as usize..end.div_ceil(4) as usize {
            let first = word as u32 * 4;
            let whole = first >= at && first + 4 <= end;
            if whole && self.cells[word].split == 0 {
                let clocks = &mut self.reads[word * self.warps..(word + 1) * self.warps];
                access(&mut self.cells[word], clocks, actor, write, first)?;
                continue;
            }
            let split = self.split(word);
            let Split { cells, clocks } = &mut self.splits[split];
            for b in 0..4u32 {
                if (at..end).contains(&(first + b)) {
                    access(&mut cells[b as usize], &mut clocks[b as usize], actor, write, first + b)?;
                }
            }
        }
        Ok(())
    }

    /// The byte-wise cells of a word, made if there are none.
    fn split(&mut self, word: usize) -> usize {
        let cell = self.cells[word];
        if cell.split == 0 {
            let clocks = self.reads[word * self.warps..(word + 1) * self.warps].to_vec();
            self.splits
                .push(Split { cells: [cell; 4], clocks: [clocks.clone(), clocks.clone(), clocks.clone(), clocks] });
            self.cells[word].split = self.splits.len() as u32;
        }
        self.cells[word].split as usize - 1
    }
}

fn stamp(cell: &mut Cell, actor: &Actor<'_>) {
    cell.clock = actor.moment;
    cell.party = actor.party as u16;
    cell.lane = actor.lane;
    cell.strong = actor.strong;
    cell.asynchronous = actor.asynchronous;
    cell.readers = 0;
}

fn access(cell: &mut Cell, clocks: &mut [u32], actor: &Actor<'_>, write: Option<bool>, at: u32) -> Result<(), Trouble> {
    let now = actor.moment;
    if cell.party != NOBODY && !(cell.strong && actor.strong) && write != Some(true) {
        let other = usize::from(cell.party);
        if other == actor.party && !actor.asynchronous {
            let one = cell.clock < now || cell.lane == actor.lane || [cell.lane, actor.lane].contains(&WHOLE_WARP);
            if !one {
                return Err(Trouble::new(
                    FaultKind::Race,
                    format!(
                        "lane {} of the same warp has written shared address {at:#x} and nothing orders the two \
                         accesses; put __syncwarp between them",
                        cell.lane
                    ),
                ));
            }
        } else if cell.clock > actor.clock.seen(other) {
            return Err(race(at, "written", other, clocks.len(), write.is_some()));
        }
        if actor.asynchronous && write.is_none() && !cell.asynchronous && cell.clock > actor.clock.fenced(other) {
            return Err(Trouble::new(
                FaultKind::Proxy,
                format!(
                    "the async proxy reads shared address {at:#x}, which ordinary stores wrote, without \
                     fence.proxy.async between; execute it after the stores and before the barrier"
                ),
            ));
        }
    }
    match write {
        None => {
            if actor.party < clocks.len() {
                cell.readers |= 1 << actor.party;
                clocks[actor.party] = now;
            }
        }
        Some(same) => {
            let mut readers = if same || actor.strong { 0 } else { cell.readers };
            while readers != 0 {
                let reader = readers.trailing_zeros() as usize;
                readers &= readers - 1;
                if reader != actor.party && clocks[reader] > actor.clock.seen(reader) {
                    return Err(race(at, "read", reader, clocks.len(), true));
                }
            }
            let split = cell.split;
            // The readers of an unchanged value stay: a later write of another must be ordered after them.
            let kept = if same { cell.readers } else { 0 };
            stamp(cell, actor);
            cell.readers = kept;
            cell.split = split;
        }
    }
    Ok(())
}

/// The fault for two accesses that nothing orders; parties beyond the warps are the copies that signal an `mbarrier`.
fn race(at: u32, before: &str, other: usize, warps: usize, write: bool) -> Trouble {
    let now = if write { "writes" } else { "reads" };
    let who = if other < warps { format!("warp {other} of the cluster") } else { "an asynchronous copy".to_owned() };
    Trouble::new(
        FaultKind::Race,
        format!(
            "this access {now} shared address {at:#x}, which {who} has {before}, and no barrier orders the two; put one \
             between them, or wait at the one that is there"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(party: usize, clock: &Clock) -> Actor<'_> {
        Actor::new(party, 0, clock, &Options::default())
    }

    fn clocks() -> (Clock, Clock) {
        let (mut a, mut b) = (Clock::default(), Clock::default());
        a.tick(0);
        b.tick(1);
        (a, b)
    }

    #[test]
    fn a_read_after_an_unordered_write_is_a_race_and_after_an_ordered_one_is_not() {
        let (mut a, mut b) = clocks();
        let mut shared = Shared::new(2048, 2, true);
        shared.write(1024, &[1, 2, 3, 4], &actor(0, &a)).unwrap();
        assert_eq!(shared.read(1024, 4, &actor(1, &b)).unwrap_err().kind, FaultKind::Race);
        b.join(&a);
        a.tick(0);
        assert_eq!(shared.read(1024, 4, &actor(1, &b)).unwrap(), [1, 2, 3, 4]);
        assert_eq!(shared.write(1024, &[9; 4], &actor(0, &a)).unwrap_err().kind, FaultKind::Race);
        a.join(&b);
        shared.write(1024, &[9; 4], &actor(0, &a)).unwrap();
    }

    #[test]
    fn bytes_of_one_word_are_followed_apart() {
        let (a, b) = clocks();
        let mut shared = Shared::new(2048, 2, true);
        shared.write(1024, &[1], &actor(0, &a)).unwrap();
        shared.write(1025, &[2], &actor(1, &b)).unwrap();
        assert_eq!(shared.write(1024, &[3], &actor(1, &b)).unwrap_err().kind, FaultKind::Race);
        // Storing what is there already is no race: kernels raise flags from many warps.
        shared.write(1024, &[1], &actor(1, &b)).unwrap();
    }

    #[test]
    fn the_async_proxy_needs_a_fence_after_ordinary_stores() {
        let (mut a, _) = clocks();
        let mut shared = Shared::new(2048, 2, true);
        shared.write(1024, &[1; 4], &actor(0, &a)).unwrap();
        let read = |clock: &Clock, shared: &mut Shared| {
            shared.read(1024, 4, &Actor { asynchronous: true, ..actor(0, clock) }).map(<[u8]>::to_vec)
        };
        assert_eq!(read(&a, &mut shared).unwrap_err().kind, FaultKind::Proxy);
        a.fence();
        assert_eq!(read(&a, &mut shared).unwrap(), [1; 4]);
    }

    #[test]
    fn bytes_never_written_out_of_bounds_or_in_flight_are_faults() {
        let (a, _) = clocks();
        let mut shared = Shared::new(2048, 2, true);
        let kind = |r: Result<&[u8], Trouble>| r.unwrap_err().kind;
        assert_eq!(kind(shared.read(1024, 4, &actor(0, &a))), FaultKind::Uninitialised);
        assert_eq!(kind(shared.read(2046, 4, &actor(0, &a))), FaultKind::OutOfBounds);
        assert_eq!(kind(shared.read(16, 4, &actor(0, &a))), FaultKind::OutOfBounds);
        shared.begin_copy(1024, 16, &actor(0, &a)).unwrap();
        assert_eq!(kind(shared.read(1024, 4, &actor(0, &a))), FaultKind::InFlight);
        assert_eq!(shared.write(1028, &[0], &actor(0, &a)).unwrap_err().kind, FaultKind::InFlight);
        shared.end_copy(1024, &[5; 16], &actor(0, &a)).unwrap();
        assert_eq!(shared.read(1036, 2, &actor(0, &a)).unwrap(), [5; 2]);
    }
}
