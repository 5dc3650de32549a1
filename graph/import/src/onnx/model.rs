//! From the messages of a model to a graph: which nodes are needed, in which order, and what their names stand for.

use super::lower::Lower;
use super::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use super::tensor::{Elem, tensor};
use crate::builder::Builder;
use crate::{ImportError, ImportOptions, MAX_TENSOR_BYTES};
use std::collections::{HashMap, HashSet};
use tandem_graph::{Graph, ValueId};
use tandem_ops::{Arith, Op, UnaryKind};
use tandem_tensor::{Shape, TensorType};

/// The oldest opset whose rules (numpy broadcasting among them) the lowering follows.
const OLDEST_OPSET: i64 = 7;

pub(super) fn lower(
    model: &ModelProto,
    options: &ImportOptions,
    arith: Arith,
    budget: usize,
) -> Result<Graph, ImportError> {
    let no_graph = || ImportError::NotAModel("read as ONNX it has no graph".into());
    let graph = model.graph.as_ref().ok_or_else(no_graph)?;
    let opset = opset(model)?;
    let wanted: Vec<&str> = match &options.cut_at {
        Some(name) => vec![name.as_str()],
        None => graph.output.iter().map(|o| o.name.as_str()).collect(),
    };
    let order = needed_nodes(graph, &wanted)?;
    let name = if graph.name.is_empty() { "model" } else { graph.name.as_str() };
    let mut lower = Lower::new(Builder::new(name, arith, budget), opset);
    bind_values(graph, options, &mut lower)?;
    for node in order {
        lower.node(node)?;
    }
    let mut outputs = Vec::with_capacity(wanted.len());
    let mut taken: HashSet<ValueId> = lower.builder.graph.inputs.iter().copied().collect();
    for name in wanted {
        let id = lower.lookup(name).ok_or_else(|| {
            let problem = "no node, input or constant of the model has this name; check the spelling".to_owned();
            ImportError::malformed(format!("output '{name}'"), problem)
        })?;
        let id = own_value(&mut lower, id, name, taken.contains(&id))?;
        taken.insert(id);
        outputs.push(id);
    }
    let mut graph = lower.builder.graph;
    graph.outputs = outputs;
    Ok(graph)
}

/// An output has a value of its own, under its own name, that is neither an input nor another output.
fn own_value(lower: &mut Lower<'_>, id: ValueId, name: &str, shared: bool) -> Result<ValueId, ImportError> {
    if shared {
        let dtype = lower.builder.graph.ty(id).dtype;
        return lower.emit_as(name, Op::Unary(UnaryKind::Identity), &[id], dtype);
    }
    if lower.builder.graph.value(id).name != name {
        let unique = lower.builder.unique(name);
        if let Some(value) = lower.builder.graph.values.get_mut(id.0) {
            value.name = unique;
        }
    }
    Ok(id)
}

fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let Some(version) = model.opset_import.iter().find(|o| default(&o.domain)).map(|o| o.version) else {
        // A file that names no opset is of the first release; one of other domains alone follows no rule of ONNX.
        return if model.opset_import.is_empty() { refuse_opset(1) } else { Ok(i64::from(i32::MAX)) };
    };
    if version < OLDEST_OPSET { refuse_opset(version) } else { Ok(version) }
}

fn refuse_opset(version: i64) -> Result<i64, ImportError> {
    Err(ImportError::UnsupportedModel {
        place: format!("opset {version}"),
        problem: format!("it is older than {OLDEST_OPSET}; convert the model with onnx.version_converter"),
    })
}

/// The nodes that `wanted` needs, makers before readers.
fn needed_nodes<'m>(graph: &'m GraphProto, wanted: &[&str]) -> Result<Vec<&'m NodeProto>, ImportError> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if maker.insert(output, i).is_some() {
                let problem = "two nodes make it; every name must have one maker";
                return Err(ImportError::malformed(format!("tensor '{output}'"), problem));
            }
        }
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Fresh,
        Open,
        Done,
    }
    let mut marks = vec![Mark::Fresh; graph.node.len()];
    let mut order = Vec::new();
    // Depth first without recursion: a file may be a chain of any length.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for name in wanted {
        if let Some(&start) = maker.get(name)
            && marks[start] == Mark::Fresh
        {
            marks[start] = Mark::Open;
            stack.push((start, 0));
        }
        while let Some((i, next)) = stack.pop() {
            let node = &graph.node[i];
            match node.input.get(next) {
                None => {
                    marks[i] = Mark::Done;
                    order.push(node);
                }
                Some(input) => {
                    stack.push((i, next + 1));
                    let Some(&j) = maker.get(input.as_str()) else { continue };
                    match marks[j] {
                        Mark::Done => {}
                        Mark::Open => {
                            let problem = format!("it depends on itself through '{input}'; a graph must be acyclic");
                            return Err(ImportError::malformed(format!("node '{}'", label(node)), problem));
                        }
                        Mark::Fresh => {
                            marks[j] = Mark::Open;
                            stack.push((j, 0));
                        }
                    }
                }
            }
        }
    }
    Ok(order)
}

