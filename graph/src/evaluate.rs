//! Nodes on constants, computed within bounds.

use crate::{Graph, ValueId};
use tandem_ops::{Op, Operand, cost, reference};
use tandem_tensor::{Tensor, TensorType};

/// What computing nodes on constants may still take, so that a small file cannot ask for a large or long computation.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes of results.
    pub bytes: usize,
    /// Operations.
    pub work: u64,
}

impl Budget {
    /// The results of an operator on these values by the reference kernel, taken out of the budget. `None` where a value is no
    /// constant, where there is none, beyond the budget, and where the kernel refuses or does not give these types.
    pub fn evaluate(
        &mut self,
        graph: &Graph,
        op: &Op,
        inputs: &[ValueId],
        types: &[&TensorType],
    ) -> Option<Vec<Tensor>> {
        let operands = inputs
            .iter()
            .map(|&id| Some(Operand { tensor: graph.constant(id)?.as_ref(), ty: graph.ty(id) }))
            .collect::<Option<Vec<_>>>()?;
        let bytes = total_bytes(types.iter().copied());
        let operand_types: Vec<&TensorType> = operands.iter().map(|o| o.ty).collect();
        let cost = cost(op, &operand_types).ok()?;
        let work = cost.macs.saturating_add(cost.element_ops).saturating_add(bytes as u64);
        if operands.is_empty() || bytes > self.bytes || work > self.work {
            return None;
        }
        let results = reference(op, graph.arith, &operands, types).ok()?;
        let agrees = results.len() == types.len()
            && results.iter().zip(types).all(|(t, ty)| t.dtype() == ty.dtype && t.shape() == &ty.shape);
        if !agrees {
            return None;
        }
        self.bytes -= bytes;
        self.work -= work;
        Some(results)
    }
}

/// Bytes of all of them.
pub(crate) fn total_bytes<'a>(types: impl IntoIterator<Item = &'a TensorType>) -> usize {
    types.into_iter().fold(0, |sum, ty| sum.saturating_add(ty.bytes()))
}
