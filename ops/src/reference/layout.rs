//! Operators that move or select elements without looking at them.

use super::number::{Numbers, activate, activate_ints, from_ints, from_reals};
use super::position::{around, broadcasted, join, moved, pick, strided};
use super::{Operand, no_kernel};
use crate::{Act, OpError};
use tandem_tensor::{DType, Data, Tensor, TensorType};

pub(super) fn reshape(operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    moved("reshape", operands[0].tensor.data().clone(), result)
}

pub(super) fn transpose(perm: &[usize], operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    let strides = x.shape().strides();
    let steps: Vec<isize> = perm.iter().map(|&p| strides[p] as isize).collect();
    moved("transpose", pick(x.data(), &strided(&result.shape, 0, &steps)), result)
}

pub(super) fn slice(
    begin: &[usize],
    step: &[i64],
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    let strides = x.shape().strides();
    if result.elements() == 0 {
        return moved("slice", pick(x.data(), &[]), result);
    }
    let offset = begin.iter().zip(&strides).map(|(b, s)| b * s).sum();
    // Where an axis keeps one element its step may be any number, and only products of steps in range stay in range.
    let steps: Vec<isize> = step.iter().zip(&strides).map(|(&t, &s)| (t as isize).wrapping_mul(s as isize)).collect();
    moved("slice", pick(x.data(), &strided(&result.shape, offset, &steps)), result)
}

pub(super) fn expand(operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    moved("expand", pick(x.data(), &broadcasted(x.shape(), &result.shape)), result)
}

pub(super) fn concat(axis: usize, act: Act, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let all = join("concat", operands)?;
    let (outer, _, inner) = around(&result.shape, axis);
    let mut starts = Vec::with_capacity(operands.len());
    let mut total = 0;
    for o in operands {
        starts.push((total, o.tensor.shape()[axis].saturating_mul(inner)));
        total += o.tensor.len();
    }
    let mut positions = Vec::with_capacity(all.len());
    if result.elements() > 0 {
        for i in 0..outer {
            for &(start, run) in &starts {
                positions.extend(start + i * run..start + (i + 1) * run);
            }
        }
    }
    let joined = moved("concat", pick(&all, &positions), result)?;
    if act == Act::None {
        return Ok(joined);
    }
    Ok(match Numbers::of(&joined) {
        Numbers::Real(mut v) => {
            activate(act, &mut v);
            from_reals(result.dtype, &result.shape, &v)?
        }
        Numbers::Int(mut v) => {
            activate_ints(act, &mut v);
            from_ints(result.dtype, &result.shape, &v)?
        }
    })
}

pub(super) fn gather(axis: usize, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let (x, indices) = (operands[0].tensor, operands[1].tensor);
    let Numbers::Int(indices) = Numbers::of(indices) else {
        return Err(no_kernel("gather", operands, result));
    };
    let (outer, extent, inner) = around(x.shape(), axis);
    let mut rows = Vec::with_capacity(indices.len());
    for i in indices {
        let from_front = if i < 0 { i + extent as i128 } else { i };
        if !(0..extent as i128).contains(&from_front) {
            return Err(OpError::invalid(format!("gather has index {i} but axis {axis} has extent {extent}")));
        }
        rows.push(from_front as usize);
    }
    let mut positions = Vec::with_capacity(result.elements());
    if result.elements() > 0 {
        for o in 0..outer {
            for row in &rows {
                let start = (o * extent + row) * inner;
                positions.extend(start..start + inner);
            }
        }
    }
    moved("gather", pick(x.data(), &positions), result)
}

/// `Op::Where`.
pub(super) fn select(operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let Data::Bool(condition) = operands[0].tensor.data() else {
        return Err(no_kernel("where", operands, result));
    };
    let all = join("where", &operands[1..])?;
    let [c, a, b] = [0, 1, 2].map(|i| broadcasted(operands[i].tensor.shape(), &result.shape));
    let second = operands[1].tensor.len();
    let positions: Vec<usize> =
        c.iter().zip(a.iter().zip(&b)).map(|(&c, (&a, &b))| if condition[c] != 0 { a } else { second + b }).collect();
    moved("where", pick(&all, &positions), result)
}

pub(super) fn trilu(k: i64, upper: bool, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let zero = zero_code(operands[0].ty)?;
    let zero = Operand { tensor: &zero, ty: operands[0].ty };
    let x = operands[0].tensor;
    let all = join("trilu", &[operands[0], zero])?;
    let rank = x.shape().rank();
    let (rows, columns) = (x.shape()[rank - 2], x.shape()[rank - 1]);
    let positions: Vec<usize> = (0..x.len())
        .map(|p| {
            let offset = (p % columns) as i128 - ((p / columns) % rows) as i128;
            let kept = if upper { offset >= k.into() } else { offset <= k.into() };
            if kept { p } else { x.len() }
        })
        .collect();
    moved("trilu", pick(&all, &positions), result)
}

