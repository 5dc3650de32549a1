//! Element-wise operators of two operands.

use super::number::{Numbers, activate, activate_ints, from_ints, from_reals};
use super::position::broadcasted;
use super::{Operand, no_kernel};
use crate::{Act, BinaryKind, Op, OpError};
use tandem_tensor::{DType, Shape, Tensor, TensorType};

pub(super) fn is_comparison(kind: BinaryKind) -> bool {
    use BinaryKind::*;
    matches!(kind, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
}

fn is_logic(kind: BinaryKind) -> bool {
    matches!(kind, BinaryKind::And | BinaryKind::Or | BinaryKind::Xor)
}

pub(super) fn binary(
    kind: BinaryKind,
    act: Act,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let (a, b) = (operands[0].tensor, operands[1].tensor);
    let refuse = || no_kernel(Op::Binary { kind, act }.name(), operands, result);
    let mixed = kind == BinaryKind::Pow && a.dtype() != DType::Bool && b.dtype() != DType::Bool;
    if a.dtype() != b.dtype() && !mixed {
        return Err(refuse());
    }
    let booleans = a.dtype() == DType::Bool;
    let (out_dtype, fits) = match kind {
        k if is_comparison(k) => (DType::Bool, !booleans || matches!(k, BinaryKind::Equal | BinaryKind::NotEqual)),
        k if is_logic(k) => (a.dtype(), !a.dtype().is_float()),
        _ => (a.dtype(), !booleans),
    };
    if !fits || result.dtype != out_dtype {
        return Err(refuse());
    }
    let (p, q) = (places(a.shape(), &result.shape), places(b.shape(), &result.shape));
    let n = result.elements();
    match (Numbers::of(a), Numbers::of(b)) {
        (Numbers::Int(x), Numbers::Int(y)) => {
            let mut out = Vec::with_capacity(n);
            for i in 0..n {
                out.push(ints(kind, x[p.at(i)], y[q.at(i)])?);
            }
            activate_narrowed(act, &mut out, result.dtype);
            Ok(from_ints(result.dtype, &result.shape, &out)?)
        }
        (Numbers::Real(x), Numbers::Real(y)) if is_comparison(kind) => {
            let out: Vec<i128> = (0..n).map(|i| compare(kind, &x[p.at(i)], &y[q.at(i)]).into()).collect();
            Ok(from_ints(result.dtype, &result.shape, &out)?)
        }
        (x, y) => {
            let (x, y) = (reals(x), reals(y));
            let mut out: Vec<f64> = (0..n).map(|i| real(kind, x[p.at(i)], y[q.at(i)])).collect();
            activate(act, &mut out);
            Ok(from_reals(result.dtype, &result.shape, &out)?)
        }
    }
}

/// Positions of an operand's elements, without a list where they are those of the result.
enum Places {
    Same,
    List(Vec<usize>),
}

impl Places {
    fn at(&self, i: usize) -> usize {
        match self {
            Places::Same => i,
            Places::List(list) => list[i],
        }
    }
}

fn places(from: &Shape, to: &Shape) -> Places {
    if from == to { Places::Same } else { Places::List(broadcasted(from, to)) }
}

fn reals(numbers: Numbers) -> Vec<f64> {
    match numbers {
        Numbers::Real(v) => v,
        Numbers::Int(v) => v.into_iter().map(|x| x as f64).collect(),
    }
}

/// The activation sees the wrapped value, so the value is wrapped first.
fn activate_narrowed(act: Act, values: &mut [i128], dtype: DType) {
    if act == Act::None {
        return;
    }
    for v in values.iter_mut() {
        *v = match dtype {
            DType::I8 => (*v as i8).into(),
            DType::U8 => (*v as u8).into(),
            DType::I16 => (*v as i16).into(),
            DType::U16 => (*v as u16).into(),
            DType::I32 => (*v as i32).into(),
            DType::U32 => (*v as u32).into(),
            DType::I64 => (*v as i64).into(),
            DType::U64 => (*v as u64).into(),
            _ => *v,
        };
    }
    activate_ints(act, values);
}

fn compare<T: PartialOrd>(kind: BinaryKind, a: &T, b: &T) -> bool {
    match kind {
        BinaryKind::Equal => a == b,
        BinaryKind::NotEqual => a != b,
        BinaryKind::Less => a < b,
        BinaryKind::LessEqual => a <= b,
        BinaryKind::Greater => a > b,
        _ => a >= b,
    }
}

fn ints(kind: BinaryKind, a: i128, b: i128) -> Result<i128, OpError> {
    Ok(match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a.wrapping_mul(b),
        BinaryKind::Div => match b {
            0 => return Err(OpError::invalid("div divides an integer by zero")),
            b => a / b,
        },
        BinaryKind::Pow => power(a, b)?,
        BinaryKind::Min => a.min(b),
        BinaryKind::Max => a.max(b),
        BinaryKind::PRelu => {
            if a < 0 {
                a.wrapping_mul(b)
            } else {
                a
            }
        }
        BinaryKind::SquaredDifference => (a - b).wrapping_mul(a - b),
        BinaryKind::And => a & b,
        BinaryKind::Or => a | b,
        BinaryKind::Xor => a ^ b,
        _ => compare(kind, &a, &b).into(),
    })
}

