//! Which nodes a backend may compute in one loop.
//!
//! Every operator has a pattern: how an element of its result depends on elements of its operands. A group is a set of nodes with one
//! node at its end through which everything that it makes leaves it, so that nothing inside it needs memory of its own:
//!
//! - after an operator that sums, such as a convolution, the element-wise and broadcasting operators that follow (its output stage);
//! - operators that move or compute element by element, in chains and diamonds;
//! - the same before a reduction.
//!
//! A group is found from a node to its immediate post-dominator, the first node through which every path from it to an output goes: the
//! two are joined when every node between them has a pattern that may stand there.
//!
//! ```text
//! // before
//! graph "groups" tflref
//! input %0 "x" f32[1,4]
//! constant %1 "w" f32[1,4] =
//!   | AACAPwAAAEAAAEBAAACAQA==
//! value %2 "product" f32[1,1]
//! node "dense" %2 = {"Dense":{"act":"None"}} %0 %1
//! value %3 "left" f32[1,1]
//! node "left" %3 = {"Unary":"Tanh"} %2
//! value %4 "right" f32[1,1]
//! node "right" %4 = {"Unary":"Sigmoid"} %2
//! value %5 "gated" f32[1,1]
//! node "gated" %5 = {"Binary":{"kind":"Mul","act":"None"}} %3 %4
//! value %6 "flat" f32[1]
//! node "flat" %6 = {"Reshape":{"shape":[1]}} %5
//! value %7 "y" f32[]
//! node "y" %7 = {"Reduce":{"kind":"Sum","axes":[0],"keep_dims":false}} %6
//! output %7
//! // after
//! out-fusable: dense, left, right, gated
//! reduction: flat, y
//! ```
//!
//! # Source
//! The classes of operators and the use of post-dominators are those of TVM (Chen et al., OSDI 2018, section 3).

use crate::{Graph, Node, NodeId, ValueId};
use std::fmt;
use tandem_ops::Op;

/// How an element of a result depends on elements of the operands; a later pattern allows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// On the elements at the same place.
    Elementwise,
    /// As element-wise, where some operand has fewer elements and is read again.
    Broadcast,
    /// On one element at a place that only the place of the result says.
    Injective,
    /// On many elements of one operand.
    Reduction,
    /// On many elements of several operands; what follows element by element may be part of its output stage.
    OutFusable,
    /// On anything.
    Opaque,
}

/// Nodes that may be computed in one loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The pattern of the whole.
    pub pattern: Pattern,
    /// Its nodes, in topological order; only the results of the last one leave it.
    pub nodes: Vec<NodeId>,
}

/// A partition of all nodes of a graph into groups, in an order in which they can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The groups.
    pub groups: Vec<Group>,
}

impl Pattern {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Elementwise => "element-wise",
            Pattern::Broadcast => "broadcast",
            Pattern::Injective => "injective",
            Pattern::Reduction => "reduction",
            Pattern::OutFusable => "out-fusable",
            Pattern::Opaque => "opaque",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The pattern of a node.
pub fn pattern(graph: &Graph, node: &Node) -> Pattern {
    if node.outputs.len() != 1 {
        return Pattern::Opaque;
    }
    match &node.op {
        Op::Unary(_) | Op::Cast { .. } | Op::Quantize | Op::Dequantize | Op::Requantize => Pattern::Elementwise,
        Op::Binary { .. } | Op::Where => {
            let result = &graph.ty(node.outputs[0]).shape;
            if node.inputs.iter().all(|&id| &graph.ty(id).shape == result) {
                Pattern::Elementwise
            } else {
                Pattern::Broadcast
            }
        }
        Op::Expand { .. } => Pattern::Broadcast,
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::Trilu { .. } => Pattern::Injective,
        Op::Reduce { .. } | Op::ArgMax { .. } | Op::Pool(_) => Pattern::Reduction,
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } | Op::MatMul { .. } => Pattern::OutFusable,
        Op::Softmax { .. } | Op::CumSum { .. } | Op::Resize(_) | Op::Lstm(_) => Pattern::Opaque,
    }
}

