//! A graph as a problem of placing its nodes.

use crate::partition::{CONSTANTS_ONLY, reads_constants_only};
use crate::place::{Candidate, Machine, Node, PlaceError, Problem, Spec, Value};
use tandem_graph::{Graph, Node as GraphNode, NodeId, ValueId};

/// The problem of placing the nodes of a graph, in its order, on a machine. `bytes` is what a value takes on its way, and `candidate`
/// says what a node takes on the device of that index of the machine, or why it does not run there. Constants do not move: what they
/// take is part of its `held_bytes`. A node that reads constants only runs on the host, for its results could have been computed before.
///
/// # Errors
/// Those of [`Problem::new`].
pub fn problem(
    graph: &Graph,
    machine: Machine,
    bytes: impl Fn(ValueId) -> u64,
    mut candidate: impl FnMut(NodeId, &GraphNode, usize) -> Candidate,
) -> Result<Problem, PlaceError> {
    let mut values: Vec<Value> = Vec::new();
    let mut index: Vec<Option<usize>> = vec![None; graph.values.len()];
    let mut add = |id: ValueId, maker: Option<usize>| {
        let (name, bytes) = (graph.value(id).name.clone(), bytes(id));
        index[id.0] = Some(values.len());
        values.push(Value { name, bytes, maker });
    };
    graph.inputs.iter().for_each(|&id| add(id, None));
    for (n, node) in graph.nodes.iter().enumerate() {
        node.outputs.iter().for_each(|&id| add(id, Some(n)));
    }
    let at = |ids: &[ValueId]| ids.iter().filter_map(|id| index[id.0]).collect::<Vec<_>>();
    let devices = machine.devices.len();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (n, node) in graph.nodes.iter().enumerate() {
        let constant = reads_constants_only(graph, node);
        let candidates = (0..devices).map(|device| match constant && device != machine.host {
            true => Candidate::Refuses(CONSTANTS_ONLY.to_owned()),
            false => candidate(NodeId(n), node, device),
        });
        let candidates = candidates.collect();
        nodes.push(Node { name: node.name.clone(), reads: at(&node.inputs), candidates });
    }
    let outputs = at(&graph.outputs);
    Problem::new(Spec { machine, values, nodes, outputs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::{Cost, Device, Link, Request, search};
    use tandem_ops::{Act, Arith, BinaryKind, Op, UnaryKind};
    use tandem_tensor::{DType, Tensor, TensorType};

    fn machine() -> Machine {
        let device = |name: &str| Device {
            name: name.into(),
            memory_bytes: 1 << 30,
            busy_watts: 1.0,
            idle_watts: 0.0,
            launch_seconds: 0.0,
        };
        let link = |from, to| Link { from, to, latency_seconds: 0.5, bytes_per_second: 64.0, joules_per_byte: 0.0 };
        Machine { devices: vec![device("host"), device("other")], links: vec![link(0, 1), link(1, 0)], host: 0 }
    }

    #[test]
    fn a_graph_becomes_values_nodes_and_the_bytes_between_them() {
        let ty = || TensorType::new(DType::F32, [4, 4]);
        let mut g = Graph::new("g", Arith::Xnnpack);
        let x = g.add_value("x", ty());
        g.inputs.push(x);
        let c = g.add_constant("c", ty(), Tensor::zeros(DType::F32, [4, 4]));
        let (folded, y, z) = (g.add_value("folded", ty()), g.add_value("y", ty()), g.add_value("z", ty()));
        g.add_node("constant", Op::Unary(UnaryKind::Exp), [c], [folded]);
        g.add_node("relu", Op::Unary(UnaryKind::Relu), [x], [y]);
        g.add_node("add", Op::Binary { kind: BinaryKind::Add, act: Act::None }, [y, folded], [z]);
        g.outputs.push(z);
        // The other device is ten times as fast, and a transfer of 64 bytes takes a second and a half.
        let candidate = |_: NodeId, node: &GraphNode, device: usize| match (&node.op, device) {
            (Op::Unary(UnaryKind::Exp), 1) => unreachable!("constants stay on the host"),
            (_, 0) => Candidate::Runs(Cost { seconds: 10.0, ..Cost::default() }),
            _ => Candidate::Runs(Cost { seconds: 1.0, ..Cost::default() }),
        };
        let problem = problem(&g, machine(), |_| 64, candidate).unwrap();
        assert_eq!(problem.refusal(0, 1), Some(CONSTANTS_ONLY));
        assert_eq!(problem.nodes()[2].reads.len(), 2);
        let found = search(&problem, &Request::default(), 1000).unwrap();
        assert_eq!(found.assignment, [0, 1, 1]);
        // The constant's ten seconds hide the first transfer and the second node; then come a transfer, the sum, a transfer.
        assert!((found.value - (10.0 + 1.5 + 1.0 + 1.5)).abs() < 1e-9, "{}", found.value);
    }
}
