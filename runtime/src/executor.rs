//! Running the segments of a plan in order.

use crate::{Backend, ErrorClass, Executable, Failure, Profile, RuntimeError, SegmentProfile, Span};
use std::time::{Duration, Instant};
use tandem_graph::{Graph, ValueId};
use tandem_plan::{Device, Plan, extract};
use tandem_tensor::Tensor;

/// A graph on its devices, ready to run.
pub struct Executor {
    /// Types and constants; the nodes have gone into the segments.
    graph: Graph,
    segments: Vec<Ready>,
    profile: Profile,
    start: Instant,
    /// What runs the segments of a device that fails.
    fallback: Option<Box<dyn Backend>>,
    failures: Vec<Failure>,
}

struct Ready {
    /// Index in the plan.
    index: usize,
    /// Index in the profile.
    row: usize,
    device: Device,
    ops: String,
    /// The segment as a graph of its own.
    part: Graph,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// The values of `inputs` that nothing reads later.
    dead: Vec<ValueId>,
    executable: Box<dyn Executable>,
}

impl Executor {
    /// Compiles every segment of the plan with the backend of its device.
    ///
    /// # Errors
    /// [`RuntimeError::Segment`] naming the segment that does not compile or load.
    pub fn new(graph: &Graph, plan: &Plan, backends: &mut [Box<dyn Backend>]) -> Result<Executor, RuntimeError> {
        let mut segments: Vec<Ready> = Vec::with_capacity(plan.segments.len());
        let mut profile = Profile { model: graph.name.clone(), ..Profile::default() };
        for ((index, segment), row) in plan.segments.iter().enumerate().zip(plan.rows()) {
            let known = |id: &ValueId| id.0 < graph.values.len();
            if !segment.inputs.iter().chain(&segment.outputs).all(known) {
                return Err(RuntimeError::Invalid(format!("segment {index} of the plan belongs to another graph")));
            }
            let place = |source| RuntimeError::Segment {
                segment: index,
                device: segment.device,
                ops: row.ops.clone(),
                source: Box::new(source),
            };
            let backend = backends.iter_mut().find(|b| b.device() == segment.device);
            let backend = backend.ok_or_else(|| place(RuntimeError::NoBackend(segment.device)))?;
            // A segment that nobody reads is dead code and is not worth compiling.
            if segment.outputs.is_empty() {
                continue;
            }
            let part = extract(graph, segment);
            let executable = backend.compile(&part).map_err(place)?;
            profile.segments.push(unspent(segment.device, &row.ops, &*executable));
            segments.push(Ready {
                index,
                row: profile.segments.len() - 1,
                device: segment.device,
                ops: row.ops,
                part,
                inputs: segment.inputs.clone(),
                outputs: segment.outputs.clone(),
                dead: Vec::new(),
                executable,
            });
        }
        let mut kept = graph.outputs.clone();
        for segment in segments.iter_mut().rev() {
            for &id in &segment.inputs {
                if !kept.contains(&id) {
                    kept.push(id);
                    segment.dead.push(id);
                }
            }
        }
        let graph = Graph { nodes: Vec::new(), ..graph.clone() };
        let (fallback, failures) = (None, Vec::new());
        Ok(Executor { graph, segments, profile, start: Instant::now(), fallback, failures })
    }

    /// The same with a backend that takes over the segments of a device that fails.
    ///
    /// A device has failed when its error is a Fault, or Unavailable. What the failed segment was to compute is computed again from
    /// its inputs, which are on the host, so that a run that the fallback can finish has no error.
    pub fn with_fallback(self, fallback: Box<dyn Backend>) -> Executor {
        Executor { fallback: Some(fallback), ..self }
    }

    /// The devices that have failed so far.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How many samples the devices take at a time; handing in multiples of it wastes nothing.
    pub fn samples(&self) -> usize {
        self.segments.iter().map(|s| s.executable.samples()).max().unwrap_or(1)
    }

