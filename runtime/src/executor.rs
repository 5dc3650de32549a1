//! A graph on its devices, ready to run.

use crate::profile::{Clock, Phases};
use crate::queue::run_once;
use crate::wiring::{Values, Wiring};
use crate::{Backend, ErrorClass, Executable, Failure, Profile, RuntimeError, SegmentProfile, Span};
use std::time::{Duration, Instant};
use tandem_graph::Graph;
use tandem_plan::{Device, Plan, extract};
use tandem_tensor::Tensor;

/// A graph on its devices, ready to run.
pub struct Executor {
    pub(crate) wiring: Wiring,
    /// One entry for each segment of the plan.
    pub(crate) segments: Vec<Ready>,
    pub(crate) profile: Profile,
    pub(crate) clock: Clock,
    /// What runs the segments of devices that fail.
    spares: Vec<Box<dyn Backend>>,
    failures: Vec<Failure>,
    /// Whether segments of a request can run at the same time.
    branches: bool,
}

/// A segment on its device.
pub(crate) struct Ready {
    /// Index in the profile.
    row: usize,
    pub(crate) device: Device,
    ops: String,
    /// The segment as a graph of its own.
    part: Graph,
    /// Not there while a queue has it, and for a segment that nobody reads, which is not worth compiling.
    pub(crate) executable: Option<Box<dyn Executable>>,
}

/// A segment that has another executable now.
pub(crate) type Moved = (usize, Box<dyn Executable>);

/// The samples of a run of a segment.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) request: u64,
    pub(crate) sample: u64,
    pub(crate) samples: u64,
}

impl Executor {
    /// Compiles every segment of the plan with the backend of its device.
    ///
    /// # Errors
    /// [`RuntimeError::Segment`] naming the segment that does not compile or load; Invalid for a plan of another graph.
    pub fn new(graph: &Graph, plan: &Plan, backends: &mut [Box<dyn Backend>]) -> Result<Executor, RuntimeError> {
        let wiring = Wiring::new(graph, plan)?;
        let mut segments: Vec<Ready> = Vec::with_capacity(plan.segments.len());
        let needs = wiring.segments.iter().map(|ends| ends.needs.clone()).collect();
        let mut profile = Profile { model: graph.name.clone(), needs, ..Profile::default() };
        for ((index, segment), row) in plan.segments.iter().enumerate().zip(plan.rows()) {
            let place = |source| RuntimeError::Segment {
                segment: index,
                device: segment.device,
                ops: row.ops.clone(),
                source: Box::new(source),
            };
            let backend = backends.iter_mut().find(|b| b.device() == segment.device);
            let backend = backend.ok_or_else(|| place(RuntimeError::NoBackend(segment.device)))?;
            let part = extract(graph, segment);
            let mut executable = None;
            if wiring.segments[index].is_live() {
                let compiled = backend.compile(&part).map_err(place)?;
                profile.segments.push(unspent(segment.device, &row.ops, &*compiled));
                executable = Some(compiled);
            }
            let row_index = profile.segments.len().saturating_sub(1);
            segments.push(Ready { row: row_index, device: segment.device, ops: row.ops, part, executable });
        }
        let branches = crate::flow::Flow::branches(&wiring.segments, |s| segments[s].device);
        let (spares, failures, clock) = (Vec::new(), Vec::new(), Clock(Instant::now()));
        Ok(Executor { wiring, segments, profile, clock, spares, failures, branches })
    }

    /// The same with backends that take over the segments of a device that fails: each goes to the first of them, on another device,
    /// that runs all its nodes.
    ///
    /// A device has failed when its error is a Fault, or Unavailable. What the failed segment was to compute is computed again from
    /// its inputs, which are on the host, so that a run that others can finish has no error.
    pub fn with_spares(self, spares: Vec<Box<dyn Backend>>) -> Executor {
        Executor { spares, ..self }
    }

    /// The devices that have failed so far.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many samples the devices take at a time; handing in multiples of it wastes nothing.
    pub fn samples(&self) -> usize {
        self.segments.iter().flat_map(|s| &s.executable).map(|executable| executable.samples()).max().unwrap_or(1)
    }

