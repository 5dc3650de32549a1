//! What a run cost, segment by segment.

use crate::Copied;
use serde_json::json;
use std::time::{Duration, Instant};
use tandem_driver::Counters;
use tandem_plan::Device;

/// Spans kept for the timeline; later ones only count in the sums.
const MAX_SPANS: usize = 100_000;

/// The sums of one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentProfile {
    /// Who ran it.
    pub device: Device,
    /// Its operators with their counts.
    pub ops: String,
    /// Wall time, all runs together.
    pub wall: Duration,
    /// Samples that went through.
    pub samples: u64,
    /// What went to the device and came back.
    pub copied: Copied,
    /// The device's counters, added up; `None` for a device without any.
    pub counters: Option<Counters>,
}

/// One run of one segment on the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// Index in [`Profile::segments`].
    pub row: usize,
    /// Index of the segment in the plan.
    pub segment: usize,
    /// The samples that went through the segments together, counted from the beginning of the profile.
    pub request: u64,
    /// First sample.
    pub sample: u64,
    /// Number of samples.
    pub samples: u64,
    /// What was done when.
    pub phases: Phases,
}

/// The phases of a run of a segment, on the clock of the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// The inputs go to the device; empty where nothing goes anywhere.
    pub stage: Interval,
    /// The device computes, or whatever stands for it.
    pub compute: Interval,
    /// The results come back; empty where nothing goes anywhere.
    pub collect: Interval,
    /// Cycles of the device, where it counts them.
    pub cycles: Option<u64>,
}

/// From one moment to another, since the beginning of the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The first moment.
    pub begin: Duration,
    /// The last one.
    pub end: Duration,
}

impl Interval {
    /// How long it is.
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }

    pub(crate) fn measure<T>(&mut self, clock: Clock, what: impl FnOnce() -> T) -> T {
        self.begin = clock.now();
        let result = what();
        self.end = clock.now();
        result
    }
}

impl Phases {
    /// From the first moment to the last one.
    pub fn whole(&self) -> Interval {
        let parts = [self.stage, self.compute, self.collect].into_iter().filter(|part| part.end > Duration::ZERO);
        let hull = |a: Interval, b: Interval| Interval { begin: a.begin.min(b.begin), end: a.end.max(b.end) };
        parts.reduce(hull).unwrap_or_default()
    }
}

/// Tells the time since the beginning of a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(pub(crate) Instant);

impl Clock {
    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// What all runs of an executor cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Name of the model.
    pub model: String,
    /// One entry for every segment of the plan that ran, and one more for each that a fallback took over.
    pub segments: Vec<SegmentProfile>,
    /// The timeline, up to a limit.
    pub spans: Vec<Span>,
    /// Wall time of every sample: that of its request, divided by the samples of the request.
    pub latencies: Vec<Duration>,
    /// Requests that were run.
    pub requests: u64,
    /// For every segment of the plan those that make what it reads.
    pub needs: Vec<Vec<usize>>,
    /// How many requests were under way together, at most, from which request on; the first of each entry began when all before it
    /// had ended.
    pub rounds: Vec<Round>,
}

/// Requests that were handed in together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Number of the first.
    pub first: u64,
    /// How many of them are under way at once, at most.
    pub in_flight: usize,
}

