//! What surrounds a block: the clock, sources, a sink, and the account of its cycles.

use std::sync::Arc;

use thiserror::Error;

use super::StreamModel;
use super::sys::Sim;
use crate::random::Random;
use crate::tsim::TsimError;

/// When one side of a stream holds it up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pattern {
    /// Never.
    #[default]
    Free,
    /// In each cycle with this probability.
    Random(f64),
    /// For as many cycles as it then goes on without, up to this number each time.
    Bursts(u32),
}

/// How a run is driven. The same values give the same run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drive {
    /// When sources have nothing to give.
    pub source: Pattern,
    /// When the sink takes nothing.
    pub sink: Pattern,
    /// Chooses the cycles of patterns, and what registers and memories hold before reset.
    pub seed: u64,
    /// Cycles in which nothing moves, after which the block counts as hanging.
    pub watchdog: u64,
}

impl Default for Drive {
    fn default() -> Drive {
        Drive { source: Pattern::Free, sink: Pattern::Free, seed: 1, watchdog: 100_000 }
    }
}

/// Why a run stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamFault {
    /// There is no model.
    #[error("{0}")]
    Model(#[from] TsimError),
    /// What is to be run does not fit the block.
    #[error("{0}")]
    Refused(String),
    /// Nothing moves any more.
    #[error("the block hangs: nothing has moved for {0} cycles")]
    Hung(u64),
    /// A memory was read and written at one place in one cycle.
    #[error("the block stopped itself in line {line} of its Verilog in cycle {cycle}")]
    Stopped {
        /// The line.
        line: u32,
        /// The cycle.
        cycle: u64,
    },
    /// A word at the output changed before it was taken.
    #[error("the output took back what it offered in cycle {0}")]
    Unstable(u64),
    /// The block says that its input has another form than it should.
    #[error("the block calls its input malformed in cycle {0}")]
    Malformed(u64),
    /// A word came that nobody waits for.
    #[error("a word came after the last one in cycle {0}")]
    Surplus(u64),
}

/// A word that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its number in the output.
    pub index: u64,
    /// What it should be, and what came: with a bit above the word that is the `last` of the stream.
    pub expected: (u64, bool),
    /// What came.
    pub found: (u64, bool),
}

/// What a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReport {
    /// Words that the rate speaks of: of the database for PIR, of rows for IBP.
    pub words: u64,
    /// Words that entered, without those of the configuration and of requests.
    pub entered: u64,
    /// Words that left; each was compared.
    pub left: u64,
    /// Cycles from when the first word could come to when the last one left.
    pub cycles: u64,
    /// Those that the block is not to blame for: the sink took nothing, or a source had not given what was needed.
    pub held: u64,
    /// Words that differ from what they should be.
    pub mismatches: u64,
    /// The first of them.
    pub first: Option<Mismatch>,
    /// A digest of which handshakes took place in which cycle.
    pub shape: u64,
}

impl StreamReport {
    /// Words a cycle, of all cycles.
    pub fn raw(&self) -> f64 {
        self.words as f64 / self.cycles.max(1) as f64
    }

    /// Words a cycle, of those that were the block's own.
    pub fn net(&self) -> f64 {
        self.words as f64 / (self.cycles - self.held).max(1) as f64
    }

    /// Compares a word that left.
    pub(super) fn compare(&mut self, expected: (u64, bool), found: (u64, bool)) {
        if expected != found {
            self.mismatches += 1;
            self.first.get_or_insert(Mismatch { index: self.left, expected, found });
        }
        self.left += 1;
    }
}

/// A pattern under way.
#[derive(Debug)]
pub(super) struct Gate {
    pattern: Pattern,
    random: Random,
    open: bool,
    left: u32,
}

impl Gate {
    pub fn new(pattern: Pattern, seed: u64, stream: u64) -> Gate {
        Gate { pattern, random: Random::stream(seed, stream), open: false, left: 0 }
    }

