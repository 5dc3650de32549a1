//! The reference kernel of every operator: the oracle of all other implementations.
//!
//! Floating-point kernels compute in `f64` and round once to the dtype of the result. Integer kernels wrap like the
//! hardware of every machine does, except where an operator's definition saturates. Quantised operands go to the integer
//! kernels of [`crate::quantized`]; operators that only move or compare codes work here on the codes themselves.

mod accumulate;
mod binary;
mod cast;
mod conv;
mod layout;
mod matmul;
mod number;
mod pad;
mod pool;
mod position;
mod quantize;
mod reduce;
mod resize;
mod scan;
mod softmax;
mod unary;

pub(crate) use unary::real as unary_real;

use crate::{Act, Arith, BinaryKind, Op, OpError, PoolKind, ReduceKind, ResizeMode, UnaryKind, infer, quantized};
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// The largest result in elements. A small file can ask for any size, and a kernel holds up to 48 bytes an element.
pub(crate) const MAX_ELEMENTS: usize = 1 << 26;

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
    check(op, operands, results)?;
    let quantised = operands.iter().any(|o| o.ty.is_quantized()) || results.iter().any(|r| r.is_quantized());
    if quantised {
        if let Some(answer) = quantized::reference(op, arith, operands, results) {
            return answer;
        }
        if !works_on_codes(op, arith, operands, results) {
            return Err(OpError::unsupported(format!(
                "{} has no kernel for {} -> {} with these quantisation parameters",
                op.name(),
                operands.iter().map(|o| o.ty.to_string()).collect::<Vec<_>>().join(", "),
                results.iter().map(|r| r.to_string()).collect::<Vec<_>>().join(", "),
            )));
        }
    }
    let result = results[0];
    let one = |tensor: Tensor| vec![tensor];
    Ok(match op {
        Op::Conv(c) => one(conv::conv(c, operands, result)?),
        Op::ConvTranspose(c) => one(conv::conv_transpose(c, operands, result)?),
        Op::Dense { act } => one(matmul::dense(*act, operands, result)?),
        Op::MatMul { transpose_a, transpose_b } => one(matmul::matmul(*transpose_a, *transpose_b, operands, result)?),
        Op::Pool(p) => pool::pool(p, operands, results)?,
        Op::Binary { kind, act } => one(binary::binary(*kind, *act, operands, result)?),
        Op::Unary(kind) => one(unary::unary(*kind, operands, result)?),
        Op::Softmax { axis, beta, log } => one(softmax::softmax(*axis, *beta, *log, operands, result)?),
        Op::Reduce { kind, axes, .. } => one(reduce::reduce(*kind, axes, operands, result)?),
        Op::ArgMax { axis, select_last, min, .. } => one(reduce::arg_max(*axis, *select_last, *min, operands, result)?),
        Op::Pad { amount, mode } => one(pad::pad(amount, *mode, operands, result)?),
        Op::Concat { axis, act } => one(layout::concat(*axis, *act, operands, result)?),
        Op::Slice { begin, step, .. } => one(layout::slice(begin, step, operands, result)?),
        Op::Reshape { .. } => one(layout::reshape(operands, result)?),
        Op::Transpose { perm } => one(layout::transpose(perm, operands, result)?),
        Op::Resize(r) => one(resize::resize(r, operands, result)?),
        Op::Gather { axis } => one(layout::gather(*axis, operands, result)?),
        Op::Expand { .. } => one(layout::expand(operands, result)?),
        Op::Where => one(layout::select(operands, result)?),
        Op::Cast { to, .. } => one(cast::cast(*to, operands, result)?),
        Op::Quantize => one(quantize::quantize(arith, operands, result)?),
        Op::Dequantize => one(quantize::dequantize(operands, result)?),
        Op::Requantize => one(quantize::requantize(operands, result)?),
        Op::CumSum { axis, exclusive, reverse } => one(scan::cumsum(*axis, *exclusive, *reverse, operands, result)?),
        Op::Trilu { k, upper } => one(layout::trilu(*k, *upper, operands, result)?),
        Op::Lstm(_) => {
            return Err(OpError::unsupported(format!("lstm has kernels for 8-bit codes only, not for {result}")));
        }
    })
}

