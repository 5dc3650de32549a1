//! A float graph and its int8 form side by side, on samples.

use super::{QuantiseError, Quantised};
use std::collections::HashMap;
use tandem_graph::{Graph, GraphError, Interpreter, ValueId};
use tandem_ops::{Op, Operand, reference};
use tandem_tensor::{Tensor, TensorType};

/// Squares of the signal and of the error, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Power {
    /// Of the reals.
    pub signal: f64,
    /// Of the difference to what the codes stand for.
    pub noise: f64,
}

/// The two errors of a node's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Errors {
    /// With operands of codes as they come: the errors of all layers before are in it.
    pub accumulated: Power,
    /// With exact operands, quantised: the error of this layer alone.
    pub own: Power,
}

/// What both graphs gave for a sample; quantised outputs are dequantised.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Of the float graph.
    pub float: Vec<Tensor>,
    /// Of the int8 graph.
    pub int8: Vec<Tensor>,
}

/// The errors of every layer, and the answers, on the samples seen. Comparisons of parts of the samples
/// [`merge`](Comparison::merge) to that of all of them.
#[derive(Clone, Debug)]
pub struct Comparison<'g> {
    pub(super) folded: &'g Graph,
    pub(super) quantised: &'g Quantised,
    /// Nodes of the int8 graph, with the float value of their result.
    pub(super) layers: Vec<(usize, ValueId)>,
    pub(super) errors: Vec<Errors>,
    pub(super) output: Power,
    /// Largest elements of the first output: of the float and of the int8 graph.
    pub(super) answers: Vec<[Option<usize>; 2]>,
    /// Float value of a value of codes.
    float_of: HashMap<ValueId, ValueId>,
}

impl Power {
    /// Adds a tensor and what stands for it.
    pub fn add(&mut self, exact: &Tensor, found: &Tensor) {
        for (x, y) in exact.to_f64().into_iter().zip(found.to_f64()) {
            self.signal += x * x;
            self.noise += (x - y) * (x - y);
        }
    }

    /// The ratio of signal to noise in decibels; `None` where there is no noise.
    pub fn decibels(&self) -> Option<f64> {
        (self.noise > 0.0).then(|| (10.0 * (self.signal / self.noise).log10()).clamp(-200.0, 200.0))
    }

    fn merge(&mut self, other: Power) {
        self.signal += other.signal;
        self.noise += other.noise;
    }
}

