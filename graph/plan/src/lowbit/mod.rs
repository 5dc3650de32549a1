//! Weights of four bits: a float graph and samples to the dense layers of one of the schemes of [`tandem_ops::lowbit`].
//!
//! 1. Dense layers are taken in the order of the graph. What each reads on the samples, the layers before it being quantised already, gives
//!    the moments of its channels.
//! 2. The channels are ordered by their largest magnitude, so that the outliers come last.
//! 3. A scale and a zero for each group of weights are searched, by the error that they cause, and the error of every column is
//!    made good by the columns behind it.
//! 4. The product runs as the kernels of the scheme compute it, activations in codes.
//!
//! Everything else stays in floats, and so does a layer whose result only leaves the graph or whose weights something else reads: a
//! classifier and an embedding.
//!
//! # Source
//! Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", arXiv 2210.17323 (how errors are made
//! good); the schemes' sources are with their definitions.

mod grid;
mod layer;
mod matrix;
mod moments;
#[cfg(test)]
mod tests;
mod weights;

pub use layer::Layer;

use crate::quantise::{FloatNode, QuantiseError};
use layer::Kernels;
use moments::Moments;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tandem_graph::{Graph, Interpreter, Node, NodeId, ValueId, Walk};
use tandem_ops::{Act, Op};
use tandem_tensor::Tensor;

/// What the codes of activations and weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Four bits both, with scales of groups.
    W4A4,
    /// Activations of eight bits; weights of four that are bytes after a step and a zero for each group.
    W4A8,
    /// Activations of bfloat16; weights of four bits with a scale and a zero for each group.
    W4A16,
}

/// How layers are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// The codes.
    pub scheme: Scheme,
    /// Input channels with a scale of their own; an even number.
    pub group: usize,
    /// Input channels, those with the largest activations, whose codes have eight bits. A layer whose other channels are odd in
    /// number has one more.
    pub outliers: usize,
    /// Part of the largest activation of a group that codes of four bits reach, above 0 and at most 1.
    pub clip: f32,
    /// Whether the error of a column is made good by the columns behind it.
    pub compensate: bool,
}

/// The quantised layers of a graph, by the names of their nodes.
pub struct LowBit {
    form: Form,
    layers: BTreeMap<String, Layer>,
    float_nodes: Vec<FloatNode>,
    kernels: Kernels,
}

impl LowBit {
    /// Quantises the dense layers of a float graph. `progress` is told how many nodes of how many are done.
    ///
    /// # Errors
    /// Where no layer can be quantised, there are no samples or one does not fit, or a number has no code.
    pub fn new(
        graph: &Graph,
        samples: &[Vec<Tensor>],
        form: Form,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<LowBit, QuantiseError> {
        if samples.is_empty() {
            return Err(QuantiseError::Calibration("no samples".into()));
        }
        let kernels = Kernels::new(form.scheme)?;
        let (prepared, mut float_nodes) = (tandem_graph::Kernels::new(graph), Vec::new());
        let interpreter = Interpreter::with_kernels(graph, &prepared);
        let mut walks = samples.iter().map(|inputs| Walk::new(graph, inputs)).collect::<Result<Vec<_>, _>>()?;
        let mut layers = BTreeMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            let weights = match weights_of(graph, node) {
                Ok(weights) => Some(weights),
                Err(Some(reason)) => {
                    let (node, op) = (node.name.clone(), node.op.name().to_owned());
                    float_nodes.push(FloatNode { node, op, reason: reason.to_owned() });
                    None
                }
                Err(None) => None,
            };
            let layer = match weights {
                None => None,
                Some(weights) => {
                    let mut moments = Moments::new(weights.shape()[1]);
                    for walk in &walks {
                        let x = walk.operands(NodeId(at))?;
                        let rows = x.first().and_then(|x| x.as_slice::<f32>().ok()).unwrap_or_default();
                        moments.add(rows).map_err(|element| {
                            let value = node.inputs.first().map(|&id| graph.value(id).name.clone()).unwrap_or_default();
                            QuantiseError::NotFinite { value, element }
                        })?;
                    }
                    let bias = node.inputs.get(2).and_then(|&id| graph.constant(id)).map(AsRef::as_ref);
                    Some(Layer::new(form, weights, bias, &moments)?)
                }
            };
            for walk in &mut walks {
                let results = match &layer {
                    Some(layer) => vec![layer.run(&kernels, walk.operands(NodeId(at))?[0])?],
                    None => interpreter.node(NodeId(at), &walk.operands(NodeId(at))?)?,
                };
                walk.accept(NodeId(at), results);
            }
            if let Some(layer) = layer {
                layers.insert(node.name.clone(), layer);
            }
            progress(at + 1, graph.nodes.len());
        }
        if layers.is_empty() {
            let why =
                float_nodes.first().map_or("it has none".to_owned(), |node| format!("'{}' {}", node.node, node.reason));
            let name = &graph.name;
            return Err(QuantiseError::Nothing(format!(
                "no dense layer of '{name}' can have weights of four bits ({why}); give a float model with dense layers"
            )));
        }
        Ok(LowBit { form, layers, float_nodes, kernels })
    }

    /// How the layers were quantised.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The layers by the names of their nodes.
    pub fn layers(&self) -> &BTreeMap<String, Layer> {
        &self.layers
    }

    /// Dense layers that stay float.
    pub fn float_nodes(&self) -> &[FloatNode] {
        &self.float_nodes
    }

    /// The outputs of a graph whose nodes of these names are the quantised layers: the one that was quantised, or the same model with
    /// other extents. `interpreter` is of that graph.
    ///
    /// # Errors
    /// When inputs do not fit or a kernel refuses.
    pub fn run(
        &self,
        graph: &Graph,
        interpreter: &Interpreter<'_>,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>, QuantiseError> {
        let mut walk = Walk::new(graph, inputs)?;
        for (at, node) in graph.nodes.iter().enumerate() {
            let operands = walk.operands(NodeId(at))?;
            let results = match self.layers.get(&node.name) {
                Some(layer) => vec![layer.run(&self.kernels, operands[0])?],
                None => interpreter.node(NodeId(at), &operands)?,
            };
            walk.accept(NodeId(at), results);
        }
        Ok(walk.outputs()?)
    }
}

/// The weights of a dense layer that can be quantised; else why it cannot, and nothing for another operator.
fn weights_of<'g>(graph: &'g Graph, node: &Node) -> Result<&'g Tensor, Option<&'static str>> {
    let Op::Dense { act } = node.op else { return Err(None) };
    let weights = node.inputs.get(1).ok_or(None)?;
    let tensor = graph.constant(*weights).ok_or(Some("has weights that are no constants"))?;
    if tensor.as_slice::<f32>().is_err() || node.inputs.get(2).is_some_and(|&id| graph.constant(id).is_none()) {
        return Err(Some("is not in floats"));
    }
    if act != Act::None {
        return Err(Some("has an activation of its own"));
    }
    let readers = |id: &ValueId| graph.nodes.iter().flat_map(|node| &node.inputs).filter(|other| *other == id).count();
    // Values that a step keeps leave the graph too, but are read within it.
    if node.outputs.iter().any(|id| graph.outputs.contains(id) && readers(id) == 0) {
        return Err(Some("gives nothing but an output of the graph"));
    }
    if readers(weights) > 1 {
        return Err(Some("has weights that are read elsewhere too"));
    }
    Ok(tensor)
}
