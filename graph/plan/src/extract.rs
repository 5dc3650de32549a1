//! A segment as a graph of its own.

use crate::{Device, Segment};
use std::collections::HashMap;
use tandem_graph::{Graph, Node, NodeId, ValueId};

/// A node as a segment of its own, for [`extract`]: its inputs are what it reads that is no constant, each once, its outputs all
/// that it makes. It is empty where there is no such node.
pub fn alone(graph: &Graph, id: NodeId) -> Segment {
    let (mut inputs, mut outputs): (Vec<ValueId>, Vec<ValueId>) = (Vec::new(), Vec::new());
    if let Some(node) = graph.nodes.get(id.0) {
        for &read in &node.inputs {
            if graph.constant(read).is_none() && !inputs.contains(&read) {
                inputs.push(read);
            }
        }
        outputs.extend(&node.outputs);
    }
    Segment { device: Device::Cpu, nodes: vec![id], inputs, outputs, macs: 0, reason: String::new() }
}

/// The segment's nodes as a graph of their own, whose inputs and outputs are those of the segment, in order.
///
/// Indices of the segment that the graph does not have are left out, so that a plan of another graph gives a graph that
/// [`Graph::verify`] refuses and not a panic.
pub fn extract(graph: &Graph, segment: &Segment) -> Graph {
    let mut out = Graph::new(graph.name.clone(), graph.arith);
    let mut moved: HashMap<ValueId, ValueId> = HashMap::new();
    let mut bring = |out: &mut Graph, id: ValueId| {
        let value = graph.values.get(id.0)?;
        Some(*moved.entry(id).or_insert_with(|| {
            out.values.push(value.clone());
            ValueId(out.values.len() - 1)
        }))
    };
    for &id in &segment.inputs {
        let input = bring(&mut out, id);
        out.inputs.extend(input);
    }
    for node in segment.nodes.iter().filter_map(|n| graph.nodes.get(n.0)) {
        let mut list = |ids: &[ValueId]| ids.iter().filter_map(|&id| bring(&mut out, id)).collect::<Vec<_>>();
        let (inputs, outputs) = (list(&node.inputs), list(&node.outputs));
        out.nodes.push(Node { name: node.name.clone(), op: node.op.clone(), inputs, outputs });
    }
    for &id in &segment.outputs {
        let output = bring(&mut out, id);
        out.outputs.extend(output);
    }
    out
}