    /// Whether the stream goes on in the next cycle.
    pub fn open(&mut self) -> bool {
        match self.pattern {
            Pattern::Free => true,
            Pattern::Random(shut) => (self.random.next() >> 11) as f64 / (1u64 << 53) as f64 >= shut,
            Pattern::Bursts(longest) => {
                if self.left == 0 {
                    self.open = !self.open;
                    self.left = self.random.between(1, longest.max(1));
                }
                self.left -= 1;
                self.open
            }
        }
    }
}

/// One end of a stream: the numbers of its ports.
#[derive(Clone, Copy, Debug)]
struct Ports {
    valid: usize,
    ready: usize,
    data: usize,
    last: usize,
}

impl Ports {
    fn of(model: &StreamModel, stream: &str) -> Ports {
        let port = |part: &str| model.port(&format!("{stream}_{part}"));
        Ports { valid: port("valid"), ready: port("ready"), data: port("data"), last: port("last") }
    }
}

/// What gives a stream its words.
#[derive(Debug)]
pub(super) struct Source {
    ports: Ports,
    gate: Gate,
    offering: bool,
    /// Words that were taken.
    pub taken: usize,
    total: usize,
}

/// A block under test, with its cycles and its sink.
pub(super) struct Bench {
    sim: Sim,
    out: Ports,
    malformed: usize,
    sink: Gate,
    pub now: u64,
    /// The cycle of the last handshake, and the word at the output that waits for the sink.
    moved: u64,
    waiting: Option<(u64, bool)>,
    watchdog: u64,
    pub shape: u64,
}

/// What the output did in a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A word left.
    Word(u64, bool),
    /// The sink would have taken one.
    Nothing,
    /// The sink took nothing.
    Held,
}

impl Source {
    pub fn new(bench: &Bench, stream: &str, pattern: Pattern, seed: u64, number: u64, total: usize) -> Source {
        let ports = Ports::of(bench.sim.model(), stream);
        Source { ports, gate: Gate::new(pattern, seed, number), offering: false, taken: 0, total }
    }

    /// Chooses what stands at the port in this cycle; whether it offers a word for the first time. `word` gives the words of
    /// `data` and `last` of a beat by its number.
    pub fn offer(&mut self, bench: &mut Bench, word: impl FnOnce(usize) -> ([u32; 4], bool)) -> bool {
        let open = self.gate.open();
        let begins = !self.offering && self.taken < self.total && open;
        if begins {
            let (data, last) = word(self.taken);
            let words = bench.sim.model().words(self.ports.data);
            bench.sim.set(self.ports.data, &data[..words]);
            bench.sim.set(self.ports.last, &[last.into()]);
        }
        self.offering |= begins;
        bench.sim.set(self.ports.valid, &[self.offering.into()]);
        begins
    }

    /// Whether it offers a word in this cycle.
    pub fn offering(&self) -> bool {
        self.offering
    }

    /// Whether its word is taken in this cycle; asked once, after [`Bench::settle`].
    pub fn moves(&mut self, bench: &mut Bench) -> bool {
        let moves = self.offering && bench.sim.get(self.ports.ready) == 1;
        self.taken += usize::from(moves);
        self.offering &= !moves;
        bench.note(moves);
        moves
    }

    /// Whether everything was taken.
    pub fn is_done(&self) -> bool {
        self.taken == self.total
    }
}

impl Bench {
    /// A block that has just been reset, with no word anywhere.
    pub fn new(model: &Arc<StreamModel>, drive: &Drive) -> Bench {
        let mut sim = Sim::new(Arc::clone(model), drive.seed);
        let (out, malformed, reset) = (Ports::of(model, "out"), model.port("malformed"), model.port("reset"));
        model.sources().into_iter().for_each(|valid| sim.set(valid, &[0]));
        sim.set(out.ready, &[0]);
        sim.set(reset, &[1]);
        (0..2).for_each(|_| _ = sim.tick());
        sim.set(reset, &[0]);
        sim.eval();
        let sink = Gate::new(drive.sink, drive.seed, 0);
        Bench { sim, out, malformed, sink, now: 0, moved: 0, waiting: None, watchdog: drive.watchdog, shape: 0 }
    }

