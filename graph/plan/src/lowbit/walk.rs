//! The values of a graph on one sample, as far as it has run.

use tandem_graph::{Graph, GraphError, NodeId};
use tandem_tensor::Tensor;

pub(super) struct Walk<'g> {
    graph: &'g Graph,
    values: Vec<Option<Tensor>>,
    /// How often each value is still to be read.
    uses: Vec<usize>,
}

impl<'g> Walk<'g> {
    /// Before the first node.
    pub fn new(graph: &'g Graph, inputs: &[Tensor]) -> Result<Walk<'g>, GraphError> {
        if inputs.len() != graph.inputs.len() {
            let (found, expected) = (inputs.len(), graph.inputs.len());
            return Err(GraphError::Input(format!("the model has {expected} inputs but {found} were given")));
        }
        let (mut values, mut uses) = (vec![None; graph.values.len()], vec![0; graph.values.len()]);
        for (&id, tensor) in graph.inputs.iter().zip(inputs) {
            let ty = graph.ty(id);
            if tensor.shape() != &ty.shape || tensor.dtype() != ty.dtype {
                let (name, found) = (&graph.value(id).name, format!("{}{}", tensor.dtype(), tensor.shape()));
                return Err(GraphError::Input(format!("input '{name}' is {found} but the model needs {ty}")));
            }
            values[id.0] = Some(tensor.clone());
        }
        graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs).for_each(|id| uses[id.0] += 1);
        Ok(Walk { graph, values, uses })
    }

    /// What a node reads.
    pub fn operands(&self, node: NodeId) -> Result<Vec<&Tensor>, GraphError> {
        self.graph.nodes[node.0].inputs.iter().map(|id| self.value(id.0)).collect()
    }

    /// Takes the results of a node, and drops what nobody reads any more.
    pub fn accept(&mut self, node: NodeId, results: Vec<Tensor>) {
        let node = &self.graph.nodes[node.0];
        for (id, tensor) in node.outputs.iter().zip(results) {
            self.values[id.0] = (self.uses[id.0] > 0).then_some(tensor);
        }
        for id in &node.inputs {
            self.uses[id.0] -= 1;
            if self.uses[id.0] == 0 {
                self.values[id.0] = None;
            }
        }
    }

    /// The outputs, behind the last node.
    pub fn outputs(&self) -> Result<Vec<Tensor>, GraphError> {
        self.graph.outputs.iter().map(|id| self.value(id.0).cloned()).collect()
    }

    fn value(&self, id: usize) -> Result<&Tensor, GraphError> {
        let value = &self.graph.values[id];
        value.constant.as_deref().or(self.values[id].as_ref()).ok_or_else(|| GraphError::Malformed {
            place: format!("value '{}'", value.name),
            problem: "nothing has made it before it is read".into(),
        })
    }
}
