//! The verifier.

use crate::{Graph, GraphError, Node, Value, ValueId};
use std::collections::HashSet;
use tandem_ops::{Op, ResizeMode, UnaryKind};
use tandem_tensor::{DType, QuantParams, TensorType};

/// The largest value in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 30;
/// The largest sum of all constants in bytes.
pub const MAX_CONSTANT_BYTES: usize = 4 << 30;
/// The largest number of axes.
pub const MAX_RANK: usize = 12;

pub(crate) fn verify(graph: &Graph) -> Result<(), GraphError> {
    let mut names = HashSet::new();
    let mut constant_bytes = 0usize;
    for value in &graph.values {
        check_value(value)?;
        if !names.insert(value.name.as_str()) {
            return broken(place(value), "another value has the same name; names must be unique");
        }
        if value.constant.is_some() {
            constant_bytes = constant_bytes.saturating_add(value.ty.bytes());
        }
    }
    if constant_bytes > MAX_CONSTANT_BYTES {
        let problem = format!("its constants need {constant_bytes} bytes; the limit is {MAX_CONSTANT_BYTES}");
        return broken(format!("graph '{}'", graph.name), problem);
    }

    let mut known: Vec<bool> = graph.values.iter().map(|v| v.constant.is_some()).collect();
    for &id in &graph.inputs {
        let value = get(graph, id, || "the list of inputs".into())?;
        if value.constant.is_some() {
            return broken(place(value), "it is an input and a constant; it can only be one of them");
        }
        if std::mem::replace(&mut known[id.0], true) {
            return broken(place(value), "it is listed twice among the inputs");
        }
    }
    for node in &graph.nodes {
        for &id in &node.inputs {
            let value = get(graph, id, || at(node))?;
            if !known[id.0] {
                let problem = format!(
                    "it reads '{}', which nothing before it makes; nodes must be in topological order and free of cycles",
                    value.name
                );
                return broken(at(node), problem);
            }
        }
        check_attributes(node)?;
        check_shapes(graph, node)?;
        for &id in &node.outputs {
            let value = get(graph, id, || at(node))?;
            if std::mem::replace(&mut known[id.0], true) {
                return broken(at(node), format!("it makes '{}', which already has a maker", value.name));
            }
        }
    }
    if graph.outputs.is_empty() {
        return broken(format!("graph '{}'", graph.name), "it has no outputs, so nothing of it would be computed");
    }
    for &id in &graph.outputs {
        let value = get(graph, id, || "the list of outputs".into())?;
        if !known[id.0] {
            return broken(place(value), "it is an output but nothing makes it");
        }
    }
    Ok(())
}

fn check_value(value: &Value) -> Result<(), GraphError> {
    let ty = &value.ty;
    if ty.shape.rank() > MAX_RANK {
        return broken(place(value), format!("it has {} axes; at most {MAX_RANK} are supported", ty.shape.rank()));
    }
    // The extents of an empty tensor do not show in its size but still reach address arithmetic.
    let extents = ty.shape.iter().filter(|&&d| d > 0).fold(ty.dtype.bytes(), |n, &d| n.saturating_mul(d));
    if extents > MAX_VALUE_BYTES {
        return broken(place(value), format!("{ty} needs more than the limit of {MAX_VALUE_BYTES} bytes"));
    }
    if let Some(quant) = &ty.quant {
        check_quant(value, ty, quant)?;
    }
    if let Some(tensor) = &value.constant
        && (tensor.dtype() != ty.dtype || tensor.shape() != &ty.shape)
    {
        return broken(place(value), format!("its type is {ty} but its data is {}{}", tensor.dtype(), tensor.shape()));
    }
    Ok(())
}

fn check_quant(value: &Value, ty: &TensorType, quant: &QuantParams) -> Result<(), GraphError> {
    let lengths = match quant.axis {
        None => 1,
        Some(axis) => match ty.shape.get(axis) {
            Some(&n) => n,
            None => {
                let problem = format!("its quantised axis {axis} does not exist; it has {} axes", ty.shape.rank());
                return broken(place(value), problem);
            }
        },
    };
    if quant.scale.len() != lengths || quant.zero_point.len() != lengths {
        let problem = format!(
            "it needs {lengths} scales and zero points but has {} and {}",
            quant.scale.len(),
            quant.zero_point.len()
        );
        return broken(place(value), problem);
    }
    let range = match ty.dtype {
        DType::Bool => None,
        d => d.integer_range(),
    };
    let Some((low, high)) = range else {
        return broken(place(value), format!("{} codes cannot be quantised", ty.dtype));
    };
    for (&scale, &zero) in quant.scale.iter().zip(&quant.zero_point) {
        if !(scale.is_finite() && scale > 0.0) {
            return broken(place(value), format!("its scale is {scale}; scales must be finite and positive"));
        }
        if !(low..=high).contains(&i128::from(zero)) {
            return broken(place(value), format!("its zero point {zero} is no {} value", ty.dtype));
        }
    }
    Ok(())
}

