//! Rebuilding the nodes of a graph: what the passes share.

use crate::{Graph, Names, Node, Value, ValueId};
use std::collections::HashSet;
use std::sync::Arc;
use tandem_ops::{Op, UnaryKind};
use tandem_tensor::{Tensor, TensorType};

/// A graph whose nodes a pass adds one by one, in topological order.
///
/// Values keep their indices while the pass runs, so that the old nodes and the new ones speak of the same things; what nothing
/// refers to any more goes in the end.
pub(super) struct Rewrite {
    graph: Graph,
    /// The value that readers of a value read instead.
    stand_in: Vec<Option<ValueId>>,
    /// The new node that makes a value.
    makers: Vec<Option<usize>>,
    /// How often old nodes not yet added, new nodes and outputs read a value.
    readers: Vec<usize>,
    names: Names,
}

impl Rewrite {
    /// A graph with all values and without nodes, and the old nodes with their operands.
    pub fn new(graph: &Graph) -> (Rewrite, Vec<Node>) {
        let mut graph = graph.clone();
        let nodes = std::mem::take(&mut graph.nodes);
        let count = graph.values.len();
        let mut readers = vec![0; count];
        for id in nodes.iter().flat_map(|n| &n.inputs).chain(&graph.outputs) {
            readers[id.0] += 1;
        }
        let names = Names::of(&graph);
        (Rewrite { graph, stand_in: vec![None; count], makers: vec![None; count], readers, names }, nodes)
    }

    /// What a value is by now.
    pub fn resolve(&self, mut id: ValueId) -> ValueId {
        while let Some(next) = self.stand_in[id.0] {
            id = next;
        }
        id
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn ty(&self, id: ValueId) -> &TensorType {
        self.graph.ty(id)
    }

    /// The elements of a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.graph.constant(self.resolve(id))
    }

    /// The node with its operands as they are by now.
    pub fn resolved(&self, mut node: Node) -> Node {
        for id in &mut node.inputs {
            *id = self.resolve(*id);
        }
        node
    }

    /// Adds a node; its operands are resolved.
    pub fn push(&mut self, node: Node) -> usize {
        let node = self.resolved(node);
        let at = self.graph.nodes.len();
        for id in &node.outputs {
            self.makers[id.0] = Some(at);
        }
        self.graph.nodes.push(node);
        at
    }

    /// Adds a node of one result that did not exist before.
    pub fn insert(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, result: &str, ty: TensorType) -> ValueId {
        let id = self.add(result, ty, None);
        self.count(&inputs);
        self.push(Node { name: name.to_owned(), op, inputs, outputs: vec![id] });
        id
    }

    /// Adds a constant under this name, or this name with a number behind it.
    pub fn add_constant(&mut self, name: &str, ty: TensorType, tensor: Tensor) -> ValueId {
        self.add(name, ty, Some(Arc::new(tensor)))
    }

    fn add(&mut self, name: &str, ty: TensorType, constant: Option<Arc<Tensor>>) -> ValueId {
        let name = self.names.unique(name);
        self.graph.values.push(Value { name, ty, constant });
        self.stand_in.push(None);
        self.makers.push(None);
        self.readers.push(0);
        ValueId(self.graph.values.len() - 1)
    }

    /// Makes a value without maker a constant.
    pub fn make_constant(&mut self, id: ValueId, tensor: Tensor) {
        self.graph.values[id.0].constant = Some(Arc::new(tensor));
    }

    /// Readers of `old` read `new` from now on. False, and nothing happens, when their types differ.
    pub fn replace(&mut self, old: ValueId, new: ValueId) -> bool {
        let new = self.resolve(new);
        if old == new || self.graph.ty(old) != self.graph.ty(new) {
            return false;
        }
        self.readers[new.0] += self.readers[old.0];
        self.readers[old.0] = 0;
        self.stand_in[old.0] = Some(new);
        true
    }

    /// An old node will not be added.
    pub fn drop(&mut self, node: &Node) {
        for id in &node.inputs {
            let id = self.resolve(*id);
            self.readers[id.0] = self.readers[id.0].saturating_sub(1);
        }
    }

    /// The new node that makes a value.
    pub fn maker(&self, id: ValueId) -> Option<&Node> {
        self.makers[self.resolve(id).0].and_then(|at| self.graph.nodes.get(at))
    }

    /// The place of the new node of one result that makes a value for one reader alone.
    pub fn sole_maker(&self, id: ValueId) -> Option<usize> {
        let id = self.resolve(id);
        let at = self.makers[id.0]?;
        (self.readers[id.0] == 1 && self.graph.nodes[at].outputs.len() == 1).then_some(at)
    }

    pub fn node(&self, at: usize) -> &Node {
        &self.graph.nodes[at]
    }

    /// The node at `at` takes over the results of `reader`, the only reader of its own.
    pub fn absorb(&mut self, at: usize, op: Op, reader: &Node) {
        self.drop(reader);
        let node = &mut self.graph.nodes[at];
        for id in &node.outputs {
            self.makers[id.0] = None;
        }
        node.op = op;
        node.outputs.clone_from(&reader.outputs);
        for id in &reader.outputs {
            self.makers[id.0] = Some(at);
        }
    }

    fn count(&mut self, inputs: &[ValueId]) {
        for &id in inputs {
            let id = self.resolve(id);
            self.readers[id.0] += 1;
        }
    }

    /// Other operands for a node that is not added yet.
    pub fn rewire(&mut self, node: &mut Node, inputs: Vec<ValueId>) {
        self.count(&inputs);
        self.drop(node);
        node.inputs = inputs;
    }

    /// Other operands for a node that is added already.
    pub fn set_inputs(&mut self, at: usize, inputs: Vec<ValueId>) {
        let mut node = self.graph.nodes[at].clone();
        self.rewire(&mut node, inputs);
        self.graph.nodes[at] = node;
    }

    /// The new graph. Every output keeps its name and is a value of its own.
    pub fn finish(mut self) -> Graph {
        let wanted = self.graph.outputs.clone();
        let mut own: HashSet<ValueId> = self.graph.inputs.iter().chain(&wanted).copied().collect();
        for (slot, &old) in wanted.iter().enumerate() {
            let new = self.resolve(old);
            if new == old {
                continue;
            }
            if let Some(tensor) = self.graph.constant(new).cloned() {
                self.graph.values[old.0].constant = Some(tensor);
            } else if self.makers[new.0].is_some() && own.insert(new) {
                let name = std::mem::take(&mut self.graph.values[old.0].name);
                self.graph.values[old.0].name = std::mem::replace(&mut self.graph.values[new.0].name, name);
                self.graph.outputs[slot] = new;
                // The same value may be listed twice among the outputs; the second finds it under its old index.
                self.graph.outputs.iter_mut().filter(|id| **id == old).for_each(|id| *id = new);
            } else if self.makers[old.0].is_none() && self.graph.outputs[slot] == old {
                let name = self.graph.value(old).name.clone();
                let identity = Op::Unary(UnaryKind::Identity);
                self.makers[old.0] = Some(self.graph.nodes.len());
                self.graph.nodes.push(Node { name, op: identity, inputs: vec![new], outputs: vec![old] });
            }
        }
        self.graph.prune();
        self.graph
    }
}
