//! A graph as an ONNX file, for viewers and other engines.
//!
//! An operator becomes ONNX operators of the same meaning where there are such. Others, among them all that compute with codes,
//! become one node each of the domain `tandem`, whose attributes are the operator's own and whose activations are channels-last.
//! Around operators that ONNX knows channels-first only, values stand channels-first for as long as operators do not care.

mod express;
mod message;
#[cfg(test)]
mod tests;

use crate::onnx::proto::{EntryProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorAnnotation};
use express::{Source, Step, Task, express, quantisation};
use message::entry;
use prost::Message;
use std::collections::{HashMap, HashSet};
use tandem_graph::permute::{inverse, is_identity, reordered, turned};
use tandem_graph::{Graph, GraphError, Names, Node, ValueId};
use tandem_ops::Op;
use tandem_tensor::{Data, Shape, Tensor, TensorType};

/// The first version of the format in which nodes and values carry metadata.
const IR_VERSION: i64 = 10;
/// The operator set of that version.
const OPSET: i64 = 21;
/// The domain of operators that ONNX does not have.
const DOMAIN: &str = "tandem";
/// The longest message that readers of protocol buffers take.
const MAX_BYTES: usize = i32::MAX as usize;

/// What a file says beside what the graph computes: names and texts, which viewers list.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Of the model.
    pub model: Vec<(String, String)>,
    /// Of the nodes, in the order of the graph; none for those behind the end of the list. A node that becomes several has its
    /// notes on the one that makes its result, so that no number counts twice.
    pub nodes: Vec<Vec<(String, String)>>,
}

/// Why a graph is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Invalid: the graph breaks a rule.
    #[error("the graph is not valid: {0}")]
    Graph(#[from] GraphError),
    /// Unsupported: protocol buffers have a limit.
    #[error("the model would have {bytes} bytes and an ONNX file has {MAX_BYTES} at most")]
    TooLarge {
        /// What it would have.
        bytes: usize,
    },
}

/// The graph as an ONNX file (IR version 10, operator set 21).
///
/// Constants are initialisers. A quantised value has its scale and zero point as initialisers behind a quantisation annotation, and in
/// words as metadata `scale`, `zero_point` and `axis`. Nodes that stand for a part of an operator have the metadata `part_of`, with the
/// name of the one that has the notes; transpositions that only ONNX's order of axes needs have `layout`.
///
/// A file without nodes of the domain `tandem` is one that [`import`](crate::onnx::import()) reads back.
///
/// # Errors
/// [`WriteError`] for a graph that is not valid, and for one of more than 2 GiB.
pub fn write(graph: &Graph, notes: &Notes) -> Result<Vec<u8>, WriteError> {
    graph.verify()?;
    let constants = graph.values.iter().filter(|v| v.constant.is_some());
    let bytes = constants.fold(0usize, |sum, v| sum.saturating_add(v.ty.bytes()));
    if bytes > MAX_BYTES {
        return Err(WriteError::TooLarge { bytes });
    }
    let mut writer = Writer::new(graph);
    for (i, node) in graph.nodes.iter().enumerate() {
        let own = notes.nodes.get(i).map(Vec::as_slice).unwrap_or_default();
        writer.node(node, &own.iter().map(|(key, value)| entry(key, value)).collect::<Vec<_>>());
    }
    let model = writer.finish(notes);
    let bytes = model.encoded_len();
    if bytes > MAX_BYTES { Err(WriteError::TooLarge { bytes }) } else { Ok(model.encode_to_vec()) }
}

/// What stands for a value in the file: the value's axis i is axis `perm[i]` of it.
#[derive(Clone)]
struct Form {
    perm: Vec<usize>,
    name: String,
}

struct Writer<'g> {
    graph: &'g Graph,
    file: GraphProto,
    /// Names of the values as they are.
    names: Vec<String>,
    taken: Names,
    node_names: Names,
    forms: HashMap<ValueId, Vec<Form>>,
    /// Whether a node is of Tandem's own domain.
    own_domain: bool,
}

/// A node on its way to the file: which forms its operands take and its results get.
struct Placed<'n> {
    node: &'n Node,
    op: Op,
    operands: Vec<Vec<usize>>,
    result: Vec<usize>,
}