/// Integer power modulo 2^128; a negative exponent truncates the fraction.
fn power(base: i128, exponent: i128) -> Result<i128, OpError> {
    if exponent < 0 {
        return match base {
            0 => Err(OpError::invalid("pow divides an integer by zero: 0 to a negative power")),
            1 => Ok(1),
            -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Ok(0),
        };
    }
    let (mut result, mut square, mut left) = (1i128, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    Ok(result)
}

fn real(kind: BinaryKind, a: f64, b: f64) -> f64 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Sub => a - b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Pow => a.powf(b),
        // A NaN on either side wins, as in the definition of ONNX.
        BinaryKind::Min if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryKind::Max if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryKind::Min => a.min(b),
        BinaryKind::Max => a.max(b),
        BinaryKind::PRelu => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
        BinaryKind::SquaredDifference => (a - b) * (a - b),
        _ => f64::from(compare(kind, &a, &b)),
    }
}

#[cfg(test)]
mod tests {
    use super::power;
    use crate::reference::tests::{floats, run, run_typed, values};
    use crate::{Act, BinaryKind, Op};
    use tandem_tensor::{DType, Data, QuantParams, Tensor};

    fn op(kind: BinaryKind) -> Op {
        Op::Binary { kind, act: Act::None }
    }

    #[test]
    fn integers_wrap_in_their_own_width() {
        let a = Tensor::from_vec([2], vec![200u8, 100]).unwrap();
        let y = run(&op(BinaryKind::Add), &[&a, &a], DType::U8);
        assert_eq!(y.as_slice::<u8>().unwrap(), [144, 200]);
        let big = Tensor::from_vec([1], vec![u64::MAX]).unwrap();
        assert_eq!(run(&op(BinaryKind::Mul), &[&big, &big], DType::U64).as_slice::<u64>().unwrap(), [1]);
        let low = Tensor::from_vec([1], vec![i64::MIN]).unwrap();
        let minus = Tensor::from_vec([1], vec![-1i64]).unwrap();
        assert_eq!(run(&op(BinaryKind::Div), &[&low, &minus], DType::I64).as_slice::<i64>().unwrap(), [i64::MIN]);
        let relu = Op::Binary { kind: BinaryKind::Add, act: Act::Relu };
        let i = Tensor::from_vec([1], vec![100i8]).unwrap();
        assert_eq!(run(&relu, &[&i, &i], DType::I8).as_slice::<i8>().unwrap(), [0]);
    }

    #[test]
    fn integer_division_truncates_and_refuses_zero() {
        let a = Tensor::from_vec([2], vec![-7i32, 7]).unwrap();
        let two = Tensor::scalar(2i32);
        assert_eq!(run(&op(BinaryKind::Div), &[&a, &two], DType::I32).as_slice::<i32>().unwrap(), [-3, 3]);
        let zero = Tensor::scalar(0i32);
        assert!(run_typed(&op(BinaryKind::Div), &[(&a, None), (&zero, None)], DType::I32, None).is_err());
    }

