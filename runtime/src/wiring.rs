//! How values go from segment to segment: which ones a plan passes on, who makes and who reads them.

use crate::RuntimeError;
use std::sync::Arc;
use tandem_graph::{Graph, ValueId};
use tandem_plan::Plan;
use tandem_tensor::{Tensor, TensorType};

/// The wires between the caller and the segments of a plan. A wire is a value that the caller gives or a segment makes.
pub(crate) struct Wiring {
    /// The graph's inputs, which are the first wires.
    inputs: Vec<(String, TensorType)>,
    outputs: Vec<Output>,
    /// One entry for each segment.
    pub(crate) segments: Arc<[Ends]>,
    /// How often each wire is read, by segments and by the caller.
    uses: Vec<u32>,
}

/// The wires of a segment, and its place among the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    /// Segments that make what it reads, each once.
    pub(crate) needs: Vec<usize>,
    /// Segments that read what it makes, each once.
    pub(crate) feeds: Vec<usize>,
}

impl Ends {
    /// Whether somebody reads what it makes; others do not run.
    pub(crate) fn is_live(&self) -> bool {
        !self.outputs.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn of(needs: &[usize]) -> Ends {
        Ends { outputs: vec![0], needs: needs.to_vec(), ..Ends::default() }
    }
}

enum Output {
    Wire(usize),
    Constant(Arc<Tensor>),
}

/// The values of one request: a few samples that go through the segments together.
#[derive(Default)]
pub(crate) struct Values {
    /// By sample and wire.
    tensors: Vec<Vec<Option<Tensor>>>,
    /// Readings of each wire that are left.
    uses: Vec<u32>,
}

impl Wiring {
    /// The wires of a plan. Segments that nobody reads have no wires.
    ///
    /// # Errors
    /// Invalid, where the plan belongs to another graph.
    pub(crate) fn new(graph: &Graph, plan: &Plan) -> Result<Wiring, RuntimeError> {
        let foreign = |what: &str| RuntimeError::Invalid(format!("{what} of the plan belongs to another graph"));
        let mut maker: Vec<Option<usize>> = vec![None; graph.values.len()];
        let mut wire_of: Vec<Option<usize>> = vec![None; graph.values.len()];
        let mut uses: Vec<u32> = Vec::new();
        let mut wire = |id: ValueId, wire_of: &mut Vec<Option<usize>>| {
            let known = wire_of.get_mut(id.0)?;
            Some(*known.get_or_insert_with(|| {
                uses.push(0);
                uses.len() - 1
            }))
        };
        let mut inputs = Vec::with_capacity(graph.inputs.len());
        for &id in &graph.inputs {
            wire(id, &mut wire_of).ok_or_else(|| foreign("an input"))?;
            inputs.push((graph.value(id).name.clone(), graph.ty(id).clone()));
        }
        let mut segments: Vec<Ends> = vec![Ends::default(); plan.segments.len()];
        for (s, segment) in plan.segments.iter().enumerate().filter(|(_, segment)| !segment.outputs.is_empty()) {
            let name = || foreign(&format!("segment {s}"));
            let mut needs = Vec::new();
            for &id in &segment.inputs {
                // Whoever makes it stands before this segment.
                let at = wire_of.get(id.0).copied().flatten().ok_or_else(name)?;
                segments[s].inputs.push(at);
                if let Some(maker) = maker[id.0]
                    && !needs.contains(&maker)
                {
                    needs.push(maker);
                    segments[maker].feeds.push(s);
                }
            }
            segments[s].needs = needs;
            for &id in &segment.outputs {
                let at = wire(id, &mut wire_of).ok_or_else(name)?;
                segments[s].outputs.push(at);
                maker[id.0] = Some(s);
            }
        }
        let mut outputs = Vec::with_capacity(graph.outputs.len());
        for &id in &graph.outputs {
            outputs.push(match (graph.constant(id), wire_of.get(id.0).copied().flatten()) {
                (Some(constant), _) => Output::Constant(Arc::clone(constant)),
                (None, Some(at)) => Output::Wire(at),
                (None, None) => {
                    let name = graph.values.get(id.0).map_or("?", |v| v.name.as_str());
                    let problem = format!("no segment of the plan makes '{name}'; the plan belongs to another graph");
                    return Err(RuntimeError::Invalid(problem));
                }
            });
        }
        let read = segments.iter().flat_map(|ends| ends.inputs.iter().copied());
        let given = outputs.iter().filter_map(|output| if let Output::Wire(at) = output { Some(*at) } else { None });
        read.chain(given).for_each(|at| uses[at] += 1);
        Ok(Wiring { inputs, outputs, segments: segments.into(), uses })
    }