    /// The graph's outputs for every sample. A sample is one tensor for every input of the graph.
    ///
    /// All samples go through one segment before the next one starts.
    ///
    /// # Errors
    /// [`RuntimeError::Invalid`] for samples that do not fit, [`RuntimeError::Segment`] naming the segment that failed.
    pub fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        self.check(samples)?;
        let begin = Instant::now();
        let mut made: Vec<Vec<Option<Tensor>>> = vec![vec![None; self.graph.values.len()]; samples.len()];
        for (values, sample) in made.iter_mut().zip(samples) {
            for (id, tensor) in self.graph.inputs.iter().zip(sample) {
                values[id.0] = Some(tensor.clone());
            }
        }
        for index in 0..self.segments.len() {
            self.run_segment(index, &mut made)?;
        }
        let results = made.iter_mut().map(|values| {
            let output = |&id: &ValueId| match self.graph.constant(id) {
                Some(constant) => Ok(constant.as_ref().clone()),
                None => values[id.0].clone().ok_or_else(|| unmade(&self.graph, id)),
            };
            self.graph.outputs.iter().map(output).collect::<Result<Vec<_>, _>>()
        });
        let results = results.collect::<Result<Vec<_>, _>>()?;
        if let Ok(count) = u32::try_from(samples.len())
            && count > 0
        {
            let each = begin.elapsed() / count;
            self.profile.latencies.extend(samples.iter().map(|_| each));
        }
        Ok(results)
    }

    /// What all runs have cost so far.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn check(&self, samples: &[Vec<Tensor>]) -> Result<(), RuntimeError> {
        for (i, sample) in samples.iter().enumerate() {
            if sample.len() != self.graph.inputs.len() {
                let (found, expected) = (sample.len(), self.graph.inputs.len());
                let problem = format!("sample {i} has {found} tensors but the model has {expected} inputs");
                return Err(RuntimeError::Invalid(problem));
            }
            for (&id, tensor) in self.graph.inputs.iter().zip(sample) {
                let value = self.graph.value(id);
                if tensor.shape() != &value.ty.shape || tensor.dtype() != value.ty.dtype {
                    let (dtype, shape) = (tensor.dtype(), tensor.shape());
                    return Err(RuntimeError::Invalid(format!(
                        "sample {i}: input '{}' is {dtype}{shape} but the model needs {}",
                        value.name, value.ty
                    )));
                }
            }
        }
        Ok(())
    }

    fn run_segment(&mut self, index: usize, made: &mut [Vec<Option<Tensor>>]) -> Result<(), RuntimeError> {
        let (graph, segment) = (&self.graph, &self.segments[index]);
        let mut inputs = Vec::with_capacity(made.len());
        for values in made.iter_mut() {
            let take = |&id: &ValueId| {
                let slot = &mut values[id.0];
                let tensor = if segment.dead.contains(&id) { slot.take() } else { slot.clone() };
                tensor.ok_or_else(|| unmade(graph, id))
            };
            inputs.push(segment.inputs.iter().map(take).collect::<Result<Vec<_>, _>>()?);
        }
        let mut begin = Instant::now();
        let results = loop {
            let segment = &mut self.segments[index];
            match segment.executable.run(&inputs) {
                Ok(results) => break results,
                Err(error) => {
                    if let Some(sums) = self.profile.segments.get_mut(segment.row) {
                        sums.wall += begin.elapsed();
                    }
                    self.take_over(index, error)?;
                    begin = Instant::now();
                }
            }
        };
        let wall = begin.elapsed();
        let segment = &self.segments[index];
        for (values, result) in made.iter_mut().zip(results) {
            for (id, tensor) in segment.outputs.iter().zip(result) {
                values[id.0] = Some(tensor);
            }
        }
        let samples = inputs.len() as u64;
        self.profile.push(Span {
            segment: segment.row,
            sample: self.profile.samples(),
            samples,
            start_us: begin.duration_since(self.start).as_secs_f64() * 1e6,
            duration_us: wall.as_secs_f64() * 1e6,
        });
        if let Some(sums) = self.profile.segments.get_mut(segment.row) {
            sums.wall += wall;
            sums.samples += samples;
            sums.copied = segment.executable.copied();
            sums.counters = segment.executable.counters();
        }
        Ok(())
    }

    /// Places every segment of the device of this one on the fallback.
    fn take_over(&mut self, index: usize, error: RuntimeError) -> Result<(), RuntimeError> {
        let (device, class) = (self.segments[index].device, error.class());
        let error = self.segments[index].failed(error);
        let fallback = match &mut self.fallback {
            Some(fallback) if fallback.device() != device => fallback,
            _ => return Err(error),
        };
        if !matches!(class, ErrorClass::Fault | ErrorClass::Unavailable) {
            return Err(error);
        }
        let mut moved = Vec::new();
        for segment in self.segments.iter_mut().filter(|segment| segment.device == device) {
            let executable = fallback.compile(&segment.part).map_err(|source| segment.failed(source))?;
            self.profile.segments.push(unspent(fallback.device(), &segment.ops, &*executable));
            segment.row = self.profile.segments.len() - 1;
            (segment.device, segment.executable) = (fallback.device(), executable);
            moved.push(segment.index);
        }
        let (fallback, sample) = (fallback.device(), self.profile.samples());
        self.failures.push(Failure { device, fallback, segments: moved, sample, error: error.to_string() });
        Ok(())
    }
}

impl Ready {
    /// Its error, for the cause.
    fn failed(&self, source: RuntimeError) -> RuntimeError {
        let (segment, device, ops) = (self.index, self.device, self.ops.clone());
        RuntimeError::Segment { segment, device, ops, source: Box::new(source) }
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

fn unmade(graph: &Graph, id: ValueId) -> RuntimeError {
    let name = graph.values.get(id.0).map_or("?", |v| v.name.as_str());
    RuntimeError::Invalid(format!("no segment of the plan makes '{name}'; the plan belongs to another graph"))
}