    /// Sets an input of one word.
    pub fn set(&mut self, port: &str, value: u32) {
        let port = self.sim.model().port(port);
        self.sim.set(port, &[value]);
    }

    /// Chooses whether the sink takes a word, and computes what follows from all inputs.
    ///
    /// # Errors
    /// [`StreamFault::Unstable`], [`StreamFault::Malformed`].
    pub fn settle(&mut self) -> Result<Output, StreamFault> {
        let takes = self.sink.open();
        self.sim.set(self.out.ready, &[takes.into()]);
        self.sim.eval();
        let offered = (self.sim.get(self.out.valid) == 1)
            .then(|| (self.sim.get(self.out.data), self.sim.get(self.out.last) == 1));
        if self.waiting.is_some() && offered != self.waiting {
            return Err(StreamFault::Unstable(self.now));
        }
        if self.sim.get(self.malformed) == 1 {
            return Err(StreamFault::Malformed(self.now));
        }
        self.waiting = offered.filter(|_| !takes);
        self.note(offered.is_some() && takes);
        Ok(match offered {
            Some((word, last)) if takes => Output::Word(word, last),
            None if takes => Output::Nothing,
            _ => Output::Held,
        })
    }

    /// The edge that ends a cycle.
    ///
    /// # Errors
    /// [`StreamFault::Stopped`], [`StreamFault::Hung`].
    pub fn tick(&mut self) -> Result<(), StreamFault> {
        if let Some(line) = self.sim.tick() {
            return Err(StreamFault::Stopped { line, cycle: self.now });
        }
        self.now += 1;
        if self.now - self.moved > self.watchdog {
            return Err(StreamFault::Hung(self.watchdog));
        }
        Ok(())
    }

    /// Looks for so many cycles whether anything comes after the last word.
    ///
    /// # Errors
    /// [`StreamFault::Surplus`], and what [`Bench::settle`] and [`Bench::tick`] find.
    pub fn finish(&mut self, cycles: u64) -> Result<(), StreamFault> {
        self.sim.model().sources().into_iter().for_each(|valid| self.sim.set(valid, &[0]));
        self.sink = Gate::new(Pattern::Free, 0, 0);
        for _ in 0..cycles {
            if let Output::Word(..) = self.settle()? {
                return Err(StreamFault::Surplus(self.now));
            }
            self.tick()?;
        }
        Ok(())
    }

    /// Counts the cycles from here.
    pub fn begin(&mut self) {
        (self.now, self.moved, self.shape) = (0, 0, 0xcbf2_9ce4_8422_2325);
    }

    /// Notes whether a handshake took place.
    fn note(&mut self, moves: bool) {
        if moves {
            self.moved = self.now;
        }
        self.shape = (self.shape ^ u64::from(moves)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// A word of up to 64 bits as the words of a port.
pub(super) fn beat(word: u64) -> [u32; 4] {
    [word as u32, (word >> 32) as u32, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(pattern: Pattern) -> usize {
        let mut gate = Gate::new(pattern, 3, 1);
        (0..10_000).filter(|_| !gate.open()).count()
    }

    #[test]
    fn patterns_shut_as_often_as_they_say() {
        assert_eq!((shut(Pattern::Free), shut(Pattern::Random(0.0)), shut(Pattern::Random(1.0))), (0, 0, 10_000));
        assert!((2300..2700).contains(&shut(Pattern::Random(0.25))));
        assert!((4000..6000).contains(&shut(Pattern::Bursts(20))));
    }

    #[test]
    fn rates_are_of_all_cycles_and_of_the_own_ones() {
        let report = StreamReport { words: 60, cycles: 120, held: 60, ..StreamReport::default() };
        assert_eq!((report.raw(), report.net()), (0.5, 1.0));
        assert_eq!(StreamReport::default().net(), 0.0);
    }
}
