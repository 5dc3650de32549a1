//! Per-channel factors and offsets join the weights and bias before them.
//!
//! A batch normalisation is a product with and a sum of one constant a channel. Behind a convolution, transposed convolution or dense
//! layer of floats both move into its weights and bias, which are computed in binary64 and rounded once. The order of the arithmetic
//! changes, so that results agree within the rounding of the dtype and not to the last bit; codes are left alone.
//!
//! ```text
//! // before
//! graph "affine" tflref
//! input %0 "x" f32[1,2]
//! constant %1 "w" f32[1,2] =
//!   | AACAPwAAAEA=
//! value %2 "product" f32[1,1]
//! node "dense" %2 = {"Dense":{"act":"None"}} %0 %1
//! constant %3 "factor" f32[1] =
//!   | AAAAQA==
//! value %4 "scaled" f32[1,1]
//! node "scaled" %4 = {"Binary":{"kind":"Mul","act":"None"}} %2 %3
//! constant %5 "offset" f32[1] =
//!   | AACAPg==
//! value %6 "y" f32[1,1]
//! node "shifted" %6 = {"Binary":{"kind":"Add","act":"Relu"}} %4 %5
//! output %6
//! // after
//! graph "affine" tflref
//! input %0 "x" f32[1,2]
//! constant %2 "scaled/weights" f32[1,2] =
//!   | AAAAQAAAgEA=
//! constant %3 "shifted/bias" f32[1] =
//!   | AACAPg==
//! value %1 "y" f32[1,1]
//! node "dense" %1 = {"Dense":{"act":"Relu"}} %0 %2 %3
//! output %1
//! ```

use super::Pass;
use super::rewrite::Rewrite;
use crate::{Graph, GraphError, Node, ValueId};
use tandem_ops::{Act, BinaryKind, Op};
use tandem_tensor::{Shape, Tensor, TensorType};

/// The pass.
pub(super) const PASS: Pass = Pass {
    name: "affine",
    about: "per-channel factors and offsets of floats join the weights and bias before them",
    exact: false,
    apply: join,
};

/// What joins: the operator that takes it in, its new operator, and the operation with one constant for each channel.
struct Joined {
    at: usize,
    op: Op,
    kind: BinaryKind,
    constant: Vec<f64>,
}

fn join(graph: &Graph) -> Result<Graph, GraphError> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    for node in nodes {
        let node = rewrite.resolved(node);
        match find(&rewrite, &node) {
            Some(joined) if take_in(&mut rewrite, &node, &joined).is_some() => {
                rewrite.absorb(joined.at, joined.op, &node);
            }
            _ => {
                rewrite.push(node);
            }
        }
    }
    Ok(rewrite.finish())
}

fn find(rewrite: &Rewrite, node: &Node) -> Option<Joined> {
    let Op::Binary { kind, act } = node.op else { return None };
    let (&[a, b], &[y]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
    let commutes = match kind {
        BinaryKind::Add | BinaryKind::Mul => true,
        BinaryKind::Sub | BinaryKind::Div => false,
        _ => return None,
    };
    [(a, b), (b, a)].into_iter().take(if commutes { 2 } else { 1 }).find_map(|(x, c)| {
        let at = rewrite.sole_maker(x)?;
        let mut op = rewrite.node(at).op.clone();
        let own = match &mut op {
            Op::Conv(conv) => &mut conv.act,
            Op::ConvTranspose(conv) => &mut conv.act,
            Op::Dense { act } => act,
            _ => return None,
        };
        if *own != Act::None || rewrite.ty(x) != rewrite.ty(y) || !rewrite.ty(x).dtype.is_float() {
            return None;
        }
        *own = act;
        let constant = per_channel(rewrite.constant(c)?, &rewrite.ty(x).shape)?;
        Some(Joined { at, op, kind, constant })
    })
}

/// The elements of a constant that has one for each channel, or one for all of them.
fn per_channel(constant: &Tensor, result: &Shape) -> Option<Vec<f64>> {
    let &channels = result.last()?;
    let shape = constant.shape();
    if !constant.dtype().is_float() || shape.rank() > result.rank() {
        return None;
    }
    let values = constant.to_f64();
    match values[..] {
        [one] => Some(vec![one; channels]),
        _ if shape.last() == Some(&channels) && values.len() == channels => Some(values),
        _ => None,
    }
}

/// New weights and bias for the operator; `None`, and nothing happens, when they are no constants of floats.
fn take_in(rewrite: &mut Rewrite, node: &Node, joined: &Joined) -> Option<()> {
    let inputs = rewrite.node(joined.at).inputs.clone();
    let (&x, &w) = (inputs.first()?, inputs.get(1)?);
    let weights = rewrite.constant(w)?.clone();
    let channels = joined.constant.len();
    if !weights.dtype().is_float() || rewrite.ty(w).shape.first() != Some(&channels) || channels == 0 {
        return None;
    }
    let mut bias = match inputs.get(2) {
        None => vec![0.0; channels],
        Some(&b) => rewrite.constant(b)?.to_f64(),
    };
    let apply = |value: f64, channel: usize| {
        let c = joined.constant.get(channel).copied().unwrap_or(f64::NAN);
        match joined.kind {
            BinaryKind::Mul => value * c,
            BinaryKind::Div => value / c,
            BinaryKind::Add => value + c,
            _ => value - c,
        }
    };
    bias.iter_mut().enumerate().for_each(|(channel, value)| *value = apply(*value, channel));
    let factor = matches!(joined.kind, BinaryKind::Mul | BinaryKind::Div);
    let dtype = weights.dtype();
    let mut operands = vec![x, w];
    if factor {
        let each = (weights.len() / channels).max(1);
        let scaled: Vec<f64> = weights.to_f64().into_iter().enumerate().map(|(i, v)| apply(v, i / each)).collect();
        let tensor = Tensor::from_f64(dtype, weights.shape().clone(), &scaled).ok()?;
        operands[1] = made(rewrite, node, "weights", tensor);
    }
    if inputs.len() > 2 || !factor {
        let tensor = Tensor::from_f64(dtype, [channels], &bias).ok()?;
        operands.push(made(rewrite, node, "bias", tensor));
    }
    rewrite.set_inputs(joined.at, operands);
    Some(())
}

fn made(rewrite: &mut Rewrite, node: &Node, what: &str, tensor: Tensor) -> ValueId {
    let ty = TensorType::new(tensor.dtype(), tensor.shape().clone());
    rewrite.add_constant(&format!("{}/{what}", node.name), ty, tensor)
}
