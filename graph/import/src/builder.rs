//! Building a graph from a model file: unique names, inferred shapes, folded constants.

use crate::ImportError;
use tandem_graph::{Budget, Graph, GraphError, MAX_VALUE_BYTES, Names, ValueId};
use tandem_ops::{Arith, Op, infer};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

/// Operations that folding may always take, so that a small file cannot keep an import busy for long.
const FOLD_WORK: u64 = 1 << 28;

/// A result to be: its name, dtype and quantisation; the shape is inferred.
pub(crate) struct ResultSpec {
    pub name: String,
    pub dtype: DType,
    pub quant: Option<QuantParams>,
}

/// A graph under construction.
pub(crate) struct Builder {
    pub graph: Graph,
    /// Those that are taken.
    names: Names,
    /// What folding may still take.
    budget: Budget,
}

impl Builder {
    /// `budget_bytes` bounds what folding may allocate in all.
    pub fn new(name: impl Into<String>, arith: Arith, budget_bytes: usize) -> Self {
        // A large file justifies more work: every byte of it may be moved a few times.
        let work = FOLD_WORK.max((budget_bytes as u64).saturating_mul(4));
        let budget = Budget { bytes: budget_bytes, work };
        Self { graph: Graph::new(name, arith), names: Names::default(), budget }
    }

    /// Takes bytes that the caller is about to allocate for a constant out of what the file justifies; false when that
    /// is used up.
    pub fn charge(&mut self, bytes: usize) -> bool {
        match self.budget.bytes.checked_sub(bytes) {
            Some(rest) => {
                self.budget.bytes = rest;
                true
            }
            None => false,
        }
    }

    /// `name`, or `name` with a number behind it when it is taken.
    pub fn unique(&mut self, name: &str) -> String {
        self.names.unique(name)
    }

    /// A value that the caller provides.
    pub fn input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let name = self.unique(name);
        let id = self.graph.add_value(name, ty);
        self.graph.inputs.push(id);
        id
    }

    /// A constant of plain type.
    pub fn constant(&mut self, name: &str, tensor: Tensor, quant: Option<QuantParams>) -> ValueId {
        let name = self.unique(name);
        let ty = TensorType { dtype: tensor.dtype(), shape: tensor.shape().clone(), quant };
        self.graph.add_constant(name, ty, tensor)
    }

    /// Shapes of the results of `op` on these operands, bounded in size.
    pub fn shapes(&self, node: &str, op: &Op, inputs: &[ValueId]) -> Result<Vec<Shape>, ImportError> {
        let operands: Vec<&TensorType> = inputs.iter().map(|&id| self.graph.ty(id)).collect();
        let shapes =
            infer(op, &operands).map_err(|source| GraphError::Op { node: node.to_owned(), op: op.name(), source })?;
        for shape in &shapes {
            if shape.elements() > MAX_VALUE_BYTES {
                let problem = format!("its result has the absurd shape {shape}");
                return Err(ImportError::malformed(format!("node '{node}' ({})", op.name()), problem));
            }
        }
        Ok(shapes)
    }

    /// Applies `op`. When all operands are constants and the result is small, it becomes a constant itself.
    pub fn node(
        &mut self,
        node: &str,
        op: Op,
        inputs: &[ValueId],
        results: Vec<ResultSpec>,
    ) -> Result<Vec<ValueId>, ImportError> {
        let shapes = self.shapes(node, &op, inputs)?;
        if results.len() > shapes.len() {
            let problem = format!("it has {} results but {} makes {}", results.len(), op.name(), shapes.len());
            return Err(ImportError::malformed(format!("node '{node}'"), problem));
        }
        let (names, types): (Vec<String>, Vec<TensorType>) = results
            .into_iter()
            .zip(shapes)
            .map(|(r, shape)| (r.name, TensorType { dtype: r.dtype, shape, quant: r.quant }))
            .unzip();
        let folded = self.budget.evaluate(&self.graph, &op, inputs, &types.iter().collect::<Vec<_>>());
        let mut ids = Vec::with_capacity(types.len());
        match folded {
            Some(tensors) => {
                for ((name, ty), tensor) in names.iter().zip(types).zip(tensors) {
                    let name = self.unique(name);
                    ids.push(self.graph.add_constant(name, ty, tensor));
                }
            }
            None => {
                for (name, ty) in names.iter().zip(types) {
                    let name = self.unique(name);
                    ids.push(self.graph.add_value(name, ty));
                }
                self.graph.add_node(node, op, inputs, ids.clone());
            }
        }
        Ok(ids)
    }
}
