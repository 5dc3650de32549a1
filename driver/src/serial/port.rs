//! A channel of bytes with limits on every wait, and the clock by which the limits count.

use std::io;
use std::time::Duration;

/// Both directions of a byte channel.
///
/// Nothing here waits for longer than its limit, and time is what the port says it is, so that a simulated cable has simulated
/// time. An error means that the channel is gone: closed by the other side, or its device node has vanished.
pub trait Port: Send {
    /// What it is, for messages: a path or an address.
    fn name(&self) -> String;

    /// Time since some moment that does not change.
    fn now(&mut self) -> Duration;

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where they are not all accepted within the limit; anything else where the channel is gone.
    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()>;

    /// Takes what has arrived, waiting for at most `limit`; 0 where nothing came.
    ///
    /// # Errors
    /// The channel is gone.
    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize>;

    /// Opens the channel again by the name that it was opened by.
    ///
    /// # Errors
    /// As for the first time.
    fn reopen(&mut self) -> io::Result<()>;

    /// Lets the other side know that nothing more will come, where the port can, until it is opened again.
    fn close(&mut self) {}
}

/// A time without an answer, in words.
pub(crate) fn long(silence: Duration) -> String {
    match silence.as_millis().div_ceil(1000) {
        1 => "a second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn name(&self) -> String {
        (**self).name()
    }

    fn now(&mut self) -> Duration {
        (**self).now()
    }

    fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        (**self).send(bytes, limit)
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        (**self).receive(bytes, limit)
    }

    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }
}