/// Everything that all kernels take for granted: operands are what their types say and results have the shapes that
/// follow from them.
fn check(op: &Op, operands: &[Operand<'_>], results: &[&TensorType]) -> Result<(), OpError> {
    for (i, operand) in operands.iter().enumerate() {
        let (tensor, ty) = (operand.tensor, operand.ty);
        if tensor.dtype() != ty.dtype || tensor.shape() != &ty.shape {
            return Err(OpError::invalid(format!(
                "operand {i} of {} is declared as {ty} but holds {}{}",
                op.name(),
                tensor.dtype(),
                tensor.shape()
            )));
        }
    }
    let types: Vec<&TensorType> = operands.iter().map(|o| o.ty).collect();
    let shapes = infer(op, &types)?;
    if results.is_empty() || results.len() > shapes.len() {
        return Err(OpError::invalid(format!(
            "{} makes {} results but {} are declared",
            op.name(),
            shapes.len(),
            results.len()
        )));
    }
    for (result, shape) in results.iter().zip(&shapes) {
        if &result.shape != shape {
            return Err(OpError::invalid(format!(
                "a result of {} is declared as {result} but has shape {shape}",
                op.name()
            )));
        }
        if shape.elements() > MAX_ELEMENTS {
            return Err(OpError::unsupported(format!(
                "the result {result} of {} has more than {MAX_ELEMENTS} elements",
                op.name()
            )));
        }
    }
    Ok(())
}

/// True when the operator on the codes is the operator on the reals: it moves, selects or orders codes, and all of them
/// mean the same.
fn works_on_codes(op: &Op, arith: Arith, operands: &[Operand<'_>], results: &[&TensorType]) -> bool {
    let result = results[0];
    let same_codes = |a: &TensorType, b: &TensorType| a.dtype == b.dtype && same_meaning(&a.quant, &b.quant);
    let whole = |t: &TensorType| t.quant.as_ref().is_none_or(QuantParams::is_per_tensor);
    let all_same = |list: &[Operand<'_>]| list.iter().all(|o| same_codes(o.ty, result) && whole(o.ty));
    match op {
        Op::Quantize | Op::Dequantize => true,
        // By way of f32, which is what ONNX says; the fixed-point ways are integer kernels.
        Op::Requantize => arith == Arith::Xnnpack,
        // A permutation may carry the quantised axis elsewhere; the parameters themselves stay.
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Unary(UnaryKind::Identity) => {
            same_codes(operands[0].ty, result)
        }
        Op::Slice { .. } | Op::Expand { .. } | Op::Gather { .. } | Op::Trilu { .. } => all_same(&operands[..1]),
        Op::Pad { .. } => {
            all_same(&operands[..1]) && operands.get(1).is_none_or(|v| v.ty.quant.is_none() || all_same(&[*v]))
        }
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => all_same(operands),
        Op::Resize(r) => matches!(r.mode, ResizeMode::Nearest(_)) && r.roi.is_none() && all_same(operands),
        Op::Pool(p) => p.kind == PoolKind::Max && p.act == Act::None && all_same(operands),
        Op::Concat { act: Act::None, .. } => all_same(operands),
        Op::Where => all_same(&operands[1..]),
        Op::Binary { kind: BinaryKind::Min | BinaryKind::Max, act: Act::None } => all_same(operands),
        Op::Binary { kind, act: Act::None } => {
            binary::is_comparison(*kind) && whole(operands[0].ty) && same_codes(operands[0].ty, operands[1].ty)
        }
        Op::ArgMax { .. } => whole(operands[0].ty),
        _ => false,
    }
}

fn same_meaning(a: &Option<QuantParams>, b: &Option<QuantParams>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.scale == b.scale && a.zero_point == b.zero_point,
        (None, None) => true,
        _ => false,
    }
}

/// The error of a kernel that does not know a combination of dtypes.
fn no_kernel(op: &str, operands: &[Operand<'_>], result: &TensorType) -> OpError {
    let list: Vec<&str> = operands.iter().map(|o| o.ty.dtype.name()).collect();
    OpError::unsupported(format!("{op} has no kernel for {} -> {}", list.join(", "), result.dtype))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tandem_tensor::{DType, Shape};

    /// The first result of `op` on operands that are not quantised.
    pub(crate) fn run(op: &Op, operands: &[&Tensor], dtype: DType) -> Tensor {
        let operands: Vec<_> = operands.iter().map(|&t| (t, None)).collect();
        run_typed(op, &operands, dtype, None).unwrap()
    }

    /// The first result of `op`, with quantisation parameters of operands and result.
    pub(crate) fn run_typed(
        op: &Op,
        operands: &[(&Tensor, Option<&QuantParams>)],
        dtype: DType,
        quant: Option<&QuantParams>,
    ) -> Result<Tensor, OpError> {
        run_family(op, Arith::TfliteRef, operands, dtype, quant)
    }

    /// As [`run_typed`] in one family of arithmetic.
    pub(crate) fn run_family(
        op: &Op,
        arith: Arith,
        operands: &[(&Tensor, Option<&QuantParams>)],
        dtype: DType,
        quant: Option<&QuantParams>,
    ) -> Result<Tensor, OpError> {
        let types: Vec<TensorType> = operands
            .iter()
            .map(|(t, q)| TensorType { dtype: t.dtype(), shape: t.shape().clone(), quant: q.cloned() })
            .collect();
        let shapes: Vec<Shape> = infer(op, &types.iter().collect::<Vec<_>>())?;
        let result = TensorType { dtype, shape: shapes[0].clone(), quant: quant.cloned() };
        let list: Vec<Operand<'_>> =
            operands.iter().zip(&types).map(|((tensor, _), ty)| Operand { tensor, ty }).collect();
        reference(op, arith, &list, &[&result]).map(|mut tensors| tensors.remove(0))
    }

    /// A float tensor.
    pub(crate) fn floats(shape: impl Into<Shape>, values: &[f32]) -> Tensor {
        Tensor::from_vec(shape, values.to_vec()).unwrap()
    }

    /// The elements of a float tensor.
    pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn an_operand_that_is_not_what_its_type_says_is_refused() {
        let x = floats([2], &[1.0, 2.0]);
        let ty = TensorType::new(DType::F32, [1, 2]);
        let operand = Operand { tensor: &x, ty: &ty };
        let error = reference(&Op::Unary(UnaryKind::Abs), Arith::TfliteRef, &[operand], &[&ty]).unwrap_err();
        assert_eq!(error.to_string(), "operand 0 of abs is declared as f32[1,2] but holds f32[2]");
    }

    #[test]
    fn results_must_have_the_inferred_shape() {
        let x = floats([2], &[1.0, 2.0]);
        let ty = TensorType::new(DType::F32, [2]);
        let wrong = TensorType::new(DType::F32, [3]);
        let operand = Operand { tensor: &x, ty: &ty };
        let op = Op::Unary(UnaryKind::Abs);
        assert!(reference(&op, Arith::TfliteRef, &[operand], &[&wrong]).is_err());
        assert!(reference(&op, Arith::TfliteRef, &[operand], &[]).is_err());
        assert!(reference(&op, Arith::TfliteRef, &[operand], &[&ty, &ty]).is_err());
    }

    #[test]
    fn a_result_beyond_the_limit_is_refused_before_it_is_allocated() {
        let x = floats([1], &[1.0]);
        let op = Op::Expand { shape: vec![1 << 40] };
        let error = run_typed(&op, &[(&x, None)], DType::F32, None).unwrap_err().to_string();
        assert!(error.contains("more than 67108864 elements"), "{error}");
    }
}
