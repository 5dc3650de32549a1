//! What a run cost, segment by segment.

use crate::Copied;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Index in [`Profile::segments`].
    pub segment: usize,
    /// First sample.
    pub sample: u64,
    /// Number of samples.
    pub samples: u64,
    /// Microseconds from the beginning of the profile.
    pub start_us: f64,
    /// Microseconds.
    pub duration_us: f64,
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
    /// Wall time of every sample: that of its batch, divided by the samples of the batch.
    pub latencies: Vec<Duration>,
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

    /// The accelerator's counters of all segments, added up.
    pub fn counters(&self) -> Counters {
        self.segments.iter().filter_map(|s| s.counters).fold(Counters::default(), |sum, c| sum + c)
    }

    /// The timeline in the trace event format that Chrome and Perfetto read: one track a device, times in microseconds.
    pub fn to_chrome_json(&self) -> String {
        let track = |device: Device| match device {
            Device::Cpu => 1,
            Device::Vta => 2,
        };
        let mut events = vec![json!({"name": "process_name", "ph": "M", "pid": 1, "args": {"name": self.model}})];
        for device in [Device::Cpu, Device::Vta] {
            let args = json!({"name": device.name()});
            events.push(json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": track(device), "args": args}));
        }
        for span in &self.spans {
            let Some(segment) = self.segments.get(span.segment) else { continue };
            events.push(json!({
                "name": format!("segment {}: {}", span.segment, segment.ops),
                "cat": segment.device.name(),
                "ph": "X",
                "pid": 1,
                "tid": track(segment.device),
                "ts": span.start_us,
                "dur": span.duration_us,
                "args": {"sample": span.sample, "samples": span.samples},
            }));
        }
        let segments: Vec<_> = self.segments.iter().map(summary).collect();
        let other = json!({"model": self.model, "samples": self.samples(), "segments": segments});
        json!({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}).to_string()
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
    }
}
