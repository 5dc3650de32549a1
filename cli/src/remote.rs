//! What a device of another machine costs beyond itself: round trips, bytes and time of the link.

use crate::table::grouped;
use serde_json::{Value, json};
use tandem_driver::remote::{Link, Traffic, TrafficMonitor};

/// The link of a device under way.
pub struct Remote {
    link: Link,
    monitor: TrafficMonitor,
    /// What went over the link when the link had been measured.
    measured: Traffic,
    /// What went over it when the programs were in place.
    loaded: Traffic,
}

impl Remote {
    /// The link of a connection, and a look at it.
    pub fn new(link: Link, monitor: TrafficMonitor) -> Remote {
        let measured = monitor.traffic();
        Remote { link, monitor, measured, loaded: measured }
    }

    /// What it was measured to bear.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Why the connection is lost, where it is.
    pub fn lost(&self) -> Option<String> {
        self.monitor.lost()
    }

    /// What went over the link until now was to place programs; the rest is runs.
    pub fn begin(&mut self) {
        self.loaded = self.monitor.traffic();
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let (loading, running) = self.spent();
        let part = |t: Traffic| {
            json!({
                "round_trips": t.round_trips,
                "bytes_sent": t.bytes_sent,
                "bytes_received": t.bytes_received,
                "link_ms": t.link().as_secs_f64() * 1e3,
                "device_ms": t.device.as_secs_f64() * 1e3,
            })
        };
        json!({
            "loading": part(loading),
            "running": part(running),
            "latency_s": self.link.latency_s,
            "bytes_per_s": self.link.bytes_per_s,
        })
    }

    /// For people; `samples` is how many ran.
    pub fn text(&self, samples: u64) -> String {
        let (loading, running) = self.spent();
        let ms = |time: std::time::Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
        format!(
            "link: {} round trips ({:.1} a sample), {} bytes sent and {} received, {} on the way beside {} at the device; \
             loading took {} round trips and {} bytes; measured at first {:.3} ms a round trip and {:.1} MB/s\n",
            grouped(running.round_trips),
            running.round_trips as f64 / samples.max(1) as f64,
            grouped(running.bytes_sent),
            grouped(running.bytes_received),
            ms(running.link()),
            ms(running.device),
            grouped(loading.round_trips),
            grouped(loading.bytes_sent + loading.bytes_received),
            self.link.latency_s * 1e3,
            self.link.bytes_per_s / 1e6,
        )
    }

    /// What placing programs took, and what runs took.
    fn spent(&self) -> (Traffic, Traffic) {
        (self.loaded.since(&self.measured), self.monitor.traffic().since(&self.loaded))
    }
}
