//! The way between a host and a simulated board: when time passes, and what the way does to the bytes.

use std::collections::VecDeque;

use tandem_driver::serial::Noise;

use super::{BoardSim, BoardSimError, Until};

/// Cycles for which a board that has nothing to do runs on, so that it can begin to answer.
const LINGER_CYCLES: u64 = 1 << 16;
/// The light that is on while a program runs.
const RUNNING: u64 = 1 << 1;
/// Bytes that may come in one go.
const BURST: usize = 512;
/// A late byte is late by up to this part of a second.
const LATENESS: u64 = 250;
/// Of so many faults there is one byte more that is late.
const FAULTS_PER_DELAY: u32 = 4;

/// A board on a cable.
///
/// The board's time is to pass only while the cable is [`Cable::busy`].
#[derive(Debug)]
pub struct Cable {
    board: BoardSim,
    to_board: Direction,
    to_host: Direction,
    /// Bytes for the host, and the cycle in which each arrives.
    on_the_way: VecDeque<(u64, u8)>,
    active_at: u64,
}

/// What a cable does to the bytes of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CableFaults {
    /// Of a million bytes so many are lost, changed or doubled, and a quarter as many are late by up to four milliseconds.
    pub per_million: u32,
    /// Chooses them.
    pub seed: u64,
}

/// What one direction of a cable has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CableCounts {
    /// Bytes that went in.
    pub bytes: u64,
    /// Bytes that did not come out.
    pub lost: u64,
    /// Bytes that came out with one bit changed.
    pub changed: u64,
    /// Bytes that came out twice.
    pub doubled: u64,
    /// Bytes that came out late.
    pub late: u64,
}

#[derive(Debug)]
struct Direction {
    noise: Noise,
    late_per_million: u32,
    counts: CableCounts,
}

impl Cable {
    /// A board on a cable that carries every byte.
    pub fn new(board: BoardSim) -> Cable {
        Cable::with_faults(board, CableFaults { per_million: 0, seed: 0 })
    }

    /// A board on a cable that does not.
    pub fn with_faults(board: BoardSim, faults: CableFaults) -> Cable {
        let CableFaults { per_million, seed } = faults;
        let direction = |seed| Direction {
            noise: Noise::new(seed, per_million),
            late_per_million: per_million / FAULTS_PER_DELAY,
            counts: CableCounts::default(),
        };
        let active_at = board.cycles();
        Cable { board, to_board: direction(seed), to_host: direction(!seed), on_the_way: VecDeque::new(), active_at }
    }

    /// The board.
    pub fn board(&self) -> &BoardSim {
        &self.board
    }

    /// The board, to change it.
    pub fn board_mut(&mut self) -> &mut BoardSim {
        &mut self.board
    }

    /// What the direction to the board has done.
    pub fn to_board(&self) -> CableCounts {
        self.to_board.counts
    }

    /// What the direction to the host has done.
    pub fn to_host(&self) -> CableCounts {
        self.to_host.counts
    }

    /// Bytes from the host.
    pub fn send(&mut self, bytes: &[u8]) {
        let longest = self.board.options().baud / LATENESS;
        for &byte in bytes {
            let (late, arrived) = self.to_board.pass(byte, longest);
            let mut idle = u32::try_from(late).unwrap_or(u32::MAX);
            for byte in arrived {
                self.board.send_after(std::mem::take(&mut idle), &[byte]);
            }
        }
    }

    /// Whether anything is under way: bytes, a program, or perhaps an answer.
    pub fn busy(&self) -> bool {
        !self.on_the_way.is_empty()
            || self.board.sending() > 0
            || self.board.receiving()
            || self.board.leds() & RUNNING != 0
            || self.board.cycles() < self.active_at + LINGER_CYCLES
    }

    /// Lets time pass: so many cycles, or fewer where bytes come from the board or it may have nothing more to do.
    ///
    /// # Errors
    /// [`BoardSimError::Violation`].
    pub fn advance(&mut self, cycles: u64) -> Result<(), BoardSimError> {
        let due = self.on_the_way.front().map_or(u64::MAX, |&(at, _)| at.saturating_sub(self.board.cycles()));
        let end = self.board.cycles() + cycles.min(due.max(1)).min(LINGER_CYCLES);
        let sending = self.board.sending() > 0;
        let two_bits = self.board.options().line_cycles(1) / 5;
        let mut arrived = Vec::new();
        let received = Until { received: true, ..Until::default() };
        while self.board.cycles() < end {
            if !self.board.run_until(end - self.board.cycles(), received)? {
                break;
            }
            arrived.append(&mut self.board.received());
            // Bytes that follow one another closely come together.
            self.board.run(two_bits)?;
            if !self.board.receiving() || arrived.len() >= BURST {
                break;
            }
        }
        if sending || !arrived.is_empty() {
            self.active_at = self.board.cycles();
        }
        self.carry(&arrived);
        Ok(())
    }

    /// Takes what has arrived at the host's end.
    pub fn received(&mut self) -> Vec<u8> {
        let now = self.board.cycles();
        let count = self.on_the_way.iter().take_while(|&&(at, _)| at <= now).count();
        self.on_the_way.drain(..count).map(|(_, byte)| byte).collect()
    }

    /// Puts bytes of the board on their way.
    fn carry(&mut self, bytes: &[u8]) {
        let longest = self.board.options().clock_hz / LATENESS;
        for &byte in bytes {
            let (late, arrived) = self.to_host.pass(byte, longest);
            // No byte overtakes another.
            let before = self.on_the_way.back().map_or(0, |&(at, _)| at);
            let at = before.max(self.board.cycles() + late);
            self.on_the_way.extend(arrived.map(|byte| (at, byte)));
        }
    }
}

impl Direction {
    /// How late a byte is, and what arrives in its place.
    fn pass(&mut self, byte: u8, longest: u64) -> (u64, impl Iterator<Item = u8> + use<>) {
        let Direction { noise, late_per_million, counts } = self;
        let late = *late_per_million > 0 && noise.below(1_000_000) < *late_per_million;
        let late = if late { 1 + u64::from(noise.below(u32::try_from(longest).unwrap_or(u32::MAX))) } else { 0 };
        let arrived: Vec<u8> = noise.pass(byte).collect();
        counts.bytes += 1;
        counts.late += u64::from(late > 0);
        match arrived[..] {
            [] => counts.lost += 1,
            [same] => counts.changed += u64::from(same != byte),
            _ => counts.doubled += 1,
        }
        (late, arrived.into_iter())
    }
}
