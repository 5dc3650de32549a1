//! Host and device in one process, with a wire between them that has bit rate, noise and delays, and time of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::noise::Noise;
use super::port::Port;
use super::server::FrameServer;
use crate::Bus;

/// The host's end of a wire to a [`FrameServer`].
///
/// Time passes as bytes cross the wire and as the host waits; no real time does. [`Loopback::wire`] is a second way to the wire:
/// to unplug it, and to look at the device.
#[derive(Debug)]
pub struct Loopback<B> {
    wire: Arc<Mutex<Wire<B>>>,
}

/// How a wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Both ends are connected.
    Plugged,
    /// It carries nothing, and the host cannot tell.
    Cut,
    /// The host's port is gone.
    Unplugged,
}

/// A wire with a device at its end.
#[derive(Debug)]
pub struct Wire<B> {
    server: FrameServer<B>,
    cable: Cable,
    noise: Noise,
    now: Duration,
    /// Time that a byte takes.
    byte_time: Duration,
    /// Time that the device takes to answer.
    latency: Duration,
    /// Bytes on their way to the host and when each arrives.
    on_the_way: VecDeque<(Duration, u8)>,
    /// One in so many bytes comes late, by up to 30 ms.
    late_one_in: Option<u32>,
    /// Bytes until the cable changes by itself.
    change_after: Option<(u64, Cable)>,
}

impl<B: Bus> Loopback<B> {
    /// A quiet wire of a megabit a second.
    pub fn new(server: FrameServer<B>) -> Loopback<B> {
        let wire = Wire {
            server,
            cable: Cable::Plugged,
            noise: Noise::none(),
            now: Duration::ZERO,
            byte_time: Duration::from_micros(10),
            latency: Duration::from_micros(50),
            on_the_way: VecDeque::new(),
            late_one_in: None,
            change_after: None,
        };
        Loopback { wire: Arc::new(Mutex::new(wire)) }
    }

    /// A second way to the wire.
    pub fn wire(&self) -> Arc<Mutex<Wire<B>>> {
        Arc::clone(&self.wire)
    }
}

impl<B: Bus> Wire<B> {
    /// The device's end.
    pub fn server(&mut self) -> &mut FrameServer<B> {
        &mut self.server
    }

    /// How the cable is.
    pub fn cable(&self) -> Cable {
        self.cable
    }

    /// Changes how the cable is. What is on the way is lost.
    pub fn set_cable(&mut self, cable: Cable) {
        self.cable = cable;
        self.on_the_way.clear();
        self.change_after = None;
    }

    /// Changes the cable once so many more bytes have been sent.
    pub fn set_cable_after(&mut self, bytes: u64, cable: Cable) {
        self.change_after = Some((bytes, cable));
    }

    /// What happens to bytes in both directions.
    pub fn set_noise(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// One in so many bytes comes late.
    pub fn set_late(&mut self, one_in: Option<u32>) {
        self.late_one_in = one_in;
    }

    /// How fast the wire and the device are.
    pub fn set_speed(&mut self, byte_time: Duration, latency: Duration) {
        (self.byte_time, self.latency) = (byte_time, latency);
    }

    /// The time on the wire.
    pub fn now(&self) -> Duration {
        self.now
    }

    fn open(&self) -> io::Result<()> {
        match self.cable {
            Cable::Unplugged => Err(io::Error::new(io::ErrorKind::NotConnected, "the cable is unplugged")),
            Cable::Plugged | Cable::Cut => Ok(()),
        }
    }

    fn send(&mut self, byte: u8) -> io::Result<()> {
        if let Some((left, cable)) = &mut self.change_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                let cable = *cable;
                self.set_cable(cable);
            }
        }
        self.open()?;
        self.now += self.byte_time;
        if self.cable == Cable::Cut {
            return Ok(());
        }
        let mut answer = Vec::new();
        for arrived in self.noise.pass(byte) {
            self.server.receive(&[arrived], &mut answer);
        }
        let last = self.on_the_way.back().map_or(Duration::ZERO, |&(at, _)| at);
        let mut at = last.max(self.now + self.latency);
        for byte in answer {
            if let Some(one_in) = self.late_one_in
                && self.noise.below(one_in) == 0
            {
                at += Duration::from_millis(self.noise.below(30).into());
            }
            for arrived in self.noise.pass(byte) {
                at += self.byte_time;
                self.on_the_way.push_back((at, arrived));
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.open()?;
        let end = self.now + limit;
        match self.on_the_way.front() {
            Some(&(at, _)) if at <= end => self.now = self.now.max(at),
            _ => {
                self.now = end;
                if self.cable == Cable::Plugged {
                    // The device runs meanwhile; how far is its own business.
                    self.server.idle(Duration::from_millis(1)).map_err(io::Error::other)?;
                }
                return Ok(0);
            }
        }
        let mut count = 0;
        while let Some(slot) = bytes.get_mut(count)
            && let Some(&(at, byte)) = self.on_the_way.front()
            && at <= self.now
        {
            *slot = byte;
            self.on_the_way.pop_front();
            count += 1;
        }
        Ok(count)
    }
}

impl<B: Bus + Send> Port for Loopback<B> {
    fn name(&self) -> String {
        "the wire".to_owned()
    }

    fn now(&mut self) -> Duration {
        lock(&self.wire).now
    }

    fn send(&mut self, bytes: &[u8], _limit: Duration) -> io::Result<()> {
        let mut wire = lock(&self.wire);
        bytes.iter().try_for_each(|&byte| wire.send(byte))
    }

    fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
        lock(&self.wire).receive(bytes, limit)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut wire = lock(&self.wire);
        wire.on_the_way.clear();
        wire.open()
    }
}

/// A panic of another thread that holds the lock leaves a wire that is still a wire.
fn lock<B>(wire: &Mutex<Wire<B>>) -> MutexGuard<'_, Wire<B>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}