    #[test]
    fn powers_mix_dtypes_and_keep_the_one_of_the_base() {
        let base = Tensor::from_vec([3], vec![1i64, 2, 3]).unwrap();
        let y = run(&op(BinaryKind::Pow), &[&base, &floats([3], &[4.0, 0.5, 2.0])], DType::I64);
        assert_eq!(y.as_slice::<i64>().unwrap(), [1, 1, 9]);
        let y = run(&op(BinaryKind::Pow), &[&floats([2], &[2.0, -2.0]), &Tensor::scalar(3u32)], DType::F32);
        assert_eq!(values(&y), [8.0, -8.0]);
        assert_eq!(power(3, 40).unwrap(), 12157665459056928801);
        assert_eq!(power(-1, -3).unwrap(), -1);
        assert!(power(0, -1).is_err());
    }

    #[test]
    fn nan_wins_minimum_and_maximum() {
        let a = floats([2], &[f32::NAN, 1.0]);
        let b = floats([2], &[0.0, f32::NAN]);
        assert!(values(&run(&op(BinaryKind::Min), &[&a, &b], DType::F32)).iter().all(|v| v.is_nan()));
        assert!(values(&run(&op(BinaryKind::Max), &[&a, &b], DType::F32)).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn comparisons_give_booleans() {
        let a = floats([3], &[1.0, 2.0, f32::NAN]);
        let b = floats([1], &[2.0]);
        let y = run(&op(BinaryKind::LessEqual), &[&a, &b], DType::Bool);
        assert_eq!(y.data(), &Data::Bool(vec![1, 1, 0]));
        let y = run(&op(BinaryKind::NotEqual), &[&a, &a], DType::Bool);
        assert_eq!(y.data(), &Data::Bool(vec![0, 0, 1]));
        assert!(run_typed(&op(BinaryKind::Less), &[(&a, None), (&b, None)], DType::F32, None).is_err());
        let p = Tensor::new([2], Data::Bool(vec![1, 0])).unwrap();
        let q = Tensor::new([2], Data::Bool(vec![1, 1])).unwrap();
        assert_eq!(run(&op(BinaryKind::Xor), &[&p, &q], DType::Bool).data(), &Data::Bool(vec![0, 1]));
        assert!(run_typed(&op(BinaryKind::Add), &[(&p, None), (&q, None)], DType::Bool, None).is_err());
    }

    #[test]
    fn the_operators_of_reals_by_hand() {
        let a = floats([2, 1], &[-2.0, 3.0]);
        let b = floats([2], &[0.5, 4.0]);
        let of = |kind| values(&run(&op(kind), &[&a, &b], DType::F32));
        assert_eq!(of(BinaryKind::Sub), [-2.5, -6.0, 2.5, -1.0]);
        assert_eq!(of(BinaryKind::PRelu), [-1.0, -8.0, 3.0, 3.0]);
        assert_eq!(of(BinaryKind::SquaredDifference), [6.25, 36.0, 6.25, 1.0]);
        assert_eq!(of(BinaryKind::Div), [-4.0, -0.5, 6.0, 0.75]);
    }

    #[test]
    fn codes_of_one_quantisation_are_compared_as_they_are() {
        let a = Tensor::from_vec([2], vec![3i8, -4]).unwrap();
        let b = Tensor::from_vec([2], vec![1i8, 9]).unwrap();
        let q = QuantParams::per_tensor(0.25, 5);
        let less = run_typed(&op(BinaryKind::Less), &[(&a, Some(&q)), (&b, Some(&q))], DType::Bool, None).unwrap();
        assert_eq!(less.data(), &Data::Bool(vec![0, 1]));
        // Under another quantisation 1 stands for more than 3 does.
        let other = QuantParams::per_tensor(0.5, 0);
        let less = run_typed(&op(BinaryKind::Less), &[(&a, Some(&q)), (&b, Some(&other))], DType::Bool, None).unwrap();
        assert_eq!(less.data(), &Data::Bool(vec![1, 1]));
    }
}
