//! The reference interpreter: the oracle.

use crate::walk::Walk;
use crate::{Graph, GraphError, Node, NodeId, Value};
use tandem_ops::{Operand, Prepared, reference};
use tandem_tensor::Tensor;

/// Evaluates a graph node by node with the reference kernels.
pub struct Interpreter<'g> {
    graph: &'g Graph,
    kernels: Option<&'g Kernels>,
}

/// What is prepared once for many runs of a graph: the kernels of its nodes, where there are such.
pub struct Kernels {
    kernels: Vec<Option<Prepared>>,
    /// How often each value is read.
    uses: Vec<usize>,
}

impl Kernels {
    /// The kernels of a verified graph.
    pub fn new(graph: &Graph) -> Self {
        Kernels { kernels: graph.nodes.iter().map(|node| prepare(graph, node)).collect(), uses: uses(graph) }
    }

    /// The kernel of every node that has one.
    pub(crate) fn list(&self) -> &[Option<Prepared>] {
        &self.kernels
    }

    pub(crate) fn into_list(self) -> Vec<Option<Prepared>> {
        self.kernels
    }
}

/// How often each value of a graph is read.
pub(crate) fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.values.len()];
    for id in graph.nodes.iter().flat_map(|n| &n.inputs).chain(&graph.outputs) {
        uses[id.0] += 1;
    }
    uses
}

fn prepare(graph: &Graph, node: &Node) -> Option<Prepared> {
    let (&x, rest) = node.inputs.split_first()?;
    if node.inputs.iter().all(|&id| graph.constant(id).is_none()) && node.outputs.len() == 1 {
        let types: Vec<_> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
        return Prepared::without_weights(&node.op, graph.arith, &types, graph.ty(node.outputs[0]));
    }
    let weights = rest
        .iter()
        .map(|&id| Some(Operand { tensor: graph.constant(id)?, ty: graph.ty(id) }))
        .collect::<Option<Vec<_>>>()?;
    let &[result] = node.outputs.as_slice() else { return None };
    Prepared::new(&node.op, graph.arith, graph.ty(x), &weights, graph.ty(result))
}

/// Whether inputs have the types of these values.
///
/// # Errors
/// When they do not.
pub(crate) fn check_inputs<'g>(
    values: impl ExactSizeIterator<Item = &'g Value>,
    inputs: &[Tensor],
) -> Result<(), GraphError> {
    if inputs.len() != values.len() {
        return Err(GraphError::Input(format!(
            "the model has {} inputs but {} were given",
            values.len(),
            inputs.len()
        )));
    }
    for (value, tensor) in values.zip(inputs) {
        if tensor.shape() != &value.ty.shape || tensor.dtype() != value.ty.dtype {
            return Err(GraphError::Input(format!(
                "input '{}' is {}{} but the model needs {}",
                value.name,
                tensor.dtype(),
                tensor.shape(),
                value.ty
            )));
        }
    }
    Ok(())
}

impl<'g> Interpreter<'g> {
    /// An interpreter of a verified graph.
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph, kernels: None }
    }

    /// An interpreter that runs the kernels prepared for this very graph; its results are the same.
    pub fn with_kernels(graph: &'g Graph, kernels: &'g Kernels) -> Self {
        Self { graph, kernels: Some(kernels) }
    }

    /// The results of one node for the values that it reads, constants among them.
    ///
    /// # Errors
    /// When there is no such node, or a kernel refuses.
    pub fn node(&self, id: NodeId, operands: &[&Tensor]) -> Result<Vec<Tensor>, GraphError> {
        let graph = self.graph;
        let node = graph.nodes.get(id.0).ok_or_else(|| GraphError::Malformed {
            place: format!("node {}", id.0),
            problem: format!("there are {}", graph.nodes.len()),
        })?;
        let failed = |source| GraphError::Op { node: node.name.clone(), op: node.op.name(), source };
        if let Some(kernel) = self.kernels.and_then(|k| k.kernels.get(id.0)?.as_ref()) {
            let operands = operands.get(..kernel.inputs()).unwrap_or(operands);
            return Ok(vec![kernel.run(operands).map_err(failed)?]);
        }
        let operands = operands.iter().zip(&node.inputs).map(|(tensor, &id)| Operand { tensor, ty: graph.ty(id) });
        let operands: Vec<_> = operands.collect();
        let types: Vec<_> = node.outputs.iter().map(|&id| graph.ty(id)).collect();
        reference(&node.op, graph.arith, &operands, &types).map_err(failed)
    }

    /// The graph's outputs for these inputs.
    ///
    /// # Errors
    /// When inputs do not fit or a kernel refuses.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
        self.run_observed(inputs, |_, _| {})
    }

    /// As [`Interpreter::run`]; `observe` sees the results of every node as they are made.
    ///
    /// # Errors
    /// When inputs do not fit or a kernel refuses.
    pub fn run_observed(
        &self,
        inputs: &[Tensor],
        mut observe: impl FnMut(NodeId, &[Tensor]),
    ) -> Result<Vec<Tensor>, GraphError> {
        let graph = self.graph;
        let uses = self.kernels.map_or_else(|| uses(graph), |kernels| kernels.uses.clone());
        let mut walk = Walk::counted(graph, inputs, uses)?;
        for id in (0..graph.nodes.len()).map(NodeId) {
            let results = self.node(id, &walk.operands(id)?)?;
            observe(id, &results);
            walk.accept(id, results);
        }
        walk.outputs()
    }
}

/// The outputs of `graph` for these inputs, by the reference kernels.
///
/// # Errors
/// When inputs do not fit or a kernel refuses.
pub fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
    Interpreter::new(graph).run(inputs)
}