/// How messages name a node: by its name or by its first result.
pub(super) fn label(node: &NodeProto) -> &str {
    match node.output.iter().find(|o| !o.is_empty()) {
        Some(output) if node.name.is_empty() => output,
        _ => &node.name,
    }
}

/// Initialisers and inputs.
fn bind_values<'m>(graph: &'m GraphProto, options: &ImportOptions, lower: &mut Lower<'m>) -> Result<(), ImportError> {
    for proto in &graph.initializer {
        lower.bind_lazily(proto);
    }
    for info in &graph.input {
        // Files of IR version 3 list initialisers among the inputs; they are constants all the same.
        if lower.has_initializer(&info.name) {
            continue;
        }
        if let Some(given) = options.constants.get(&info.name) {
            let elem = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).and_then(|t| Elem::of(t.elem_type));
            if let Some(elem) = elem.filter(|e| e.dtype() != given.dtype()) {
                let problem =
                    format!("the constant given for it is {}, the model says {}", given.dtype(), elem.dtype());
                return Err(ImportError::malformed(format!("input '{}'", info.name), problem));
            }
            let id = lower.builder.constant(&info.name, given.clone(), None);
            lower.bind(&info.name, id, elem);
            continue;
        }
        let (ty, elem) = input_type(info, options)?;
        let id = lower.builder.input(&info.name, ty);
        lower.bind(&info.name, id, Some(elem));
    }
    Ok(())
}

fn input_type(info: &ValueInfoProto, options: &ImportOptions) -> Result<(TensorType, Elem), ImportError> {
    let place = || format!("input '{}'", info.name);
    let unsupported = |problem: String| Err(ImportError::UnsupportedModel { place: place(), problem });
    let Some(ty) = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return unsupported("it is no tensor (a sequence, map or optional); only tensors are supported".into());
    };
    let Some(elem) = Elem::of(ty.elem_type) else {
        let name = Elem::name(ty.elem_type);
        return unsupported(format!("its element type {} ({name}) is not supported", ty.elem_type));
    };
    let Some(shape) = &ty.shape else {
        return unsupported("its number of axes is not known; export the model with input shapes".into());
    };
    let mut extents = Vec::with_capacity(shape.dim.len());
    for (axis, dim) in shape.dim.iter().enumerate() {
        let symbol = dim.dim_param.as_deref().filter(|s| !s.is_empty());
        let chosen = options.dims.get(&format!("{}[{axis}]", info.name)).copied();
        extents.push(match (dim.dim_value.filter(|&v| v != -1), symbol) {
            // Some exporters write -1 for an extent that they do not know.
            (None, symbol) => chosen.or_else(|| options.dims.get(symbol?).copied()).unwrap_or(1),
            (Some(value), _) => usize::try_from(value)
                .map_err(|_| ImportError::malformed(place(), format!("its extent {value} is negative")))?,
        });
    }
    let ty = TensorType::new(elem.dtype(), Shape(extents));
    if ty.bytes() > MAX_TENSOR_BYTES {
        let problem = format!("its shape {} is larger than Tandem takes ({MAX_TENSOR_BYTES} bytes)", ty.shape);
        return Err(ImportError::malformed(place(), problem));
    }
    Ok((ty, elem))
}

/// An initialiser as a constant.
pub(super) fn constant(
    builder: &mut Builder,
    proto: &super::proto::TensorProto,
) -> Result<(ValueId, Elem), ImportError> {
    let (tensor, elem) = tensor(proto, &format!("initialiser '{}'", proto.name))?;
    Ok((builder.constant(&proto.name, tensor, None), elem))
}
