//! Nodes to segments by alternating list scheduling.
//!
//! Beginning with one device, every ready node of that device is taken until there is none, then every ready node of the next
//! one, and so on around. All beginnings are tried and the one with the fewest segments is kept. Because a node is taken only after
//! all that it reads, segments never depend on each other in a circle. On the host, where a segment costs nothing, what another
//! device waits for is a segment of its own, so that the rest runs beside that device.
//!
//! [`partition`] gives the accelerator what it takes; [`assign`] makes the segments of a choice that was made elsewhere, such as by
//! [`crate::place::search`].

use crate::plan::counted;
use crate::{Assignment, Device, Plan, Segment};
use tandem_graph::{Graph, Node, NodeId, ValueId};
use tandem_ops::Op;
use tandem_tensor::TensorType;

/// Reason of a node that the accelerator would take, in a segment without arithmetic.
const NOTHING_TO_COMPUTE: &str = "nothing to compute: only data movement";
/// Reason of a node whose results could have been computed when the graph was made.
pub(crate) const CONSTANTS_ONLY: &str = "it reads constants only";
/// Reason of a node that the accelerator takes because it can.
const SUPPORTED: &str = "supported";

/// The device of a node, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Who runs it.
    pub device: Device,
    /// Why, as a phrase.
    pub reason: String,
}

/// Splits a graph between a device, which has all that it can run, and the CPU.
///
/// `supported` says of a node whether the device runs it, or why not, as a phrase. A segment of the device that
/// would only move data goes to the CPU. Prune the graph first: dead nodes make segments without outputs.
pub fn partition(graph: &Graph, device: Device, mut supported: impl FnMut(&Node) -> Result<(), String>) -> Plan {
    let on_cpu = |reason: String| Choice { device: Device::Cpu, reason };
    let mut choose = |node: &Node| {
        if reads_constants_only(graph, node) {
            return on_cpu(CONSTANTS_ONLY.to_owned());
        }
        match supported(node) {
            Ok(()) => Choice { device, reason: SUPPORTED.to_owned() },
            Err(reason) => on_cpu(reason),
        }
    };
    let mut choices: Vec<Choice> = graph.nodes.iter().map(&mut choose).collect();
    let mut groups = schedule(graph, &choices);
    // Taking data movement away from the device can merge its neighbours, so the schedule is made again.
    while let Some(idle) = groups.iter().find(|(d, nodes)| *d != Device::Cpu && !computes(graph, nodes)) {
        for &NodeId(n) in &idle.1 {
            choices[n] = on_cpu(NOTHING_TO_COMPUTE.to_owned());
        }
        groups = schedule(graph, &choices);
    }
    build(graph, &choices, groups)
}

/// The plan in which every node is where it was chosen to be: one choice for every node of the graph, in its order. Nodes that no
/// choice is given for run on the CPU.
pub fn assign(graph: &Graph, choices: &[Choice]) -> Plan {
    let missing = || Choice { device: Device::Cpu, reason: "nothing was chosen".to_owned() };
    let choices: Vec<Choice> =
        (0..graph.nodes.len()).map(|n| choices.get(n).cloned().unwrap_or_else(missing)).collect();
    let groups = schedule(graph, &choices);
    build(graph, &choices, groups)
}

/// Whether the node could have been computed when the graph was made.
pub(crate) fn reads_constants_only(graph: &Graph, node: &Node) -> bool {
    node.inputs.iter().all(|&id| graph.constant(id).is_some())
}

/// The whole graph on the CPU, for one reason.
pub fn on_cpu(graph: &Graph, reason: &str) -> Plan {
    partition(graph, Device::Cpu, |_| Err(reason.to_owned()))
}

type Group = (Device, Vec<NodeId>);

