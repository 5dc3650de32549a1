//! A segment as a graph of its own.

use crate::Segment;
use std::collections::BTreeMap;
use tandem_graph::{Graph, ValueId};

/// The nodes of a segment with the values they touch; inputs and outputs in the order of the segment.
pub fn extract(graph: &Graph, segment: &Segment) -> Graph {
    let mut part = Graph::new(format!("{}[{}..]", graph.name, segment.nodes.first().map_or(0, |n| n.0)), graph.arith);
    let mut ids: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut take = |part: &mut Graph, v: ValueId| {
        *ids.entry(v).or_insert_with(|| {
            part.values.push(graph.value(v).clone());
            ValueId(part.values.len() - 1)
        })
    };
    part.inputs = segment.inputs.iter().map(|&v| take(&mut part, v)).collect();
    for &n in &segment.nodes {
        let node = &graph.nodes[n.0];
        let inputs: Vec<_> = node.inputs.iter().map(|&v| take(&mut part, v)).collect();
        let outputs: Vec<_> = node.outputs.iter().map(|&v| take(&mut part, v)).collect();
        part.add_node(node.name.clone(), node.op.clone(), inputs, outputs);
    }
    part.outputs = segment.outputs.iter().map(|&v| take(&mut part, v)).collect();
    part
}
