//! Integer kernels on quantised values.

mod codes;
mod conv;
mod gemm;
mod stage;

use crate::{Arith, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

/// The results of `op` when it has an integer kernel for these types, bit for bit as the family `arith` computes them;
/// `None` when it has none.
pub(crate) fn reference(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Option<Result<Vec<Tensor>, OpError>> {
    let result = *results.first()?;
    let all_codes = operands.iter().take(2).all(|o| codes::is_codes(o.ty)) && codes::is_codes(result);
    match op {
        Op::Conv(c) if all_codes => Some(conv::conv(op, c, arith, operands, result)),
        _ => None,
    }
}
