//! Leaves out what no output needs.
//!
//! Nodes are walked from the back: one is kept when an output or a node that is kept reads one of its results. Inputs stay, whether
//! anything reads them or not, because the caller gives them.
//!
//! ```text
//! // before
//! graph "dead" tflref
//! input %0 "x" f32[2]
//! value %1 "y" f32[2]
//! node "y" %1 = {"Unary":"Exp"} %0
//! value %2 "unused" f32[2]
//! node "unused" %2 = {"Unary":"Sin"} %1
//! output %1
//! // after
//! graph "dead" tflref
//! input %0 "x" f32[2]
//! value %1 "y" f32[2]
//! node "y" %1 = {"Unary":"Exp"} %0
//! output %1
//! ```

use super::Pass;
use crate::{Graph, GraphError};

/// The pass.
pub(super) const PASS: Pass =
    Pass { name: "dead", about: "leaves out what no output needs", exact: true, apply: eliminate };

fn eliminate(graph: &Graph) -> Result<Graph, GraphError> {
    let mut graph = graph.clone();
    graph.prune();
    Ok(graph)
}
