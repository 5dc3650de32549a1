//! Two devices and a sum: the best assignment is a minimum cut.
//!
//! Nodes on one side of the cut are on one device, those on the other side on the other. A cost that is due when a node is on
//! one side and any of several on the other goes through a vertex of its own, so that a transfer to several readers, and a
//! launch for several operands, is paid once: the cut costs what the assignment does, and not more.

use super::mix::{Mix, Stages};
use super::relax::Weights;
use super::request::Task;
use super::state::Layout;
use petgraph::algo::ford_fulkerson;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::VecDeque;

/// The assignment to devices `a` and `b` that takes least energy, idling and memory aside; `None` where nothing runs.
pub(super) fn cut(task: &Task, layout: &Layout, a: usize, b: usize) -> Option<Vec<usize>> {
    let problem = task.problem;
    let launch = |d: usize| layout.active_joules(d, problem.devices()[d].launch_seconds);
    let send = |v: usize, from: usize, to: usize| layout.send_joules(v, from, to).unwrap_or(f64::INFINITY);
    let stages = Stages::one(layout);
    let mix = Mix::none(layout, &stages);
    let weights = Weights { layout, stages: &stages, mix: &mix, seconds: 0.0, joules: 1.0 };
    let mut network = Network::default();
    let (on_a, on_b) = (network.vertex(), network.vertex());
    let host = problem.machine().host;
    let vertices: Vec<usize> = problem.nodes().iter().map(|_| network.vertex()).collect();
    let place = |value: usize| match problem.values()[value].maker {
        Some(maker) => Some(vertices[maker]),
        // A device with inputs that is neither of both devices is never with a node.
        None if layout.source == a => Some(on_a),
        None if layout.source == b => Some(on_b),
        None => None,
    };
    for (n, &vertex) in vertices.iter().enumerate() {
        for (device, end) in [(a, on_b), (b, on_a)] {
            let mut cost = if task.allows(n, device) { weights.node(n, device) } else { f64::INFINITY };
            let inputs = || layout.reads[n].iter().filter(|&&v| place(v).is_none());
            if layout.reads[n].is_empty() || inputs().next().is_some() {
                cost += launch(device);
            }
            for &v in layout.makes[n].iter().filter(|&&v| layout.is_output[v] && device != host) {
                cost += send(v, device, host);
            }
            // What a side costs is cut when the node is not on the other one.
            if device == a {
                network.edge(vertex, end, cost);
            } else {
                network.edge(end, vertex, cost);
            }
        }
        if layout.reads[n].is_empty() || layout.reads[n].iter().any(|&v| place(v).is_none()) {
            continue;
        }
        let operands: Vec<usize> = layout.reads[n].iter().filter_map(|&v| place(v)).collect();
        network.any_to_one(&operands, vertex, launch(b));
        network.one_to_any(vertex, &operands, launch(a));
    }
    for (v, readers) in layout.readers.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
        let readers: Vec<usize> = readers.iter().map(|&r| vertices[r]).collect();
        let paid = |to: usize| layout.is_output[v] && to == host;
        match place(v) {
            Some(maker) => {
                network.one_to_any(maker, &readers, if paid(b) { 0.0 } else { send(v, a, b) });
                network.any_to_one(&readers, maker, if paid(a) { 0.0 } else { send(v, b, a) });
            }
            None => {
                network.any_to_one(&readers, on_b, send(v, layout.source, a));
                network.one_to_any(on_a, &readers, send(v, layout.source, b));
            }
        }
    }
    let first = network.first_side(on_a, on_b)?;
    Some(vertices.iter().map(|&v| if first[v] { a } else { b }).collect())
}

/// Vertices and what it costs when the first end of an edge is on the first side and the other one is not.
#[derive(Default)]
struct Network {
    vertices: usize,
    edges: Vec<(usize, usize, f64)>,
}

/// Capacities are whole numbers, so that the flow is exact; the sum of the finite ones is brought to this.
const SCALE: f64 = (1u64 << 44) as f64;
/// More than all finite capacities together, and little enough for twenty thousand of it to have a sum.
const INFINITE: u64 = 1 << 45;

impl Network {
    fn vertex(&mut self) -> usize {
        self.vertices += 1;
        self.vertices - 1
    }

    fn edge(&mut self, from: usize, to: usize, cost: f64) {
        if cost > 0.0 && from != to {
            self.edges.push((from, to, cost));
        }
    }

    /// Cost of `one` on the first side and any of `many` on the second.
    fn one_to_any(&mut self, one: usize, many: &[usize], cost: f64) {
        if let [only] = many {
            return self.edge(one, *only, cost);
        }
        let between = self.vertex();
        self.edge(one, between, cost);
        for &other in many {
            self.edge(between, other, f64::INFINITY);
        }
    }

    /// Cost of any of `many` on the first side and `one` on the second.
    fn any_to_one(&mut self, many: &[usize], one: usize, cost: f64) {
        if let [only] = many {
            return self.edge(*only, one, cost);
        }
        let between = self.vertex();
        self.edge(between, one, cost);
        for &other in many {
            self.edge(other, between, f64::INFINITY);
        }
    }

    /// Whether each vertex is on the first side of a minimum cut; `None` where every cut is infinite.
    fn first_side(&self, from: usize, to: usize) -> Option<Vec<bool>> {
        let sum: f64 = self.edges.iter().map(|e| e.2).filter(|c| c.is_finite()).sum();
        let scale = if sum > 0.0 { SCALE / sum } else { 1.0 };
        let mut graph = DiGraph::<(), u64>::new();
        for _ in 0..self.vertices {
            graph.add_node(());
        }
        for &(from, to, cost) in &self.edges {
            let capacity = if cost.is_finite() { (cost * scale).round() as u64 } else { INFINITE };
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), capacity);
        }
        let (flow, flows) = ford_fulkerson(&graph, NodeIndex::new(from), NodeIndex::new(to));
        if flow >= INFINITE {
            return None;
        }
        let mut first = vec![false; self.vertices];
        let mut queue = VecDeque::from([from]);
        first[from] = true;
        while let Some(vertex) = queue.pop_front() {
            let index = NodeIndex::new(vertex);
            let ahead = graph.edges(index).filter(|e| flows[e.id().index()] < *e.weight()).map(|e| e.target());
            let back = graph
                .edges_directed(index, petgraph::Direction::Incoming)
                .filter(|e| flows[e.id().index()] > 0)
                .map(|e| e.source());
            for next in ahead.chain(back).map(NodeIndex::index) {
                if !first[next] {
                    first[next] = true;
                    queue.push_back(next);
                }
            }
        }
        Some(first)
    }
}
