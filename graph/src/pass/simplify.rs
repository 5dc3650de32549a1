//! Nodes that change nothing vanish, and chains shrink.
//!
//! - An identity, a reshape to the shape that is there, a transpose that keeps every axis, padding by nothing, a slice of everything,
//!   an expansion to the same shape, a concatenation of one, a cast to the same dtype: readers read the operand.
//! - A reshape of a reshape is one reshape, a transpose of a transpose one transpose, and a transpose that only moves axes of extent 1 a
//!   reshape.
//! - A chain of operators of one operand that begins and ends with 8-bit codes is a table of 256 codes. Where the whole chain has the
//!   table of a single operator, or of none, it becomes that.
//! - Floats less 0, times 1 and by 1 stay what they are; plus 0 is left alone, because it gives -0 another sign.
//!
//! ```text
//! // before
//! graph "simplify" tflref
//! input %0 "x" i8[1,2,3] quant 0.5:-1
//! value %1 "flat" i8[6] quant 0.5:-1
//! node "flat" %1 = {"Reshape":{"shape":[6]}} %0
//! value %2 "pair" i8[3,2] quant 0.5:-1
//! node "pair" %2 = {"Reshape":{"shape":[3,2]}} %1
//! value %3 "turned" i8[2,3] quant 0.5:-1
//! node "turned" %3 = {"Transpose":{"perm":[1,0]}} %2
//! value %4 "back" i8[3,2] quant 0.5:-1
//! node "back" %4 = {"Transpose":{"perm":[1,0]}} %3
//! value %5 "real" f32[3,2]
//! node "real" %5 = "Dequantize" %4
//! value %6 "rectified" f32[3,2]
//! node "rectified" %6 = {"Unary":"Relu"} %5
//! value %7 "y" i8[3,2] quant 0.5:-1
//! node "y" %7 = "Quantize" %6
//! output %7
//! // after
//! graph "simplify" tflref
//! input %0 "x" i8[1,2,3] quant 0.5:-1
//! value %1 "pair" i8[3,2] quant 0.5:-1
//! node "pair" %1 = {"Reshape":{"shape":[3,2]}} %0
//! value %2 "y" i8[3,2] quant 0.5:-1
//! node "y" %2 = {"Unary":"Relu"} %1
//! output %2
//! ```

use super::rewrite::Rewrite;
use super::{Pass, table};
use crate::permute::{is_identity, moves_units_only};
use crate::{Graph, GraphError, Node, ValueId};
use tandem_ops::{Act, BinaryKind, Op, UnaryKind};
use tandem_tensor::{QuantParams, TensorType};

/// The longest chain of operators that becomes one.
const LONGEST_CHAIN: usize = 8;

/// The pass.
pub(super) const PASS: Pass = Pass {
    name: "simplify",
    about: "nodes that change nothing vanish, chains of reshapes, transposes and requantisations shrink",
    exact: true,
    apply: simplify,
};

/// What is left of a node.
enum Simpler {
    /// Its readers read this.
    Value(ValueId),
    /// Another operator on another operand.
    Node(Op, ValueId),
}

pub(super) fn simplify(graph: &Graph) -> Result<Graph, GraphError> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    for node in nodes {
        let mut node = rewrite.resolved(node);
        // What one rule makes may be food for another; every rule makes a chain shorter, so that this ends.
        for _ in 0..LONGEST_CHAIN {
            match simpler(&rewrite, &node) {
                Some(Simpler::Node(op, input)) => {
                    rewrite.rewire(&mut node, vec![input]);
                    node.op = op;
                }
                Some(Simpler::Value(value)) if rewrite.replace(node.outputs[0], value) => {
                    rewrite.drop(&node);
                    node.outputs.clear();
                    break;
                }
                _ => break,
            }
        }
        if !node.outputs.is_empty() {
            rewrite.push(node);
        }
    }
    Ok(rewrite.finish())
}

fn simpler(rewrite: &Rewrite, node: &Node) -> Option<Simpler> {
    let (&x, &[y]) = (node.inputs.first()?, node.outputs.as_slice()) else { return None };
    let (from, to) = (rewrite.ty(x), rewrite.ty(y));
    if from == to && keeps_everything(rewrite, node, from) {
        return Some(Simpler::Value(x));
    }
    match &node.op {
        Op::Reshape { shape } => reshape(rewrite, x, shape),
        Op::Transpose { perm } => transpose(rewrite, x, perm, to),
        op if table::is_unary(op) => chain(rewrite, node, to),
        _ => None,
    }
}

