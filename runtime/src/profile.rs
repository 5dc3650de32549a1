//! What a run cost, segment by segment.

use crate::Work;
use serde::Serialize;
use std::time::{Duration, Instant};
use tandem_driver::Counters;
use tandem_plan::Device;

/// One segment of a run.
#[derive(Clone, Debug)]
pub struct SegmentProfile {
    /// Where it ran.
    pub device: Device,
    /// Operators in it.
    pub ops: usize,
    /// When it began, since the run began.
    pub begin: Duration,
    /// Wall time.
    pub wall: Duration,
    /// Copies and counters.
    pub work: Work,
}

/// A run: its segments in order.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Samples computed.
    pub samples: usize,
    /// Segments in order of execution.
    pub segments: Vec<SegmentProfile>,
}

#[derive(Serialize)]
struct Event<'a> {
    name: String,
    ph: &'a str,
    ts: f64,
    dur: f64,
    pid: u32,
    tid: usize,
}

impl Profile {
    /// Wall time of the whole run.
    pub fn wall(&self) -> Duration {
        self.segments.iter().map(|s| s.wall).sum()
    }

    /// The accelerator's counters over all segments.
    pub fn counters(&self) -> Option<Counters> {
        let mut sum: Option<Counters> = None;
        for counters in self.segments.iter().filter_map(|s| s.work.counters.as_ref()) {
            *sum.get_or_insert_with(Counters::default) += *counters;
        }
        sum
    }

    /// Events in the format that Chrome and Perfetto open; one track a device, times in microseconds.
    ///
    /// # Errors
    /// Never in practice: the events hold no map with odd keys.
    pub fn to_trace(&self) -> Result<String, serde_json::Error> {
        let events: Vec<Event<'_>> = self
            .segments
            .iter()
            .enumerate()
            .map(|(i, s)| Event {
                name: format!("segment {i}: {} operators on {}", s.ops, s.device.name()),
                ph: "X",
                ts: s.begin.as_secs_f64() * 1e6,
                dur: s.wall.as_secs_f64() * 1e6,
                pid: 1,
                tid: s.device as usize,
            })
            .collect();
        serde_json::to_string(&serde_json::json!({ "traceEvents": events, "displayTimeUnit": "ms" }))
    }
}

/// A clock that starts with the run.
pub(crate) struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
