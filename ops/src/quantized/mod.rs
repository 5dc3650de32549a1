//! Integer kernels on quantised values.
//!
//! Where a family has an integer kernel for the types at hand, that kernel is computed to the last bit. For the operators that
//! [`real::takes`] lists and all other types, codes go by way of reals. What only moves codes is left to the kernels that know
//! nothing of quantisation.

mod binary;
mod codes;
mod concat;
mod conv;
mod conv_transpose;
mod lstm;
mod pool;
mod prepared;
mod product;
mod real;
mod reduce;
mod resize;
mod softmax;
pub(crate) mod stage;
mod sum;
mod unary;

pub use prepared::{Prepared, code_bytes};

use crate::{Act, Arith, BinaryKind, Op, OpError, Operand, ReduceKind, UnaryKind};
use tandem_tensor::{Tensor, TensorType};

/// The results of `op` when it has a kernel for these quantised types; `None` when the kernels of [`crate::reference`] do, or
/// none does.
pub(crate) fn reference(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Option<Result<Vec<Tensor>, OpError>> {
    let result = *results.first()?;
    if moves_codes(op, operands, result) {
        return None;
    }
    let weights = matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } | Op::MatMul { .. });
    let data = match op {
        Op::Lstm(_) => &operands[..operands.len().min(9)],
        _ if weights => &operands[..operands.len().min(2)],
        _ => operands,
    };
    if codes::is_codes(result) && data.iter().all(|o| codes::is_codes(o.ty)) {
        match integer(op, arith, operands, results) {
            Some(Err(OpError::Unsupported(_))) | None => {}
            answer => return answer,
        }
    }
    real::takes(op).then(|| real::by_way_of_reals(op, arith, operands, results))
}

fn integer(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Option<Result<Vec<Tensor>, OpError>> {
    let result = *results.first()?;
    let x = *operands.first()?;
    Some(match op {
        Op::Conv(c) => conv::Kernel::new(op, c, arith, x.ty, &operands[1..], result).and_then(|k| one(k.run(x.tensor))),
        Op::ConvTranspose(c) => conv_transpose::conv_transpose(op, c, arith, operands, result),
        Op::Dense { act } => {
            product::Kernel::new(op, *act, arith, x.ty, &operands[1..], result, true).and_then(|k| one(k.run(x.tensor)))
        }
        Op::MatMul { transpose_a, transpose_b } => {
            product::matmul(op, [*transpose_a, *transpose_b], arith, operands, result)
        }
        Op::Pool(_) if results.len() > 1 => return None,
        Op::Pool(p) => pool::Kernel::new(op, p, x.ty, result).and_then(|k| one(k.run(x.tensor))),
        Op::Binary { kind, act } => binary::binary(op, (*kind, *act), arith, operands, result),
        Op::Requantize | Op::Unary(_) => unary::unary(op, arith, operands, result),
        Op::Softmax { axis, beta, log: false } => {
            softmax::Kernel::new(op, (*axis, *beta), arith, x.ty, result).and_then(|k| one(k.run(x.tensor)))
        }
        Op::Reduce { kind: ReduceKind::Mean, axes, .. } => reduce::reduce(op, (axes, true), arith, x, result),
        Op::Reduce { kind: ReduceKind::Sum, axes, .. } => reduce::reduce(op, (axes, false), arith, x, result),
        Op::Concat { axis, act } => concat::concat(op, (*axis, *act), operands, result),
        Op::Resize(r) => resize::resize(op, r, arith, x, result),
        Op::Lstm(l) => lstm::lstm(op, l, operands, result),
        _ => return None,
    })
}

fn one(result: Result<Tensor, OpError>) -> Result<Vec<Tensor>, OpError> {
    result.map(|tensor| vec![tensor])
}

/// True when operands and result have one quantisation and the operator only selects or compares their codes.
fn moves_codes(op: &Op, operands: &[Operand<'_>], result: &TensorType) -> bool {
    let same = |a: &TensorType, b: &TensorType| a.dtype == b.dtype && a.quant == b.quant;
    let to_result = || operands.iter().all(|o| same(o.ty, result));
    match op {
        Op::Unary(UnaryKind::Identity) | Op::Concat { act: Act::None, .. } => to_result(),
        Op::Binary {
            kind:
                BinaryKind::Equal
                | BinaryKind::NotEqual
                | BinaryKind::Less
                | BinaryKind::LessEqual
                | BinaryKind::Greater
                | BinaryKind::GreaterEqual,
            ..
        } => operands.len() == 2 && same(operands[0].ty, operands[1].ty),
        _ => false,
    }
}
