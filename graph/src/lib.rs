//! The typed graph over operators: values, nodes, verifier, text form and reference interpreter.
//!
//! A graph is a list of nodes in topological order over numbered values. The interpreter is the oracle against which
//! every device is compared. This crate does no I/O.
#![forbid(unsafe_code)]

mod compiled;
mod dot;
mod evaluate;
mod interpret;
mod names;
pub mod pass;
pub mod permute;
mod prune;
#[cfg(test)]
mod sample;
mod text;
mod verify;
mod walk;
pub mod workload;

pub use compiled::Compiled;
pub use dot::dot;
pub use evaluate::Budget;
pub use interpret::{Interpreter, Kernels, interpret};
pub use names::Names;
pub use text::{TextError, parse, print};
pub use verify::{MAX_CONSTANT_BYTES, MAX_RANK, MAX_VALUE_BYTES};
pub use walk::Walk;

use std::sync::Arc;
use tandem_ops::{Arith, Op, OpError};
use tandem_tensor::{Tensor, TensorType};

/// Index of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// A tensor that flows through the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name in the model file, or a made-up one; unique within the graph.
    pub name: String,
    /// Type.
    pub ty: TensorType,
    /// Present for weights and other constants.
    pub constant: Option<Arc<Tensor>>,
}

/// One application of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name in the model file, or a made-up one.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// A model: nodes in topological order over values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Name of the model.
    pub name: String,
    /// Rounding family of the integer kernels.
    pub arith: Arith,
    /// All values.
    pub values: Vec<Value>,
    /// All nodes; a node's operands are inputs, constants or results of earlier nodes.
    pub nodes: Vec<Node>,
    /// Values that the caller provides, in order.
    pub inputs: Vec<ValueId>,
    /// Values that the caller gets, in order.
    pub outputs: Vec<ValueId>,
}

/// What is wrong with a graph or its evaluation.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Invalid: the graph breaks a rule; names the node or value and the rule.
    #[error("{place}: {problem}")]
    Malformed {
        /// Node or value.
        place: String,
        /// The broken rule and the remedy.
        problem: String,
    },
    /// An operator refused its operands.
    #[error("node '{node}' ({op}): {source}")]
    Op {
        /// Node name.
        node: String,
        /// Operator name.
        op: &'static str,
        /// The refusal.
        #[source]
        source: OpError,
    },
    /// Invalid: the caller's input does not fit.
    #[error("{0}")]
    Input(String),
}

impl Graph {
    /// Zeros for every input.
    pub fn zero_inputs(&self) -> Vec<Tensor> {
        self.inputs.iter().map(|&id| Tensor::zeros(self.ty(id).dtype, self.ty(id).shape.clone())).collect()
    }

    /// An empty graph.
    pub fn new(name: impl Into<String>, arith: Arith) -> Self {
        Self { name: name.into(), arith, ..Self::default() }
    }

    /// Adds a value.
    pub fn add_value(&mut self, name: impl Into<String>, ty: TensorType) -> ValueId {
        self.values.push(Value { name: name.into(), ty, constant: None });
        ValueId(self.values.len() - 1)
    }

    /// Adds a constant; the caller gives a type that agrees with the tensor.
    pub fn add_constant(&mut self, name: impl Into<String>, ty: TensorType, tensor: Tensor) -> ValueId {
        self.values.push(Value { name: name.into(), ty, constant: Some(Arc::new(tensor)) });
        ValueId(self.values.len() - 1)
    }

    /// Adds a node behind the present ones.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: impl Into<Vec<ValueId>>,
        outputs: impl Into<Vec<ValueId>>,
    ) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.into(), outputs: outputs.into() });
        NodeId(self.nodes.len() - 1)
    }

    /// The value of that index. Panics when the index comes from another graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The type of a value. Panics when the index comes from another graph.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.values[id.0].ty
    }

    /// The elements of a constant value.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.values.get(id.0)?.constant.as_ref()
    }

    /// For every value, the node that makes it.
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut producers = vec![None; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for out in &node.outputs {
                if let Some(p) = producers.get_mut(out.0) {
                    *p = Some(NodeId(i));
                }
            }
        }
        producers
    }

    /// For every value, the nodes that read it, each once.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers: Vec<Vec<NodeId>> = vec![Vec::new(); self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                if let Some(c) = consumers.get_mut(input.0)
                    && c.last() != Some(&NodeId(i))
                {
                    c.push(NodeId(i));
                }
            }
        }
        consumers
    }

    /// Multiply-accumulate operations of one node.
    pub fn macs(&self, node: &Node) -> u64 {
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&v| self.ty(v)).collect();
        tandem_ops::cost(&node.op, &operands).map_or(0, |c| c.macs)
    }

    /// Checks every rule that the rest of Tandem relies on: indices in range, every value made once and before it is
    /// read, unique value names, constants that agree with their types, sane quantisation and sizes, and for every node
    /// the shapes that [`tandem_ops::infer`] gives.
    ///
    /// # Errors
    /// [`GraphError`] naming the first broken rule.
    pub fn verify(&self) -> Result<(), GraphError> {
        verify::verify(self)
    }

    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(ValueId)
    }

    /// Removes nodes whose results no output needs, then values that nothing refers to. Inputs stay. Values and nodes
    /// are renumbered in their present order.
    pub fn prune(&mut self) {
        prune::prune(self);
    }

    /// Makes the named value the only output and prunes.
    ///
    /// # Errors
    /// [`GraphError::Malformed`] when there is no such value.
    pub fn cut_at(&mut self, name: &str) -> Result<(), GraphError> {
        let id = self.find(name).ok_or_else(|| GraphError::Malformed {
            place: format!("value '{name}'"),
            problem: format!(
                "the graph has no value of this name; its outputs are {}",
                prune::names(self, &self.outputs)
            ),
        })?;
        self.outputs = vec![id];
        self.prune();
        Ok(())
    }
}
