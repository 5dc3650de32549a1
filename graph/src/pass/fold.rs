//! Nodes whose operands are constants become constants.
//!
//! The reference kernel computes them, so that the constant is what the node would have made, to the last bit. A result is folded when
//! it is small or no larger than its operands; all that is folded in one graph has a bound in bytes and in operations, so that a small
//! file cannot ask for a large or long computation. A kernel that refuses leaves its node alone.
//!
//! ```text
//! // before
//! graph "fold" tflref
//! input %0 "x" i32[2]
//! constant %1 "a" i32[2] = 3 -4
//! constant %2 "b" i32[1] = 10
//! value %3 "c" i32[2]
//! node "c" %3 = {"Binary":{"kind":"Mul","act":"None"}} %1 %2
//! value %4 "y" i32[2]
//! node "y" %4 = {"Binary":{"kind":"Add","act":"None"}} %0 %3
//! output %4
//! // after
//! graph "fold" tflref
//! input %0 "x" i32[2]
//! constant %1 "c" i32[2] = 30 -40
//! value %2 "y" i32[2]
//! node "y" %2 = {"Binary":{"kind":"Add","act":"None"}} %0 %1
//! output %2
//! ```

use super::Pass;
use super::rewrite::Rewrite;
use crate::evaluate::{Budget, total_bytes};
use crate::{Graph, GraphError, Node};
use tandem_tensor::{Tensor, TensorType};

/// Bytes of a result that may be larger than its operands.
const SMALL: usize = 1 << 20;
/// Bytes of all folded results of a graph.
const MAX_BYTES: usize = 256 << 20;
/// Operations of all folded nodes of a graph.
const MAX_WORK: u64 = 1 << 30;

/// The pass.
pub(super) const PASS: Pass =
    Pass { name: "fold", about: "nodes whose operands are constants become constants", exact: true, apply: fold };

fn fold(graph: &Graph) -> Result<Graph, GraphError> {
    let (mut rewrite, nodes) = Rewrite::new(graph);
    let mut budget = Budget { bytes: MAX_BYTES, work: MAX_WORK };
    for node in nodes {
        match evaluate(&mut budget, rewrite.graph(), &node) {
            Some(results) => {
                rewrite.drop(&node);
                for (&id, tensor) in node.outputs.iter().zip(results) {
                    rewrite.make_constant(id, tensor);
                }
            }
            None => {
                rewrite.push(node);
            }
        }
    }
    Ok(rewrite.finish())
}

/// The results of a node on constants, where they are worth it.
fn evaluate(budget: &mut Budget, graph: &Graph, node: &Node) -> Option<Vec<Tensor>> {
    let types: Vec<&TensorType> = node.outputs.iter().map(|&id| graph.ty(id)).collect();
    let (bytes, given) = (total_bytes(types.iter().copied()), total_bytes(node.inputs.iter().map(|&id| graph.ty(id))));
    if bytes > SMALL && bytes > given {
        return None;
    }
    budget.evaluate(graph, &node.op, &node.inputs, &types)
}