fn schedule(graph: &Graph, choices: &[Choice]) -> Vec<Group> {
    let mut devices: Vec<Device> = choices.iter().map(|choice| choice.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let mut best: Option<Vec<Group>> = None;
    for first in 0..devices.len() {
        let groups = schedule_from(graph, choices, &devices, first);
        if best.as_ref().is_none_or(|best| groups.len() < best.len()) {
            best = Some(groups);
        }
    }
    best.unwrap_or_default()
}

/// Takes ready nodes of one device after another, beginning with the one at `turn`.
fn schedule_from(graph: &Graph, choices: &[Choice], devices: &[Device], mut turn: usize) -> Vec<Group> {
    let producers = graph.producers();
    let mut done = vec![false; graph.nodes.len()];
    let mut groups: Vec<Group> = Vec::new();
    let mut left = graph.nodes.len();
    let mut idle_turns = 0;
    while left > 0 && idle_turns < devices.len() {
        let device = devices[turn];
        let mut nodes = Vec::new();
        // Nodes stand in topological order, so one pass takes also those that become ready on the way.
        for (n, node) in graph.nodes.iter().enumerate() {
            let made = |id: &ValueId| producers.get(id.0).copied().flatten().is_none_or(|p| done[p.0]);
            if !done[n] && choices[n].device == device && node.inputs.iter().all(made) {
                done[n] = true;
                nodes.push(NodeId(n));
            }
        }
        idle_turns = if nodes.is_empty() { idle_turns + 1 } else { 0 };
        left -= nodes.len();
        if !nodes.is_empty() {
            groups.push((device, nodes));
        }
        turn = (turn + 1) % devices.len();
    }
    groups
}

/// Cuts groups of the host in two where later groups wait for a part of them only.
fn release(graph: &Graph, groups: Vec<Group>) -> Vec<Group> {
    let mut group_of = vec![0; graph.nodes.len()];
    for (g, (_, nodes)) in groups.iter().enumerate() {
        nodes.iter().for_each(|n| group_of[n.0] = g);
    }
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut cut: Vec<Group> = Vec::with_capacity(groups.len());
    let mut awaited = vec![false; graph.nodes.len()];
    for (g, (device, nodes)) in groups.into_iter().enumerate() {
        for &NodeId(n) in nodes.iter().rev().filter(|_| device == Device::Cpu) {
            let leaves = |id: &ValueId| consumers.get(id.0).is_some_and(|c| c.iter().any(|n| group_of[n.0] != g));
            awaited[n] |= graph.nodes[n].outputs.iter().any(leaves);
            if awaited[n] {
                let made_by = |id: &ValueId| producers.get(id.0).copied().flatten();
                graph.nodes[n].inputs.iter().filter_map(made_by).for_each(|p| awaited[p.0] = true);
            }
        }
        let (first, rest): (Vec<NodeId>, Vec<NodeId>) = nodes.iter().copied().partition(|n| awaited[n.0]);
        if first.is_empty() || rest.is_empty() || !computes(graph, &rest) {
            cut.push((device, nodes));
        } else {
            cut.extend([(device, first), (device, rest)]);
        }
    }
    cut
}

/// Whether the nodes do any arithmetic.
fn computes(graph: &Graph, nodes: &[NodeId]) -> bool {
    nodes.iter().filter_map(|n| graph.nodes.get(n.0)).any(|node| {
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&v| graph.ty(v)).collect();
        tandem_ops::cost(&node.op, &operands).is_ok_and(|c| c.macs > 0 || c.element_ops > 0)
    })
}

fn build(graph: &Graph, choices: &[Choice], groups: Vec<Group>) -> Plan {
    let groups = release(graph, groups);
    let mut segment_of = vec![0; graph.nodes.len()];
    for (s, (_, nodes)) in groups.iter().enumerate() {
        for n in nodes {
            segment_of[n.0] = s;
        }
    }
    let consumers = graph.consumers();
    let mut segments = Vec::with_capacity(groups.len());
    for (s, (device, nodes)) in groups.into_iter().enumerate() {
        let (mut inputs, mut outputs): (Vec<ValueId>, Vec<ValueId>) = (Vec::new(), Vec::new());
        let mut made: Vec<ValueId> = Vec::new();
        for node in nodes.iter().map(|n| &graph.nodes[n.0]) {
            for &id in &node.inputs {
                if graph.constant(id).is_none() && !made.contains(&id) && !inputs.contains(&id) {
                    inputs.push(id);
                }
            }
            made.extend(&node.outputs);
        }
        for id in made {
            let elsewhere = consumers.get(id.0).is_some_and(|c| c.iter().any(|n| segment_of[n.0] != s));
            if (elsewhere || graph.outputs.contains(&id)) && !outputs.contains(&id) {
                outputs.push(id);
            }
        }
        let macs = nodes.iter().fold(0u64, |sum, n| sum.saturating_add(graph.macs(&graph.nodes[n.0])));
        let reason = reason(graph, choices, device, &nodes);
        segments.push(Segment { device, nodes, inputs, outputs, macs, reason });
    }
    let assignments = graph.nodes.iter().enumerate().map(|(n, node)| Assignment {
        node: node.name.clone(),
        op: kind(graph, node).to_owned(),
        device: segments.get(segment_of[n]).map_or(Device::Cpu, |s| s.device),
        segment: segment_of[n],
        macs: graph.macs(node),
        reason: choices[n].reason.clone(),
    });
    let assignments = assignments.collect();
    Plan { model: graph.name.clone(), segments, assignments }
}

