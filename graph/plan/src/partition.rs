//! The partition: alternating list scheduling over two devices.

use crate::{Assignment, Device, Plan, Segment};
use std::collections::BTreeSet;
use tandem_graph::{Graph, Node, NodeId, ValueId};

/// Places every node that `supported` accepts on the accelerator and the rest on the CPU.
///
/// `supported` gives the reason why a node cannot run on the accelerator. A segment that computes nothing (only moves data)
/// stays on the CPU, where it costs no transfer.
pub fn partition(graph: &Graph, mut supported: impl FnMut(&Node) -> Result<(), String>) -> Plan {
    let mut assignments: Vec<Assignment> = graph
        .nodes
        .iter()
        .map(|node| {
            let (device, reason) = match supported(node) {
                Ok(()) => (Device::Vta, "has an exact accelerator form".to_string()),
                Err(reason) => (Device::Cpu, reason),
            };
            Assignment {
                node: node.name.clone(),
                op: node.op.name().into(),
                device,
                segment: 0,
                macs: graph.macs(node),
                reason,
            }
        })
        .collect();
    let groups = schedule(graph, &assignments);
    let mut moved = false;
    for group in &groups {
        let idle = group.iter().all(|&n| is_movement(&graph.nodes[n]));
        if idle && assignments[group[0]].device == Device::Vta {
            for &n in group {
                assignments[n].device = Device::Cpu;
                assignments[n].reason = "moves data only: nothing to compute on the accelerator".into();
            }
            moved = true;
        }
    }
    let groups = if moved { schedule(graph, &assignments) } else { groups };
    for (i, group) in groups.iter().enumerate() {
        group.iter().for_each(|&n| assignments[n].segment = i);
    }
    let segments = groups.into_iter().map(|nodes| segment(graph, &assignments, nodes)).collect();
    Plan { model: graph.name.clone(), segments, assignments }
}

fn is_movement(node: &Node) -> bool {
    matches!(node.op.name(), "reshape" | "identity" | "transpose")
}

/// Groups of nodes of one device each, in an order of execution.
fn schedule(graph: &Graph, assignments: &[Assignment]) -> Vec<Vec<usize>> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let mut waits: Vec<usize> = graph
        .nodes
        .iter()
        .map(|node| {
            let made: BTreeSet<_> = node.inputs.iter().filter_map(|v| producers[v.0]).collect();
            made.len()
        })
        .collect();
    let mut ready: BTreeSet<usize> = (0..graph.nodes.len()).filter(|&n| waits[n] == 0).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut device = Device::Vta;
    while !ready.is_empty() {
        let mut group = Vec::new();
        while let Some(n) = ready.iter().copied().find(|&n| assignments[n].device == device) {
            ready.remove(&n);
            group.push(n);
            let readers: BTreeSet<usize> =
                graph.nodes[n].outputs.iter().flat_map(|v| &consumers[v.0]).map(|id| id.0).collect();
            for reader in readers {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.insert(reader);
                }
            }
        }
        if !group.is_empty() {
            group.sort_unstable();
            groups.push(group);
        }
        device = if device == Device::Vta { Device::Cpu } else { Device::Vta };
    }
    groups
}

fn segment(graph: &Graph, assignments: &[Assignment], nodes: Vec<usize>) -> Segment {
    let inside: BTreeSet<usize> = nodes.iter().copied().collect();
    let made: BTreeSet<ValueId> = nodes.iter().flat_map(|&n| graph.nodes[n].outputs.iter().copied()).collect();
    let mut inputs = Vec::new();
    for v in nodes.iter().flat_map(|&n| &graph.nodes[n].inputs) {
        if !made.contains(v) && graph.constant(*v).is_none() && !inputs.contains(v) {
            inputs.push(*v);
        }
    }
    let consumers = graph.consumers();
    let read_outside = |v: &ValueId| consumers[v.0].iter().any(|reader| !inside.contains(&reader.0));
    let outputs = made.iter().copied().filter(|v| graph.outputs.contains(v) || read_outside(v)).collect();
    let device = assignments[nodes[0]].device;
    let mut reasons: Vec<String> = Vec::new();
    for &n in &nodes {
        let text = match device {
            Device::Vta => assignments[n].reason.clone(),
            Device::Cpu => format!("{}: {}", assignments[n].op, assignments[n].reason),
        };
        if !reasons.contains(&text) {
            reasons.push(text);
        }
    }
    let macs = nodes.iter().map(|&n| assignments[n].macs).sum();
    let nodes = nodes.into_iter().map(NodeId).collect();
    Segment { device, nodes, inputs, outputs, macs, reason: reasons.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::{Arith, Op, UnaryKind};
    use tandem_tensor::{DType, TensorType};

    /// A diamond: x -> a (accelerator), x -> b (CPU), a + b -> c (accelerator).
    fn diamond() -> Graph {
        let mut g = Graph::new("diamond", Arith::TfliteRef);
        let ty = TensorType::new(DType::F32, [4]);
        let [x, a, b, c] = ["x", "a", "b", "c"].map(|n| g.add_value(n, ty.clone()));
        g.add_node("b", Op::Unary(UnaryKind::Exp), [x], [b]);
        g.add_node("a", Op::Unary(UnaryKind::Relu), [x], [a]);
        g.add_node("c", Op::Where, [a, b, a], [c]);
        g.inputs = vec![x];
        g.outputs = vec![c];
        g
    }

    #[test]
    fn segments_alternate_and_carry_reasons() {
        let g = diamond();
        let plan = partition(&g, |n| if n.name == "b" { Err("exp".into()) } else { Ok(()) });
        let devices: Vec<_> = plan.segments.iter().map(|s| (s.device, s.nodes[0].0)).collect();
        assert_eq!(devices, [(Device::Vta, 1), (Device::Cpu, 0), (Device::Vta, 2)]);
        assert_eq!(plan.segments[2].inputs.len(), 2);
        assert!(plan.segments[1].reason.contains("exp"));
        assert!(plan.assignments.iter().all(|a| !a.reason.is_empty()));
    }

    #[test]
    fn a_segment_that_only_moves_data_stays_on_the_cpu() {
        let mut g = Graph::new("move", Arith::TfliteRef);
        let x = g.add_value("x", TensorType::new(DType::F32, [4]));
        let y = g.add_value("y", TensorType::new(DType::F32, [2, 2]));
        g.add_node("r", Op::Reshape { shape: vec![2, 2] }, [x], [y]);
        g.inputs = vec![x];
        g.outputs = vec![y];
        let plan = partition(&g, |_| Ok(()));
        assert_eq!(plan.segments[0].device, Device::Cpu);
    }

    #[test]
    fn an_extracted_segment_is_a_graph_of_its_own() {
        let g = diamond();
        let plan = partition(&g, |n| if n.name == "b" { Err("exp".into()) } else { Ok(()) });
        let last = crate::extract(&g, &plan.segments[2]);
        assert_eq!((last.nodes.len(), last.inputs.len(), last.outputs.len()), (1, 2, 1));
        assert_eq!(last.value(last.outputs[0]).name, "c");
    }
}