    /// Whether every sample has a tensor of the right type for every input.
    ///
    /// # Errors
    /// Invalid, naming the sample and the input.
    pub(crate) fn check(&self, samples: &[Vec<Tensor>]) -> Result<(), RuntimeError> {
        for (i, sample) in samples.iter().enumerate() {
            if sample.len() != self.inputs.len() {
                let (found, expected) = (sample.len(), self.inputs.len());
                let problem = format!("sample {i} has {found} tensors but the model has {expected} inputs");
                return Err(RuntimeError::Invalid(problem));
            }
            for ((name, ty), tensor) in self.inputs.iter().zip(sample) {
                if tensor.shape() != &ty.shape || tensor.dtype() != ty.dtype {
                    let (dtype, shape) = (tensor.dtype(), tensor.shape());
                    let problem = format!("sample {i}: input '{name}' is {dtype}{shape} but the model needs {ty}");
                    return Err(RuntimeError::Invalid(problem));
                }
            }
        }
        Ok(())
    }

    /// The values of a request before anything has run.
    pub(crate) fn begin(&self, samples: &[Vec<Tensor>]) -> Values {
        let wires = self.uses.len();
        let given = |sample: &Vec<Tensor>| {
            let mut tensors: Vec<Option<Tensor>> = Vec::with_capacity(wires);
            tensors.extend(sample.iter().cloned().map(Some));
            tensors.resize(wires, None);
            tensors
        };
        Values { tensors: samples.iter().map(given).collect(), uses: self.uses.clone() }
    }

    /// What a segment reads, for every sample; what nobody reads later is gone then.
    ///
    /// # Errors
    /// Invalid, where something is not made yet.
    pub(crate) fn take(&self, segment: usize, values: &mut Values) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let wires = &self.segments[segment].inputs;
        let mut inputs: Vec<Vec<Tensor>> = values.tensors.iter().map(|_| Vec::with_capacity(wires.len())).collect();
        for &wire in wires {
            values.read(wire, |sample, tensor| inputs[sample].push(tensor))?;
        }
        Ok(inputs)
    }

    /// Takes what a segment has made.
    pub(crate) fn put(&self, segment: usize, results: Vec<Vec<Tensor>>, values: &mut Values) {
        for (tensors, results) in values.tensors.iter_mut().zip(results) {
            for (&wire, tensor) in self.segments[segment].outputs.iter().zip(results) {
                tensors[wire] = (values.uses[wire] > 0).then_some(tensor);
            }
        }
    }

    /// The graph's outputs for every sample.
    ///
    /// # Errors
    /// Invalid, where something is not made.
    pub(crate) fn end(&self, mut values: Values) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let mut outputs: Vec<Vec<Tensor>> =
            values.tensors.iter().map(|_| Vec::with_capacity(self.outputs.len())).collect();
        for output in &self.outputs {
            match output {
                Output::Constant(constant) => {
                    outputs.iter_mut().for_each(|sample| sample.push(constant.as_ref().clone()));
                }
                Output::Wire(wire) => values.read(*wire, |sample, tensor| outputs[sample].push(tensor))?,
            }
        }
        Ok(outputs)
    }
}

impl Values {
    fn read(&mut self, wire: usize, mut give: impl FnMut(usize, Tensor)) -> Result<(), RuntimeError> {
        let uses = self.uses[wire].saturating_sub(1);
        self.uses[wire] = uses;
        for (sample, tensors) in self.tensors.iter_mut().enumerate() {
            let tensor = if uses == 0 { tensors[wire].take() } else { tensors[wire].clone() };
            let unmade = || RuntimeError::Invalid("a segment gave fewer values than the plan says".to_owned());
            give(sample, tensor.ok_or_else(unmade)?);
        }
        Ok(())
    }
}
