//! The executor: segments in order, values between them.

use crate::profile::Clock;
use crate::{Backend, Executable, Profile, RuntimeError, SegmentProfile};
use std::collections::BTreeMap;
use tandem_graph::{Graph, ValueId};
use tandem_plan::{Device, Plan, extract};
use tandem_tensor::Tensor;

struct Stage {
    device: Device,
    ops: usize,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    executable: Box<dyn Executable>,
}

/// A planned model, compiled for its devices.
pub struct Executor {
    graph: Graph,
    stages: Vec<Stage>,
    /// For every value, the last stage that reads it; values that the caller gets stay to the end.
    last_use: Vec<usize>,
}

impl Executor {
    /// Compiles every segment of a plan with the backend of its device.
    ///
    /// # Errors
    /// When a device has no backend or refuses a segment.
    pub fn new(
        graph: &Graph,
        plan: &Plan,
        backends: &mut BTreeMap<Device, Box<dyn Backend>>,
    ) -> Result<Self, RuntimeError> {
        let mut stages = Vec::with_capacity(plan.segments.len());
        let mut last_use = vec![0usize; graph.values.len()];
        for (i, segment) in plan.segments.iter().enumerate() {
            let device = segment.device;
            let backend =
                backends.get_mut(&device).ok_or(RuntimeError::NoBackend { segment: i, device: device.name() })?;
            let executable = backend.compile(&extract(graph, segment)).map_err(|e| failed(i, device, e))?;
            for &v in &segment.inputs {
                last_use[v.0] = i;
            }
            stages.push(Stage {
                device,
                ops: segment.nodes.len(),
                inputs: segment.inputs.clone(),
                outputs: segment.outputs.clone(),
                executable,
            });
        }
        for v in &graph.outputs {
            last_use[v.0] = usize::MAX;
        }
        Ok(Self { graph: graph.clone(), stages, last_use })
    }

    /// The model's outputs for each sample (a list of inputs each), and what it cost.
    ///
    /// # Errors
    /// When a sample does not fit the model, or a segment fails; the error names the segment.
    pub fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<(Vec<Vec<Tensor>>, Profile), RuntimeError> {
        let mut environments: Vec<Vec<Option<Tensor>>> = Vec::with_capacity(samples.len());
        for sample in samples {
            environments.push(self.bind(sample)?);
        }
        let clock = Clock::start();
        let mut profile = Profile { samples: samples.len(), segments: Vec::with_capacity(self.stages.len()) };
        for (i, stage) in self.stages.iter_mut().enumerate() {
            let begin = clock.now();
            let mut inputs = Vec::with_capacity(samples.len());
            for environment in &mut environments {
                let take = |v: ValueId, environment: &mut Vec<Option<Tensor>>| {
                    let slot = &mut environment[v.0];
                    if self.last_use[v.0] == i { slot.take() } else { slot.clone() }
                };
                let operands: Option<Vec<Tensor>> = stage.inputs.iter().map(|&v| take(v, environment)).collect();
                inputs.push(operands.ok_or_else(|| {
                    RuntimeError::Input(format!("segment {i} reads a value that no segment before it has made"))
                })?);
            }
            let (results, work) = stage.executable.run(&inputs).map_err(|e| failed(i, stage.device, e))?;
            for (environment, result) in environments.iter_mut().zip(results) {
                for (&v, tensor) in stage.outputs.iter().zip(result) {
                    environment[v.0] = Some(tensor);
                }
            }
            let wall = clock.now() - begin;
            profile.segments.push(SegmentProfile { device: stage.device, ops: stage.ops, begin, wall, work });
        }
        let outputs = environments
            .into_iter()
            .map(|environment| self.graph.outputs.iter().map(|&v| self.output(&environment, v)).collect())
            .collect::<Result<_, _>>()?;
        Ok((outputs, profile))
    }

    fn bind(&self, sample: &[Tensor]) -> Result<Vec<Option<Tensor>>, RuntimeError> {
        let graph = &self.graph;
        if sample.len() != graph.inputs.len() {
            return Err(RuntimeError::Input(format!(
                "the model has {} inputs but {} were given",
                graph.inputs.len(),
                sample.len()
            )));
        }
        let mut environment = vec![None; graph.values.len()];
        for (&id, tensor) in graph.inputs.iter().zip(sample) {
            let value = graph.value(id);
            if tensor.shape() != &value.ty.shape || tensor.dtype() != value.ty.dtype {
                return Err(RuntimeError::Input(format!(
                    "input '{}' is {}{} but the model needs {}",
                    value.name,
                    tensor.dtype(),
                    tensor.shape(),
                    value.ty
                )));
            }
            environment[id.0] = Some(tensor.clone());
        }
        Ok(environment)
    }

    fn output(&self, environment: &[Option<Tensor>], id: ValueId) -> Result<Tensor, RuntimeError> {
        let value = self.graph.value(id);
        match &value.constant {
            Some(tensor) => Ok(tensor.as_ref().clone()),
            None => environment[id.0]
                .clone()
                .ok_or_else(|| RuntimeError::Input(format!("no segment makes output '{}'", value.name))),
        }
    }
}

fn failed(segment: usize, device: Device, source: RuntimeError) -> RuntimeError {
    RuntimeError::Segment { segment, device: device.name(), source: Box::new(source) }
}
