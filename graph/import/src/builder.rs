//! Building a graph from a model file: unique names, inferred shapes, folded constants.

use crate::ImportError;
use std::collections::HashMap;
use tandem_graph::{Graph, GraphError, MAX_VALUE_BYTES, ValueId};
use tandem_ops::{Arith, Op, Operand, cost, infer, reference};
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
    /// How often each wished-for name has been given out.
    names: HashMap<String, usize>,
    /// Bytes that folding may still allocate.
    fold_bytes: usize,
    /// Operations that folding may still take.
    fold_work: u64,
}

impl Builder {
    /// `budget_bytes` bounds what folding may allocate in all.
    pub fn new(name: impl Into<String>, arith: Arith, budget_bytes: usize) -> Self {
        // A large file justifies more work: every byte of it may be moved a few times.
        let fold_work = FOLD_WORK.max((budget_bytes as u64).saturating_mul(4));
        Self { graph: Graph::new(name, arith), names: HashMap::new(), fold_bytes: budget_bytes, fold_work }
    }

    /// Takes bytes that the caller is about to allocate for a constant out of what the file justifies; false when that
    /// is used up.
    pub fn charge(&mut self, bytes: usize) -> bool {
        match self.fold_bytes.checked_sub(bytes) {
            Some(rest) => {
                self.fold_bytes = rest;
                true
            }
            None => false,
        }
    }

    /// `name`, or `name` with a number behind it when it is taken.
    pub fn unique(&mut self, name: &str) -> String {
        let mut wish = name.to_owned();
        loop {
            let count = self.names.entry(wish.clone()).or_insert(0);
            *count += 1;
            if *count == 1 {
                return wish;
            }
            wish = format!("{name}#{count}");
        }
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
        let folded = self.fold(&op, inputs, &types);
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

    fn fold(&mut self, op: &Op, inputs: &[ValueId], types: &[TensorType]) -> Option<Vec<Tensor>> {
        let mut operands = Vec::with_capacity(inputs.len());
        for &id in inputs {
            operands.push(Operand { tensor: self.graph.constant(id)?.as_ref(), ty: self.graph.ty(id) });
        }
        let bytes = types.iter().fold(0usize, |n, t| n.saturating_add(t.bytes()));
        let operand_types: Vec<&TensorType> = operands.iter().map(|o| o.ty).collect();
        let cost = cost(op, &operand_types).ok()?;
        let work = cost.macs.saturating_add(cost.element_ops).saturating_add(bytes as u64);
        if operands.is_empty() || bytes > self.fold_bytes || work > self.fold_work {
            return None;
        }
        let results: Vec<&TensorType> = types.iter().collect();
        let tensors = reference(op, self.graph.arith, &operands, &results).ok()?;
        let agrees = tensors.len() == types.len()
            && tensors.iter().zip(types).all(|(t, ty)| t.dtype() == ty.dtype && t.shape() == &ty.shape);
        if !agrees {
            return None;
        }
        self.fold_bytes -= bytes;
        self.fold_work -= work;
        Some(tensors)
    }
}