/// The operator's name, telling kinds of convolution apart: they have very different costs on an array of lanes.
pub fn kind(graph: &Graph, node: &Node) -> &'static str {
    let channels = node.inputs.first().and_then(|&x| graph.ty(x).shape.last().copied());
    match &node.op {
        Op::Conv(conv) if conv.groups > 1 && Some(conv.groups) == channels => "depthwise_conv",
        Op::Conv(conv) if conv.groups > 1 => "grouped_conv",
        op => op.name(),
    }
}

/// The reasons of a segment's nodes in one line: each reason once, with the operators that it holds for.
fn reason(graph: &Graph, choices: &[Choice], device: Device, nodes: &[NodeId]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for n in nodes {
        let why = choices[n.0].reason.as_str();
        let op = kind(graph, &graph.nodes[n.0]);
        match reasons.iter_mut().find(|(r, _)| *r == why) {
            Some((_, ops)) => ops.push(op),
            None => reasons.push((why, vec![op])),
        }
    }
    match &reasons[..] {
        [(SUPPORTED, _)] => format!("the {device} supports every operator"),
        [(why, _)] => (*why).to_owned(),
        many => {
            let each = many.iter().map(|(why, ops)| format!("{}: {why}", counted(ops.iter().copied())));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract;
    use proptest::prelude::*;
    use tandem_ops::{Arith, UnaryKind};
    use tandem_tensor::{DType, TensorType};

    const VTA: Device = Device::Vta(0);

    fn ty() -> TensorType {
        TensorType::new(DType::F32, [1, 4])
    }

    /// A graph of unary and binary nodes: each entry names the operands of a node, as positions among earlier values.
    fn graph_of(nodes: &[(Op, Vec<usize>)]) -> Graph {
        let mut g = Graph::new("g", Arith::TfliteRef);
        let x = g.add_value("x", ty());
        g.inputs.push(x);
        for (i, (op, inputs)) in nodes.iter().enumerate() {
            let out = g.add_value(format!("v{i}"), ty());
            let ids: Vec<ValueId> = inputs.iter().map(|&k| ValueId(k)).collect();
            g.add_node(format!("n{i}"), op.clone(), ids, [out]);
        }
        g.outputs.push(ValueId(nodes.len()));
        g
    }

    fn unary(kind: UnaryKind, from: usize) -> (Op, Vec<usize>) {
        (Op::Unary(kind), vec![from])
    }

    fn add(a: usize, b: usize) -> (Op, Vec<usize>) {
        (Op::Binary { kind: tandem_ops::BinaryKind::Add, act: tandem_ops::Act::None }, vec![a, b])
    }

    fn only_relu(node: &Node) -> Result<(), String> {
        match node.op {
            Op::Unary(UnaryKind::Exp) => Err("no exponential".into()),
            _ => Ok(()),
        }
    }

    #[test]
    fn a_cpu_node_beside_the_chain_does_not_split_it() {
        // x -> exp -> (late add), x -> relu -> relu -> add: beginning with the CPU gives two segments.
        let g = graph_of(&[unary(UnaryKind::Exp, 0), unary(UnaryKind::Relu, 0), unary(UnaryKind::Relu, 2), add(1, 3)]);
        let plan = partition(&g, VTA, only_relu);
        let devices: Vec<Device> = plan.segments.iter().map(|s| s.device).collect();
        assert_eq!(devices, [Device::Cpu, VTA]);
        assert_eq!(plan.segments[0].reason, "no exponential");
        assert_eq!(plan.segments[1].inputs, [ValueId(0), ValueId(1)]);
        assert_eq!(plan.segments[1].outputs, [ValueId(4)]);
    }

    #[test]
    fn a_diamond_is_cut_without_a_circle() {
        let g = graph_of(&[
            unary(UnaryKind::Relu, 0),
            unary(UnaryKind::Exp, 1),
            unary(UnaryKind::Relu, 1),
            add(2, 3),
            unary(UnaryKind::Exp, 4),
        ]);
        let plan = partition(&g, VTA, only_relu);
        let devices: Vec<Device> = plan.segments.iter().map(|s| s.device).collect();
        assert_eq!(devices, [VTA, Device::Cpu, VTA, Device::Cpu]);
        assert_eq!(plan.segments[0].nodes, [NodeId(0), NodeId(2)]);
    }

    #[test]
    fn what_a_device_waits_for_does_not_wait_for_the_rest_of_the_hosts_part() {
        // exp -> relu -> relu on the accelerator; exp -> exp -> exp on the host beside it.
        let mut g = graph_of(&[
            unary(UnaryKind::Exp, 0),
            unary(UnaryKind::Exp, 1),
            unary(UnaryKind::Exp, 2),
            unary(UnaryKind::Relu, 1),
            unary(UnaryKind::Relu, 4),
        ]);
        g.outputs.push(ValueId(3));
        let plan = partition(&g, VTA, only_relu);
        let parts: Vec<_> = plan.segments.iter().map(|s| (s.device, s.nodes.iter().map(|n| n.0).collect())).collect();
        let expected: [(Device, Vec<usize>); 3] =
            [(Device::Cpu, vec![0]), (Device::Cpu, vec![1, 2]), (VTA, vec![3, 4])];
        assert_eq!(parts, expected);
    }

    #[test]
    fn three_devices_take_turns() {
        let g = graph_of(&[
            unary(UnaryKind::Relu, 0),
            unary(UnaryKind::Relu, 1),
            unary(UnaryKind::Relu, 2),
            unary(UnaryKind::Relu, 3),
        ]);
        let devices = [Device::Gpu(0), Device::Cpu, Device::Vta(1), Device::FarCpu(0)];
        let choices = devices.map(|device| Choice { device, reason: String::new() });
        let plan = assign(&g, &choices);
        assert_eq!(plan.segments.iter().map(|s| s.device).collect::<Vec<_>>(), devices);
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
        let text = plan.to_string();
        assert!(text.contains("VTA:1") && text.contains("CPU:1"), "{text}");
        assert_eq!((Device::parse("cpu:2"), Device::parse("cpu:0")), (Some(Device::FarCpu(1)), None));
    }

    #[test]
    fn data_movement_alone_goes_to_the_cpu_and_merges() {
        let reshape = (Op::Reshape { shape: vec![1, 4] }, vec![1]);
        let g = graph_of(&[unary(UnaryKind::Exp, 0), reshape, unary(UnaryKind::Exp, 2)]);
        let plan = partition(&g, VTA, only_relu);
        assert_eq!(plan.segments.len(), 1);
        assert_eq!(plan.assignments[1].reason, NOTHING_TO_COMPUTE);
        assert_eq!(plan.segments[0].reason, format!("2 exp: no exponential; 1 reshape: {NOTHING_TO_COMPUTE}"));
    }

    #[test]
    fn a_plan_comes_back_from_json() {
        let g = graph_of(&[unary(UnaryKind::Exp, 0), unary(UnaryKind::Relu, 1)]);
        let plan = partition(&g, VTA, only_relu);
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
        assert!(plan.to_string().contains("VTA"));
    }

    #[test]
    fn everything_on_the_cpu_is_one_segment_with_the_given_reason() {
        let g = graph_of(&[unary(UnaryKind::Exp, 0), unary(UnaryKind::Relu, 1)]);
        let plan = on_cpu(&g, "asked for");
        assert_eq!((plan.segments.len(), plan.segments[0].reason.as_str()), (1, "asked for"));
        assert_eq!(extract(&g, &plan.segments[0]), g);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_node_runs_once_and_after_what_it_reads(
            seed in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..24),
        ) {
            let nodes: Vec<_> = seed.iter().enumerate().map(|(i, (exp, a, b))| {
                let (a, b) = (a.index(i + 1), b.index(i + 1));
                if *exp { unary(UnaryKind::Exp, a) } else { add(a, b) }
            }).collect();
            let mut g = graph_of(&nodes);
            g.prune();
            let plan = partition(&g, VTA, only_relu);
            let mut known = vec![ValueId(0)];
            let mut count = 0;
            for segment in &plan.segments {
                prop_assert!(segment.inputs.iter().all(|id| known.contains(id)));
                let own = extract(&g, segment);
                own.verify().unwrap();
                count += own.nodes.len();
                known.extend(&segment.outputs);
            }
            prop_assert_eq!(count, g.nodes.len());
            prop_assert!(g.outputs.iter().all(|id| known.contains(id)));
        }
    }
}
