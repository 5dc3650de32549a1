//! The reference kernel of every operator: the oracle of all other implementations.

use crate::{Arith, Op, OpError};
use tandem_tensor::{Tensor, TensorType};

/// An operand: its elements and its type (which carries the quantisation).
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Elements.
    pub tensor: &'a Tensor,
    /// Type.
    pub ty: &'a TensorType,
}

/// Computes `op` on `operands`; `results` are the declared types of its results.
///
/// # Errors
/// When operands break the contract or the combination of types has no kernel.
pub fn reference(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpError> {
    let _ = (arith, operands, results);
    Err(OpError::unsupported(format!("{} has no reference kernel", op.name())))
}