/// A scalar with the code that stands for zero in a tensor of this type.
pub(super) fn zero_code(ty: &TensorType) -> Result<Tensor, OpError> {
    let zero = if ty.dtype == DType::Bool { 0 } else { ty.quant.as_ref().map_or(0, |q| q.zero_point()) };
    Ok(from_ints(ty.dtype, &[].into(), &[zero.into()])?)
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{run, run_typed};
    use crate::{Act, Op};
    use tandem_tensor::{DType, Data, QuantParams, Shape, Tensor, TensorType};

    fn ramp(shape: &[usize]) -> Tensor {
        let n = Shape::from(shape).elements();
        Tensor::from_vec(shape, (0..n as i32).collect()).unwrap()
    }

    #[test]
    fn a_transposition_and_its_inverse_give_the_operand_back() {
        let x = ramp(&[2, 3, 4]);
        let y = run(&Op::Transpose { perm: vec![2, 0, 1] }, &[&x], DType::I32);
        assert_eq!(y.as_slice::<i32>().unwrap()[..6], [0, 4, 8, 12, 16, 20]);
        assert_eq!(run(&Op::Transpose { perm: vec![1, 2, 0] }, &[&y], DType::I32), x);
    }

    #[test]
    fn a_slice_may_walk_backwards() {
        let op = Op::Slice { begin: vec![1, 3], size: vec![2, 2], step: vec![-1, -2] };
        assert_eq!(run(&op, &[&ramp(&[2, 4])], DType::I32).as_slice::<i32>().unwrap(), [7, 5, 3, 1]);
        let far = Op::Slice { begin: vec![1], size: vec![1], step: vec![i64::MIN] };
        assert_eq!(run(&far, &[&ramp(&[2])], DType::I32).as_slice::<i32>().unwrap(), [1]);
        let none = Op::Slice { begin: vec![5], size: vec![0], step: vec![1] };
        assert!(run(&none, &[&ramp(&[2])], DType::I32).is_empty());
    }

    #[test]
    fn concatenation_interleaves_runs() {
        let op = Op::Concat { axis: 1, act: Act::None };
        let y = run(&op, &[&ramp(&[2, 1]), &ramp(&[2, 2]), &ramp(&[2, 0])], DType::I32);
        assert_eq!(y.as_slice::<i32>().unwrap(), [0, 0, 1, 1, 2, 3]);
        let six = Op::Concat { axis: 0, act: Act::Relu6 };
        assert_eq!(run(&six, &[&ramp(&[8])], DType::I32).as_slice::<i32>().unwrap(), [0, 1, 2, 3, 4, 5, 6, 6]);
    }

    #[test]
    fn gathering_counts_negative_indices_from_the_back() {
        let indices = Tensor::from_vec([2, 1], vec![-1i64, 0]).unwrap();
        let y = run(&Op::Gather { axis: 1 }, &[&ramp(&[2, 3]), &indices], DType::I32);
        assert_eq!(y.shape(), &Shape::from([2, 2, 1]));
        assert_eq!(y.as_slice::<i32>().unwrap(), [2, 0, 5, 3]);
        let outside = Tensor::from_vec([1], vec![3i32]).unwrap();
        let error = run_typed(&Op::Gather { axis: 1 }, &[(&ramp(&[2, 3]), None), (&outside, None)], DType::I32, None);
        assert!(error.unwrap_err().to_string().contains("index 3 but axis 1 has extent 3"));
    }

    #[test]
    fn where_broadcasts_three_operands() {
        let c = Tensor::new([2, 1], Data::Bool(vec![1, 0])).unwrap();
        let y = run(&Op::Where, &[&c, &ramp(&[3]), &Tensor::scalar(9i32)], DType::I32);
        assert_eq!(y.as_slice::<i32>().unwrap(), [0, 1, 2, 9, 9, 9]);
    }

    #[test]
    fn a_triangle_of_quantised_values_is_filled_with_the_zero_point() {
        let x = Tensor::from_vec([2, 2], vec![1i8, 2, 3, 4]).unwrap();
        let q = QuantParams::per_tensor(0.5, -7);
        let op = Op::Trilu { k: 0, upper: true };
        let y = run_typed(&op, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), [1, 2, -7, 4]);
        let lower = run(&Op::Trilu { k: -1, upper: false }, &[&ramp(&[2, 2])], DType::I32);
        assert_eq!(lower.as_slice::<i32>().unwrap(), [0, 0, 2, 0]);
    }

    #[test]
    fn moving_codes_between_quantisations_is_refused() {
        let x = Tensor::from_vec([2], vec![1i8, 2]).unwrap();
        let (p, q) = (QuantParams::per_tensor(0.5, 0), QuantParams::per_tensor(0.25, 0));
        let op = Op::Slice { begin: vec![0], size: vec![1], step: vec![1] };
        assert!(run_typed(&op, &[(&x, Some(&p))], DType::I8, Some(&q)).is_err());
        assert!(run_typed(&op, &[(&x, Some(&p))], DType::I8, Some(&p)).is_ok());
    }

    #[test]
    fn a_result_of_another_dtype_is_refused() {
        let x = ramp(&[2]);
        let ty = TensorType::new(DType::I32, [2]);
        let out = TensorType::new(DType::I64, [2]);
        let operand = crate::Operand { tensor: &x, ty: &ty };
        let op = Op::Reshape { shape: vec![2] };
        assert!(crate::reference(&op, Default::default(), &[operand], &[&out]).is_err());
    }
}
