//! Operators on 8-bit codes as tables: what a chain of operators of one operand does to each of the 256 codes.
//!
//! Two chains with the same table are the same function, so that a pass which compares tables cannot change a bit.

use tandem_ops::{Arith, Op, Operand, arith::code_range, reference};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// The codes that a chain gives for each code of `from`, in ascending order. A step is an operator and the type of its result.
///
/// `None` where `from` or the last result are not 8-bit codes under one scale, or a kernel refuses.
pub(super) fn of(arith: Arith, from: &TensorType, steps: &[(&Op, &TensorType)]) -> Option<Vec<i64>> {
    if !is_codes(from) || !steps.last().is_none_or(|(_, ty)| is_codes(ty)) {
        return None;
    }
    let (lo, hi) = code_range(from.dtype);
    let all: Vec<f64> = (lo..=hi).map(f64::from).collect();
    let mut ty = flat(from);
    let mut tensor = Tensor::from_f64(from.dtype, [256], &all).ok()?;
    for (op, result) in steps {
        let result = flat(result);
        let made = reference(op, arith, &[Operand { tensor: &tensor, ty: &ty }], &[&result]).ok()?.pop()?;
        (tensor, ty) = (made, result);
    }
    tensor.to_i64()
}

/// True for 8-bit codes under one scale.
pub(super) fn is_codes(ty: &TensorType) -> bool {
    matches!(ty.dtype, DType::I8 | DType::U8) && ty.quant.as_ref().is_some_and(QuantParams::is_per_tensor)
}

/// True for operators whose result's elements depend on the operand's elements one by one.
pub(super) fn is_unary(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Requantize | Op::Quantize | Op::Dequantize)
}

fn flat(ty: &TensorType) -> TensorType {
    TensorType { dtype: ty.dtype, shape: [256].into(), quant: ty.quant.clone() }
}
