//! Element-wise kernels of two operands.

use super::codes;
use super::stage::Stage;
use super::sum::Sum;
use crate::arith::{
    AddOperand, AddParams, MulParams, activation_range, add_params, code_range, leaky_relu_params, mul_params,
};
use crate::cpu::int8::LANES;
use crate::{Act, Arith, BinaryKind, Op, OpError, Operand};
use tandem_tensor::{QuantParams, Shape, Tensor, TensorType};

pub(super) fn binary(
    op: &Op,
    (kind, act): (BinaryKind, Act),
    arith: Arith,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let (a, b) = (operands[0], operands[1]);
    let (aq, bq) = (codes::whole(op.name(), a.ty)?, codes::whole(op.name(), b.ty)?);
    let quant = codes::whole(op.name(), result)?;
    let dtype = result.dtype;
    let bytes = match kind {
        BinaryKind::Add | BinaryKind::Sub => {
            let params = add_params(arith, aq, bq, quant, dtype, act, kind == BinaryKind::Sub);
            match Sum::new(&params, [a.ty, b.ty], result) {
                Some(sum) => return sum.run([a.tensor, b.tensor]).map(|tensor| vec![tensor]),
                None => sum(&params, quant, operands, result),
            }
        }
        BinaryKind::Mul => {
            let params = mul_params(arith, aq, bq, quant, dtype, act);
            each_pair(operands, result, |a, b| MulParams::apply(&params, a, b))
        }
        BinaryKind::PRelu if act == Act::None => prelu([aq, bq, quant], operands, result),
        BinaryKind::Min | BinaryKind::Max
            if aq == quant && bq == quant && a.ty.dtype == dtype && b.ty.dtype == dtype =>
        {
            let (lo, hi) = activation_range(act, dtype, quant);
            if kind == BinaryKind::Min {
                each_pair(operands, result, |a, b| a.min(b).max(lo).min(hi))
            } else {
                each_pair(operands, result, |a, b| a.max(b).max(lo).min(hi))
            }
        }
        _ => return Err(OpError::unsupported(format!("{} has no 8-bit kernel", op.name()))),
    };
    Ok(vec![codes::tensor(dtype, &result.shape, bytes)?])
}

/// The operands at the common scale take 256 values each, so that a sum costs two look-ups and one requantisation.
fn sum(params: &AddParams, output: &QuantParams, operands: &[Operand<'_>], result: &TensorType) -> Vec<u8> {
    let table = |side: &AddOperand, ty: &TensorType, sign: i32| -> [i32; 256] {
        std::array::from_fn(|i| side.apply(low(ty) + i as i32).wrapping_mul(sign))
    };
    let a = table(&params.a, operands[0].ty, 1);
    let b = table(&params.b, operands[1].ty, if params.subtract { -1 } else { 1 });
    let sums = pairs(operands, result, |qa, qb| a[usize::from(qa)].wrapping_add(b[usize::from(qb)]));
    let mut out = vec![0u8; sums.len()];
    Stage::without_bias(vec![params.output; LANES], output, (params.lo, params.hi)).apply_everywhere(&sums, &mut out);
    out
}

/// Both families take the constants of family A's leaky ReLU, with the product of difference and slope in one accumulator.
fn prelu([x, slope, quant]: [&QuantParams; 3], operands: &[Operand<'_>], result: &TensorType) -> Vec<u8> {
    let params = leaky_relu_params(Arith::TfliteRef, x, quant, result.dtype, slope.scale());
    let (zero_x, zero_slope) = (x.zero_point(), slope.zero_point());
    each_pair(operands, result, |q, s| {
        let difference = q - zero_x;
        let (requant, acc) = if difference >= 0 {
            (&params.positive, difference)
        } else {
            (&params.negative, difference * (s - zero_slope))
        };
        requant.code(acc, params.zero_point, params.lo, params.hi)
    })
}

fn low(ty: &TensorType) -> i32 {
    code_range(ty.dtype).0
}

/// The low bytes of `f` of every pair of codes; operands broadcast.
fn each_pair(operands: &[Operand<'_>], result: &TensorType, f: impl Fn(i32, i32) -> i32) -> Vec<u8> {
    let (lo_a, lo_b) = (low(operands[0].ty), low(operands[1].ty));
    pairs(operands, result, |a, b| f(lo_a + i32::from(a), lo_b + i32::from(b)) as u8)
}

/// `f` of every pair of positions in the order of the codes; operands broadcast.
fn pairs<T>(operands: &[Operand<'_>], result: &TensorType, f: impl Fn(u8, u8) -> T) -> Vec<T> {
    let (a, b) = (codes::ranks(operands[0].tensor), codes::ranks(operands[1].tensor));
    let (sa, sb) = (&operands[0].ty.shape, &operands[1].ty.shape);
    if sa == sb {
        return a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect();
    }
    let (pa, pb) = (steps(sa, &result.shape), steps(sb, &result.shape));
    let mut index = vec![0usize; result.shape.rank()];
    let (mut ia, mut ib) = (0usize, 0usize);
    let mut out = Vec::with_capacity(result.elements());
    for _ in 0..result.elements() {
        out.push(f(a[ia], b[ib]));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            ia += pa[axis];
            ib += pb[axis];
            if index[axis] < result.shape[axis] {
                break;
            }
            ia -= pa[axis] * index[axis];
            ib -= pb[axis] * index[axis];
            index[axis] = 0;
        }
    }
    out
}

/// Step of an operand along each axis of the result; 0 where it broadcasts.
fn steps(own: &Shape, result: &Shape) -> Vec<usize> {
    let missing = result.rank() - own.rank();
    let strides = own.strides();
    (0..result.rank())
        .map(|axis| axis.checked_sub(missing).map_or(0, |i| if own[i] == 1 { 0 } else { strides[i] }))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, BinaryKind, Op};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn operands_broadcast() {
        let q = QuantParams::per_tensor(0.5, 0);
        let a = Tensor::from_vec([2, 1, 2], vec![1i8, 2, 3, 4]).unwrap();
        let b = Tensor::from_vec([3, 1], vec![10i8, 20, 30]).unwrap();
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let run = |kind| {
                let op = Op::Binary { kind, act: Act::None };
                let y = run_family(&op, arith, &[(&a, Some(&q)), (&b, Some(&q))], DType::I8, Some(&q)).unwrap();
                y.as_slice::<i8>().unwrap().to_vec()
            };
            assert_eq!(run(BinaryKind::Add), [11, 12, 21, 22, 31, 32, 13, 14, 23, 24, 33, 34]);
            assert_eq!(run(BinaryKind::Sub), [-9, -8, -19, -18, -29, -28, -7, -6, -17, -16, -27, -26]);
            assert_eq!(run(BinaryKind::Mul), [5, 10, 10, 20, 15, 30, 15, 20, 30, 40, 45, 60]);
            assert_eq!(run(BinaryKind::Max), [10, 10, 20, 20, 30, 30, 10, 10, 20, 20, 30, 30]);
        }
    }

    #[test]
    fn slopes_of_a_prelu_are_codes_too() {
        let q = QuantParams::per_tensor(1.0, 2);
        let slopes = QuantParams::per_tensor(0.25, 1);
        let x = Tensor::from_vec([2, 2], vec![12i8, -6, -6, 2]).unwrap();
        let s = Tensor::from_vec([2], vec![5i8, 3]).unwrap();
        let op = Op::Binary { kind: BinaryKind::PRelu, act: Act::None };
        let y = run_family(&op, Arith::TfliteRef, &[(&x, Some(&q)), (&s, Some(&slopes))], DType::I8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), [12, -2, -6, 2]);
    }
}
