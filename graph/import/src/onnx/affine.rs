//! What stands behind a weighted operator joins it: bias, per-channel factor, activation.

use super::rewrite::Rewrite;
use crate::ImportError;
use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{Act, BinaryKind, Op, UnaryKind};
use tandem_tensor::{Shape, Tensor};

pub(super) fn join(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let mut rewrite = Rewrite::new(graph, budget);
    for node in &graph.nodes {
        let joined = match &node.op {
            Op::Binary { kind, act: Act::None } => constant_operand(&mut rewrite, node, *kind)?,
            Op::Unary(kind) => activation(&mut rewrite, node, *kind)?,
            _ => false,
        };
        if !joined {
            rewrite.copy(node)?;
        }
    }
    rewrite.finish()
}

/// The new form of the old node that makes `x` for this reader alone: operator and operands as they are by now.
///
/// The reader takes its place, so the form already joined is lost without harm when the graph is pruned.
fn before(rewrite: &mut Rewrite<'_>, x: ValueId) -> Option<(Op, Vec<ValueId>)> {
    rewrite.sole_maker(x)?;
    let new = rewrite.value(x).ok()?;
    let maker = rewrite.new_maker(new)?;
    Some((maker.op.clone(), maker.inputs.clone()))
}

fn activation(rewrite: &mut Rewrite<'_>, node: &Node, kind: UnaryKind) -> Result<bool, ImportError> {
    let act = match kind {
        UnaryKind::Relu => Act::Relu,
        UnaryKind::Relu6 => Act::Relu6,
        UnaryKind::ReluN1To1 => Act::ReluN1To1,
        _ => return Ok(false),
    };
    let &[x] = node.inputs.as_slice() else { return Ok(false) };
    // Codes have no zero of their own: only a real activation may move into its operator here.
    if !rewrite.old.ty(x).dtype.is_float() {
        return Ok(false);
    }
    let Some((mut op, inputs)) = before(rewrite, x) else { return Ok(false) };
    let Some(slot) = op.act_mut() else { return Ok(false) };
    if *slot != Act::None {
        return Ok(false);
    }
    *slot = act;
    rewrite.replace(node, op, &inputs)?;
    Ok(true)
}

