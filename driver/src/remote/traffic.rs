//! What the way to a remote device costs, counted and measured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a way bears, as it was measured when it was opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Seconds of an empty round trip.
    pub latency_s: f64,
    /// Bytes a second of a long copy, both directions on average.
    pub bytes_per_s: f64,
}

/// What went over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often the client waited for an answer.
    pub round_trips: u64,
    /// Bytes to the server, frames and seals included.
    pub bytes_sent: u64,
    /// Bytes from the server.
    pub bytes_received: u64,
    /// Time from the first byte of each request to the last of its reply.
    pub waited: Duration,
    /// That part of it in which the server's device was at work, as the server measured.
    pub device: Duration,
}

/// A look at a connection that something else owns.
#[derive(Clone, Debug, Default)]
pub struct TrafficMonitor {
    seen: Arc<Mutex<(Traffic, Option<String>)>>,
}

impl Link {
    /// Seconds that a copy of so many bytes takes, with the round trip that it needs.
    pub fn seconds(&self, bytes: u64) -> f64 {
        self.latency_s + bytes as f64 / self.bytes_per_s
    }
}

impl Traffic {
    /// Time that the link took: what the client waited while the device was not at work.
    pub fn link(&self) -> Duration {
        self.waited.saturating_sub(self.device)
    }

    /// What came since an earlier moment.
    pub fn since(&self, earlier: &Traffic) -> Traffic {
        Traffic {
            round_trips: self.round_trips.saturating_sub(earlier.round_trips),
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
            waited: self.waited.saturating_sub(earlier.waited),
            device: self.device.saturating_sub(earlier.device),
        }
    }
}

impl TrafficMonitor {
    /// What went over the link so far.
    pub fn traffic(&self) -> Traffic {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Why the connection is lost, where it is.
    pub fn lost(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).0);
    }

    pub(super) fn end(&self, why: Option<String>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = why;
    }
}
