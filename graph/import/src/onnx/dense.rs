//! A dense layer behind a flattened transposition reads its input in the other order instead.

use super::rewrite::Rewrite;
use crate::ImportError;
use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::Op;
use tandem_tensor::TensorType;

pub(super) fn absorb(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let mut rewrite = Rewrite::new(graph, budget);
    for node in &graph.nodes {
        if !(matches!(node.op, Op::Dense { .. }) && reorder(&mut rewrite, node)?) {
            rewrite.copy(node)?;
        }
    }
    rewrite.finish()
}

/// `dense(reshape(transpose(y)), w)` with rows left alone is `dense(reshape(y), w with its columns moved)`.
fn reorder(rewrite: &mut Rewrite<'_>, node: &Node) -> Result<bool, ImportError> {
    let (Some(&x), Some(&w)) = (node.inputs.first(), node.inputs.get(1)) else { return Ok(false) };
    let old = rewrite.old;
    let Some(reshape) = rewrite.maker(x).filter(|m| matches!(m.op, Op::Reshape { .. })) else { return Ok(false) };
    let Some(&flat) = reshape.inputs.first() else { return Ok(false) };
    let Some(transpose) = rewrite.maker(flat) else { return Ok(false) };
    let (Op::Transpose { perm }, Some(&y)) = (&transpose.op, transpose.inputs.first()) else { return Ok(false) };
    let (xs, ys, ws) = (&old.ty(x).shape, &old.ty(y).shape, &old.ty(w).shape);
    let keeps_rows = perm.first() == Some(&0) && xs.rank() == 2 && xs.first() == ys.first();
    if !keeps_rows || ws.rank() != 2 || old.constant(w).is_none() {
        return Ok(false);
    }
    // Columns of w as the axes of the transposed value, brought into the order of the value before it.
    let rest = perm.get(1..).unwrap_or(&[]);
    let split: Vec<usize> =
        ws.first().copied().into_iter().chain(rest.iter().filter_map(|&p| ys.get(p).copied())).collect();
    let mut back = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        match back.get_mut(p) {
            Some(slot) => *slot = i,
            None => return Ok(false),
        }
    }
    let ty = old.ty(w).clone();
    if ty.quant.as_ref().is_some_and(|q| q.axis.is_some_and(|a| a != 0)) {
        return Ok(false);
    }
    let name = old.value(w).name.clone();
    let mut weights = rewrite.value(w)?;
    for op in [Op::Reshape { shape: split }, Op::Transpose { perm: back }, Op::Reshape { shape: ws.0.clone() }] {
        weights = rewrite.emit(&node.name, &name, op, &[weights], ty.dtype, ty.quant.clone())?;
    }
    let source = rewrite.value(y)?;
    let TensorType { dtype, quant, .. } = old.ty(x).clone();
    let flat = old.value(x).name.clone();
    let input = rewrite.emit(&reshape.name, &flat, Op::Reshape { shape: xs.0.clone() }, &[source], dtype, quant)?;
    let mut inputs: Vec<ValueId> = vec![input, weights];
    for &bias in node.inputs.get(2..).unwrap_or(&[]) {
        inputs.push(rewrite.value(bias)?);
    }
    rewrite.replace(node, node.op.clone(), &inputs)?;
    Ok(true)
}
