//! Activations and padding join their operator.
//!
//! - An activation behind a convolution, dense layer, pool, sum, difference, product or concatenation of floats. Rounding to the dtype is
//!   monotone and the bounds of the activations are numbers of every float dtype, so that it does not matter which comes first; only a
//!   negative number that rounds to zero has its sign before the activation and loses it with it.
//! - The same on 8-bit codes, where the operator of one operand has the table of a clamp to the range of an activation and both results
//!   count in the same scale and zero point. A requantisation to another scale stays where it is: it rounds a second time, which no
//!   single rounding repeats.
//! - Padding with the code of zero before a convolution, which counts what lies outside as zero.
//!
//! ```text
//! // before
//! graph "fuse" tflref
//! input %0 "x" i8[1,3,3,1] quant 0.5:-1
//! value %1 "padded" i8[1,5,5,1] quant 0.5:-1
//! node "padded" %1 = {"Pad":{"amount":[[0,0],[1,1],[1,1],[0,0]],"mode":"Constant"}} %0
//! constant %2 "w" i8[1,3,3,1] quant 0.25:0 = 1 -2 3 -4 5 -6 7 -8 9
//! constant %3 "b" i32[1] = 10
//! value %4 "sum" i8[1,3,3,1] quant 1:3
//! node "conv" %4 = {"Conv":{"stride":[1,1],"dilation":[1,1],"pad":[[0,0],[0,0]],"groups":1,"act":"None"}} %1 %2 %3
//! value %5 "y" i8[1,3,3,1] quant 1:3
//! node "relu6" %5 = {"Unary":"Relu6"} %4
//! output %5
//! // after
//! graph "fuse" tflref
//! input %0 "x" i8[1,3,3,1] quant 0.5:-1
//! constant %1 "w" i8[1,3,3,1] quant 0.25:0 = 1 -2 3 -4 5 -6 7 -8 9
//! constant %2 "b" i32[1] = 10
//! value %3 "y" i8[1,3,3,1] quant 1:3
//! node "conv" %3 = {"Conv":{"stride":[1,1],"dilation":[1,1],"pad":[[1,1],[1,1]],"groups":1,"act":"Relu6"}} %0 %1 %2
//! output %3
//! ```

use super::rewrite::Rewrite;
use super::{Pass, table};
use crate::{Graph, GraphError, Node};
use tandem_ops::arith::{activation_range, code_range};
use tandem_ops::{Act, Conv, Op, PadMode, UnaryKind};
use tandem_tensor::{DType, QuantParams, TensorType};

/// The activations that an operator can have.
const ACTS: [Act; 4] = [Act::None, Act::Relu, Act::Relu6, Act::ReluN1To1];

/// The pass.
pub(super) const PASS: Pass =
    Pass { name: "fuse", about: "activations and padding join their operator", exact: true, apply: fuse };

fn fuse(graph: &Graph) -> Result<Graph, GraphError> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    for node in nodes {
        let mut node = rewrite.resolved(node);
        if let Some((at, op)) = activation(&rewrite, &node) {
            rewrite.absorb(at, op, &node);
            continue;
        }
        if let Some((conv, inputs)) = padding(&rewrite, &node) {
            rewrite.rewire(&mut node, inputs);
            node.op = Op::Conv(conv);
        }
        rewrite.push(node);
    }
    Ok(rewrite.finish())
}