    /// The graph's outputs for every sample. A sample is one tensor for every input of the graph.
    ///
    /// All samples go through one segment before the next one starts; segments that do not wait for each other run at the same time
    /// where they are on different devices.
    ///
    /// # Errors
    /// [`RuntimeError::Invalid`] for samples that do not fit, [`RuntimeError::Segment`] naming the segment that failed.
    pub fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        if self.branches {
            return self.stream(samples, samples.len(), 1, &mut |_| {});
        }
        self.wiring.check(samples)?;
        self.profile.begin_round(1);
        let begin = self.clock.now();
        let batch = Batch { samples: samples.len() as u64, ..self.batch() };
        let mut values = self.wiring.begin(samples);
        for segment in 0..self.segments.len() {
            if self.wiring.segments[segment].is_live() {
                self.run_segment(segment, batch, &mut values)?;
            }
        }
        let results = self.wiring.end(values)?;
        self.account(begin, samples.len());
        Ok(results)
    }

    /// What all runs have cost so far.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The place of the next request, still without samples.
    pub(crate) fn batch(&self) -> Batch {
        Batch { request: self.profile.requests, sample: self.profile.samples(), samples: 0 }
    }

    /// Enters a request that began then and has ended now.
    pub(crate) fn account(&mut self, begin: Duration, samples: usize) {
        self.profile.requests += 1;
        if let Ok(count) = u32::try_from(samples)
            && count > 0
        {
            let each = self.clock.now().saturating_sub(begin) / count;
            self.profile.latencies.extend(std::iter::repeat_n(each, samples));
        }
    }

    /// Enters a run of a segment, whose executable is at hand or has these sums.
    pub(crate) fn record(&mut self, segment: usize, batch: Batch, phases: Phases) {
        let ready = &self.segments[segment];
        let Batch { request, sample, samples } = batch;
        self.profile.push(Span { row: ready.row, segment, request, sample, samples, phases });
        if let Some(sums) = self.profile.segments.get_mut(ready.row) {
            sums.wall +=
                [phases.stage, phases.compute, phases.collect].iter().map(|part| part.length()).sum::<Duration>();
            sums.samples += samples;
        }
    }

    /// Enters what an executable has counted.
    pub(crate) fn sum_up(&mut self, segment: usize) {
        let ready = &self.segments[segment];
        if let (Some(sums), Some(executable)) = (self.profile.segments.get_mut(ready.row), &ready.executable) {
            sums.copied = executable.copied();
            sums.counters = executable.counters();
        }
    }

    fn run_segment(&mut self, segment: usize, batch: Batch, values: &mut Values) -> Result<(), RuntimeError> {
        let inputs = self.wiring.take(segment, values)?;
        let (results, phases) = loop {
            let ready = &mut self.segments[segment];
            let device = ready.device;
            let Some(executable) = &mut ready.executable else { return Err(RuntimeError::NoBackend(device)) };
            match run_once(&mut **executable, &inputs, self.clock) {
                Ok(done) => break done,
                Err(error) => {
                    for (moved, executable) in self.take_over(segment, error, batch.sample)? {
                        self.segments[moved].executable = Some(executable);
                    }
                }
            }
        };
        self.wiring.put(segment, results, values);
        self.record(segment, batch, phases);
        self.sum_up(segment);
        Ok(())
    }

    /// Places every segment of the device of this one on spares, and gives the new executables.
    ///
    /// # Errors
    /// The segment's error, where no device is to take its work or none can; the one of a spare that does not compile it.
    pub(crate) fn take_over(
        &mut self,
        segment: usize,
        error: RuntimeError,
        sample: u64,
    ) -> Result<Vec<Moved>, RuntimeError> {
        let (device, class) = (self.segments[segment].device, error.class());
        let error = self.failed(segment, error);
        if !matches!(class, ErrorClass::Fault | ErrorClass::Unavailable) {
            return Err(error);
        }
        let unhealthy: Vec<Device> = self.failures.iter().map(|failure| failure.device).chain([device]).collect();
        let mut moved: Vec<Moved> = Vec::new();
        for index in 0..self.segments.len() {
            let ready = &self.segments[index];
            if ready.device != device || !self.wiring.segments[index].is_live() {
                continue;
            }
            let runs_all = |spare: &dyn Backend| {
                let supports = |node| spare.supports(&ready.part, node).is_ok();
                !unhealthy.contains(&spare.device()) && ready.part.nodes.iter().all(supports)
            };
            let Some(spare) = self.spares.iter_mut().find(|spare| runs_all(&***spare)) else { return Err(error) };
            let compiled = spare.compile(&ready.part);
            let fallback = spare.device();
            let executable = compiled.map_err(|source| self.failed(index, source))?;
            self.profile.segments.push(unspent(fallback, &self.segments[index].ops, &*executable));
            let row = self.profile.segments.len() - 1;
            (self.segments[index].device, self.segments[index].row) = (fallback, row);
            moved.push((index, executable));
            let told = self.failures.iter_mut().find(|told| told.device == device && told.fallback == fallback);
            match told {
                Some(failure) => failure.segments.push(index),
                None => {
                    let (segments, error) = (vec![index], error.to_string());
                    self.failures.push(Failure { device, fallback, segments, sample, error });
                }
            }
        }
        Ok(moved)
    }

    /// The error of a segment, for the cause.
    pub(crate) fn failed(&self, segment: usize, source: RuntimeError) -> RuntimeError {
        let Ready { device, ops, .. } = &self.segments[segment];
        RuntimeError::Segment { segment, device: *device, ops: ops.clone(), source: Box::new(source) }
    }
}

/// The profile of a segment that has not run.
fn unspent(device: Device, ops: &str, executable: &dyn Executable) -> SegmentProfile {
    SegmentProfile {
        device,
        ops: ops.to_owned(),
        wall: Duration::ZERO,
        samples: 0,
        copied: executable.copied(),
        counters: executable.counters(),
    }
}