impl<'g> Writer<'g> {
    fn new(graph: &'g Graph) -> Writer<'g> {
        let mut writer = Writer {
            graph,
            file: GraphProto { name: graph.name.clone(), ..GraphProto::default() },
            names: Vec::new(),
            taken: Names::of(graph),
            node_names: Names::default(),
            forms: HashMap::new(),
            own_domain: false,
        };
        if writer.file.name.is_empty() {
            writer.file.name = "model".to_owned();
        }
        for value in &graph.values {
            // An empty name stands for an operand that is left out.
            let name = if value.name.is_empty() { writer.unique("value") } else { value.name.clone() };
            writer.names.push(name);
        }
        for &id in &graph.inputs {
            let (name, ty) = (writer.names[id.0].clone(), graph.ty(id));
            writer.file.input.push(message::value(&name, ty));
            writer.annotate(&name, ty);
            writer.bind(id, identity(ty.shape.rank()), name);
        }
        writer
    }

    fn node(&mut self, node: &Node, notes: &[EntryProto]) {
        let steps = self.place(node).and_then(|placed| {
            let types = |ids: &[ValueId], perms: &[Vec<usize>]| -> Vec<TensorType> {
                ids.iter().zip(perms).map(|(&id, perm)| permuted(self.graph.ty(id), perm)).collect()
            };
            let operands = types(&node.inputs, &placed.operands);
            let results = types(&node.outputs, &vec![placed.result.clone(); node.outputs.len()]);
            let task = Task { op: &placed.op, arith: self.graph.arith, operands: &operands, results: &results };
            express(&task).map(|steps| (placed, steps))
        });
        match steps {
            Some((placed, steps)) => self.emit(&placed, &steps, notes),
            None => self.emit_own(node, notes),
        }
    }

    /// The forms in which ONNX has the operator; `None` where it cannot have it.
    fn place<'n>(&self, node: &'n Node) -> Option<Placed<'n>> {
        let rank = |id: &ValueId| self.graph.ty(*id).shape.rank();
        let plain = || node.inputs.iter().map(|id| identity(rank(id))).collect::<Vec<_>>();
        let coded = node.inputs.iter().chain(&node.outputs).any(|&id| self.graph.ty(id).quant.is_some());
        let windows = matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Pool(_));
        if windows {
            let first = channels_first(node.inputs.first().map(rank).filter(|&rank| rank > 2 && !coded)?);
            let mut operands = plain();
            operands.iter_mut().take(1).for_each(|perm| perm.clone_from(&first));
            if let Some(weights) = operands.get_mut(1) {
                weights.clone_from(&first);
                if matches!(node.op, Op::ConvTranspose(_)) {
                    // Input channels come before output channels here.
                    let last = weights.len() - 1;
                    (weights[0], weights[last]) = (1, 0);
                }
            }
            return Some(Placed { node, op: node.op.clone(), operands, result: first });
        }
        let moved = node.inputs.iter().find_map(|id| match self.forms.get(id).map(Vec::as_slice) {
            Some([only]) if !is_identity(&only.perm) => Some(&only.perm),
            _ => None,
        });
        if let Some(placed) = moved.and_then(|perm| self.place_moved(node, perm)) {
            return Some(placed);
        }
        let result = identity(node.outputs.first().map_or(0, rank));
        Some(Placed { node, op: node.op.clone(), operands: plain(), result })
    }

    /// The node on operands in this form, where it does not care about the order of axes.
    fn place_moved<'n>(&self, node: &'n Node, perm: &[usize]) -> Option<Placed<'n>> {
        let (op, result) = reordered(&node.op, perm, perm.len())?;
        let mut operands = Vec::with_capacity(node.inputs.len());
        for (i, &id) in node.inputs.iter().enumerate() {
            let rank = self.graph.ty(id).shape.rank();
            let constant = self.graph.constant(id).is_some();
            operands.push(match &node.op {
                // The value that pads.
                Op::Pad { .. } if i > 0 => identity(rank),
                _ if rank == 0 => Vec::new(),
                _ if rank == perm.len() || (constant && rank < perm.len()) => perm.to_vec(),
                _ => return None,
            });
        }
        let fits = |id: &ValueId| self.graph.ty(*id).shape.rank() == result.len();
        node.outputs.iter().all(fits).then_some(Placed { node, op, operands, result })
    }

    fn emit(&mut self, placed: &Placed<'_>, steps: &[Step], notes: &[EntryProto]) {
        let node = placed.node;
        let operands: Vec<String> =
            node.inputs.iter().zip(&placed.operands).map(|(&id, perm)| self.form(id, perm)).collect();
        let results: Vec<String> = node.outputs.iter().map(|&id| self.result(id, &placed.result)).collect();
        let own = self.unique_node(&node.name);
        let mut made: Vec<String> = Vec::with_capacity(steps.len());
        for (i, step) in steps.iter().enumerate() {
            let last = i + 1 == steps.len();
            let mut inputs = Vec::with_capacity(step.sources.len());
            for source in &step.sources {
                inputs.push(match source {
                    Source::Operand(i) => operands.get(*i).cloned().unwrap_or_default(),
                    Source::Step(i) => made.get(*i).cloned().unwrap_or_default(),
                    Source::Constant(what, tensor) => self.initialise(&format!("{own}/{what}"), tensor),
                    Source::Absent => String::new(),
                });
            }
            // Operands that are left out at the end are not mentioned.
            inputs.truncate(inputs.iter().rposition(|name| !name.is_empty()).map_or(0, |at| at + 1));
            let output = if last { results.clone() } else { vec![self.unique(&format!("{own}/{}", step.op))] };
            made.push(output.first().cloned().unwrap_or_default());
            let (name, metadata_props) = match last {
                true => (own.clone(), notes.to_vec()),
                false => (self.unique_node(&format!("{own}/{}", step.op)), vec![entry("part_of", &own)]),
            };
            let (op_type, attribute) = (step.op.to_owned(), step.attributes.clone());
            let domain = String::new();
            self.file.node.push(NodeProto { input: inputs, output, name, op_type, attribute, domain, metadata_props });
        }
    }

    /// The node in Tandem's own domain.
    fn emit_own(&mut self, node: &Node, notes: &[EntryProto]) {
        self.own_domain = true;
        let input = node.inputs.iter().map(|&id| self.form(id, &identity(self.graph.ty(id).shape.rank()))).collect();
        let output =
            node.outputs.iter().map(|&id| self.result(id, &identity(self.graph.ty(id).shape.rank()))).collect();
        let name = self.unique_node(&node.name);
        let (op_type, attribute) = (message::custom_type(&node.op), message::custom_attributes(&node.op));
        let (domain, metadata_props) = (DOMAIN.to_owned(), notes.to_vec());
        self.file.node.push(NodeProto { input, output, name, op_type, attribute, domain, metadata_props });
    }

    /// The name of a new result in this form.
    fn result(&mut self, id: ValueId, perm: &[usize]) -> String {
        let ty = permuted(self.graph.ty(id), perm);
        let name = match is_identity(perm) {
            true => self.names[id.0].clone(),
            false => self.unique(&format!("{}/channels_first", self.names[id.0])),
        };
        self.describe(&name, &ty, self.graph.outputs.contains(&id) && is_identity(perm));
        self.bind(id, perm.to_vec(), name.clone());
        name
    }

    /// The name of a value in this form, which is made where it is not there yet.
    fn form(&mut self, id: ValueId, perm: &[usize]) -> String {
        let there = self.forms.get(&id).map(Vec::as_slice).unwrap_or_default();
        if let Some(form) = there.iter().find(|form| form.perm == perm) {
            return form.name.clone();
        }
        let ty = permuted(self.graph.ty(id), perm);
        let own = &self.names[id.0];
        let plain = is_identity(perm) && perm.len() == self.graph.ty(id).shape.rank();
        if let Some(constant) = self.graph.constant(id) {
            let tensor = arranged(constant, perm);
            let name = if plain { own.clone() } else { self.unique(&format!("{own}/arranged")) };
            self.file.initializer.push(message::tensor(&name, &tensor));
            if ty.quant.is_some() {
                self.describe(&name, &ty, false);
            }
            self.bind(id, perm.to_vec(), name.clone());
            return name;
        }
        // A value that is no constant has a form from its input or node.
        let from = there.first().cloned().unwrap_or(Form { perm: identity(perm.len()), name: own.clone() });
        let order: Vec<usize> =
            inverse(perm).into_iter().map(|axis| from.perm.get(axis).copied().unwrap_or(axis)).collect();
        let name = self.result(id, perm);
        let node = NodeProto {
            input: vec![from.name],
            output: vec![name.clone()],
            name: self.unique_node(&format!("{name}/layout")),
            op_type: "Transpose".to_owned(),
            attribute: vec![message::ints("perm", &order)],
            domain: String::new(),
            metadata_props: vec![entry("layout", "for the order of axes in ONNX; no operator of the graph")],
        };
        self.file.node.push(node);
        name
    }

    fn bind(&mut self, id: ValueId, perm: Vec<usize>, name: String) {
        self.forms.entry(id).or_default().push(Form { perm, name });
    }

    /// Tells the type of a value; graph outputs tell theirs elsewhere.
    fn describe(&mut self, name: &str, ty: &TensorType, output: bool) {
        if !output {
            self.file.value_info.push(message::value(name, ty));
        }
        self.annotate(name, ty);
    }

    fn annotate(&mut self, name: &str, ty: &TensorType) {
        let Some([scale, zero]) = ty.quant.as_ref().and_then(|quant| quantisation(quant, ty.dtype)) else { return };
        let names = [("SCALE_TENSOR", "scale", scale), ("ZERO_POINT_TENSOR", "zero_point", zero)]
            .map(|(key, what, tensor)| entry(key, &self.initialise(&format!("{name}/{what}"), &tensor)));
        self.file
            .quantization_annotation
            .push(TensorAnnotation { tensor_name: name.into(), quant_parameter_tensor_names: names.to_vec() });
    }

    fn initialise(&mut self, name: &str, tensor: &Tensor) -> String {
        let name = self.unique(name);
        self.file.initializer.push(message::tensor(&name, tensor));
        name
    }

    fn unique(&mut self, wish: &str) -> String {
        self.taken.unique(wish)
    }

    fn unique_node(&mut self, wish: &str) -> String {
        self.node_names.unique(if wish.is_empty() { "node" } else { wish })
    }

    fn finish(mut self, notes: &Notes) -> ModelProto {
        let mut given: HashSet<ValueId> = self.graph.inputs.iter().copied().collect();
        for &id in &self.graph.outputs {
            let ty = self.graph.ty(id);
            let mut name = self.form(id, &identity(ty.shape.rank()));
            // A value that is an input or another output already comes out under a name of its own.
            if !given.insert(id) || self.graph.constant(id).is_some() {
                let other = self.unique(&format!("{name}/output"));
                let node = NodeProto {
                    input: vec![name],
                    output: vec![other.clone()],
                    name: self.unique_node(&other),
                    op_type: "Identity".to_owned(),
                    ..NodeProto::default()
                };
                self.file.node.push(node);
                name = other;
            }
            self.file.output.push(message::value(&name, ty));
        }
        let set = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let mut opset_import = vec![set("", OPSET)];
        if self.own_domain {
            opset_import.push(set(DOMAIN, 1));
        }
        let mut metadata_props = vec![entry("arith", self.graph.arith.name())];
        metadata_props.extend(notes.model.iter().map(|(key, value)| entry(key, value)));
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: DOMAIN.into(),
            graph: Some(self.file),
            opset_import,
            metadata_props,
        }
    }
}