/// Partitions a verified graph into groups.
pub fn groups(graph: &Graph) -> Groups {
    let count = graph.nodes.len();
    let patterns: Vec<Pattern> = graph.nodes.iter().map(|node| pattern(graph, node)).collect();
    let readers = readers(graph);
    let after = post_dominators(&readers);
    let mut sets = Sets { parent: (0..count).collect(), pattern: patterns.clone() };
    // Sums take their output stage first; what is left of the injective operators then goes to each other and to reductions.
    for phase in [Pattern::OutFusable, Pattern::Injective] {
        for (at, end) in after.iter().enumerate() {
            let &Some(end) = end else { continue };
            let (own, ending) = (sets.pattern(at), sets.pattern(end));
            let (between, last) = match own {
                Pattern::OutFusable if phase == Pattern::OutFusable => (Pattern::Broadcast, Pattern::Broadcast),
                Pattern::Elementwise | Pattern::Broadcast | Pattern::Injective if phase == Pattern::Injective => {
                    (Pattern::Injective, Pattern::Reduction)
                }
                _ => continue,
            };
            // The end may be in a group by now: only its own operator has to fit, and the group must not have an anchor of its own.
            if patterns[end] > last || ending > Pattern::Reduction || sets.find(at) == sets.find(end) {
                continue;
            }
            if let Some(path) = path(&readers, at, end, |node| sets.pattern(node) <= between) {
                for node in path {
                    sets.join(node, end);
                }
                sets.join(at, end);
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut place: Vec<Option<usize>> = vec![None; count];
    for at in 0..count {
        let root = sets.find(at);
        let slot = *place[root].get_or_insert_with(|| {
            groups.push(Group { pattern: sets.pattern[root], nodes: Vec::new() });
            groups.len() - 1
        });
        groups[slot].nodes.push(NodeId(at));
    }
    // Everything leaves a group through its last node, so that the order of the last nodes is one in which groups can run.
    groups.sort_by_key(|group| group.nodes.last().copied());
    Groups { groups }
}

/// For every node the nodes that read its results; `None` for a node that an output reads.
fn readers(graph: &Graph) -> Vec<Option<Vec<usize>>> {
    let consumers = graph.consumers();
    let leaves = |id: &ValueId| graph.outputs.contains(id);
    let of = |node: &Node| {
        if node.outputs.iter().any(leaves) {
            return None;
        }
        let mut all: Vec<usize> = node.outputs.iter().flat_map(|id| &consumers[id.0]).map(|n| n.0).collect();
        all.sort_unstable();
        all.dedup();
        Some(all)
    };
    graph.nodes.iter().map(of).collect()
}

/// The first node through which every path from a node to an output goes.
fn post_dominators(readers: &[Option<Vec<usize>>]) -> Vec<Option<usize>> {
    let mut after: Vec<Option<usize>> = vec![None; readers.len()];
    // Readers stand behind what they read, so that from the back every reader is known. Of two nodes the one further in front cannot
    // be behind the other, and goes on to its own post-dominator.
    for at in (0..readers.len()).rev() {
        let Some(list) = &readers[at] else { continue };
        let mut nodes = list.iter().map(|&node| Some(node));
        let first = nodes.next().flatten();
        after[at] = nodes.fold(first, |mut a, mut b| {
            while a != b {
                let (Some(x), Some(y)) = (a, b) else { return None };
                if x < y { a = after[x] } else { b = after[y] }
            }
            a
        });
    }
    after
}

/// The nodes on the paths from one node to another, both left out; `None` where one of them does not fit.
fn path(readers: &[Option<Vec<usize>>], from: usize, to: usize, fits: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    let mut open: Vec<usize> = readers[from].clone()?;
    while let Some(node) = open.pop() {
        if node == to || found.contains(&node) {
            continue;
        }
        if !fits(node) {
            return None;
        }
        found.push(node);
        open.extend(readers[node].as_ref()?);
    }
    Some(found)
}

/// Disjoint sets of nodes, each with the pattern of the whole.
struct Sets {
    parent: Vec<usize>,
    pattern: Vec<Pattern>,
}

impl Sets {
    fn find(&self, mut node: usize) -> usize {
        while self.parent[node] != node {
            node = self.parent[node];
        }
        node
    }

    fn pattern(&self, node: usize) -> Pattern {
        self.pattern[self.find(node)]
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            self.pattern[b] = self.pattern[a].max(self.pattern[b]);
            self.parent[a] = b;
        }
    }
}

/// Groups as text, one a line.
pub fn print(graph: &Graph, groups: &Groups) -> String {
    let line = |group: &Group| {
        let names: Vec<&str> = group.nodes.iter().map(|n| graph.nodes[n.0].name.as_str()).collect();
        format!("{}: {}\n", group.pattern, names.join(", "))
    };
    groups.groups.iter().map(line).collect()
}
