//! A board that runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::sys::{RawBoardOptions, Sim, stop};
use super::{BoardModel, BoardSimError, Chip};
use crate::tsim::TsimError;
use crate::tsim::sys::WaveSink;
use crate::tsim::waves::Waves;

/// Cycles that a bit must take, at least.
const MIN_BIT_CYCLES: u64 = 4;

/// How a board is simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardOptions {
    /// Clock of the board in hertz.
    pub clock_hz: u64,
    /// Bits a second on the line, on the host's side. A bit takes `clock_hz / baud` cycles, fractions included.
    pub baud: u64,
    /// With a seed, registers and memories hold random values before reset, not zeros.
    pub scramble: Option<u64>,
    /// The FST file to record every signal in; the model must be one that has waveforms.
    pub waves: Option<PathBuf>,
}

/// A simulated board with the host's end of its serial line.
///
/// It stands still except in [`BoardSim::run`] and [`BoardSim::run_until`].
#[derive(Debug)]
pub struct BoardSim {
    sim: Sim,
    options: BoardOptions,
    received: Vec<u8>,
    waves: Option<Arc<Waves>>,
}

/// What may end a run early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// A byte has come from the board.
    pub received: bool,
    /// Every byte that waited for the line has crossed it.
    pub sent: bool,
    /// A light has changed.
    pub leds: bool,
}

impl BoardSim {
    /// A board that has just been reset.
    ///
    /// # Errors
    /// [`BoardSimError::Baud`], [`BoardSimError::Chip`], [`TsimError::NoWaves`], [`TsimError::File`] where the waveform file
    /// cannot be written.
    pub fn new(
        model: Arc<BoardModel>,
        options: BoardOptions,
        chip: Option<Box<dyn Chip>>,
    ) -> Result<BoardSim, BoardSimError> {
        let BoardOptions { clock_hz, baud, scramble, .. } = options;
        if baud == 0 || clock_hz / baud < MIN_BIT_CYCLES {
            return Err(BoardSimError::Baud { clock_hz, baud });
        }
        if model.has_chip() != chip.is_some() {
            return Err(BoardSimError::Chip { board: model.has_chip() });
        }
        if options.waves.is_some() && !model.variant().waves {
            return Err(TsimError::NoWaves.into());
        }
        let waves = options.waves.as_deref().map(Waves::create).transpose()?.map(Arc::new);
        let sink = waves.clone().map(|waves| -> Box<WaveSink> { Box::new(move |text| waves.feed(text)) });
        let raw = RawBoardOptions { seed: scramble.unwrap_or(0), clock_hz, baud, scramble: scramble.is_some().into() };
        Ok(BoardSim { sim: Sim::new(model, &raw, chip, sink), options, received: Vec::new(), waves })
    }

    /// How the board is simulated.
    pub fn options(&self) -> &BoardOptions {
        &self.options
    }

    /// The model.
    pub fn model(&self) -> &Arc<BoardModel> {
        self.sim.model()
    }

    /// Puts bytes behind those that wait for the line to the board.
    pub fn send(&mut self, bytes: &[u8]) {
        self.sim.send(bytes, 0);
    }

    /// The same, with the line idle for so many bit times before the first of them.
    pub fn send_after(&mut self, idle_bits: u32, bytes: &[u8]) {
        self.sim.send(bytes, idle_bits);
    }

    /// Simulates so many cycles.
    ///
    /// # Errors
    /// [`BoardSimError::Violation`], from then on every time.
    pub fn run(&mut self, cycles: u64) -> Result<(), BoardSimError> {
        self.run_until(cycles, Until::default()).map(drop)
    }

    /// Simulates until something happens, for at most so many cycles; tells whether it has happened.
    ///
    /// # Errors
    /// As [`BoardSim::run`].
    pub fn run_until(&mut self, cycles: u64, until: Until) -> Result<bool, BoardSimError> {
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let stops = flag(until.received, stop::RECEIVED) | flag(until.sent, stop::SENT) | flag(until.leds, stop::LEDS);
        let stopped = self.sim.run(cycles, stops);
        self.received.extend_from_slice(self.sim.bytes());
        match self.violation() {
            Some(violation) => Err(BoardSimError::Violation(violation)),
            None => Ok(stopped & stops != 0),
        }
    }

    /// The rule that the board has broken, if any.
    pub fn violation(&self) -> Option<String> {
        self.sim.violation()
    }

    /// Takes the bytes that have come from the board.
    pub fn received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Cycles simulated.
    pub fn cycles(&self) -> u64 {
        self.sim.view().now
    }

    /// The time of the board's clock.
    pub fn time(&self) -> Duration {
        self.options.time_of(self.cycles())
    }

    /// The lights, the first in the lowest bit.
    pub fn leds(&self) -> u64 {
        self.sim.view().leds
    }

    /// Bytes that wait for the line to the board or are on it.
    pub fn sending(&self) -> u64 {
        self.sim.view().sending
    }

    /// Whether a byte from the board is on the line.
    pub fn receiving(&self) -> bool {
        self.sim.view().receiving != 0
    }

    /// Bytes that have crossed the line to the board.
    pub fn bytes_sent(&self) -> u64 {
        self.sim.view().sent
    }

    /// Bytes that have come from the board, all in all.
    pub fn bytes_received(&self) -> u64 {
        self.sim.view().received
    }

    /// Bytes from the board without a stop bit; they are not received.
    pub fn framing_errors(&self) -> u64 {
        self.sim.view().misframed
    }

    /// Resets the board, not its memory. What is on the line is lost.
    pub fn reset(&mut self) {
        self.sim.reset();
    }

    /// Completes the file of waveforms; later cycles are not recorded.
    ///
    /// # Errors
    /// [`TsimError::File`] where it could not be written, now or before.
    pub fn finish_waves(&mut self) -> Result<(), BoardSimError> {
        self.sim.flush();
        Ok(self.waves.as_ref().map_or(Ok(()), |waves| waves.finish())?)
    }
}

impl BoardOptions {
    /// A board of this clock and bit rate.
    pub fn new(clock_hz: u64, baud: u64) -> BoardOptions {
        BoardOptions { clock_hz, baud, scramble: None, waves: None }
    }

    /// The time that so many cycles take.
    pub fn time_of(&self, cycles: u64) -> Duration {
        let nanoseconds = u128::from(cycles) * 1_000_000_000 / u128::from(self.clock_hz.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// The cycles that begin within so much time.
    pub fn cycles_in(&self, time: Duration) -> u64 {
        u64::try_from(time.as_nanos() * u128::from(self.clock_hz) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// The cycles that so many bytes take on the line, rounded up.
    pub fn line_cycles(&self, bytes: u64) -> u64 {
        (u128::from(bytes) * 10 * u128::from(self.clock_hz)).div_ceil(u128::from(self.baud.max(1))) as u64
    }
}

impl Drop for BoardSim {
    fn drop(&mut self) {
        // What the dump still holds belongs in the file, which completes itself.
        self.sim.flush();
    }
}
