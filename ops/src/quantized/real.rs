//! By way of reals: operators for which neither family has an integer kernel.
//!
//! Operands are dequantised to binary32, the floating-point kernel runs, and a quantised result is quantised as the family does
//! it: half away from zero in family A, half to even in family B.

use crate::reference::reference;
use crate::{Arith, BinaryKind, Op, OpError, Operand, PoolKind, ReduceKind};
use tandem_tensor::{DType, Tensor, TensorType};

/// True for the operators that are computed by way of reals when no integer kernel takes them: what a model's quantiser leaves
/// quantised although the engines compute it in floats.
pub(super) fn takes(op: &Op) -> bool {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } | Op::MatMul { .. } => true,
        Op::Pool(_) | Op::Softmax { .. } | Op::Resize(_) | Op::Concat { .. } | Op::CumSum { .. } => true,
        Op::Unary(_) => true,
        Op::Binary { kind, .. } => !matches!(kind, BinaryKind::And | BinaryKind::Or | BinaryKind::Xor),
        Op::Reduce { kind, .. } => !matches!(kind, ReduceKind::Max | ReduceKind::Min),
        // What moves codes between different quantisations is the importer's to split into a move and a requantisation.
        _ => false,
    }
}

/// The results of `op` by way of reals.
pub(super) fn by_way_of_reals(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpError> {
    if matches!(op, Op::Pool(p) if p.kind == PoolKind::Max) && results.len() > 1 {
        return Err(OpError::unsupported("a maximum pool of codes under two quantisations has no positions"));
    }
    let mut reals = Vec::with_capacity(operands.len());
    for operand in operands {
        reals.push(match (&operand.ty.quant, operand.ty.dtype) {
            (None, DType::I32) if matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. }) => {
                return Err(OpError::unsupported(format!("{} has a bias without a scale", op.name())));
            }
            (None, _) => operand.tensor.clone(),
            (Some(_), _) => {
                let ty = TensorType::new(DType::F32, operand.ty.shape.clone());
                first(reference(&Op::Dequantize, arith, &[*operand], &[&ty])?)?
            }
        });
    }
    let types: Vec<TensorType> = reals.iter().map(|t| TensorType::new(t.dtype(), t.shape().clone())).collect();
    let list: Vec<Operand<'_>> = reals.iter().zip(&types).map(|(tensor, ty)| Operand { tensor, ty }).collect();
    let plain: Vec<TensorType> = results
        .iter()
        .map(|r| TensorType::new(if r.quant.is_some() { DType::F32 } else { r.dtype }, r.shape.clone()))
        .collect();
    let computed = reference(op, arith, &list, &plain.iter().collect::<Vec<_>>())?;
    computed
        .into_iter()
        .zip(results)
        .map(|(tensor, result)| {
            if result.quant.is_none() {
                return Ok(tensor);
            }
            let ty = TensorType::new(DType::F32, result.shape.clone());
            first(reference(&Op::Quantize, arith, &[Operand { tensor: &tensor, ty: &ty }], &[result])?)
        })
        .collect()
}

/// An operator of one operand on a list of reals.
pub(super) fn apply(op: &Op, arith: Arith, reals: &[f32]) -> Result<Vec<f32>, OpError> {
    let ty = TensorType::new(DType::F32, [reals.len()]);
    let tensor = Tensor::from_vec([reals.len()], reals.to_vec())?;
    let images = first(reference(op, arith, &[Operand { tensor: &tensor, ty: &ty }], &[&ty])?)?;
    Ok(images.as_slice::<f32>()?.to_vec())
}

fn first(tensors: Vec<Tensor>) -> Result<Tensor, OpError> {
    tensors.into_iter().next().ok_or_else(|| OpError::invalid("an operator without results"))
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, BinaryKind, Op, ReduceKind};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn a_quotient_is_rounded_as_the_family_rounds() {
        let q = QuantParams::per_tensor(1.0, 0);
        let (a, b) = (Tensor::from_vec([2], vec![5i8, -9]).unwrap(), Tensor::from_vec([2], vec![2i8, 2]).unwrap());
        let op = Op::Binary { kind: BinaryKind::Div, act: Act::None };
        let run = |arith| {
            let y = run_family(&op, arith, &[(&a, Some(&q)), (&b, Some(&q))], DType::I8, Some(&q)).unwrap();
            y.as_slice::<i8>().unwrap().to_vec()
        };
        assert_eq!(run(Arith::TfliteRef), [3, -5]);
        assert_eq!(run(Arith::Xnnpack), [2, -4]);
    }

    #[test]
    fn a_comparison_of_different_scales_compares_reals() {
        let (p, q) = (QuantParams::per_tensor(1.0, 0), QuantParams::per_tensor(0.5, 0));
        let (a, b) = (Tensor::from_vec([2], vec![3i8, 3]).unwrap(), Tensor::from_vec([2], vec![5i8, 7]).unwrap());
        let op = Op::Binary { kind: BinaryKind::Less, act: Act::None };
        let y = run_family(&op, Arith::TfliteRef, &[(&a, Some(&p)), (&b, Some(&q))], DType::Bool, None).unwrap();
        assert_eq!(y.to_i64().unwrap(), [0, 1]);
    }

    #[test]
    fn mixed_operands_meet_in_reals() {
        let q = QuantParams::per_tensor(0.5, 0);
        let x = Tensor::from_vec([1, 2], vec![2i8, 4]).unwrap();
        let w = Tensor::from_vec([1, 2], vec![1.0f32, 0.25]).unwrap();
        let op = Op::Dense { act: Act::None };
        let y = run_family(&op, Arith::TfliteRef, &[(&x, Some(&q)), (&w, None)], DType::F32, None).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.5]);
        let wide = Tensor::from_vec([2], vec![300i16, -500]).unwrap();
        let op = Op::Reduce { kind: ReduceKind::Prod, axes: vec![0], keep_dims: false };
        let fine = QuantParams::per_tensor(0.001, 0);
        let y = run_family(&op, Arith::TfliteRef, &[(&wide, Some(&fine))], DType::I16, Some(&fine)).unwrap();
        assert_eq!(y.as_slice::<i16>().unwrap(), [-150]);
    }
}