fn check_shapes(graph: &Graph, node: &Node) -> Result<(), GraphError> {
    let operands: Vec<&TensorType> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
    let shapes = tandem_ops::infer(&node.op, &operands).map_err(|source| GraphError::Op {
        node: node.name.clone(),
        op: node.op.name(),
        source,
    })?;
    // Trailing results that nobody asked for may be left out.
    if node.outputs.is_empty() || node.outputs.len() > shapes.len() {
        let problem = format!("it has {} results but {} makes {}", node.outputs.len(), node.op.name(), shapes.len());
        return broken(at(node), problem);
    }
    for (&id, shape) in node.outputs.iter().zip(&shapes) {
        let value = get(graph, id, || at(node))?;
        if &value.ty.shape != shape {
            let problem = format!("its result '{}' is declared as {} but has shape {shape}", value.name, value.ty);
            return broken(at(node), problem);
        }
    }
    Ok(())
}

fn check_attributes(node: &Node) -> Result<(), GraphError> {
    let finite = match &node.op {
        Op::Unary(kind) => match *kind {
            UnaryKind::LeakyRelu { alpha } | UnaryKind::Elu { alpha } | UnaryKind::Swish { alpha } => alpha.is_finite(),
            UnaryKind::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
            UnaryKind::Clip { min, max } => [min, max].into_iter().flatten().all(|x| !x.is_nan()),
            _ => true,
        },
        Op::Softmax { beta, .. } => beta.is_finite(),
        Op::Resize(r) => {
            let cubic = match r.mode {
                ResizeMode::Cubic { a, .. } => a.is_finite(),
                _ => true,
            };
            let scale = r.scale.iter().all(|s| s.is_finite() && *s > 0.0);
            let roi = r.roi.iter().flatten().all(|(a, b)| a.is_finite() && b.is_finite());
            cubic && scale && roi && !r.extrapolation.is_nan()
        }
        _ => true,
    };
    if finite { Ok(()) } else { broken(at(node), "an attribute is not a finite number") }
}

fn get(graph: &Graph, id: ValueId, place: impl FnOnce() -> String) -> Result<&Value, GraphError> {
    match graph.values.get(id.0) {
        Some(value) => Ok(value),
        None => broken(place(), format!("it names value {} but there are only {}", id.0, graph.values.len())),
    }
}

fn place(value: &Value) -> String {
    format!("value '{}'", value.name)
}

fn at(node: &Node) -> String {
    format!("node '{}' ({})", node.name, node.op.name())
}

fn broken<T>(place: String, problem: impl Into<String>) -> Result<T, GraphError> {
    Err(GraphError::Malformed { place, problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use crate::sample::chain;
    use crate::{Graph, ValueId};
    use tandem_tensor::{Data, Tensor};

    fn refusal(change: impl FnOnce(&mut Graph)) -> String {
        let mut g = chain();
        g.verify().expect("the sample is valid");
        change(&mut g);
        g.verify().expect_err("the change breaks a rule").to_string()
    }

    #[test]
    fn a_cycle_is_refused_with_the_node_and_the_value() {
        let text = refusal(|g| g.nodes[0].inputs[0] = ValueId(g.outputs[0].0));
        assert!(text.contains("hidden node") && text.contains("'out'") && text.contains("cycle"), "{text}");
    }

    #[test]
    fn a_second_maker_of_a_value_is_refused() {
        let text = refusal(|g| g.nodes[2].outputs[0] = g.nodes[0].outputs[0]);
        assert!(text.contains("already has a maker"), "{text}");
    }

    #[test]
    fn an_index_out_of_range_is_refused() {
        assert!(refusal(|g| g.outputs[0] = ValueId(999)).contains("999"));
        assert!(refusal(|g| g.nodes[1].inputs[1] = ValueId(usize::MAX)).contains("out node"));
    }

    #[test]
    fn bad_quantisation_is_refused() {
        let scale = |s: f32| {
            move |g: &mut Graph| {
                if let Some(q) = &mut g.values[0].ty.quant {
                    q.scale[0] = s;
                }
            }
        };
        for s in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
            assert!(refusal(scale(s)).contains("finite and positive"));
        }
        let text = refusal(|g| g.values[0].ty.quant.as_mut().unwrap().zero_point[0] = 128);
        assert!(text.contains("zero point 128"), "{text}");
        let text = refusal(|g| g.values[1].ty.quant.as_mut().unwrap().axis = Some(2));
        assert!(text.contains("axis 2"), "{text}");
    }

    #[test]
    fn an_absurd_shape_is_refused_by_its_size() {
        let text = refusal(|g| g.values[0].ty.shape = vec![1 << 31, 1 << 31].into());
        assert!(text.contains("limit"), "{text}");
        let text = refusal(|g| g.values[0].ty.shape = vec![0, usize::MAX].into());
        assert!(text.contains("limit"), "{text}");
    }

    #[test]
    fn a_constant_that_disagrees_with_its_type_is_refused() {
        let text = refusal(|g| {
            let other = Tensor::new([1], Data::I8(vec![1])).unwrap();
            g.values[1].constant = Some(std::sync::Arc::new(other));
        });
        assert!(text.contains("its data is i8[1]"), "{text}");
    }

    #[test]
    fn duplicate_names_are_refused() {
        let text = refusal(|g| g.values[1].name = "x".into());
        assert!(text.contains("unique"), "{text}");
    }

    #[test]
    fn a_declared_shape_that_the_operator_does_not_give_is_refused() {
        let text = refusal(|g| g.values[3].ty.shape = vec![6, 1].into());
        assert!(text.contains("hidden node"), "{text}");
    }
}
