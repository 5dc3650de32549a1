//! A host's end of the line to a simulated board in the same process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_driver::serial::Port;

use super::{BoardSim, Until};

/// Cycles for which an idle board runs on after its last byte, so that it can begin to answer.
const LINGER_CYCLES: u64 = 1 << 16;
/// The light that is on while a program runs.
const RUNNING: u64 = 1 << 1;

/// A port at whose other end a simulated board is.
///
/// Time is the board's. It passes as the host sends and receives; where the board has nothing to do, waiting skips it.
#[derive(Debug)]
pub struct BoardPort {
    board: Arc<Mutex<BoardSim>>,
    /// Time that was skipped.
    skipped: Duration,
    /// The cycle of the last byte in either direction.
    active_at: u64,
    inbox: std::collections::VecDeque<u8>,
}

impl BoardPort {
    /// The port of a board.
    pub fn new(board: BoardSim) -> BoardPort {
        let active_at = board.cycles();
        BoardPort { board: Arc::new(Mutex::new(board)), skipped: Duration::ZERO, active_at, inbox: Default::default() }
    }

    /// A second way to the board.
    pub fn board(&self) -> Arc<Mutex<BoardSim>> {
        Arc::clone(&self.board)
    }

    /// Lets up to so many cycles pass, until a byte comes. Gives the cycles that an idle board left.
    fn pass(&mut self, cycles: u64) -> io::Result<u64> {
        let mut board = lock(&self.board);
        let mut left = cycles;
        while left > 0 {
            let now = board.cycles();
            let calm = board.sending() == 0 && !board.receiving() && board.leds() & RUNNING == 0;
            let slice = match calm {
                true if now >= self.active_at + LINGER_CYCLES => return Ok(left),
                true => self.active_at + LINGER_CYCLES - now,
                false => LINGER_CYCLES,
            };
            let sending = board.sending();
            let until = Until { received: true, sent: sending > 0, leds: true };
            board.run_until(slice.min(left), until).map_err(io::Error::other)?;
            left = left.saturating_sub(board.cycles() - now);
            if sending > 0 {
                self.active_at = board.cycles();
            }
            let came = board.received();
            if !came.is_empty() {
                self.active_at = board.cycles();
                self.inbox.extend(came);
                break;
            }
        }
        Ok(0)
    }
}

impl Port for BoardPort {
    fn name(&self) -> String {
        "the simulated board".to_owned()
    }

    fn now(&mut self) -> Duration {
        lock(&self.board).time() + self.skipped
    }

    fn send(&mut self, bytes: &[u8], _limit: Duration) -> io::Result<()> {
        lock(&self.board).send(bytes);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        if self.inbox.is_empty() {
            let cycles = lock(&self.board).options().cycles_in(limit).max(1);
            let skipped = self.pass(cycles)?;
            self.skipped += lock(&self.board).options().time_of(skipped);
        }
        let count = bytes.len().min(self.inbox.len());
        for (slot, byte) in bytes.iter_mut().zip(self.inbox.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.inbox.clear();
        Ok(())
    }
}

/// A panic of another thread that holds the lock leaves a board that is still a board.
fn lock(board: &Mutex<BoardSim>) -> MutexGuard<'_, BoardSim> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
