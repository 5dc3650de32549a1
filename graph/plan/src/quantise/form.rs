//! Which operators have an integer form, and what it asks of the scales.

use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{BinaryKind, CoordinateMode, Op, PadMode, PoolKind, ReduceKind, ResizeMode, UnaryKind};
use tandem_tensor::{DType, QuantParams, TensorType};

/// Products in one sum that can never leave 32 bits: codes of 255 steps times weights of 127, and a bias of half the range.
const MAX_SUMMED: usize = (1 << 30) / (255 * 127);

/// What an operator's integer form asks of the scales of its operands and of its result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Operand 0 and the result have any scales, operand 1 is weights and operand 2 biases.
    Weighted,
    /// Every operand and the result have any scales.
    Any,
    /// The result has this quantisation whatever the values are.
    Fixed(QuantParams),
    /// The first so many operands (all with `None`) and the result share one quantisation. `moves` tells that nothing is
    /// computed, so that a value that is not codes may as well stay so.
    Shared { operands: Option<usize>, moves: bool },
    /// The result is no quantised value: an index.
    Index,
}

/// The form of a node of a float graph.
///
/// # Errors
/// Why there is none, as a phrase that completes "it stays float because ..".
pub(super) fn form(graph: &Graph, node: &Node) -> Result<Form, String> {
    let name = node.op.name();
    let real = |ty: &TensorType| ty.dtype == DType::F32 && ty.quant.is_none();
    let Some(x) = node.inputs.first().map(|&id| graph.ty(id)) else { return Err(format!("{name} has no operands")) };
    if node.inputs.iter().all(|&id| graph.constant(id).is_some()) {
        return Err("it computes a constant".to_owned());
    }
    if node.outputs.len() != 1 {
        return Err("it has several results".to_owned());
    }
    let data = match &node.op {
        Op::Gather { .. } => &node.inputs[..1],
        _ => &node.inputs[..],
    };
    if let Some(&id) = data.iter().find(|&&id| !real(graph.ty(id))) {
        return Err(format!("it reads {}", graph.ty(id)));
    }
    if !matches!(node.op, Op::ArgMax { .. }) && !real(graph.ty(node.outputs[0])) {
        return Err(format!("it makes {}", graph.ty(node.outputs[0])));
    }
    let shared = |operands: Option<usize>, moves: bool| Ok(Form::Shared { operands, moves });
    let no_form = || Err(format!("{name} has no 8-bit integer form"));
    match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } => weighted(graph, node),
        Op::MatMul { .. } => match x.shape.last() {
            Some(&k) if k > MAX_SUMMED / 2 => Err(format!("its sums of {k} products may leave 32 bits")),
            _ => Ok(Form::Any),
        },
        Op::Pool(pool) => {
            if pool.kind == PoolKind::Average && pool.kernel.iter().product::<usize>() > 1 << 20 {
                return Err("its window is too large".to_owned());
            }
            shared(None, false)
        }
        Op::Binary { kind: BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul, .. } => Ok(Form::Any),
        Op::Binary { kind: BinaryKind::Min | BinaryKind::Max, .. } => shared(None, false),
        Op::Binary { kind: BinaryKind::PRelu, act: tandem_ops::Act::None } => Ok(Form::Any),
        Op::Unary(kind) => match kind {
            UnaryKind::Identity => shared(None, true),
            UnaryKind::Not => no_form(),
            // The code of zero stands for numbers down to zero, where these have a pole.
            UnaryKind::Log | UnaryKind::Rsqrt | UnaryKind::Reciprocal => {
                Err(format!("{name} of codes near zero has no use"))
            }
            UnaryKind::Sigmoid | UnaryKind::HardSigmoid { .. } => {
                Ok(Form::Fixed(QuantParams::per_tensor(1.0 / 256.0, -128)))
            }
            UnaryKind::Tanh => Ok(Form::Fixed(QuantParams::per_tensor(1.0 / 128.0, 0))),
            _ => Ok(Form::Any),
        },
        Op::Softmax { log: false, .. } => Ok(Form::Fixed(QuantParams::per_tensor(1.0 / 256.0, -128))),
        Op::Reduce { kind: ReduceKind::Mean | ReduceKind::Sum, .. } => Ok(Form::Any),
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => shared(None, false),
        Op::ArgMax { .. } => Ok(Form::Index),
        Op::Pad { mode, .. } => shared(Some(if *mode == PadMode::Constant { 2 } else { 1 }), true),
        Op::Concat { .. } => shared(None, true),
        Op::Slice { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Gather { .. } | Op::Expand { .. } => {
            shared(Some(1), true)
        }
        Op::Trilu { .. } => no_form(),
        Op::Resize(r) => {
            let image = x.shape.rank() == 4;
            let simple = matches!(r.mode, ResizeMode::Nearest(_) | ResizeMode::Linear)
                && !r.antialias
                && r.roi.is_none()
                && r.coordinate != CoordinateMode::TfCropAndResize;
            if image && simple { shared(None, false) } else { no_form() }
        }
        Op::Quantize | Op::Dequantize | Op::Requantize => Err("it belongs to another quantisation".to_owned()),
        _ => no_form(),
    }
}

fn weighted(graph: &Graph, node: &Node) -> Result<Form, String> {
    let constant = |id: &ValueId| graph.constant(*id).is_some();
    let Some(w) = node.inputs.get(1).filter(|id| constant(id)) else {
        return Err("its weights are not constants".to_owned());
    };
    if !node.inputs.get(2).is_none_or(constant) {
        return Err("its bias is not a constant".to_owned());
    }
    if constant(&node.inputs[0]) {
        return Err("it reads a constant".to_owned());
    }
    let shape = &graph.ty(*w).shape;
    let summed = shape.iter().skip(1).product::<usize>();
    if summed > MAX_SUMMED {
        return Err(format!("its sums of {summed} products may leave 32 bits"));
    }
    Ok(Form::Weighted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::sample::Sketch;

    fn of(sketch: &Sketch) -> Result<Form, String> {
        form(&sketch.graph, sketch.graph.nodes.last().unwrap())
    }

    #[test]
    fn what_has_no_integer_form_says_why() {
        let mut s = Sketch::image(2, 1);
        s.flatten();
        s.softmax(true);
        assert_eq!(of(&s).unwrap_err(), "log_softmax has no 8-bit integer form");
        s.unary(UnaryKind::Log);
        assert!(of(&s).unwrap_err().contains("near zero"));
        let x = s.graph.inputs[0];
        s.node(Op::Dense { act: tandem_ops::Act::None }, &[s.at]);
        assert_eq!(of(&s).unwrap_err(), "its weights are not constants");
        assert_eq!(s.graph.ty(x).dtype, DType::F32);
    }

    #[test]
    fn a_softmax_has_256_steps_of_one() {
        let mut s = Sketch::image(2, 1);
        s.softmax(false);
        assert_eq!(of(&s), Ok(Form::Fixed(QuantParams::per_tensor(1.0 / 256.0, -128))));
        s.max_pool(2);
        assert_eq!(of(&s), Ok(Form::Shared { operands: None, moves: false }));
    }
}
