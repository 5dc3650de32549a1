//! Codes keep their meaning while they are only moved.
//!
//! A model may move 8-bit codes with plain integer operators, so that only one end of a chain of moves says what the
//! codes stand for. This pass gives the scale to the whole chain.

use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{Op, PoolKind, ReduceKind, ResizeMode, UnaryKind};
use tandem_tensor::QuantParams;

pub(super) fn spread(graph: &mut Graph) {
    for i in (0..graph.nodes.len()).rev() {
        visit(graph, i, true);
    }
    for i in 0..graph.nodes.len() {
        visit(graph, i, false);
    }
}

fn visit(graph: &mut Graph, index: usize, backward: bool) {
    let node = &graph.nodes[index];
    let Some(&output) = node.outputs.first() else { return };
    let inputs: Vec<ValueId> = moved(node).to_vec();
    let (from, to) = if backward { (vec![output], inputs) } else { (inputs, vec![output]) };
    let Some(quant) = common(graph, &from) else { return };
    let dtype = graph.ty(output).dtype;
    for id in to {
        if let Some(value) = graph.values.get_mut(id.0)
            && value.ty.quant.is_none()
            && value.ty.dtype == dtype
        {
            value.ty.quant = Some(quant.clone());
        }
    }
}

/// The parameters that all of these values share.
fn common(graph: &Graph, ids: &[ValueId]) -> Option<QuantParams> {
    let (first, rest) = ids.split_first()?;
    let quant = graph.ty(*first).quant.as_ref().filter(|q| q.is_per_tensor())?;
    rest.iter().all(|&id| graph.ty(id).quant.as_ref() == Some(quant)).then(|| quant.clone())
}

/// The operands whose codes come out unchanged.
fn moved(node: &Node) -> &[ValueId] {
    let first = node.inputs.get(..1).unwrap_or(&[]);
    match &node.op {
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Expand { .. } | Op::Gather { .. } => first,
        Op::Pad { .. } | Op::Unary(UnaryKind::Identity) => first,
        Op::Pool(p) if p.kind == PoolKind::Max => first,
        Op::Resize(r) if matches!(r.mode, ResizeMode::Nearest(_)) => first,
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => first,
        Op::Concat { .. } => &node.inputs,
        Op::Where => node.inputs.get(1..).unwrap_or(&[]),
        _ => &[],
    }
}