fn identity(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

/// Where the axes of a channels-last value are in a channels-first one.
fn channels_first(rank: usize) -> Vec<usize> {
    (0..rank)
        .map(|axis| {
            if axis == 0 {
                0
            } else if axis + 1 == rank {
                1
            } else {
                axis + 1
            }
        })
        .collect()
}

/// The shape with axes of extent 1 before it, up to this many.
fn widened(shape: &Shape, rank: usize) -> Shape {
    Shape(std::iter::repeat_n(1, rank.saturating_sub(shape.rank())).chain(shape.iter().copied()).collect())
}

/// The type of what stands for a value in a form.
fn permuted(ty: &TensorType, perm: &[usize]) -> TensorType {
    let wide = widened(&ty.shape, perm.len());
    let new = wide.rank() - ty.shape.rank();
    let shape = inverse(perm).into_iter().map(|axis| wide.get(axis).copied().unwrap_or(1)).collect();
    let quant = turned(ty.quant.clone(), |axis| perm.get(axis + new).copied());
    TensorType { dtype: ty.dtype, shape: Shape(shape), quant }
}

/// The elements of a constant in a form.
fn arranged(tensor: &Tensor, perm: &[usize]) -> Tensor {
    let from = TensorType::new(tensor.dtype(), widened(tensor.shape(), perm.len()));
    let to = permuted(&from, perm).shape;
    let (strides, order) = (from.shape.strides(), inverse(perm));
    let strides: Vec<usize> = order.iter().map(|&axis| strides.get(axis).copied().unwrap_or(0)).collect();
    let (bytes, size) = (tensor.to_le_bytes(), tensor.dtype().bytes());
    let mut moved = Vec::with_capacity(bytes.len());
    for element in 0..tensor.len() {
        let (mut rest, mut place) = (element, 0);
        for (&extent, &stride) in to.iter().zip(&strides).rev() {
            place += rest % extent * stride;
            rest /= extent;
        }
        moved.extend_from_slice(bytes.get(place * size..(place + 1) * size).unwrap_or_default());
    }
    let data = Data::from_le_bytes(tensor.dtype(), &moved);
    // As many elements as before, so that this cannot fail.
    Tensor::new(to, data).unwrap_or_else(|_| tensor.clone())
}
