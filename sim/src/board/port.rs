//! A host's end of the line to a simulated board in the same process.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_driver::serial::Port;

use super::Cable;

/// A port at whose other end a simulated board is.
///
/// Time is the board's. It passes as the host sends and receives; where the board has nothing to do, waiting skips it.
#[derive(Debug)]
pub struct BoardPort {
    cable: Arc<Mutex<Cable>>,
    /// Time that was skipped.
    skipped: Duration,
    inbox: VecDeque<u8>,
}

impl BoardPort {
    /// The host's end of a cable.
    pub fn new(cable: Cable) -> BoardPort {
        BoardPort::shared(Arc::new(Mutex::new(cable)))
    }

    /// The host's end of a cable that others look at too, or that a port before this one was at.
    pub fn shared(cable: Arc<Mutex<Cable>>) -> BoardPort {
        BoardPort { cable, skipped: Duration::ZERO, inbox: VecDeque::new() }
    }

    /// A second way to the cable and its board.
    pub fn cable(&self) -> Arc<Mutex<Cable>> {
        Arc::clone(&self.cable)
    }

    /// Lets time pass until bytes come, or up to a limit.
    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let mut cable = lock(&self.cable);
        let begin = cable.board().cycles();
        let cycles = cable.board().options().cycles_in(limit).max(1);
        loop {
            self.inbox.extend(cable.received());
            let left = cycles.saturating_sub(cable.board().cycles() - begin);
            if !self.inbox.is_empty() || left == 0 {
                return Ok(());
            }
            if !cable.busy() {
                self.skipped += cable.board().options().time_of(left);
                return Ok(());
            }
            cable.advance(left).map_err(io::Error::other)?;
        }
    }
}

impl Port for BoardPort {
    fn name(&self) -> String {
        "the simulated board".to_owned()
    }

    fn now(&mut self) -> Duration {
        lock(&self.cable).board().time() + self.skipped
    }

    fn send(&mut self, bytes: &[u8], _limit: Duration) -> io::Result<()> {
        lock(&self.cable).send(bytes);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        if self.inbox.is_empty() {
            self.wait(limit)?;
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
fn lock(cable: &Mutex<Cable>) -> MutexGuard<'_, Cable> {
    cable.lock().unwrap_or_else(PoisonError::into_inner)
}
