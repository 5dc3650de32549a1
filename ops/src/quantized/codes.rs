//! Reading and writing 8-bit codes.

use crate::cpu::int8::Codes;
use crate::cpu::shared;
use crate::{OpError, Operand};
use tandem_tensor::{DType, Data, QuantParams, Shape, Tensor, TensorError, TensorType};

/// True for a quantised tensor of 8-bit codes.
pub(super) fn is_codes(ty: &TensorType) -> bool {
    ty.quant.is_some() && matches!(ty.dtype, DType::I8 | DType::U8)
}

/// The parameters of a quantised type with one scale.
///
/// # Errors
/// When the type has no scale or several, a scale is not a positive number, or a zero point is no code.
pub(super) fn whole<'a>(op: &str, ty: &'a TensorType) -> Result<&'a QuantParams, OpError> {
    let quant = checked(op, ty)?;
    if !quant.is_per_tensor() {
        return Err(OpError::unsupported(format!("{op} needs one scale for the whole of {ty}, which has several")));
    }
    Ok(quant)
}

/// The parameters of a quantised type, per tensor or with a pair for each index of the first axis.
///
/// # Errors
/// As [`whole`], and when the axis is another one or the lists do not fit it.
pub(super) fn per_output<'a>(op: &str, ty: &'a TensorType) -> Result<&'a QuantParams, OpError> {
    per_axis(op, ty, 0)
}

/// As [`per_output`] for any axis.
pub(super) fn per_axis<'a>(op: &str, ty: &'a TensorType, axis: usize) -> Result<&'a QuantParams, OpError> {
    let quant = checked(op, ty)?;
    let fits = match quant.axis {
        None => quant.scale.len() == 1,
        Some(own) => own == axis && ty.shape.get(axis) == Some(&quant.scale.len()),
    };
    if !fits {
        return Err(OpError::unsupported(format!(
            "{op} needs weights with one scale or one for each index of axis {axis}, but {ty} has {} along axis {}",
            quant.scale.len(),
            quant.axis.unwrap_or(0)
        )));
    }
    Ok(quant)
}

fn checked<'a>(op: &str, ty: &'a TensorType) -> Result<&'a QuantParams, OpError> {
    let Some(quant) = &ty.quant else {
        return Err(OpError::invalid(format!("{op} needs a scale for {ty}")));
    };
    let (lo, hi) = ty.dtype.integer_range().unwrap_or((0, 0));
    let bad_scale = quant.scale.iter().find(|s| !(s.is_finite() && **s > 0.0));
    if let Some(scale) = bad_scale {
        return Err(OpError::invalid(format!("{op} has the scale {scale} for {ty}: scales are positive numbers")));
    }
    if let Some(zero) = quant.zero_point.iter().find(|&&z| i128::from(z) < lo || i128::from(z) > hi) {
        return Err(OpError::invalid(format!(
            "{op} has the zero point {zero} for {ty}, which is no code of that type"
        )));
    }
    if quant.scale.is_empty() || quant.scale.len() != quant.zero_point.len() {
        return Err(OpError::invalid(format!(
            "{op} has {} scales but {} zero points for {ty}",
            quant.scale.len(),
            quant.zero_point.len()
        )));
    }
    Ok(quant)
}

/// The codes of an 8-bit tensor, widened and moved by `-zero_point`.
pub(super) fn centred(tensor: &Tensor, zero_point: i32) -> Vec<i16> {
    let zero = zero_point as i16;
    match tensor.data() {
        Data::I8(v) => v.iter().map(|&q| i16::from(q) - zero).collect(),
        Data::U8(v) => v.iter().map(|&q| i16::from(q) - zero).collect(),
        _ => Vec::new(),
    }
}

/// The codes of an 8-bit tensor as bytes; none of any other tensor.
pub(super) fn bytes(tensor: &Tensor) -> Codes<'_> {
    match tensor.data() {
        Data::I8(v) => Codes { bytes: shared::bytes(v), signed: true },
        Data::U8(v) => Codes { bytes: v, signed: false },
        _ => Codes { bytes: &[], signed: false },
    }
}

/// As [`centred`], with the zero point of each index of the first axis.
pub(super) fn centred_by_output(tensor: &Tensor, quant: &QuantParams) -> Vec<i16> {
    if quant.zero_point.iter().all(|&z| z == quant.zero_point()) {
        return centred(tensor, quant.zero_point());
    }
    let mut codes = centred(tensor, 0);
    let each = codes.len() / quant.zero_point.len();
    for (row, &zero) in codes.chunks_exact_mut(each.max(1)).zip(&quant.zero_point) {
        row.iter_mut().for_each(|q| *q -= zero as i16);
    }
    codes
}

/// A code counted from the smallest one of its type.
pub(super) fn rank(dtype: DType, code: i32) -> u8 {
    code as u8 ^ if dtype == DType::I8 { 0x80 } else { 0 }
}

/// The codes of an 8-bit tensor as they are stored, widened.
pub(super) fn wide(tensor: &Tensor) -> Vec<i32> {
    match tensor.data() {
        Data::I8(v) => v.iter().map(|&q| i32::from(q)).collect(),
        Data::U8(v) => v.iter().map(|&q| i32::from(q)).collect(),
        _ => Vec::new(),
    }
}

/// The codes of an 8-bit tensor counted from the smallest code of its type.
pub(super) fn ranks(tensor: &Tensor) -> Vec<u8> {
    match tensor.data() {
        Data::I8(v) => v.iter().map(|&q| q as u8 ^ 0x80).collect(),
        Data::U8(v) => v.clone(),
        _ => Vec::new(),
    }
}

/// The bias of a kernel that sums: zeros when it is absent.
///
/// # Errors
/// When it is not `i32`.
pub(super) fn bias(op: &str, bias: Option<&Operand<'_>>, channels: usize) -> Result<Vec<i32>, OpError> {
    match bias {
        None => Ok(vec![0; channels]),
        Some(b) => match b.tensor.data() {
            Data::I32(v) if v.len() == channels => Ok(v.clone()),
            _ => Err(OpError::unsupported(format!(
                "{op} with 8-bit operands needs a bias of type i32[{channels}] but it is {}",
                b.ty
            ))),
        },
    }
}

/// A tensor of codes from their low bytes.
pub(super) fn tensor(dtype: DType, shape: &Shape, bytes: Vec<u8>) -> Result<Tensor, TensorError> {
    let data = match dtype {
        DType::I8 => Data::I8(shared::signed(bytes)),
        _ => Data::U8(bytes),
    };
    Tensor::new(shape.clone(), data)
}

/// A tensor of codes from values within the range of the dtype.
pub(super) fn narrow(ty: &TensorType, codes: impl Iterator<Item = i32>) -> Result<Vec<Tensor>, OpError> {
    Ok(vec![tensor(ty.dtype, &ty.shape, codes.map(|q| q as u8).collect())?])
}
