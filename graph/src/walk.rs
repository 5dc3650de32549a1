//! The values of a graph on one sample, as far as it has run.

use crate::interpret::{check_inputs, uses};
use crate::{Graph, GraphError, NodeId};
use tandem_tensor::Tensor;

/// What the nodes so far have made of the inputs, as long as somebody still reads it.
pub struct Walk<'g> {
    graph: &'g Graph,
    values: Vec<Option<Tensor>>,
    /// How often each value is still to be read.
    uses: Vec<usize>,
}

impl<'g> Walk<'g> {
    /// Before the first node.
    ///
    /// # Errors
    /// When inputs do not fit.
    pub fn new(graph: &'g Graph, inputs: &[Tensor]) -> Result<Walk<'g>, GraphError> {
        Walk::counted(graph, inputs, uses(graph))
    }

    /// The same for a graph whose uses are counted already.
    pub(crate) fn counted(graph: &'g Graph, inputs: &[Tensor], uses: Vec<usize>) -> Result<Walk<'g>, GraphError> {
        check_inputs(graph.inputs.iter().map(|&id| graph.value(id)), inputs)?;
        let mut values = vec![None; graph.values.len()];
        for (&id, tensor) in graph.inputs.iter().zip(inputs) {
            values[id.0] = Some(tensor.clone());
        }
        Ok(Walk { graph, values, uses })
    }

    /// What a node reads.
    ///
    /// # Errors
    /// When a value is not there: no node before makes it, or all that read it have run.
    pub fn operands(&self, node: NodeId) -> Result<Vec<&Tensor>, GraphError> {
        let node = &self.graph.nodes[node.0];
        let unset = || GraphError::Malformed {
            place: format!("node '{}'", node.name),
            problem: "reads a value that nothing has made; the nodes are not in topological order".into(),
        };
        node.inputs.iter().map(|id| self.value(id.0).ok_or_else(unset)).collect()
    }

    /// Takes the results of a node, and drops what nobody reads any more.
    pub fn accept(&mut self, node: NodeId, results: Vec<Tensor>) {
        let node = &self.graph.nodes[node.0];
        for (id, tensor) in node.outputs.iter().zip(results) {
            self.values[id.0] = Some(tensor);
        }
        for id in &node.inputs {
            self.uses[id.0] -= 1;
            if self.uses[id.0] == 0 {
                self.values[id.0] = None;
            }
        }
    }

    /// The outputs, behind the last node.
    ///
    /// # Errors
    /// When no node has made one.
    pub fn outputs(&self) -> Result<Vec<Tensor>, GraphError> {
        let output = |id: usize| {
            self.value(id).cloned().ok_or_else(|| GraphError::Malformed {
                place: format!("output '{}'", self.graph.values[id].name),
                problem: "no node makes it".into(),
            })
        };
        self.graph.outputs.iter().map(|id| output(id.0)).collect()
    }

    fn value(&self, id: usize) -> Option<&Tensor> {
        self.graph.values[id].constant.as_deref().or(self.values[id].as_ref())
    }
}
