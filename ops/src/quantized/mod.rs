//! Integer kernels on quantised values.

mod codes;
mod conv;
mod conv_transpose;
mod gemm;
mod product;
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
        Op::ConvTranspose(c) if all_codes => Some(conv_transpose::conv_transpose(op, c, arith, operands, result)),
        Op::Dense { act } if all_codes => Some(product::dense(op, *act, arith, operands, result)),
        Op::MatMul { transpose_a, transpose_b } if all_codes => {
            Some(product::matmul(op, [*transpose_a, *transpose_b], arith, operands, result))
        }
        _ => None,
    }
}