impl Profile {
    /// Samples that were run.
    pub fn samples(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// The median wall time of a sample.
    pub fn median_latency(&self) -> Option<Duration> {
        median(self.latencies.clone())
    }

    /// The counters of an accelerator, those of all its segments added up.
    pub fn counters(&self, device: Device) -> Counters {
        let own = self.segments.iter().filter(|segment| segment.device == device);
        own.filter_map(|s| s.counters).fold(Counters::default(), |sum, c| sum + c)
    }

    /// A time that as many percent of the samples were not slower than, 0..=100; `None` of none.
    pub fn latency_percentile(&self, percent: f64) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?)).copied()
    }

    /// The timeline in the trace event format that Chrome and Perfetto read, in microseconds of this host: two tracks a device, for
    /// what it computes and for what goes to it and comes back.
    pub fn to_chrome_json(&self) -> String {
        let mut devices: Vec<Device> = self.segments.iter().map(|segment| segment.device).collect();
        devices.sort_unstable();
        devices.dedup();
        let track = |device: Device| 2 * devices.iter().position(|&d| d == device).unwrap_or(0);
        let mut events = vec![json!({"name": "process_name", "ph": "M", "pid": 1, "args": {"name": self.model}})];
        for &device in &devices {
            for (tid, name) in [(track(device), device.to_string()), (track(device) + 1, format!("{device} copies"))] {
                let args = json!({"name": name});
                events.push(json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": args}));
            }
        }
        for span in &self.spans {
            let Some(segment) = self.segments.get(span.row) else { continue };
            let (compute, Phases { stage, collect, .. }) = (track(segment.device), span.phases);
            let parts = [
                ("copy in", compute + 1, stage),
                ("run", compute, span.phases.compute),
                ("copy out", compute + 1, collect),
            ];
            for (what, tid, part) in parts.into_iter().filter(|(_, _, part)| !part.length().is_zero()) {
                events.push(json!({
                    "name": format!("{what} {}: {}", span.segment, segment.ops),
                    "cat": segment.device,
                    "ph": "X",
                    "pid": 1,
                    "tid": tid,
                    "ts": part.begin.as_secs_f64() * 1e6,
                    "dur": part.length().as_secs_f64() * 1e6,
                    "args": {"sample": span.sample, "samples": span.samples, "cycles": span.phases.cycles},
                }));
            }
        }
        let segments: Vec<_> = self.segments.iter().map(summary).collect();
        let other = json!({"model": self.model, "samples": self.samples(), "segments": segments});
        json!({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}).to_string()
    }

    /// Whether there were more spans than are kept.
    pub(crate) fn is_cut(&self) -> bool {
        self.spans.len() >= MAX_SPANS
    }

    /// The next requests are handed in together.
    pub(crate) fn begin_round(&mut self, in_flight: usize) {
        // Requests one by one are one round, however they are handed in.
        if in_flight > 1 || self.rounds.last().is_none_or(|round| round.in_flight > 1) {
            self.rounds.push(Round { first: self.requests, in_flight });
        }
    }

    pub(crate) fn push(&mut self, span: Span) {
        if self.spans.len() < MAX_SPANS {
            self.spans.push(span);
        }
    }
}

/// The middle one, or half way between the middle two; `None` of none.
pub fn median(mut durations: Vec<Duration>) -> Option<Duration> {
    durations.sort_unstable();
    let (lower, upper) = (durations.get(durations.len().checked_sub(1)? / 2)?, durations.get(durations.len() / 2)?);
    Some((*lower + *upper) / 2)
}

fn summary(segment: &SegmentProfile) -> serde_json::Value {
    let counters = segment.counters.map(|c| {
        json!({
            "instructions": c.instructions,
            "uops": c.uops(),
            "bytes_loaded": c.bytes_loaded(),
            "bytes_stored": c.bytes_stored(),
            "cycles": c.cycles,
        })
    });
    json!({
        "device": segment.device,
        "ops": segment.ops,
        "wall_ms": segment.wall.as_secs_f64() * 1e3,
        "samples": segment.samples,
        "bytes_copied": segment.copied.bytes,
        "copy_ms": segment.copied.wall.as_secs_f64() * 1e3,
        "vta": counters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_middle_samples() {
        let ms = Duration::from_millis;
        let profile = |l: &[u64]| Profile { latencies: l.iter().map(|&x| ms(x)).collect(), ..Profile::default() };
        assert_eq!(profile(&[]).median_latency(), None);
        assert_eq!(profile(&[3]).median_latency(), Some(ms(3)));
        assert_eq!(profile(&[9, 1, 2]).median_latency(), Some(ms(2)));
        assert_eq!(profile(&[9, 1, 2, 4]).median_latency(), Some(ms(3)));
        let many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(
            [50.0, 99.0, 100.0, 0.0].map(|p| profile(&many).latency_percentile(p)),
            [100, 198, 200, 1].map(|x| Some(ms(x)))
        );
        assert_eq!(profile(&[]).latency_percentile(50.0), None);
    }
}
