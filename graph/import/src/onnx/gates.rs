//! Activations that exporters spell out become one operator.
//!
//! `x * sigmoid(x)` is swish; `x * relu6(x + 3) / 6`, with the division at any of its places, is hard swish.

use super::rewrite::Rewrite;
use crate::ImportError;
use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{Act, BinaryKind, Op, UnaryKind};

pub(super) fn recognise(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let mut rewrite = Rewrite::new(graph, budget);
    for node in &graph.nodes {
        match activation(&rewrite, node) {
            Some((kind, x)) => {
                let x = rewrite.value(x)?;
                rewrite.replace(node, Op::Unary(kind), &[x])?;
            }
            None => rewrite.copy(node)?,
        }
    }
    rewrite.finish()
}

/// The activation that ends in this node, and what it is applied to.
fn activation(rewrite: &Rewrite<'_>, node: &Node) -> Option<(UnaryKind, ValueId)> {
    if !rewrite.old.ty(*node.outputs.first()?).dtype.is_float() {
        return None;
    }
    if let Some((a, b)) = product(node) {
        for (x, gate) in [(a, b), (b, a)] {
            let maker = rewrite.sole_maker(gate);
            if maker.is_some_and(|m| m.op == Op::Unary(UnaryKind::Sigmoid) && m.inputs == [x]) {
                return Some((UnaryKind::Swish { alpha: 1.0 }, x));
            }
        }
    }
    let (x, factor) = gated(rewrite, node)?;
    ((factor - 1.0 / 6.0).abs() < 1e-6).then_some((UnaryKind::HardSwish, x))
}

fn product(node: &Node) -> Option<(ValueId, ValueId)> {
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary { kind: BinaryKind::Mul, act: Act::None }, &[a, b]) => Some((a, b)),
        _ => None,
    }
}

/// A product with, or a quotient by, one known number: the other operand and the factor.
fn scaled(rewrite: &Rewrite<'_>, node: &Node) -> Option<(ValueId, f64)> {
    let (kind, a, b) = match (&node.op, node.inputs.as_slice()) {
        (&Op::Binary { kind: kind @ (BinaryKind::Mul | BinaryKind::Div), act: Act::None }, &[a, b]) => (kind, a, b),
        _ => return None,
    };
    match (number(rewrite, a), number(rewrite, b)) {
        (None, Some(c)) => Some((a, if kind == BinaryKind::Div { 1.0 / c } else { c })),
        (Some(c), None) if kind == BinaryKind::Mul => Some((b, c)),
        _ => None,
    }
}

fn number(rewrite: &Rewrite<'_>, id: ValueId) -> Option<f64> {
    let tensor = rewrite.old.constant(id)?;
    if tensor.len() == 1 { tensor.to_f64().first().copied() } else { None }
}

/// `x * relu6(x + 3) * factor`, scaled once behind the product at most.
fn gated(rewrite: &Rewrite<'_>, node: &Node) -> Option<(ValueId, f64)> {
    let (node, outer) = match scaled(rewrite, node) {
        Some((inner, factor)) => (rewrite.sole_maker(inner)?, factor),
        None => (node, 1.0),
    };
    let (a, b) = product(node)?;
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let (source, factor) = hard_gate(rewrite, rewrite.sole_maker(gate)?)?;
        (source == x).then_some((x, factor * outer))
    })
}

/// `relu6(x + 3) * factor`, scaled once at most, or the hard sigmoid of that slope.
fn hard_gate(rewrite: &Rewrite<'_>, node: &Node) -> Option<(ValueId, f64)> {
    if let (&Op::Unary(UnaryKind::HardSigmoid { alpha, beta }), &[x]) = (&node.op, node.inputs.as_slice()) {
        let usual = (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5;
        return usual.then_some((x, 1.0 / 6.0));
    }
    let (node, factor) = match scaled(rewrite, node) {
        Some((inner, factor)) => (rewrite.sole_maker(inner)?, factor),
        None => (node, 1.0),
    };
    let (Op::Unary(UnaryKind::Relu6), &[sum]) = (&node.op, node.inputs.as_slice()) else { return None };
    let sum = rewrite.sole_maker(sum)?;
    let (Op::Binary { kind: BinaryKind::Add, act: Act::None }, &[a, b]) = (&sum.op, sum.inputs.as_slice()) else {
        return None;
    };
    [(a, b), (b, a)].into_iter().find_map(|(x, three)| (number(rewrite, three) == Some(3.0)).then_some((x, factor)))
}