/// The node before an activation, and its operator with the activation in it.
fn activation(rewrite: &Rewrite, node: &Node) -> Option<(usize, Op)> {
    let (&[x], &[y]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
    if !table::is_unary(&node.op) || rewrite.ty(x) != rewrite.ty(y) {
        return None;
    }
    let at = rewrite.sole_maker(x)?;
    let maker = rewrite.node(at);
    let mut op = maker.op.clone();
    let slot = op.act_mut()?;
    let ty = rewrite.ty(x);
    *slot = if ty.dtype.is_float() {
        both(*slot, real(&node.op)?)?
    } else if on_codes(rewrite, maker, ty) {
        clamp(rewrite, *slot, node, ty)?
    } else {
        return None;
    };
    Some((at, op))
}

/// The activation of reals that an operator of one operand is.
fn real(op: &Op) -> Option<Act> {
    let Op::Unary(kind) = op else { return None };
    match *kind {
        UnaryKind::Relu => Some(Act::Relu),
        UnaryKind::Relu6 => Some(Act::Relu6),
        UnaryKind::ReluN1To1 => Some(Act::ReluN1To1),
        UnaryKind::Clip { min, max } => {
            let range = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
            ACTS.into_iter().find(|act| (f64::from(act.range().0), f64::from(act.range().1)) == range)
        }
        _ => None,
    }
}

/// The activation that is one after another.
fn both(first: Act, second: Act) -> Option<Act> {
    let ((a, b), (c, d)) = (first.range(), second.range());
    let range = (a.max(c), b.min(d));
    ACTS.into_iter().find(|act| act.range() == range)
}

/// The activation with which an operator on codes clamps as it and the node behind it do together.
fn clamp(rewrite: &Rewrite, first: Act, node: &Node, ty: &TensorType) -> Option<Act> {
    let table = table::of(rewrite.graph().arith, ty, &[(&node.op, ty)])?;
    let quant = ty.quant.as_ref()?;
    let least = code_range(ty.dtype).0;
    let (lo, hi) = activation_range(first, ty.dtype, quant);
    // Before it is clamped, a result may be any integer; beyond the codes on either side all are alike.
    let together = |code: i32| table.get((code.max(lo).min(hi) - least) as usize).copied();
    ACTS.into_iter().find(|&act| {
        let (lo, hi) = activation_range(act, ty.dtype, quant);
        (-300..=300).all(|code: i32| together(code) == Some(i64::from(code.max(lo).min(hi))))
    })
}

/// True when an operator has an integer kernel for its types, whose last step is a clamp to the range of its activation.
fn on_codes(rewrite: &Rewrite, node: &Node, result: &TensorType) -> bool {
    let types: Vec<&TensorType> = node.inputs.iter().map(|&id| rewrite.ty(id)).collect();
    match (&node.op, types.as_slice()) {
        (Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. }, [x, w, bias @ ..]) => {
            let by_output = |q: &QuantParams| q.is_per_tensor() || q.axis == Some(0);
            let weights = matches!(w.dtype, DType::I8 | DType::U8) && w.quant.as_ref().is_some_and(by_output);
            table::is_codes(x) && weights && bias.iter().all(|b| b.dtype == DType::I32)
        }
        (Op::Binary { .. }, [a, b]) => table::is_codes(a) && table::is_codes(b),
        // Here codes are only compared, counted together or copied, under one quantisation.
        (Op::Pool(_) | Op::Concat { .. }, all) => {
            table::is_codes(result) && all.iter().all(|t| t.dtype == result.dtype && t.quant == result.quant)
        }
        _ => false,
    }
}

/// A convolution with the padding before it, and its operands then.
fn padding(rewrite: &Rewrite, node: &Node) -> Option<(Conv, Vec<crate::ValueId>)> {
    let Op::Conv(conv) = &node.op else { return None };
    let (&padded, &w) = (node.inputs.first()?, node.inputs.get(1)?);
    let pad = rewrite.maker(padded)?;
    let Op::Pad { amount, mode: PadMode::Constant } = &pad.op else { return None };
    let &x = pad.inputs.first()?;
    let (from, to) = (rewrite.ty(x), rewrite.ty(padded));
    if (from.dtype, &from.quant) != (to.dtype, &to.quant) || !from.quant.as_ref().is_none_or(QuantParams::is_per_tensor)
    {
        return None;
    }
    if let Some(&value) = pad.inputs.get(1) {
        let zero = from.quant.as_ref().map_or(0.0, |q| f64::from(q.zero_point()));
        if rewrite.constant(value)?.to_f64().first() != Some(&zero) {
            return None;
        }
    }
    // Zero times a weight is zero, unless the weight is infinite or no number.
    if from.dtype.is_float() && !rewrite.constant(w)?.to_f64().into_iter().all(f64::is_finite) {
        return None;
    }
    let mut conv = conv.clone();
    let (&[batch, ref spatial @ .., channels], kernel) = (amount.as_slice(), &rewrite.ty(w).shape) else {
        return None;
    };
    if batch != (0, 0) || channels != (0, 0) || spatial.len() != conv.pad.len() {
        return None;
    }
    for (axis, &(before, after)) in spatial.iter().enumerate() {
        let own = conv.pad.get_mut(axis)?;
        *own = (own.0.checked_add(usize::try_from(before).ok()?)?, own.1.checked_add(usize::try_from(after).ok()?)?);
        // A window that lies wholly outside sees nothing; hardware need not know of it.
        let reach = (kernel.get(1 + axis)?.checked_sub(1)?).checked_mul(*conv.dilation.get(axis)?)?;
        if own.0 > reach || own.1 > reach {
            return None;
        }
    }
    let mut inputs = node.inputs.clone();
    inputs[0] = x;
    Some((conv, inputs))
}
