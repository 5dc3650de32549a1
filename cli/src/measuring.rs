//! A plan that runs, one request after the other and several under way together, on one time axis.

use crate::session::Session;
use anyhow::{Context, Result};
use std::collections::HashMap;
use tandem_plan::Device;
use tandem_runtime::{Replayed, Timeline};
use tandem_tensor::Tensor;

/// Cycles of a sample by segment of the plan.
pub type Cycles = HashMap<usize, f64>;

/// What runs of a plan took.
pub struct Runs {
    /// What ran.
    pub session: Session,
    /// The outputs of every sample.
    pub outputs: Vec<Vec<Tensor>>,
    /// One request after the other, without the first run of all, which brings programs and weights to their places.
    pub alone: Timeline,
    /// Several requests under way together, where there were any.
    pub together: Option<Timeline>,
    /// How many were under way together, at most.
    pub in_flight: usize,
    /// Samples of a request.
    pub batch: usize,
}

impl Runs {
    /// Runs samples one request after the other, and then as many requests under way together as that, where it is more than one. A
    /// device that this session simulates takes the cycles of its segments, or what it counts itself where `cycles` has none.
    ///
    /// # Errors
    /// One sentence: the segment that failed, or more runs than are recorded.
    pub fn of(mut session: Session, samples: &[Vec<Tensor>], in_flight: usize, cycles: &Cycles) -> Result<Runs> {
        let batch = session.executor.samples();
        session.run(&samples[..batch.min(samples.len())], None, 1)?;
        let outputs = session.run(samples, None, 1)?;
        if in_flight > 1 {
            session.run(samples, None, in_flight)?;
        }
        let clock_hz = session.clock_hz();
        let profile = session.executor.profile();
        let timeline = profile.replay(&|span| {
            let device = profile.segments.get(span.row).map_or(Device::Cpu, |segment| segment.device);
            let [stage, compute, collect] = session.seconds(span);
            let counted = cycles.get(&span.segment).filter(|_| device.is_vta());
            [stage, counted.map_or(compute, |cycles| cycles * span.samples as f64 / clock_hz), collect]
        });
        let timeline = timeline.context("there were more runs than a timeline holds; use fewer samples")?;
        let first = 1 + samples.len().div_ceil(batch);
        let together = (in_flight > 1).then(|| timeline.part(first..timeline.requests.len()));
        Ok(Runs { session, outputs, alone: timeline.part(1..first), together, in_flight, batch })
    }

    /// The median time from the inputs to the outputs of a sample, one request after the other, in seconds.
    pub fn latency(&self) -> f64 {
        middle(self.alone.requests.iter().map(|(begin, end)| end - begin).collect()) / self.batch as f64
    }

    /// The time between the results of two samples, where several requests were under way together, in seconds.
    pub fn period(&self) -> Option<f64> {
        match &self.together.as_ref()?.requests[..] {
            [(_, first), .., (_, last)] => {
                let requests = self.together.as_ref()?.requests.len();
                Some((last - first) / (self.batch * (requests - 1)) as f64)
            }
            _ => None,
        }
    }

    /// What a sample takes of something, one request after the other: the sum over the runs of a request, and of those the median.
    pub fn median(&self, of: impl Fn(&Replayed) -> f64) -> f64 {
        let mut sums: HashMap<u64, f64> = HashMap::new();
        for run in &self.alone.runs {
            *sums.entry(run.span.request).or_default() += of(run);
        }
        middle(sums.into_values().collect()) / self.batch as f64
    }

    /// What a sample computes on a device, in seconds.
    pub fn computing(&self, device: Device) -> f64 {
        self.median(|run| if run.device == device { run.compute.1 - run.compute.0 } else { 0.0 })
    }

    /// The copies of a sample to devices and from them, in seconds.
    pub fn copying(&self) -> f64 {
        self.median(|run| run.stage.1 - run.stage.0 + run.collect.1 - run.collect.0)
    }
}

/// The cycles that a session's devices counted for a sample, by segment.
pub fn cycles(session: &Session) -> Cycles {
    let profile = session.executor.profile();
    let mut cycles = Cycles::new();
    for span in &profile.spans {
        if let Some(counted) = span.phases.cycles {
            *cycles.entry(span.segment).or_default() += counted as f64 / profile.samples().max(1) as f64;
        }
    }
    cycles
}

/// The middle one of these, 0 of none.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