impl<'g> Comparison<'g> {
    /// No samples seen yet. `folded` is the graph that was quantised.
    pub fn new(folded: &'g Graph, quantised: &'g Quantised) -> Comparison<'g> {
        let float_of: HashMap<ValueId, ValueId> = quantised.codes.iter().map(|&(old, new)| (new, old)).collect();
        let layers: Vec<(usize, ValueId)> = quantised
            .graph
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !matches!(node.op, Op::Quantize | Op::Requantize))
            .filter_map(|(n, node)| Some((n, *float_of.get(node.outputs.first()?)?)))
            .collect();
        let errors = vec![Errors::default(); layers.len()];
        Comparison { folded, quantised, layers, errors, output: Power::default(), answers: Vec::new(), float_of }
    }

    /// Runs both graphs on a sample of the float graph's inputs.
    ///
    /// # Errors
    /// A sample that does not fit, or an operator that refuses.
    pub fn add(&mut self, sample: &[Tensor]) -> Result<Outputs, QuantiseError> {
        let (folded, graph) = (self.folded, &self.quantised.graph);
        let mut reals: Vec<Option<Tensor>> = vec![None; folded.values.len()];
        for (&id, tensor) in folded.inputs.iter().zip(sample) {
            reals[id.0] = Some(tensor.clone());
        }
        let float = Interpreter::new(folded).run_observed(sample, |n, results| {
            for (&id, tensor) in folded.nodes[n.0].outputs.iter().zip(results) {
                reals[id.0] = Some(tensor.clone());
            }
        })?;
        let inputs = graph
            .inputs
            .iter()
            .zip(&folded.inputs)
            .zip(sample)
            .map(|((&new, &old), tensor)| quantised(tensor, folded.ty(old), graph.ty(new)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut codes: Vec<Option<Tensor>> = vec![None; graph.nodes.len()];
        let outputs =
            Interpreter::new(graph).run_observed(&inputs, |n, results| codes[n.0] = results.first().cloned())?;
        for (k, &(n, old)) in self.layers.iter().enumerate() {
            let (Some(exact), Some(found)) = (&reals[old.0], &codes[n]) else { continue };
            let ty = graph.ty(graph.nodes[n].outputs[0]);
            let own = self.own(n, &reals)?;
            let errors = &mut self.errors[k];
            errors.accumulated.add(exact, &dequantised(found, ty)?);
            errors.own.add(exact, &dequantised(&own, ty)?);
        }
        let int8 = outputs
            .iter()
            .zip(&graph.outputs)
            .map(|(tensor, &id)| dequantised(tensor, graph.ty(id)))
            .collect::<Result<Vec<_>, _>>()?;
        if let (Some(a), Some(b)) = (float.first(), int8.first()) {
            self.output.add(a, b);
            self.answers.push([a.argmax(), b.argmax()]);
        }
        Ok(Outputs { float, int8 })
    }

    /// Adds what another comparison of the same graphs saw; its samples follow those of this one.
    pub fn merge(&mut self, other: &Comparison<'_>) {
        for (mine, theirs) in self.errors.iter_mut().zip(&other.errors) {
            mine.accumulated.merge(theirs.accumulated);
            mine.own.merge(theirs.own);
        }
        self.output.merge(other.output);
        self.answers.extend_from_slice(&other.answers);
    }

    /// The result of a node of the int8 graph on exact operands.
    fn own(&self, n: usize, reals: &[Option<Tensor>]) -> Result<Tensor, QuantiseError> {
        let graph = &self.quantised.graph;
        let node = &graph.nodes[n];
        let lost = || QuantiseError::Lost { node: node.name.clone() };
        let mut tensors = Vec::with_capacity(node.inputs.len());
        for &id in &node.inputs {
            tensors.push(match graph.constant(id) {
                Some(constant) => constant.as_ref().clone(),
                None => {
                    // What is no codes has the name that it has in the float graph.
                    let old = self.float_of.get(&id).copied().or_else(|| self.folded.find(&graph.value(id).name));
                    let old = old.ok_or_else(lost)?;
                    quantised(reals[old.0].as_ref().ok_or_else(lost)?, self.folded.ty(old), graph.ty(id))?
                }
            });
        }
        let operands: Vec<Operand<'_>> =
            tensors.iter().zip(&node.inputs).map(|(tensor, &id)| Operand { tensor, ty: graph.ty(id) }).collect();
        let results = reference(&node.op, graph.arith, &operands, &[graph.ty(node.outputs[0])]);
        let named = |source| GraphError::Op { node: node.name.clone(), op: node.op.name(), source };
        results.map_err(named)?.pop().ok_or_else(lost)
    }
}

/// A tensor as one of another type: quantised where that is.
fn quantised(tensor: &Tensor, from: &TensorType, to: &TensorType) -> Result<Tensor, QuantiseError> {
    if to.quant.is_some() && from.quant.is_none() {
        convert(&Op::Quantize, tensor, from, to)
    } else {
        Ok(tensor.clone())
    }
}

/// What a tensor stands for.
fn dequantised(tensor: &Tensor, ty: &TensorType) -> Result<Tensor, QuantiseError> {
    let to = TensorType::new(tandem_tensor::DType::F32, ty.shape.clone());
    if ty.quant.is_some() { convert(&Op::Dequantize, tensor, ty, &to) } else { Ok(tensor.clone()) }
}

fn convert(op: &Op, tensor: &Tensor, from: &TensorType, to: &TensorType) -> Result<Tensor, QuantiseError> {
    let results = reference(op, tandem_ops::Arith::TfliteRef, &[Operand { tensor, ty: from }], &[to]);
    let named = |source| GraphError::Op { node: from.to_string(), op: op.name(), source };
    let lost = || QuantiseError::Lost { node: from.to_string() };
    results.map_err(named)?.pop().ok_or_else(lost)
}