/// True when the result has the elements of the first operand; their types are equal.
fn keeps_everything(rewrite: &Rewrite, node: &Node, ty: &TensorType) -> bool {
    let neutral = |value: f64| {
        let Some(&c) = node.inputs.get(1) else { return false };
        let Some(tensor) = rewrite.constant(c) else { return false };
        ty.dtype.is_float() && tensor.to_f64().into_iter().all(|v| v.to_bits() == value.to_bits())
    };
    match &node.op {
        Op::Unary(UnaryKind::Identity) | Op::Reshape { .. } | Op::Expand { .. } | Op::Cast { .. } => true,
        Op::Transpose { perm } => is_identity(perm),
        Op::Pad { amount, .. } => amount.iter().all(|&pair| pair == (0, 0)),
        Op::Slice { step, .. } => step.iter().zip(ty.shape.iter()).all(|(&step, &extent)| step == 1 || extent < 2),
        Op::Concat { act: Act::None, .. } => node.inputs.len() == 1,
        Op::Binary { kind: BinaryKind::Sub, act: Act::None } => neutral(0.0),
        Op::Binary { kind: BinaryKind::Mul | BinaryKind::Div, act: Act::None } => neutral(1.0),
        _ => false,
    }
}

/// The node that makes the operand of this one.
fn before(rewrite: &Rewrite, x: ValueId) -> Option<(&Op, ValueId)> {
    let maker = rewrite.maker(x)?;
    match (maker.inputs.as_slice(), maker.outputs.as_slice()) {
        (&[source], &[_]) => Some((&maker.op, source)),
        _ => None,
    }
}

fn reshape(rewrite: &Rewrite, x: ValueId, shape: &[usize]) -> Option<Simpler> {
    let (Op::Reshape { .. }, source) = before(rewrite, x)? else { return None };
    let op = Op::Reshape { shape: shape.to_vec() };
    // Along an axis, parameters and shape have to agree at every step.
    (is_whole(rewrite.ty(source)) && is_whole(rewrite.ty(x))).then_some(Simpler::Node(op, source))
}

fn transpose(rewrite: &Rewrite, x: ValueId, perm: &[usize], to: &TensorType) -> Option<Simpler> {
    if let Some((Op::Transpose { perm: first }, source)) = before(rewrite, x) {
        let perm = perm.iter().map(|&axis| first[axis]).collect();
        return Some(Simpler::Node(Op::Transpose { perm }, source));
    }
    let from = rewrite.ty(x);
    (is_whole(from) && moves_units_only(perm, &from.shape))
        .then(|| Simpler::Node(Op::Reshape { shape: to.shape.0.clone() }, x))
}

/// True without parameters along an axis.
pub(super) fn is_whole(ty: &TensorType) -> bool {
    ty.quant.as_ref().is_none_or(QuantParams::is_per_tensor)
}

/// The longest chain behind the result that one operator, or none, replaces.
fn chain(rewrite: &Rewrite, node: &Node, to: &TensorType) -> Option<Simpler> {
    let mut steps = vec![(&node.op, to)];
    let mut source = *node.inputs.first()?;
    let mut best = None;
    loop {
        let from = rewrite.ty(source);
        best = shorter(rewrite, from, &steps, source).or(best);
        let maker = rewrite.sole_maker(source).map(|at| rewrite.node(at));
        match maker {
            Some(maker) if table::is_unary(&maker.op) && steps.len() < LONGEST_CHAIN => {
                steps.insert(0, (&maker.op, from));
                source = *maker.inputs.first()?;
            }
            _ => return best,
        }
    }
}

fn shorter(rewrite: &Rewrite, from: &TensorType, steps: &[(&Op, &TensorType)], source: ValueId) -> Option<Simpler> {
    let arith = rewrite.graph().arith;
    let (_, to) = steps.last()?;
    let wanted = table::of(arith, from, steps)?;
    if from == *to && table::of(arith, from, &[])? == wanted {
        return Some(Simpler::Value(source));
    }
    if steps.len() < 2 {
        return None;
    }
    let requantize = Op::Requantize;
    let kinds = steps.iter().map(|(op, _)| *op).filter(|op| matches!(op, Op::Unary(_)));
    let mut candidates = [&requantize].into_iter().chain(kinds);
    let op = candidates.find(|op| table::of(arith, from, &[(*op, *to)]).is_some_and(|table| table == wanted))?;
    Some(Simpler::Node(op.clone(), source))
}