/// `conv(x) + c`, `conv(x) - c` and `conv(x) * c` with one element of c a channel.
fn constant_operand(rewrite: &mut Rewrite<'_>, node: &Node, kind: BinaryKind) -> Result<bool, ImportError> {
    let &[a, b] = node.inputs.as_slice() else { return Ok(false) };
    let commutes = matches!(kind, BinaryKind::Add | BinaryKind::Mul);
    for (x, c) in [(a, b), (b, a)] {
        if x != a && !commutes {
            continue;
        }
        let Some((op, inputs)) = before(rewrite, x) else { continue };
        let plain = match &op {
            Op::Conv(conv) => conv.act == Act::None,
            Op::Dense { act } => *act == Act::None,
            _ => false,
        };
        let channels = rewrite.old.ty(x).shape.last().copied();
        let shape = rewrite.old.ty(c).shape.clone();
        let fits = shape.last().copied() == channels || shape.elements() == 1;
        let per_channel = fits
            && shape.elements() == shape.last().copied().unwrap_or(1)
            && shape.rank() <= rewrite.old.ty(x).shape.rank();
        if !plain || !per_channel {
            continue;
        }
        let channels = channels.unwrap_or(0);
        let joined = match kind {
            BinaryKind::Add if inputs.len() == 2 && shape.elements() == channels => {
                bias(rewrite, node, op, &inputs, c, channels)?
            }
            BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul => fold(rewrite, node, kind, op, &inputs, c, channels)?,
            _ => false,
        };
        if joined {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A bias joins as it is, dequantised or real.
fn bias(
    rewrite: &mut Rewrite<'_>,
    node: &Node,
    op: Op,
    inputs: &[ValueId],
    c: ValueId,
    channels: usize,
) -> Result<bool, ImportError> {
    let c = rewrite.value(c)?;
    let bias = match rewrite.codes_of(c) {
        Some(_) if rewrite.shape(c).rank() == 1 => c,
        Some(codes) if rewrite.ty(codes).quant.as_ref().is_some_and(|q| q.is_per_tensor()) => {
            let codes = reshaped(rewrite, codes, channels)?;
            let dtype = rewrite.ty(c).dtype;
            rewrite.emit(&node.name, &format!("{}/bias", node.name), Op::Dequantize, &[codes], dtype, None)?
        }
        Some(_) => return Ok(false),
        None if rewrite.builder.graph.constant(c).is_some() => reshaped(rewrite, c, channels)?,
        None => return Ok(false),
    };
    let operands: Vec<ValueId> = inputs.iter().copied().chain([bias]).collect();
    rewrite.replace(node, op, &operands)?;
    Ok(true)
}

fn reshaped(rewrite: &mut Rewrite<'_>, x: ValueId, channels: usize) -> Result<ValueId, ImportError> {
    let ty = rewrite.ty(x).clone();
    if ty.shape == Shape(vec![channels]) {
        return Ok(x);
    }
    let name = rewrite.builder.graph.value(x).name.clone();
    rewrite.emit(&name, &name, Op::Reshape { shape: vec![channels] }, &[x], ty.dtype, ty.quant)
}

/// Constant weights and bias take the constant in.
fn fold(
    rewrite: &mut Rewrite<'_>,
    node: &Node,
    kind: BinaryKind,
    op: Op,
    inputs: &[ValueId],
    c: ValueId,
    channels: usize,
) -> Result<bool, ImportError> {
    let c = rewrite.value(c)?;
    let &[x, w, ..] = inputs else { return Ok(false) };
    let constant = |r: &Rewrite<'_>, id: ValueId| r.builder.graph.constant(id).cloned();
    let (Some(c), Some(weights)) = (constant(rewrite, c), constant(rewrite, w)) else { return Ok(false) };
    if !weights.dtype().is_float() || !c.dtype().is_float() || rewrite.ty(w).shape.first() != Some(&channels) {
        return Ok(false);
    }
    let bytes = weights.len().saturating_mul(weights.dtype().bytes());
    if kind == BinaryKind::Mul && !rewrite.builder.charge(bytes) {
        return Ok(false);
    }
    let old_bias = match inputs.get(2) {
        None => vec![0.0; channels],
        Some(&b) => match constant(rewrite, b) {
            Some(b) if b.len() == channels => b.to_f64(),
            _ => return Ok(false),
        },
    };
    let c = c.to_f64();
    let at = |i: usize| if c.len() == 1 { c[0] } else { c.get(i).copied().unwrap_or(0.0) };
    let dtype = weights.dtype();
    let name = &node.name;
    let mut w = w;
    let mut bias = old_bias;
    match kind {
        BinaryKind::Mul => {
            let row = weights.len() / channels.max(1);
            let scaled: Vec<f64> =
                weights.to_f64().into_iter().enumerate().map(|(i, v)| v * at(i / row.max(1))).collect();
            let tensor = made(name, Tensor::from_f64(dtype, weights.shape().clone(), &scaled))?;
            w = rewrite.constant(&format!("{name}/weights"), tensor, None);
            bias = bias.into_iter().enumerate().map(|(i, v)| v * at(i)).collect();
        }
        BinaryKind::Add => bias = bias.into_iter().enumerate().map(|(i, v)| v + at(i)).collect(),
        _ => bias = bias.into_iter().enumerate().map(|(i, v)| v - at(i)).collect(),
    }
    let mut operands = vec![x, w];
    if inputs.len() > 2 || kind != BinaryKind::Mul {
        let tensor = made(name, Tensor::from_f64(dtype, [channels], &bias))?;
        operands.push(rewrite.constant(&format!("{name}/bias"), tensor, None));
    }
    rewrite.replace(node, op, &operands)?;
    Ok(true)
}

fn made(node: &str, tensor: Result<Tensor, tandem_tensor::TensorError>) -> Result<Tensor, ImportError> {
    tensor.map_err(|e| ImportError::malformed(format!("node '{node}'"), e.to_string()))
}
