//! Equal nodes and equal constants become one.
//!
//! Two nodes are equal when operator, operands and the types of their results are; the operands of an operator that commutes may stand
//! in either order. Operators have no side effects, so the later one's readers read the results of the earlier one. Constants are
//! compared by their bytes. The minimum and maximum of floats do not commute here: with NaN the order decides.
//!
//! ```text
//! // before
//! graph "cse" tflref
//! input %0 "x" i32[2]
//! input %1 "y" i32[2]
//! constant %2 "a" i32[2] = 1 2
//! constant %3 "b" i32[2] = 1 2
//! value %4 "sum" i32[2]
//! node "sum" %4 = {"Binary":{"kind":"Add","act":"None"}} %0 %1
//! value %5 "turned" i32[2]
//! node "turned" %5 = {"Binary":{"kind":"Add","act":"None"}} %1 %0
//! value %6 "left" i32[2]
//! node "left" %6 = {"Binary":{"kind":"Sub","act":"None"}} %4 %2
//! value %7 "right" i32[2]
//! node "right" %7 = {"Binary":{"kind":"Sub","act":"None"}} %5 %3
//! value %8 "z" i32[2]
//! node "z" %8 = {"Binary":{"kind":"Mul","act":"None"}} %6 %7
//! output %8
//! // after
//! graph "cse" tflref
//! input %0 "x" i32[2]
//! input %1 "y" i32[2]
//! value %3 "sum" i32[2]
//! node "sum" %3 = {"Binary":{"kind":"Add","act":"None"}} %0 %1
//! constant %2 "a" i32[2] = 1 2
//! value %4 "left" i32[2]
//! node "left" %4 = {"Binary":{"kind":"Sub","act":"None"}} %3 %2
//! value %5 "z" i32[2]
//! node "z" %5 = {"Binary":{"kind":"Mul","act":"None"}} %4 %4
//! output %5
//! ```

use super::Pass;
use super::rewrite::Rewrite;
use crate::{Graph, GraphError, Node, ValueId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tandem_ops::{BinaryKind, Op};
use tandem_tensor::TensorType;

/// The pass.
pub(super) const PASS: Pass =
    Pass { name: "cse", about: "equal nodes and equal constants become one", exact: true, apply: merge };

fn merge(graph: &Graph) -> Result<Graph, GraphError> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    merge_constants(&mut rewrite);
    let mut seen: HashMap<(String, Vec<ValueId>), Vec<ValueId>> = HashMap::new();
    for node in nodes {
        let key = key(&rewrite, &node);
        match seen.get(&key) {
            Some(earlier) => {
                let earlier = earlier.clone();
                rewrite.drop(&node);
                for (&old, new) in node.outputs.iter().zip(earlier) {
                    rewrite.replace(old, new);
                }
            }
            None => {
                seen.insert(key, node.outputs.clone());
                rewrite.push(node);
            }
        }
    }
    Ok(rewrite.finish())
}

/// What nodes are compared by. Debug text holds every bit of an operator's fields, floats included.
fn key(rewrite: &Rewrite, node: &Node) -> (String, Vec<ValueId>) {
    let mut inputs: Vec<ValueId> = node.inputs.iter().map(|&id| rewrite.resolve(id)).collect();
    let types: Vec<&TensorType> = node.outputs.iter().map(|&id| rewrite.ty(id)).collect();
    if commutes(&node.op, types.first().is_some_and(|ty| ty.dtype.is_float())) {
        inputs.sort_unstable();
    }
    (format!("{:?} {types:?}", node.op), inputs)
}

fn commutes(op: &Op, real: bool) -> bool {
    let Op::Binary { kind, .. } = op else { return false };
    match kind {
        BinaryKind::Min | BinaryKind::Max => !real,
        BinaryKind::Add
        | BinaryKind::Mul
        | BinaryKind::SquaredDifference
        | BinaryKind::And
        | BinaryKind::Or
        | BinaryKind::Xor
        | BinaryKind::Equal
        | BinaryKind::NotEqual => true,
        BinaryKind::Sub
        | BinaryKind::Div
        | BinaryKind::Pow
        | BinaryKind::PRelu
        | BinaryKind::Less
        | BinaryKind::LessEqual
        | BinaryKind::Greater
        | BinaryKind::GreaterEqual => false,
    }
}

fn merge_constants(rewrite: &mut Rewrite) {
    // Bytes are hashed first, so that no second copy of all weights is held.
    let mut seen: HashMap<(String, u64), Vec<ValueId>> = HashMap::new();
    for index in 0..rewrite.graph().values.len() {
        let id = ValueId(index);
        let Some(tensor) = rewrite.graph().constant(id).cloned() else { continue };
        let bytes = tensor.to_le_bytes();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let alike = seen.entry((format!("{:?}", rewrite.ty(id)), hasher.finish())).or_default();
        let first = alike.iter().find(|&&other| {
            rewrite.graph().constant(other).is_some_and(|t| Arc::ptr_eq(t, &tensor) || t.to_le_bytes() == bytes)
        });
        match first {
            Some(&first) => {
                rewrite.replace(id, first);
            }
            None => alike.push(id),
        }
    }
}
