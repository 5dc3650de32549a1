//! A graph as a problem.

use super::{Candidate, Machine, Node, Spec, Value};
use std::collections::BTreeMap;
use tandem_graph::{Graph, NodeId, ValueId};

/// Describes the placing of a graph's nodes on a machine.
///
/// Nodes keep their numbers. Values keep their order; constants are left out, since a node holds them where it runs: `candidate`
/// counts them in [`super::Cost::held_bytes`]. It is asked for every node and device, by its index in the machine.
pub fn describe(
    graph: &Graph,
    machine: Machine,
    mut candidate: impl FnMut(&tandem_graph::Node, usize) -> Candidate,
) -> Spec {
    let producers = graph.producers();
    let mut index: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut values = Vec::new();
    for (v, value) in graph.values.iter().enumerate() {
        if value.constant.is_some() {
            continue;
        }
        index.insert(ValueId(v), values.len());
        values.push(Value {
            name: value.name.clone(),
            bytes: value.ty.bytes() as u64,
            maker: producers.get(v).copied().flatten().map(|NodeId(n)| n),
        });
    }
    let of = |ids: &[ValueId]| ids.iter().filter_map(|id| index.get(id).copied()).collect::<Vec<usize>>();
    let devices = machine.devices.len();
    let nodes = graph.nodes.iter().map(|node| Node {
        name: node.name.clone(),
        reads: of(&node.inputs),
        candidates: (0..devices).map(|device| candidate(node, device)).collect(),
    });
    let nodes = nodes.collect();
    Spec { outputs: of(&graph.outputs), machine, values, nodes }
}
